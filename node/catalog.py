"""What this node knows about voices: releases, heads, tags, and which voices are installed here.

Signed bytes go in and come out unchanged; the columns beside them are only for searching. A release
gets in after its signature was verified, a head when it is newer than the one we hold: the catalog never
goes back in sequence. Not for files, which are the store's. All methods block; the daemon calls them
from threads. Follows specs/catalog.md.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache

from p2pvoice.node import base_tables, lineage_tables
from p2pvoice.node.collection_tables import Collections
from p2pvoice.node.database import Database
from p2pvoice.node.evaluations import Evaluations
from p2pvoice.node.eviction import Room
from p2pvoice.node.recall import Tombstones
from p2pvoice.node.search import index_text, match_expression
from p2pvoice.protocol.ancestry import OWN_STEP
from p2pvoice.protocol.errors import ConflictError, NotFoundError, UsageError
from p2pvoice.protocol.head import Head, advance, verify_head
from p2pvoice.protocol.ids import author_id, parse_author_id
from p2pvoice.protocol.manifest import Manifest, Release, verify_release
from p2pvoice.protocol.tags import tag_names

#: Shortest beginning of a release id or author id that is looked up.
BEGINNING_MINIMUM = 4

#: Candidates an ambiguous name lists.
CANDIDATES_LIMIT = 8

_DID = "did:key:"


@dataclass(frozen=True)
class Installed:
    """A voice whose files are all here and admitted."""

    release: str
    author: str
    slug: str
    at: int
    seed: bool


class Catalog:
    """The catalog's tables in the node's database (schema.py)."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._room = Room()
        #: Asked before a release gets in or is installed.
        self.tombstones = Tombstones(database, clock=clock)
        #: Lists of releases: own drafts, and signed ones.
        self.collections = Collections(database, clock=clock)
        #: What was measured of releases.
        self.evaluations = Evaluations(database, clock=clock)

    # -- releases --------------------------------------------------------------------------------------

    def add_release(self, data: bytes) -> Release:
        """Verify a signed release and remember it.

        Raises what ``verify_release`` raises, and RevokedError for a release that was revoked.
        """
        release = verify_release(data)
        manifest = release.manifest
        now = int(self._clock())
        # What a power cut takes of this is found again, or comes before a lasting commit, as a publication's.
        with self._database.write(lasting=False) as connection:
            self.tombstones.check(release, installed=self.is_installed(release.id))
            known = connection.execute("SELECT 1 FROM releases WHERE id=?", (release.id,)).fetchone()
            connection.execute(
                "INSERT INTO releases(id, author, slug, created, seen, data) VALUES (?,?,?,?,?,?)"
                " ON CONFLICT(id) DO UPDATE SET seen=excluded.seen",
                (release.id, author_id(manifest.author), manifest.slug, manifest.created, now, data),
            )
            if known is None:
                connection.executemany(
                    "INSERT OR IGNORE INTO tags(tag, release) VALUES (?,?)",
                    [(tag, release.id) for tag in manifest.finding_tags],
                )
                connection.executemany(
                    "INSERT OR IGNORE INTO files(digest, release) VALUES (?,?)",
                    [(file.digest, release.id) for file in manifest.files],
                )
                connection.execute(
                    "INSERT INTO words(release, text) VALUES (?,?)", (release.id, _words_of(manifest))
                )
                lineage_tables.note(connection, release)
                base_tables.note(connection, release)
                author = author_id(manifest.author)
                _delete(connection, self._room.added_release(connection, author, len(data), now))
        return release

    def release(self, identifier: str) -> Release | None:
        """A remembered release, or None."""
        data = self.release_bytes(identifier)
        return _open_release(data) if data is not None else None

    def release_bytes(self, identifier: str) -> bytes | None:
        """The signed bytes of a remembered release."""
        row = self._database.row("SELECT data FROM releases WHERE id=?", (identifier,))
        return bytes(row["data"]) if row is not None else None

    def forget(self, identifier: str) -> None:
        """Forget a release altogether."""
        with self._database.write() as connection:
            _delete(connection, [identifier])

    def drop(self, connection: sqlite3.Connection, identifier: str) -> None:
        """Take a release out of use and forget it, inside a transaction of the caller's."""
        connection.execute("DELETE FROM installed WHERE release=?", (identifier,))
        _delete(connection, [identifier])

    def releases_of(self, author: str, slug: str) -> list[Release]:
        """Every remembered release of a voice, newest first."""
        rows = self._database.rows(
            "SELECT data FROM releases WHERE author=? AND slug=? ORDER BY created DESC, id", (author, slug)
        )
        return [_open_release(bytes(row["data"])) for row in rows]

    def has_voice(self, author: str, slug: str) -> bool:
        """Whether any release of a voice is remembered."""
        query = "SELECT 1 FROM releases WHERE author=? AND slug=?"
        return self._database.row(query, (author, slug)) is not None

    def releases_with(self, digest: bytes) -> list[Release]:
        """Every remembered release that has a file."""
        rows = self._database.rows(
            "SELECT r.data FROM files f JOIN releases r ON r.id=f.release WHERE f.digest=?", (digest,)
        )
        return [_open_release(bytes(row["data"])) for row in rows]

    def children(self, identifier: str, limit: int) -> list[str]:
        """Ids of remembered releases that say they were made from this one, installed ones first."""
        return lineage_tables.children_of(self._database, identifier, limit)

    def bases(self, *, kind: str = "", content: str = "", bundle: str = "", limit: int) -> list[Release]:
        """Remembered bases of a kind, with these weights or of these files, installed ones first."""
        found = base_tables.known(self._database, kind=kind, content=content, bundle=bundle, limit=limit)
        return [release for release in map(self.release, found) if release is not None]

    def alone(self) -> AbstractContextManager[None]:
        """Keep other threads out of the database for several calls."""
        return self._database.alone()

    # -- heads -----------------------------------------------------------------------------------------

    def add_head(self, data: bytes, *, lasting: bool = True) -> Head:
        """Verify a head and remember it when it is newer; returns it.

        Raises StaleError for an expired head, and for one older than the one we hold: somebody replays
        an old record. Of two releases at one sequence the one that came first stays. ``lasting=False`` is
        for a stranger's that comes with many others and can be found again.
        """
        with self._database.write(lasting=lasting) as connection:
            return self._advance(connection, data)

    def _advance(self, connection: sqlite3.Connection, data: bytes) -> Head:
        head = verify_head(data, self._clock())
        author = author_id(head.author)
        row = connection.execute(
            "SELECT data FROM heads WHERE author=? AND slug=?", (author, head.slug)
        ).fetchone()
        held = _open_head(bytes(row["data"])) if row is not None else None
        if held is not None and advance(held, head) is held:
            return held
        # An update keeps the row's place in the order of arrival, which eviction.py goes by.
        connection.execute(
            "INSERT INTO heads(author, slug, sequence, release, data) VALUES (?,?,?,?,?)"
            " ON CONFLICT(author, slug) DO UPDATE SET"
            " sequence=excluded.sequence, release=excluded.release, data=excluded.data",
            (author, head.slug, head.sequence, head.release, data),
        )
        if held is None:
            self._room.added_head(connection)
        return head

    def head(self, author: str, slug: str) -> Head | None:
        """The newest head we hold of a voice."""
        data = self.head_bytes(author, slug)
        return _open_head(data) if data is not None else None

    def head_bytes(self, author: str, slug: str) -> bytes | None:
        """The signed bytes of the newest head we hold of a voice."""
        row = self._database.row("SELECT data FROM heads WHERE author=? AND slug=?", (author, slug))
        return bytes(row["data"]) if row is not None else None

    # -- installed voices --------------------------------------------------------------------------------

    def install(self, release: Release, *, seed: bool, head: bytes | None = None) -> None:
        """Mark a release usable, after admission; an older release of the same voice stops being so.

        A publication gives the new ``head``, too: both are there afterwards, or neither. Raises RevokedError
        for a release that was revoked meanwhile, ConflictError when a base would take a voice's place or the
        other way round.
        """
        author = author_id(release.manifest.author)
        with self._database.write() as connection:
            self.tombstones.check(release, installed=self.is_installed(release.id))
            row = connection.execute(
                "SELECT release FROM installed WHERE author=? AND slug=?", (author, release.manifest.slug)
            ).fetchone()
            if row is not None and base_tables.is_base(connection, row[0]) != release.manifest.is_base:
                raise ConflictError(f"{release.manifest.slug} is installed, and is something else")
            if head is not None:
                self._advance(connection, head)
            connection.execute(
                "DELETE FROM installed WHERE author=? AND slug=?", (author, release.manifest.slug)
            )
            connection.execute(
                "INSERT INTO installed(release, author, slug, at, seed) VALUES (?,?,?,?,?)",
                (release.id, author, release.manifest.slug, int(self._clock()), int(seed)),
            )

    def uninstall(self, identifier: str) -> bool:
        """Take a release out of use; True when it was installed."""
        with self._database.write() as connection:
            return connection.execute("DELETE FROM installed WHERE release=?", (identifier,)).rowcount > 0

    def installed(self) -> list[Installed]:
        """Every installed voice and base, oldest first."""
        rows = self._database.rows("SELECT * FROM installed ORDER BY at, release")
        return [_installed(row) for row in rows]

    def installed_voices(self) -> list[Installed]:
        """The same without bases."""
        rows = self._database.rows(
            "SELECT * FROM installed WHERE release NOT IN (SELECT release FROM bases) ORDER BY at, release"
        )
        return [_installed(row) for row in rows]

    def installed_release(self, author: str, slug: str) -> Installed | None:
        """The installed release of a voice."""
        row = self._database.row("SELECT * FROM installed WHERE author=? AND slug=?", (author, slug))
        return _installed(row) if row is not None else None

    def newest(self) -> int:
        """When the newest known release says it was made, in seconds since 1970; 0 when none is known."""
        row = self._database.row("SELECT max(created) AS newest FROM releases")
        return int(row["newest"] or 0) if row is not None else 0

    def is_installed(self, identifier: str) -> bool:
        """Whether a release is usable here."""
        return self._database.row("SELECT 1 FROM installed WHERE release=?", (identifier,)) is not None

    def is_offered(self, identifier: str) -> bool:
        """Whether peers may have a release."""
        query = "SELECT 1 FROM installed WHERE release=? AND seed=1"
        return self._database.row(query, (identifier,)) is not None

    def is_shelved(self, identifier: str) -> bool:
        """Whether a release stands on a shelf here: offered, or brought by others (specs/shelves.md)."""
        return self._database.row("SELECT 1 FROM shelved WHERE release=?", (identifier,)) is not None

    def leads_to_offered(self, identifier: str) -> bool:
        """Whether a release that peers may have comes from this one."""
        return lineage_tables.leads_to_offered(self._database, identifier)

    def offering(self, digest: bytes) -> list[str]:
        """Ids of the releases that peers may have and that a file belongs to."""
        rows = self._database.rows(
            "SELECT f.release FROM files f JOIN installed i ON i.release=f.release"
            " WHERE f.digest=? AND i.seed=1",
            (digest,),
        )
        return [str(row["release"]) for row in rows]

    def wanted_files(self) -> set[bytes]:
        """Digests of all files that installed releases need."""
        rows = self._database.rows(
            "SELECT DISTINCT f.digest FROM files f JOIN installed i ON i.release=f.release"
        )
        return {bytes(row["digest"]) for row in rows}

    def former_files(self, author: str) -> set[bytes]:
        """Digests of the files of the releases that an author's offered ones take the place of."""
        rows = self._database.rows(
            "SELECT DISTINCT f.digest FROM installed i JOIN parents p ON p.child=i.release AND p.kind=?"
            " JOIN files f ON f.release=p.parent WHERE i.author=? AND i.seed=1",
            (OWN_STEP, author),
        )
        return {bytes(row["digest"]) for row in rows}

    def users_of(self, digest: bytes) -> list[str]:
        """Ids of the remembered releases that have a file."""
        rows = self._database.rows("SELECT DISTINCT release FROM files WHERE digest=?", (digest,))
        return [str(row["release"]) for row in rows]

    def known_files(self) -> set[bytes]:
        """Digests of all files of all remembered releases."""
        return {bytes(row["digest"]) for row in self._database.rows("SELECT DISTINCT digest FROM files")}

    # -- searching -----------------------------------------------------------------------------------------

    def search(self, tags: Sequence[str], text: str, limit: int) -> list[Release]:
        """Remembered voices that carry all tags and all words; of each the newest release, newest first.

        With a tag of bases, those instead.
        """
        query, values = _filter(tags, text)
        rows = self._database.rows(
            f"SELECT r.data, r.author, r.slug, r.id FROM releases r WHERE {query}"
            " ORDER BY r.created DESC, r.id",
            values,
        )
        found: list[Release] = []
        voices: set[tuple[str, str]] = set()
        for row in rows:
            voice = (row["author"], row["slug"])
            if voice in voices:
                continue
            head = self.head(*voice)
            # A known head decides which release stands for the voice; without one the newest does.
            newest = head.release if head is not None else row["id"]
            if newest != row["id"] and self.release_bytes(newest) is not None:
                continue
            voices.add(voice)
            found.append(_open_release(bytes(row["data"])))
            if len(found) >= limit:
                break
        return found

    def offered(self, tags: Sequence[str], limit: int, after: str) -> list[str]:
        """Ids of installed, seeded releases with all tags, in order, beginning after a given id."""
        query, values = _filter(tags, "")
        rows = self._database.rows(
            "SELECT r.id FROM releases r JOIN installed i ON i.release = r.id"
            f" WHERE i.seed = 1 AND r.id > ? AND {query} ORDER BY r.id LIMIT ?",
            [after, *values, limit],
        )
        return [str(row["id"]) for row in rows]

    # -- names ---------------------------------------------------------------------------------------------

    def author_named(self, ref: str) -> str:
        """The author id that is meant by itself, or by a beginning of one that is known here.

        Raises UsageError when several fit, NotFoundError when none does.
        """
        wanted = ref if ref.startswith(_DID) else _DID + ref
        try:
            parse_author_id(wanted)
        except UsageError:
            pass
        else:
            return wanted
        if len(wanted) < len(_DID) + BEGINNING_MINIMUM:
            raise UsageError(f"{ref!r} is too short to mean an author")
        rows = self._database.rows(
            "SELECT DISTINCT author FROM releases WHERE author >= ? AND author < ? ORDER BY author LIMIT ?",
            (wanted, wanted + "\x7f", CANDIDATES_LIMIT + 1),
        )
        if len(rows) > 1:
            raise _ambiguous(ref, [str(row["author"]) for row in rows])
        if not rows:
            raise NotFoundError(f"no author by the name {ref!r} is known here", hint="p2pvoice show VOICE")
        return str(rows[0]["author"])

    @property
    def changes(self) -> int:
        """Counts up with every change of the node's database."""
        return self._database.changes

    def names_of(self, authors: Collection[str], limit: int) -> list[tuple[str, str, str]]:
        """(author, slug, newest release id) of each voice known by these authors, the newest voices first."""
        marks = ",".join("?" * len(authors))
        rows = self._database.rows(
            # SQLite takes the id from the row that has the greatest time of creation.
            "SELECT r.author, r.slug, r.id, MAX(r.created) AS newest FROM releases r"
            f" WHERE r.author IN ({marks}) AND {base_tables.VOICES_ONLY}"
            " GROUP BY r.author, r.slug ORDER BY newest DESC, r.author, r.slug LIMIT ?",
            [*authors, limit],
        )
        return [(str(row["author"]), str(row["slug"]), str(row["id"])) for row in rows]

    def resolve(self, ref: str, *, prefer_installed: bool = False) -> Release:
        """The release that VOICE names: a release id, ``author/slug``, or an unambiguous beginning of either.

        A bare slug, and an author without ``did:key:``, are taken too when only one voice fits. A name
        of a voice means its newest release, or the installed one when that is preferred and there is one.
        Raises UsageError listing the candidates when several fit, NotFoundError when none does.
        """
        exact = self.release(ref)
        if exact is not None:
            return exact
        if len(ref) >= BEGINNING_MINIMUM and "/" not in ref:
            rows = self._database.rows(
                "SELECT id FROM releases WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                (ref, ref + "\x7f", CANDIDATES_LIMIT + 1),
            )
            if len(rows) > 1:
                raise _ambiguous(ref, [str(row["id"]) for row in rows])
            if rows:
                return self._known(str(rows[0]["id"]))
        voices = self._voices_named(ref)
        if len(voices) > 1:
            raise _ambiguous(ref, [f"{author}/{slug}" for author, slug in voices])
        if not voices:
            raise NotFoundError(f"no voice by the name {ref!r} is known here", hint="p2pvoice find --tag …")
        return self._known(self._newest(*voices[0], prefer_installed=prefer_installed))

    def _voices_named(self, ref: str) -> list[tuple[str, str]]:
        author, slash, slug = ref.rpartition("/")
        if not slash:
            # An author's name for a voice goes along to the key that came after, once it is published there.
            rows = self._database.rows(
                "SELECT DISTINCT author, slug FROM releases r WHERE slug=? AND NOT EXISTS"
                " (SELECT 1 FROM successors s JOIN releases n ON n.author=s.new AND n.slug=r.slug"
                " WHERE s.old=r.author)",
                (ref,),
            )
            if rows:
                return [(row["author"], row["slug"]) for row in rows]
            author, slug = ref, ""
        if author and not author.startswith(_DID):
            author = _DID + author
        if len(author) < len(_DID) + BEGINNING_MINIMUM:
            return []
        rows = self._database.rows(
            "SELECT DISTINCT author, slug FROM releases"
            " WHERE author >= ? AND author < ? AND slug >= ? AND slug < ? ORDER BY author, slug",
            (author, author + "\x7f", slug, slug + "\x7f"),
        )
        voices = [(str(row["author"]), str(row["slug"])) for row in rows]
        whole = [voice for voice in voices if voice == (author, slug)]
        same_slug = [voice for voice in voices if voice[1] == slug]
        return whole or (same_slug if len(same_slug) == 1 else voices)

    def _newest(self, author: str, slug: str, *, prefer_installed: bool) -> str:
        if prefer_installed:
            installed = self.installed_release(author, slug)
            if installed is not None:
                return installed.release
        head = self.head(author, slug)
        if head is not None and self.release_bytes(head.release) is not None:
            return head.release
        row = self._database.row(
            "SELECT id FROM releases WHERE author=? AND slug=? ORDER BY created DESC, id LIMIT 1",
            (author, slug),
        )
        assert row is not None
        return str(row["id"])

    def _known(self, identifier: str) -> Release:
        release = self.release(identifier)
        if release is None:
            raise NotFoundError(f"release {identifier} is not known here")
        return release

    def counts(self) -> tuple[int, int]:
        """Number of remembered releases, and of installed voices."""
        row = self._database.row(
            "SELECT (SELECT count(*) FROM releases) AS releases,"
            " (SELECT count(*) FROM installed WHERE release NOT IN (SELECT release FROM bases)) AS installed"
        )
        assert row is not None
        return int(row["releases"]), int(row["installed"])


