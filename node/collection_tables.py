"""The collections this node keeps: own drafts, and signed ones, published here or fetched.

Signed bytes go in and come out unchanged; a collection gets in only because this node's user asked for it,
and never goes back in sequence. Of a fork the one that came first stays, with the other beside it. Not for
asking the network (collection_swarm.py) nor for what a user does with them (collecting.py). All methods
block. Follows specs/collections.md.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from p2pvoice.node.database import Database
from p2pvoice.protocol.collection import (
    ITEMS_LIMIT,
    Item,
    SignedCollection,
    advance,
    is_fork,
    verify_collection,
)
from p2pvoice.protocol.errors import ConflictError, NotFoundError, UsageError

KEPT_LIMIT = 1_000
"""Signed collections one node keeps; with their 64 KiB each they take 66 MB at most."""

BEGINNING_MINIMUM = 4
"""Shortest beginning of an author id that is looked up."""

DRAFTS_LIMIT = 200
"""Drafts of collections in one home."""


@dataclass(frozen=True)
class Draft:
    """A list of this home's own, as its author last left it; ``created`` is in seconds since 1970."""

    slug: str
    name: str
    created: int
    items: tuple[Item, ...] = ()
    card: str = ""
    license: str = ""


@dataclass(frozen=True)
class Kept:
    """A signed collection that is kept here; ``rival`` is another one its author signed at its sequence."""

    signed: SignedCollection
    seed: bool
    at: int
    rival: SignedCollection | None = field(default=None, repr=False)


