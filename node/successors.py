"""Which key comes after which: the records this node believes, and the forks it has seen.

The first record that is seen for a key is believed for ever; another one for the same key is kept as the
proof of a fork and changes nothing. Records get in only because this node asked for them, or made them. Not
for asking the network (network.py) nor for what a move changes (following.py, updating.py). All methods
block. Follows specs/keys.md.
"""

import sqlite3
import time
from collections.abc import Callable

from p2pvoice.node.database import Database
from p2pvoice.protocol.successor import CHAIN_LIMIT, Successor, verify_successor


class Successors:
    """The table of successor records in the node's database (schema.py)."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def add(self, data: bytes, *, mine: bool = False) -> bool:
        """Verify a record and believe it when it is the first for its key; True when it is news.

        ``mine`` marks a rotation that was made here, whose voices this node publishes again. Raises what
        ``verify_successor`` raises. A record that names another successor than the believed one is kept
        beside it, the first such, and is no news.
        """
        record = verify_successor(data)
        old, new = record.old_author, record.new_author
        with self._database.write() as connection:
            held = connection.execute("SELECT new, rival FROM successors WHERE old=?", (old,)).fetchone()
            if held is None:
                connection.execute(
                    "INSERT INTO successors(old, new, data, at, mine) VALUES (?,?,?,?,?)",
                    (old, new, data, int(self._clock()), int(mine)),
                )
                return True
            if held["new"] != new and held["rival"] is None:
                connection.execute(
                    "UPDATE successors SET rival=?, rival_data=? WHERE old=?", (new, data, old)
                )
            return False

    def record_bytes(self, author: str) -> bytes | None:
        """The signed record that says what comes after an author's key."""
        row = self._database.row("SELECT data FROM successors WHERE old=?", (author,))
        return bytes(row["data"]) if row is not None else None

    def record(self, author: str) -> Successor | None:
        """What comes after an author's key, if that is known."""
        data = self.record_bytes(author)
        return verify_successor(data) if data is not None else None

    def chain(self, author: str) -> list[str]:
        """The author and all that came after it, in order; at most CHAIN_LIMIT of them, and no circles."""
        found = [author]
        while len(found) <= CHAIN_LIMIT:
            row = self._database.row("SELECT new FROM successors WHERE old=?", (found[-1],))
            if row is None or row["new"] in found:
                break
            found.append(str(row["new"]))
        return found

    def current(self, author: str) -> str:
        """The author id that stands for this one now: itself when it has no successor."""
        return self.chain(author)[-1]

    def family(self, author: str) -> list[str]:
        """All keys of the author that is meant: those before it, the nearest last, itself, those after it.

        At most CHAIN_LIMIT of those before it.
        """
        before: list[str] = []
        nearest = [author]
        while nearest and len(before) < CHAIN_LIMIT:
            row = self._database.rows("SELECT old FROM successors WHERE new=? ORDER BY at", (nearest.pop(0),))
            older = [str(one["old"]) for one in row if one["old"] not in (*before, author)]
            before += older
            nearest += older
        return [*reversed(before[:CHAIN_LIMIT]), *(one for one in self.chain(author) if one not in before)]

    def rival(self, author: str) -> str | None:
        """Another author id that an author's key named as its successor, besides the believed one."""
        row = self._database.row("SELECT rival FROM successors WHERE old=?", (author,))
        return str(row["rival"]) if row is not None and row["rival"] is not None else None

    def count(self) -> int:
        """How many records are believed: none is ever taken back."""
        row = self._database.row("SELECT count(*) AS number FROM successors")
        return int(row["number"]) if row is not None else 0

    def made_here(self) -> list[Successor]:
        """The rotations that were made on this node, oldest first."""
        rows = self._database.rows("SELECT data FROM successors WHERE mine=1 ORDER BY at, rowid")
        return [verify_successor(bytes(row["data"])) for row in rows]


def first_schema(connection: sqlite3.Connection) -> None:
    """The table of successor records."""
    connection.execute(
        "CREATE TABLE successors(old TEXT PRIMARY KEY, new TEXT NOT NULL, data BLOB NOT NULL,"
        " at INTEGER NOT NULL, mine INTEGER NOT NULL, rival TEXT, rival_data BLOB)"
    )
