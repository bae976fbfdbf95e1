"""The table of what stands on the shelves here: which release of which voice, with its head and value.

The releases themselves are the catalog's; a row goes with its release, whoever takes that away. Not for what
is to stand there: that is the keeper's (protocol/shelf_keeper.py). All methods block. Follows
specs/shelves.md.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from p2pvoice.node import base_tables
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.pools import PLACE_BYTES
from p2pvoice.protocol.consent_state import consent_state
from p2pvoice.protocol.errors import ManifestError, RevokedError, StaleError
from p2pvoice.protocol.head import verify_head
from p2pvoice.protocol.ids import parse_author_id
from p2pvoice.protocol.manifest import Release, verify_release
from p2pvoice.protocol.shelf import Card, release_in, value_of, voice_key
from p2pvoice.protocol.shelf_entry import ENTRIES_BYTES, Entry
from p2pvoice.protocol.shelf_talk import Checked

RELEASE_BYTES = 2 * PLACE_BYTES
"""Signed bytes of a release on a shelf at most, so that the number of voices bounds the bytes, too."""

REVOKED_KNOWN = 4_096
"""Revocations that are kept in mind to be shown."""


def first_schema(connection: sqlite3.Connection) -> None:
    """The table, and what keeps it in step with the catalog."""
    for statement in (
        "CREATE TABLE shelved(voice BLOB PRIMARY KEY, release TEXT NOT NULL, value BLOB NOT NULL,"
        " head BLOB NOT NULL) WITHOUT ROWID",
        "CREATE INDEX shelved_by_release ON shelved(release)",
        # What the catalog forgets, for whatever reason, stands on no shelf either.
        "CREATE TRIGGER shelved_release AFTER DELETE ON releases"
        " BEGIN DELETE FROM shelved WHERE release=old.id; END",
    ):
        connection.execute(statement)


@dataclass(frozen=True)
class Offered:
    """A voice that is offered here: its card (epoch 0), the id of the release, and the head that names it."""

    card: Card
    release: str
    head: bytes


class ShelfTable:
    """The table ``shelved`` of the node's database, read together with the catalog."""

    def __init__(
        self, database: Database, catalog: Catalog, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        # Of each release that is offered: its card, and when its consent ends.
        self._read: dict[str, tuple[Card, int | None]] = {}

    # -- what is here ------------------------------------------------------------------------------------

    def cards(self) -> list[Card]:
        """The cards of everything that stood on a shelf here, none of them marked as the node's own."""
        rows = self._database.rows(
            "SELECT s.voice, s.value, r.author,"
            " (SELECT group_concat(t.tag, char(10)) FROM tags t WHERE t.release=s.release) AS tags"
            " FROM shelved s JOIN releases r ON r.id=s.release"
        )
        return [
            Card(
                bytes(row["voice"]),
                bytes(row["value"]),
                parse_author_id(str(row["author"])),
                tuple(str(row["tags"] or "").split("\n")),
            )
            for row in rows
        ]

    def voices(self) -> set[bytes]:
        """The keys of everything that stands on a shelf here."""
        return {bytes(row["voice"]) for row in self._database.rows("SELECT voice FROM shelved")}

    def offered(self) -> list[Offered]:
        """The voices that are offered here: installed, seeded, and of a consent that has not expired."""
        rows = self._database.rows(
            "SELECT r.id, h.sequence, h.data FROM installed i JOIN releases r ON r.id=i.release"
            " LEFT JOIN heads h ON h.author=i.author AND h.slug=i.slug AND h.release=i.release"
            f" WHERE i.seed=1 AND {base_tables.VOICES_ONLY} ORDER BY i.at, i.release"
        )
        # A mirror offers thousands, and is looked through whenever one more comes: each is read once.
        self._read = {name: self._read[name] for row in rows if (name := str(row["id"])) in self._read}
        found = []
        for row in rows:
            name = str(row["id"])
            if name not in self._read:
                release = self._catalog.release(name)
                if release is None:
                    continue
                if len(release.envelope.to_bytes()) > RELEASE_BYTES:
                    continue
                self._read[name] = (_card(release, 0, 0, own=True), release.manifest.consent.expires)
            card, expires = self._read[name]
            if expires is not None and expires <= self._clock():
                continue
            value = value_of(name, int(row["sequence"] or 0), 0)
            found.append(Offered(replace(card, value=value), name, bytes(row["data"] or b"")))
        return found

    def read(self, keys: Sequence[bytes], limit: int = ENTRIES_BYTES) -> list[tuple[bytes, Entry | None]]:
        """The voices with these keys, in order, as many as fit; None for what is not given out (any more)."""
        found: list[tuple[bytes, Entry | None]] = []
        size = 0
        for key in keys:
            entry = self._entry(key)
            if entry is not None:
                size += entry.size
                if size > limit and found:
                    break
            found.append((key, entry))
        return found

    def _entry(self, key: bytes) -> Entry | None:
        row = self._database.row(
            "SELECT s.release, s.head FROM shelved s JOIN releases r ON r.id=s.release WHERE s.voice=?",
            (key,),
        )
        release = self._catalog.release(str(row["release"])) if row is not None else None
        if row is None or release is None or consent_state(release.manifest, self._clock()) == "expired":
            return None
        if self._catalog.tombstones.against(release, installed=self._catalog.is_installed(release.id)):
            return None
        return Entry(release.envelope.to_bytes(), bytes(row["head"]))

    def revoked(self) -> dict[bytes, list[tuple[bytes | None, bytes]]]:
        """The revocations that peers may be shown, as the keeper wants them.

        Those of what was offered here, or stood on a shelf; not of what was merely found or kept quietly.
        """
        found: dict[bytes, list[tuple[bytes | None, bytes]]] = {}
        for stone in self._catalog.tombstones.passed_on(REVOKED_KNOWN):
            said = stone.revocation
            release = release_in(value_of(said.release, 0, 0)) if said.release is not None else None
            found.setdefault(voice_key(said.author, said.slug), []).append((release, stone.data))
        return found

    # -- what comes --------------------------------------------------------------------------------------

    def check(self, entries: Iterable[Entry]) -> Checked:
        """Verify voices that came from a peer; None for one that was revoked, whose consent has expired, or
        that is too large.

        Raises ManifestError, SignatureError, or StaleError for a head that claims to be valid for ever.
        """
        now = self._clock()
        shown = {record for records in self.revoked().values() for _, record in records}
        cards: list[Card | None] = []
        revocations = []
        for entry in entries:
            release = verify_release(entry.release)
            if release.manifest.is_base:
                raise ManifestError("a base is on no shelf")
            sequence = _sequence(release, entry.head, now) if entry.head else 0
            stone = self._catalog.tombstones.against(release)
            if stone is not None and stone.data in shown:
                revocations.append(stone.data)
            refused = stone is not None or len(entry.release) > RELEASE_BYTES
            if refused or consent_state(release.manifest, now) == "expired":
                cards.append(None)
                continue
            cards.append(_card(release, sequence, entry.epoch))
        return Checked(tuple(cards), tuple(revocations))

    def store(self, kept: Iterable[tuple[Card, Entry]], dropped: Iterable[Card]) -> None:
        """Put verified voices on the shelves, and take others off."""
        for card, entry in kept:
            try:
                release = self._catalog.add_release(entry.release)
                if entry.head:
                    self._catalog.add_head(entry.head, lasting=False)
            except RevokedError:
                # It was revoked between the check and now; the keeper hears of it at the next refresh.
                continue
            except StaleError:
                # An expired head orders releases on a shelf, and is no news to the catalog.
                pass
            self._write([(card, release.id, entry.head)])
        self.remove(card.key for card in dropped)

    def put_own(self, offered: Iterable[tuple[Offered, Card]]) -> None:
        """Note what is offered here, with the values that the keeper gave it."""
        self._write([(card, one.release, one.head) for one, card in offered])

    def renew(self, cards: Iterable[Card]) -> None:
        """Note later epochs."""
        with self._database.write(lasting=False) as connection:
            connection.executemany(
                "UPDATE shelved SET value=? WHERE voice=?", [(card.value, card.key) for card in cards]
            )

    def remove(self, keys: Iterable[bytes]) -> None:
        """Take voices off the shelves."""
        gone = list(keys)
        if gone:
            self._catalog.unshelve(gone)

    def _write(self, rows: Sequence[tuple[Card, str, bytes]]) -> None:
        if rows:
            self._catalog.shelve((card.key, card.value, head, release) for card, release, head in rows)


def _card(release: Release, sequence: int, epoch: int, *, own: bool = False) -> Card:
    manifest = release.manifest
    key = voice_key(manifest.author, manifest.slug)
    value = value_of(release.id, sequence, epoch)
    return Card(key, value, manifest.author, manifest.finding_tags, own, manifest.created)


def _sequence(release: Release, head: bytes, now: float) -> int:
    """The sequence of the head that came with a release.

    An expired head is as good as any here: it orders releases, and no more. Raises ManifestError for another
    release's head and for one that never expires, SignatureError for a bad signature.
    """
    try:
        found = verify_head(head, now)
    except StaleError as error:
        found = verify_head(head, 0)
        if found.expires > now:
            raise ManifestError(error.message) from error
    mine = (found.author, found.slug, found.release) == (
        release.manifest.author,
        release.manifest.slug,
        release.id,
    )
    if not mine:
        raise ManifestError("a head that names another release")
    return found.sequence
