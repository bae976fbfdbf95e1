"""Applies the rules of the catalog's room to its tables: what comes in, what is forgotten for it.

The rules themselves are fairness.py's, the heads' one is here. What is installed takes no room, nor does what
stands on a shelf: shelves have rules of their own (protocol/shelf.py). What is held
in memory is read from the tables at the first use, and again after a transaction that was undone. All methods
run inside a transaction of the catalog's. Follows specs/catalog.md, "Room".
"""

import sqlite3
from collections.abc import Callable, Sequence

from p2pvoice.node.database import Database
from p2pvoice.node.distance import Distances
from p2pvoice.node.fairness import Fairness, Limits, Row
from p2pvoice.protocol.manifest import Release

LIMITS = Limits()
"""The limits of a node."""

HEADS_LIMIT = 40_000
"""Heads that are remembered of voices that are not installed."""

NEWCOMERS = 0.25
"""Share of a full table of heads in which newcomers replace each other; the rest stays."""

FILL_AGAIN = 0.01
"""Share of the heads that is made free at once, so that a flood does not cost a count each time."""

SEEN_STEP = 86_400
"""Seconds after which it is written down again that a release was offered."""

_ROWS = (
    "SELECT r.id, r.author, r.slug, r.created, r.seen, length(r.data) AS size, a.since FROM releases r"
    " LEFT JOIN authors a ON a.author=r.author WHERE r.id NOT IN (SELECT release FROM installed)"
    " AND NOT EXISTS (SELECT 1 FROM shelved s WHERE s.release=r.id)"
)


class Room:
    """The room of a catalog: its releases with their places, and how many heads there are."""

    def __init__(self, database: Database, own: Callable[[], str]) -> None:
        self._database = database
        #: Who is how far from the user.
        self.distances = Distances(database, own)
        self._fairness: Fairness | None = None
        self._undone = self._looked = -1
        self._heads = HEADS_LIMIT + 1

    # -- releases ------------------------------------------------------------------------------------------

    def rules(self, connection: sqlite3.Connection, now: int) -> tuple[Fairness, list[str]]:
        """The rules, holding what the tables hold; and what is too much in these."""
        gone: list[str] = []
        fresh = self._fairness is None or self._undone != self._database.undone
        looked = self.distances.look()
        if fresh:
            self._undone = self._database.undone
            salt = bytes(connection.execute("SELECT salt FROM room").fetchone()[0])
            self._fairness = Fairness(salt, LIMITS)
        assert self._fairness is not None
        if fresh or looked != self._looked:
            self._looked = looked
            near = self.distances.near()
            for author in [*self._fairness.standings() - near.keys(), *near]:
                gone += self._stand(connection, self._fairness, author, now)
        if fresh:
            for row in connection.execute(_ROWS + " ORDER BY r.rowid").fetchall():
                gone += self._fairness.add(_row(connection, row), now)
        return self._fairness, gone

    def _stand(self, connection: sqlite3.Connection, rules: Fairness, author: str, now: int) -> list[str]:
        """An author moved; what lost its place before may have one now."""
        gone = rules.stand(author, self.distances.of(author))
        guests = set(rules.guests())
        for row in connection.execute(_ROWS + " AND r.author=?", (author,)).fetchall() if guests else ():
            if row["id"] in guests:
                rules.remove(row["id"])
                gone += rules.add(_row(connection, row), now)
        return gone

    def arrived(self, connection: sqlite3.Connection, release: Release, author: str, now: int) -> list[str]:
        """A release that was not known is in the tables now; the ids of those to forget."""
        rules, gone = self.rules(connection, now)
        for nearer in self.distances.learn(release, author):
            gone += self._stand(connection, rules, nearer, now)
        return gone + self.entered(connection, release.id, now)

    def entered(self, connection: sqlite3.Connection, identifier: str, now: int) -> list[str]:
        """A release of the tables takes room from now on, if it is not installed; those to forget for it."""
        rules, gone = self.rules(connection, now)
        row = connection.execute(_ROWS + " AND r.id=?", (identifier,)).fetchone()
        return gone if row is None else gone + rules.add(_row(connection, row), now)

    def offered_again(self, connection: sqlite3.Connection, identifier: str, now: int) -> list[str]:
        """A release that is known was offered once more; those to forget."""
        rules, gone = self.rules(connection, now)
        rules.touch(identifier, now)
        return gone

    def left(self, identifiers: Sequence[str]) -> None:
        """Releases are gone from the tables, or were installed."""
        if self._fairness is not None:
            for identifier in identifiers:
                self._fairness.remove(identifier)

    def guests(self) -> frozenset[str]:
        """Releases that have no place of their own and are still here."""
        return frozenset(self._fairness.guests()) if self._fairness is not None else frozenset()

    def turned_away(self, identifier: str) -> bool:
        """Whether a release found no place lately."""
        return self._fairness is not None and self._fairness.turned_away(identifier)

    # -- heads ---------------------------------------------------------------------------------------------

    def added_head(self, connection: sqlite3.Connection) -> None:
        """Account for the head of a voice that had none; forgets others when there are too many.

        The count may be too high between two evictions, never too low.
        """
        self._heads += 1
        if self._heads <= HEADS_LIMIT:
            return
        others = "NOT EXISTS (SELECT 1 FROM installed i WHERE i.author=heads.author AND i.slug=heads.slug)"
        self._heads = connection.execute(f"SELECT count(*) FROM heads WHERE {others}").fetchone()[0]
        surplus = self._heads - int(HEADS_LIMIT * (1 - FILL_AGAIN))
        if self._heads > HEADS_LIMIT:
            connection.execute(
                "DELETE FROM heads WHERE rowid IN (SELECT rowid FROM (SELECT rowid FROM heads"
                f" WHERE {others} ORDER BY rowid DESC LIMIT ?) ORDER BY rowid LIMIT ?)",
                (max(2, int(self._heads * NEWCOMERS)), surplus),
            )
            self._heads -= surplus


def _row(connection: sqlite3.Connection, row: sqlite3.Row) -> Row:
    tags = connection.execute("SELECT tag FROM tags WHERE release=?", (row["id"],)).fetchall()
    return Row(
        row["id"],
        row["author"],
        row["slug"],
        int(row["created"]),
        int(row["size"]),
        [str(tag[0]) for tag in tags],
        int(row["seen"]),
        None if row["since"] is None else int(row["since"]),
    )
