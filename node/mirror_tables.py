"""What this node keeps for others, and what it never lets go: mirrors, the voices they brought here, pins.

A *mirror* is an author or a tag whose voices are kept alive; a voice is *mirrored* while it is here for a
mirror's sake only. What was fetched by hand is in none of these tables, and stays. Not for what a mirror does
(mirroring.py) nor for making room (quota.py). All methods block. Follows specs/mirror.md.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pvoice.node.database import Database
from p2pvoice.protocol.errors import ConflictError, NotFoundError

AUTHOR, TAG = "author", "tag"
"""The kinds of mirrors."""

MIRRORS_LIMIT = 100
"""Mirrors of one node: each costs look-ups every hour."""

REPLICAS_LIMIT = 100
"""Holders a mirror may ask for; a look-up in the DHT finds no more."""


@dataclass(frozen=True)
class Mirror:
    """An author or a tag that is mirrored, and what the last look found; times are seconds since 1970.

    ``limit`` are the bytes that it may take, 0 for no limit of its own; ``left_out`` counts releases that
    were not fetched, by reason.
    """

    kind: str
    name: str
    replicas: int
    limit: int
    since: int
    looked: int = 0
    wanted: int = 0
    below: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Mirrored:
    """A voice that is installed for a mirror's sake.

    ``holders`` are the others that had it when it was last counted; ``replicas`` what its mirror asks for, 0
    when that was stopped; ``used`` when somebody last had something of it.
    """

    author: str
    slug: str
    release: str
    kind: str
    name: str
    at: int
    used: int
    holders: int
    replicas: int
    pinned: bool

    @property
    def plenty(self) -> bool:
        """Whether enough others have it for its mirror without this node."""
        return self.holders >= self.replicas


class Mirrors:
    """The tables in the node's database (schema.py)."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    # -- mirrors -----------------------------------------------------------------------------------------

    def all(self) -> list[Mirror]:
        """Every mirror, the oldest first."""
        rows = self._database.rows("SELECT * FROM mirrors ORDER BY since, kind, name")
        return [_mirror(row) for row in rows]

    def get(self, kind: str, name: str) -> Mirror:
        """One mirror. NotFoundError when it is none."""
        row = self._database.row("SELECT * FROM mirrors WHERE kind=? AND name=?", (kind, name))
        if row is None:
            raise NotFoundError(f"the {kind} {name} is not mirrored here", hint="p2pvoice mirror")
        return _mirror(row)

    def begin(self, kind: str, name: str, replicas: int, limit: int) -> Mirror:
        """Mirror an author or a tag, or change how. ConflictError when there are too many."""
        with self._database.write() as connection:
            others = connection.execute(
                "SELECT count(*) FROM mirrors WHERE NOT (kind=? AND name=?)", (kind, name)
            ).fetchone()[0]
            if others >= MIRRORS_LIMIT:
                raise ConflictError(f"at most {MIRRORS_LIMIT} mirrors", hint="p2pvoice mirror --stop …")
            connection.execute(
                "INSERT INTO mirrors(kind, name, replicas, room, since) VALUES (?,?,?,?,?)"
                " ON CONFLICT(kind, name) DO UPDATE SET replicas=excluded.replicas, room=excluded.room",
                (kind, name, replicas, limit, int(self._clock())),
            )
        return self.get(kind, name)

    def stop(self, kind: str, name: str) -> Mirror:
        """Mirror it no longer; what it brought stays until room is needed. NotFoundError when it is none."""
        found = self.get(kind, name)
        with self._database.write() as connection:
            connection.execute("DELETE FROM mirrors WHERE kind=? AND name=?", (kind, name))
        return found

    def looked(
        self, mirror: Mirror, *, wanted: int, below: int, left_out: Mapping[str, int], error: str
    ) -> None:
        """Note what a look found; nothing happens when the mirror was stopped meanwhile."""
        which = (mirror.kind, mirror.name)
        with self._database.write(lasting=False) as connection:
            connection.execute(
                "UPDATE mirrors SET looked=?, wanted=?, below=?, left_out=?, error=? WHERE kind=? AND name=?",
                (int(self._clock()), wanted, below, json.dumps(left_out), error[:500], *which),
            )

    # -- mirrored voices ---------------------------------------------------------------------------------

    def bring(self, author: str, slug: str, mirror: Mirror, holders: int) -> None:
        """Note that a voice comes for a mirror's sake: before its fetch, so that a kill cannot hide it."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO mirrored(author, slug, kind, name, at, used, holders) VALUES (?,?,?,?,?,?,?)"
                " ON CONFLICT(author, slug) DO UPDATE SET"
                " kind=excluded.kind, name=excluded.name, holders=excluded.holders",
                (author, slug, mirror.kind, mirror.name, *[int(self._clock())] * 2, holders),
            )

    def counted(self, author: str, slug: str, holders: int, used: float) -> None:
        """Note how many others have a mirrored voice, and when it was last used."""
        with self._database.write(lasting=False) as connection:
            connection.execute(
                "UPDATE mirrored SET holders=?, used=max(used, ?) WHERE author=? AND slug=?",
                (holders, int(used), author, slug),
            )

    def held(self) -> list[Mirrored]:
        """The voices that are installed for a mirror's sake, the oldest first."""
        rows = self._database.rows(
            "SELECT m.*, i.release, coalesce(r.replicas, 0) AS replicas,"
            " EXISTS (SELECT 1 FROM pins p WHERE p.author=m.author AND p.slug=m.slug) AS pinned"
            " FROM mirrored m JOIN installed i ON i.author=m.author AND i.slug=m.slug"
            " LEFT JOIN mirrors r ON r.kind=m.kind AND r.name=m.name ORDER BY m.at, i.release"
        )
        return [
            Mirrored(
                str(row["author"]), str(row["slug"]), str(row["release"]), str(row["kind"]), str(row["name"]),
                int(row["at"]), int(row["used"]), int(row["holders"]), int(row["replicas"]),
                bool(row["pinned"]),
            )
            for row in rows
        ]  # fmt: skip

    def is_mirrored(self, author: str, slug: str) -> bool:
        """Whether a voice is here, or on its way, for a mirror's sake only."""
        query = "SELECT 1 FROM mirrored WHERE author=? AND slug=?"
        return self._database.row(query, (author, slug)) is not None

    def by_hand(self, author: str, slug: str) -> None:
        """The user fetched a voice: from now on it is here for the user's sake."""
        with self._database.write() as connection:
            for table in ("mirrored", "unmirrored"):
                connection.execute(f"DELETE FROM {table} WHERE author=? AND slug=?", (author, slug))

    def let_go(self, author: str, slug: str) -> None:
        """A mirrored voice made room; its mirror may bring it again."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM mirrored WHERE author=? AND slug=?", (author, slug))

    def removed(self, author: str, slug: str) -> None:
        """The user removed a voice: it is pinned no longer, and no mirror brings it again."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM pins WHERE author=? AND slug=?", (author, slug))
            found = connection.execute("DELETE FROM mirrored WHERE author=? AND slug=?", (author, slug))
            if found.rowcount:
                connection.execute(
                    "INSERT OR IGNORE INTO unmirrored(author, slug) VALUES (?,?)", (author, slug)
                )

    def unwanted(self) -> set[tuple[str, str]]:
        """Author and slug of mirrored voices that the user removed."""
        rows = self._database.rows("SELECT author, slug FROM unmirrored")
        return {(str(row["author"]), str(row["slug"])) for row in rows}

    def move(self, author: str, now: str, slug: str) -> None:
        """A voice stands under its author's new key: what was noted of it goes along."""
        with self._database.write() as connection:
            for table in ("mirrored", "unmirrored", "pins"):
                connection.execute(
                    f"UPDATE OR REPLACE {table} SET author=? WHERE author=? AND slug=?", (now, author, slug)
                )

    # -- pins --------------------------------------------------------------------------------------------

    def pin(self, author: str, slug: str) -> bool:
        """Keep a voice whatever happens; False when it was pinned before."""
        with self._database.write() as connection:
            found = connection.execute(
                "INSERT OR IGNORE INTO pins(author, slug, at) VALUES (?,?,?)",
                (author, slug, int(self._clock())),
            )
            return found.rowcount > 0

    def unpin(self, author: str, slug: str) -> bool:
        """Pin a voice no longer; False when it was not pinned."""
        with self._database.write() as connection:
            found = connection.execute("DELETE FROM pins WHERE author=? AND slug=?", (author, slug))
            return found.rowcount > 0

    def pins(self) -> set[tuple[str, str]]:
        """Author and slug of every pinned voice."""
        rows = self._database.rows("SELECT author, slug FROM pins")
        return {(str(row["author"]), str(row["slug"])) for row in rows}

    def kept(self, author: str, slug: str) -> dict[str, Any]:
        """``pinned`` and ``mirrored`` of a voice, as list and show give them."""
        query = "SELECT 1 FROM pins WHERE author=? AND slug=?"
        pinned = self._database.row(query, (author, slug)) is not None
        return {"pinned": pinned, "mirrored": self.is_mirrored(author, slug)}