def first_schema(connection: sqlite3.Connection) -> None:
    """The catalog's tables, as of version 1 of the database."""
    for statement in (
        "CREATE TABLE releases(id TEXT PRIMARY KEY, author TEXT NOT NULL, slug TEXT NOT NULL,"
        " created INTEGER NOT NULL, seen INTEGER NOT NULL, data BLOB NOT NULL)",
        "CREATE INDEX releases_by_voice ON releases(author, slug, created)",
        "CREATE INDEX releases_by_seen ON releases(seen)",
        "CREATE TABLE heads(author TEXT NOT NULL, slug TEXT NOT NULL, sequence INTEGER NOT NULL,"
        " release TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY(author, slug))",
        "CREATE TABLE tags(tag TEXT NOT NULL, release TEXT NOT NULL, PRIMARY KEY(tag, release))"
        " WITHOUT ROWID",
        "CREATE INDEX tags_by_release ON tags(release)",
        "CREATE TABLE files(digest BLOB NOT NULL, release TEXT NOT NULL, PRIMARY KEY(digest, release))"
        " WITHOUT ROWID",
        "CREATE INDEX files_by_release ON files(release)",
        "CREATE TABLE installed(release TEXT PRIMARY KEY, author TEXT NOT NULL, slug TEXT NOT NULL,"
        " at INTEGER NOT NULL, seed INTEGER NOT NULL, UNIQUE(author, slug))",
        "CREATE VIRTUAL TABLE words USING"
        " fts5(release UNINDEXED, text, tokenize='unicode61 remove_diacritics 2')",
    ):
        connection.execute(statement)