class Collections:
    """The tables of collections in the node's database (schema.py)."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    # -- drafts ------------------------------------------------------------------------------------------

    def begin(self, draft: Draft) -> None:
        """Keep a new draft. ConflictError when its slug is taken, or when there are too many."""
        with self._database.write() as connection:
            if connection.execute("SELECT count(*) FROM collection_drafts").fetchone()[0] >= DRAFTS_LIMIT:
                raise ConflictError(
                    f"there are {DRAFTS_LIMIT} drafts of collections", hint="p2pvoice collection forget NAME"
                )
            found = connection.execute("SELECT 1 FROM collection_drafts WHERE slug=?", (draft.slug,))
            if found.fetchone() is not None:
                raise ConflictError(
                    f"there is a collection {draft.slug} already",
                    hint=f"p2pvoice collection show {draft.slug}",
                )
            _write_draft(connection, draft)

    def change(self, slug: str, change: Callable[[Draft], Draft]) -> Draft:
        """Change a draft, in one transaction. NotFoundError when there is none."""
        with self._database.write() as connection:
            row = connection.execute("SELECT * FROM collection_drafts WHERE slug=?", (slug,)).fetchone()
            if row is None:
                raise NotFoundError(f"there is no draft of a collection {slug}")
            changed = change(_draft(row))
            _write_draft(connection, changed)
            return changed

    def draft(self, slug: str) -> Draft | None:
        """A draft by its slug."""
        row = self._database.row("SELECT * FROM collection_drafts WHERE slug=?", (slug,))
        return _draft(row) if row is not None else None

    def drafts(self) -> list[Draft]:
        """Every draft, the oldest first."""
        rows = self._database.rows("SELECT * FROM collection_drafts ORDER BY created, slug")
        return [_draft(row) for row in rows]

    # -- signed ones -------------------------------------------------------------------------------------

    def keep(self, data: bytes, *, seed: bool) -> Kept:
        """Verify a signed collection and keep it when it is newer than the one held; what is held then.

        Raises what ``verify_collection`` raises, StaleError for a lower sequence than the one held, and
        ConflictError when too many are kept. Another one at the same sequence is noted as a fork.
        """
        candidate = verify_collection(data)
        place = (candidate.author, candidate.collection.slug)
        with self._database.write() as connection:
            held = self.get(*place)
            if held is None:
                count = connection.execute("SELECT count(*) FROM collections").fetchone()[0]
                if count >= KEPT_LIMIT:
                    raise ConflictError(
                        f"{KEPT_LIMIT} collections are kept here", hint="p2pvoice collection forget NAME"
                    )
            elif advance(held.signed, candidate) is held.signed:
                if is_fork(held.signed, candidate) and held.rival is None:
                    connection.execute(
                        "UPDATE collections SET rival=? WHERE author=? AND slug=?", (data, *place)
                    )
                connection.execute(
                    "UPDATE collections SET seed=? WHERE author=? AND slug=?", (int(seed), *place)
                )
                return self._required(*place)
            connection.execute(
                "INSERT OR REPLACE INTO collections(author, slug, sequence, id, seed, at, data)"
                " VALUES (?,?,?,?,?,?,?)",
                (*place, candidate.collection.sequence, candidate.id, int(seed), int(self._clock()), data),
            )
            return self._required(*place)

    def get(self, author: str, slug: str) -> Kept | None:
        """A kept collection by its author id and slug."""
        row = self._database.row("SELECT * FROM collections WHERE author=? AND slug=?", (author, slug))
        return _kept(row) if row is not None else None

    def all(self) -> list[Kept]:
        """Every kept collection, the oldest first."""
        return [
            _kept(row) for row in self._database.rows("SELECT * FROM collections ORDER BY at, author, slug")
        ]

    def offered(self, author: str, slug: str) -> bytes | None:
        """The signed bytes of a collection that peers are given."""
        row = self._database.row(
            "SELECT data FROM collections WHERE author=? AND slug=? AND seed=1", (author, slug)
        )
        return bytes(row["data"]) if row is not None else None

    def forget(self, slug: str, author: str | None, *, draft: bool) -> None:
        """Forget a kept collection, its draft, or both."""
        with self._database.write() as connection:
            if draft:
                connection.execute("DELETE FROM collection_drafts WHERE slug=?", (slug,))
            if author is not None:
                connection.execute("DELETE FROM collections WHERE author=? AND slug=?", (author, slug))

    # -- names -------------------------------------------------------------------------------------------

    def named(self, ref: str, own: str) -> tuple[Draft | None, Kept | None]:
        """The draft and the kept collection that a name means.

        A name is ``AUTHOR/SLUG`` (the author with or without ``did:key:``, or a beginning), or the slug or
        display name of a draft, or of the only kept one that has it. ``own`` is our own author id, whose
        draft and kept collection of one slug belong together. Raises NotFoundError for nothing, UsageError
        for several.
        """
        author, slash, slug = ref.rpartition("/")
        drafts = [] if slash else [one for one in self.drafts() if ref in (one.slug, one.name)]
        if len(drafts) == 1:
            return drafts[0], self.get(own, drafts[0].slug)
        rows = self._database.rows("SELECT * FROM collections WHERE slug=? ORDER BY author", (slug,))
        kept = [_kept(row) for row in rows if not slash or _begins(row["author"], author)]
        if not kept and not slash:
            kept = [one for one in self.all() if one.signed.collection.name == ref]
        if len(drafts) + len(kept) > 1:
            names = [f"{one.signed.author}/{one.signed.collection.slug}" for one in kept]
            listed = ", ".join([*(one.slug for one in drafts), *names])
            raise UsageError(f"{ref!r} could mean several collections: {listed}", hint="give AUTHOR/SLUG")
        if not kept:
            raise NotFoundError(
                f"no collection by the name {ref!r} is here", hint="p2pvoice collection fetch AUTHOR/SLUG"
            )
        mine = kept[0].signed.author == own
        return (self.draft(kept[0].signed.collection.slug) if mine else None), kept[0]

    def _required(self, author: str, slug: str) -> Kept:
        found = self.get(author, slug)
        assert found is not None
        return found


def first_schema(connection: sqlite3.Connection) -> None:
    """The tables of collections and of their drafts."""
    for statement in (
        "CREATE TABLE collections(author TEXT NOT NULL, slug TEXT NOT NULL, sequence INTEGER NOT NULL,"
        " id TEXT NOT NULL, seed INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL, rival BLOB,"
        " PRIMARY KEY(author, slug))",
        "CREATE TABLE collection_drafts(slug TEXT PRIMARY KEY, name TEXT NOT NULL, created INTEGER NOT NULL,"
        " card TEXT NOT NULL, license TEXT NOT NULL, items TEXT NOT NULL)",
    ):
        connection.execute(statement)


def with_items(draft_items: Sequence[Item], new: Sequence[Item]) -> tuple[Item, ...]:
    """A list with releases added at its end; one that is there keeps its place and takes the new note.

    ConflictError when that would be too many.
    """
    merged = {item.release: item for item in draft_items}
    for item in new:
        held = merged.get(item.release)
        merged[item.release] = item if item.note or held is None else held
    if len(merged) > ITEMS_LIMIT:
        raise ConflictError(f"a collection has at most {ITEMS_LIMIT} releases")
    return tuple(merged.values())


def _begins(author: str, ref: str) -> bool:
    beginning = ref.removeprefix("did:key:")
    return len(beginning) >= BEGINNING_MINIMUM and author.removeprefix("did:key:").startswith(beginning)


def _write_draft(connection: sqlite3.Connection, draft: Draft) -> None:
    items = json.dumps([[item.release, item.note] for item in draft.items], ensure_ascii=False)
    connection.execute(
        "INSERT OR REPLACE INTO collection_drafts(slug, name, created, card, license, items)"
        " VALUES (?,?,?,?,?,?)",
        (draft.slug, draft.name, draft.created, draft.card, draft.license, items),
    )


def _draft(row: sqlite3.Row) -> Draft:
    items = tuple(Item(release, note) for release, note in json.loads(row["items"]))
    return Draft(row["slug"], row["name"], int(row["created"]), items, row["card"], row["license"])


def _kept(row: sqlite3.Row) -> Kept:
    rival = _open(bytes(row["rival"])) if row["rival"] is not None else None
    return Kept(_open(bytes(row["data"])), bool(row["seed"]), int(row["at"]), rival)


@lru_cache(maxsize=128)
def _open(data: bytes) -> SignedCollection:
    return verify_collection(data)