def first_schema(connection: sqlite3.Connection) -> None:
    """The tables of mirrors, of what they brought, and of pins."""
    for statement in (
        "CREATE TABLE mirrors(kind TEXT NOT NULL, name TEXT NOT NULL, replicas INTEGER NOT NULL,"
        " room INTEGER NOT NULL, since INTEGER NOT NULL, looked INTEGER NOT NULL DEFAULT 0,"
        " wanted INTEGER NOT NULL DEFAULT 0, below INTEGER NOT NULL DEFAULT 0,"
        " left_out TEXT NOT NULL DEFAULT '{}', error TEXT NOT NULL DEFAULT '', PRIMARY KEY(kind, name))",
        "CREATE TABLE mirrored(author TEXT NOT NULL, slug TEXT NOT NULL, kind TEXT NOT NULL,"
        " name TEXT NOT NULL, at INTEGER NOT NULL, used INTEGER NOT NULL, holders INTEGER NOT NULL,"
        " PRIMARY KEY(author, slug)) WITHOUT ROWID",
        "CREATE TABLE unmirrored(author TEXT NOT NULL, slug TEXT NOT NULL, PRIMARY KEY(author, slug))"
        " WITHOUT ROWID",
        "CREATE TABLE pins(author TEXT NOT NULL, slug TEXT NOT NULL, at INTEGER NOT NULL,"
        " PRIMARY KEY(author, slug)) WITHOUT ROWID",
    ):
        connection.execute(statement)


def _mirror(row: sqlite3.Row) -> Mirror:
    return Mirror(
        str(row["kind"]), str(row["name"]), int(row["replicas"]), int(row["room"]), int(row["since"]),
        int(row["looked"]), int(row["wanted"]), int(row["below"]), json.loads(row["left_out"]),
        str(row["error"]),
    )  # fmt: skip