def _delete(connection: sqlite3.Connection, identifiers: Sequence[str]) -> None:
    # All at once: to find one release among the words, all of them are read.
    if identifiers:
        given = (json.dumps(list(identifiers)),)
        connection.execute("DELETE FROM releases WHERE id IN (SELECT value FROM json_each(?))", given)
        connection.execute("DELETE FROM parents WHERE child IN (SELECT value FROM json_each(?))", given)
        for table in ("tags", "files", "words", "bases"):
            connection.execute(
                f"DELETE FROM {table} WHERE release IN (SELECT value FROM json_each(?))", given
            )


def _filter(tags: Sequence[str], text: str) -> tuple[str, list[object]]:
    parts, values = [base_tables.searched(tags)], list[object]()
    for tag in tags:
        parts.append("EXISTS (SELECT 1 FROM tags t WHERE t.tag=? AND t.release=r.id)")
        values.append(tag)
    if text.strip():
        expression = match_expression(text)
        if not expression:
            return "0", []
        parts.append("r.id IN (SELECT release FROM words WHERE words MATCH ?)")
        values.append(expression)
    return " AND ".join(parts), values


def _words_of(manifest: Manifest) -> str:
    names = [name for tag in manifest.tags for lang in ("zh", "en") for name in tag_names(tag, lang)]
    return index_text(" ".join([manifest.name, manifest.slug, manifest.description, *names]))


def _installed(row: sqlite3.Row) -> Installed:
    return Installed(row["release"], row["author"], row["slug"], int(row["at"]), bool(row["seed"]))


def _ambiguous(ref: str, candidates: list[str]) -> UsageError:
    listed = ", ".join(candidates[:CANDIDATES_LIMIT])
    more = " …" if len(candidates) > CANDIDATES_LIMIT else ""
    return UsageError(f"{ref!r} could mean several voices: {listed}{more}", hint="give more of the name")


@lru_cache(maxsize=512)
def _open_release(data: bytes) -> Release:
    return verify_release(data)


def _open_head(data: bytes) -> Head:
    # What is in the catalog was verified when it came in; an expired head still orders what follows it.
    return verify_head(data, 0)
