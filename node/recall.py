"""Tombstones: the revocations this node keeps, and the one place where a release is refused because of them.

A tombstone outlives the release: it stays through restarts, `rm`, garbage collection and the eviction of the
release from the catalog, and is asked before a release gets in again. Not for what happens when one comes
in (withdrawing, telling peers; recalling.py), nor for how many there may be (recall_tables.py). All methods
block. Follows specs/recall.md.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence

from p2pvoice.node.database import Database
from p2pvoice.node.recall_tables import HERE, JOIN, KEY, OF, make_room, remember, row_key
from p2pvoice.node.tombstone import Hit, Kind, Tombstone, binds_files
from p2pvoice.protocol.catalog_messages import PAGE_REVOCATIONS
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release, verify_release
from p2pvoice.protocol.recall_messages import PROOFS_BYTES, PROOFS_LIMIT, REVOCATIONS_ASKED
from p2pvoice.protocol.revocation import has_say, is_subject, revokes, subject_key, verify_revocation

#: Releases remembered of one tombstone.
RECALLED_LIMIT = 64

#: Tombstones looked through for the ones that a search would have found.
MATCH_LIMIT = 512

#: Shortest beginning of a release id or author id that is looked up.
BEGINNING_MINIMUM = 4

_DID = "did:key:"


class Tombstones:
    """The tables ``tombstones`` and ``recalled`` of the node's database (schema.py)."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    # -- taking one in -----------------------------------------------------------------------------------

    def add(
        self,
        data: bytes,
        kind: Kind,
        hits: Sequence[Hit] = (),
        proof: Release | None = None,
        *,
        within: Callable[[sqlite3.Connection], None] = lambda connection: None,
    ) -> tuple[Tombstone | None, bool]:
        """Keep a revocation, and in the same transaction do what ``within`` does with the releases it hits.

        Returns the tombstone and whether it is news; None when its signer has no say in any release given,
        or when there is no room for one of so little concern. ``hits`` are the releases here that it takes
        out of use, ``proof`` is one that shows who has a say. Raises what ``verify_revocation`` raises.
        """
        revocation = verify_revocation(data)
        known = [hit.release for hit in hits] + ([proof] if proof is not None else [])
        shown = [release for release in known if has_say(revocation, release)]
        by_files = [release for release in known if revokes(revocation, release)]
        if proof not in (*shown, *by_files):
            known = [hit.release for hit in hits]
        # An author's own key needs no proof: what it signs can hit nothing but its own releases.
        say = bool(shown) or revocation.signer == revocation.author
        if not say and not by_files:
            return None, False
        if any(hit.installed for hit in hits):
            kind = max(kind, Kind.HELD)
        subject = any(is_subject(revocation, release) for release in (*shown, *by_files))
        # The files are refused under other names only where the release was, and only for its own files.
        here = [proof] if kind is Kind.OWN and proof is not None else []
        here += [hit.release for hit in hits if hit.installed]
        binds = any(binds_files(revocation, release) for release in here)
        name = next((release.manifest.name for release in (*shown, *known)), "")
        place = row_key(revocation)
        with self._database.write() as connection:
            row = connection.execute(f"SELECT * FROM tombstones WHERE {HERE}", place).fetchone()
            if row is None:
                if not make_room(connection, place[0], kind):
                    return None, False
                connection.execute(
                    "INSERT INTO tombstones(signer, author, slug, release, bundle, say, subject, binds, kind,"
                    " created, learned, name, data) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    (*place, revocation.bundle or "", say, subject, binds, kind, revocation.created,
                     int(self._clock()), name, data),
                )  # fmt: skip
            else:
                connection.execute(
                    "UPDATE tombstones SET kind=max(kind, ?), say=max(say, ?), subject=max(subject, ?),"
                    f" binds=max(binds, ?), name=CASE name WHEN '' THEN ? ELSE name END WHERE {HERE}",
                    (kind, say, subject, binds, name, *place),
                )
            offered = {hit.release.id for hit in hits if hit.offered or hit.shelved}
            for release in known[:RECALLED_LIMIT]:
                remember(connection, release, place, release.id in offered, keep=kind > Kind.SEEN)
            within(connection)
            kept = connection.execute(f"SELECT * FROM tombstones WHERE {HERE}", place).fetchone()
        # One that turns out to concern this node more than before is news, too.
        return Tombstone.from_row(kept), row is None or int(kept["kind"]) > int(row["kind"])

    # -- refusing ----------------------------------------------------------------------------------------

    def against(self, release: Release, *, installed: bool = False) -> Tombstone | None:
        """The tombstone that keeps a release out, if there is one.

        ``installed`` says that the release is usable here already: then it is not judged by the files it
        shares with another one.
        """
        manifest = release.manifest
        rows = self._database.rows(
            "SELECT * FROM tombstones WHERE (author=? AND slug=? AND release IN ('', ?) AND say=1)"
            " OR (bundle=? AND subject=1) ORDER BY release, kind DESC",
            (author_id(manifest.author), manifest.slug, release.id, manifest.bundle_id),
        )
        subject = subject_key(manifest)
        for row in rows:
            stone = Tombstone.from_row(row)
            ours = stone.revocation.of_voice(manifest.author, manifest.slug)
            if ours and row["say"] and row["release"] in ("", release.id):
                return stone
            if manifest.author == stone.revocation.signer:
                continue
            if subject == stone.revocation.signer or (row["binds"] and subject is None and not installed):
                return stone
        return None

    def check(self, release: Release, *, installed: bool = False) -> None:
        """RevokedError when a tombstone keeps the release out."""
        stone = self.against(release, installed=installed)
        if stone is not None:
            raise stone.error()

    def of_voice(self, author: str, slug: str) -> Tombstone | None:
        """The tombstone of a whole voice."""
        return self._first("author=? AND slug=? AND release='' AND say=1", (author, slug))

    def of_release(self, identifier: str) -> Tombstone | None:
        """The tombstone of a release that was known here.

        That a record names an id is not enough: anyone can write somebody else's release into a revocation.
        """
        row = self._database.row(f"SELECT {KEY} FROM recalled WHERE release=?", (identifier,))
        return self._first(HERE, tuple(row)) if row is not None else None

    def named(self, ref: str) -> tuple[Tombstone, str] | None:
        """The tombstone of what VOICE names, and the id of the release meant, "" for a voice's name."""
        if len(ref) >= BEGINNING_MINIMUM and "/" not in ref:
            row = self._database.row(
                "SELECT release FROM recalled WHERE release >= ? AND release < ? ORDER BY release LIMIT 1",
                (ref, ref + "\x7f"),
            )
            stone = self.of_release(str(row["release"])) if row is not None else None
            if row is not None and stone is not None:
                return stone, str(row["release"])
        author, slash, slug = ref.rpartition("/")
        if author and not author.startswith(_DID):
            author = _DID + author
        if slash and len(author) < len(_DID) + BEGINNING_MINIMUM:
            return None
        condition, values = "slug=?", [ref]
        if slash:
            condition, values = "author >= ? AND author < ? AND slug=?", [author, author + "\x7f", slug]
        found = self._first(f"{condition} AND say=1", values)
        if found is None:
            row = self._database.row(f"SELECT {KEY} FROM recalled WHERE {condition} LIMIT 1", values)
            found = self._first(HERE, tuple(row)) if row is not None else None
        return (found, "") if found is not None else None

    def releases(self, stone: Tombstone) -> list[Release]:
        """The releases kept as proofs of a tombstone."""
        rows = self._database.rows(
            f"SELECT data FROM recalled WHERE {OF} AND data IS NOT NULL ORDER BY release",
            row_key(stone.revocation),
        )
        return [verify_release(bytes(row["data"])) for row in rows]

    # -- answering ---------------------------------------------------------------------------------------

    def all(self) -> list[Tombstone]:
        """Every tombstone, the latest learned first."""
        rows = self._database.rows("SELECT * FROM tombstones ORDER BY learned DESC, author, slug, release")
        return [Tombstone.from_row(row) for row in rows]

    def passed_on(self, limit: int = REVOCATIONS_ASKED) -> list[Tombstone]:
        """The newest tombstones that peers are told of: own ones and those of releases offered here."""
        rows = self._database.rows(
            "SELECT * FROM tombstones t WHERE kind=? OR EXISTS"
            f" (SELECT 1 FROM recalled r WHERE {JOIN} AND r.offered=1) ORDER BY learned DESC LIMIT ?",
            (Kind.OWN, limit),
        )
        return [Tombstone.from_row(row) for row in rows]

    def matching(self, tags: Sequence[str]) -> list[bytes]:
        """Revocations of releases that were offered here and carry all of ``tags``."""
        rows = self._database.rows(
            f"SELECT r.tags, t.data FROM recalled r JOIN tombstones t ON {JOIN} WHERE r.offered=1"
            " ORDER BY t.learned DESC LIMIT ?",
            (MATCH_LIMIT,),
        )
        fitting = dict.fromkeys(
            bytes(row["data"]) for row in rows if set(tags) <= set(str(row["tags"]).split("\n"))
        )
        return list(fitting)[:PAGE_REVOCATIONS]

    def answer(
        self, releases: Sequence[str], author: str, slug: str, *, proofs: bool
    ) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Records and proofs for a peer that asks; without anything asked, the newest ones passed on."""
        stones = [self.of_release(release) for release in releases]
        if author:
            stones.append(self.of_voice(author, slug))
            stones.append(self._first("author=? AND slug=? AND say=1", (author, slug)))
        if not releases and not author:
            stones += self.passed_on()
        found = {stone.data: stone for stone in stones if stone is not None}
        shown: dict[str, bytes] = {}
        if proofs:
            rows = [self._proof(release) for release in releases]
            rows += [row for stone in found.values() for row in self._proofs(stone)]
            for row in rows:
                if row is None or len(shown) >= PROOFS_LIMIT:
                    continue
                data = bytes(row["data"])
                if sum(map(len, shown.values())) + len(data) <= PROOFS_BYTES:
                    shown[str(row["release"])] = data
        return tuple(found)[:REVOCATIONS_ASKED], tuple(shown.values())

    def _proof(self, release: str) -> sqlite3.Row | None:
        return self._database.row("SELECT * FROM recalled WHERE release=? AND data IS NOT NULL", (release,))

    def _proofs(self, stone: Tombstone) -> list[sqlite3.Row]:
        return self._database.rows(
            f"SELECT * FROM recalled WHERE {OF} AND data IS NOT NULL LIMIT 1",
            row_key(stone.revocation),
        )

    def _first(self, condition: str, values: Sequence[object]) -> Tombstone | None:
        row = self._database.row(
            f"SELECT * FROM tombstones WHERE {condition} ORDER BY release, kind DESC LIMIT 1", values
        )
        return Tombstone.from_row(row) if row is not None else None
