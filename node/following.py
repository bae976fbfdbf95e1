"""Whom this node's user follows: keys, each with a name of the user's own for it.

Following is private: the list never leaves the node. A followed key that names a successor is followed there
by itself, and the user is told once. Not for judging names (names.py) nor for finding successors
(successors.py, updating.py). All methods block. Follows specs/trust.md.
"""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from p2pvoice.node.database import Database
from p2pvoice.protocol.confusable import alike
from p2pvoice.protocol.errors import ConflictError, ManifestError, NotFoundError, UsageError
from p2pvoice.protocol.fields import check_text
from p2pvoice.protocol.ids import parse_author_id

PETNAME_LENGTH = 80
"""Characters of a name of the user's own for an author."""

FOLLOWS_LIMIT = 1_000
"""Authors one node follows: each costs a look-up now and then."""


@dataclass(frozen=True)
class Follow:
    """A followed author; ``name`` is the user's own for it, or "". ``since`` is in seconds since 1970."""

    author: str
    name: str
    since: int
    moved_from: str = ""


@dataclass(frozen=True)
class Move:
    """A followed key that was given up for another one, which is followed now."""

    old: str
    new: str
    name: str
    at: int


class Following:
    """The table of followed authors in the node's database (schema.py)."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def follow(self, author: str, name: str | None = None) -> Follow:
        """Follow an author id, or give one that is followed another name; without a name it keeps its own.

        Raises UsageError for what is no author id or no name, ConflictError for a name that looks like that
        of another followed author, or when too many are followed.
        """
        parse_author_id(author)
        rows = {one.author: one for one in self.all()}
        held = rows.pop(author, None)
        if name is None:
            name = held.name if held is not None else ""
        if name:
            try:
                check_text(name, "the name", PETNAME_LENGTH)
            except ManifestError as error:
                raise UsageError(error.message) from error
            other = next((one for one in rows.values() if one.name and alike(one.name, name)), None)
            if other is not None:
                raise ConflictError(
                    f"you follow {other.author} under the name {other.name}, which looks the same",
                    hint="--name with another name",
                )
        if held is None and len(rows) >= FOLLOWS_LIMIT:
            raise ConflictError(f"at most {FOLLOWS_LIMIT} authors are followed", hint="p2pvoice unfollow …")
        since = held.since if held is not None else int(self._clock())
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO follows(author, name, since) VALUES (?,?,?)"
                " ON CONFLICT(author) DO UPDATE SET name=excluded.name",
                (author, name, since),
            )
            # Whoever follows a key on purpose has seen whatever was to be told of it.
            connection.execute("DELETE FROM moves WHERE old=?", (author,))
        return self.get(author)

    def unfollow(self, author: str) -> Follow:
        """Follow an author no longer. NotFoundError when it was not followed."""
        held = self.get(author)
        with self._database.write() as connection:
            connection.execute("DELETE FROM follows WHERE author=?", (author,))
            connection.execute("DELETE FROM moves WHERE new=?", (author,))
        return held

    def get(self, author: str) -> Follow:
        """One followed author. NotFoundError when it is not followed."""
        row = self._database.row("SELECT * FROM follows WHERE author=?", (author,))
        if row is None:
            raise NotFoundError(f"you do not follow {author}", hint="p2pvoice following")
        return _follow(row)

    def name_of(self, author: str) -> str | None:
        """The name of a followed author, "" when it has none; None when it is not followed."""
        row = self._database.row("SELECT name FROM follows WHERE author=?", (author,))
        return str(row["name"]) if row is not None else None

    def all(self) -> list[Follow]:
        """Every followed author, the oldest first."""
        return [_follow(row) for row in self._database.rows("SELECT * FROM follows ORDER BY since, author")]

    def move(self, old: str, new: str) -> Move | None:
        """Follow a followed key's successor in its place, under the same name; None when it was not followed.

        A successor that is followed already keeps its own name, unless it has none.
        """
        at = int(self._clock())
        with self._database.write() as connection:
            row = connection.execute("SELECT * FROM follows WHERE author=?", (old,)).fetchone()
            if row is None or old == new:
                return None
            connection.execute(
                "INSERT INTO follows(author, name, since, moved_from) VALUES (?,?,?,?)"
                " ON CONFLICT(author) DO UPDATE SET moved_from=excluded.moved_from,"
                " name=CASE name WHEN '' THEN excluded.name ELSE name END",
                (new, row["name"], row["since"], old),
            )
            connection.execute("DELETE FROM follows WHERE author=?", (old,))
            connection.execute(
                "INSERT OR REPLACE INTO moves(old, new, name, at, told) VALUES (?,?,?,?,0)",
                (old, new, row["name"], at),
            )
        return Move(old, new, str(row["name"]), at)

    def untold(self) -> list[Move]:
        """Moves that the user was not told of yet."""
        rows = self._database.rows("SELECT * FROM moves WHERE told=0 ORDER BY at, old")
        return [Move(row["old"], row["new"], row["name"], int(row["at"])) for row in rows]

    def told(self, old: str) -> None:
        """The user was told that this key was given up."""
        with self._database.write() as connection:
            connection.execute("UPDATE moves SET told=1 WHERE old=?", (old,))


def first_schema(connection: sqlite3.Connection) -> None:
    """The tables of followed authors and of their moves to other keys."""
    for statement in (
        "CREATE TABLE follows(author TEXT PRIMARY KEY, name TEXT NOT NULL, since INTEGER NOT NULL,"
        " moved_from TEXT NOT NULL DEFAULT '')",
        "CREATE TABLE moves(old TEXT PRIMARY KEY, new TEXT NOT NULL, name TEXT NOT NULL,"
        " at INTEGER NOT NULL, told INTEGER NOT NULL)",
    ):
        connection.execute(statement)


def _follow(row: sqlite3.Row) -> Follow:
    return Follow(row["author"], row["name"], int(row["since"]), row["moved_from"])
