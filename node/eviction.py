"""What the catalog forgets when strangers' releases and heads take too much room, and in which order.

Author keys cost nothing, so anybody can offer endless, validly signed releases. Four rules keep the catalog
small and what it knew: an author has a quota; what was not seen for long goes first; then newcomers make room
for newcomers, those of the author with most of them first; what is installed stays. Not for
searching (catalog.py). All functions run inside a transaction of the catalog. Follows specs/catalog.md,
"Room".
"""

import sqlite3

RELEASES_LIMIT = 20_000
"""Releases that are remembered without being installed."""

BYTES_LIMIT = 256 * 1024 * 1024
"""Signed bytes of those releases together; a usual one has about 10 KB."""

AUTHOR_RELEASES = 200
"""Releases of one author among them."""

AUTHOR_BYTES = 8 * 1024 * 1024
"""Signed bytes of one author's releases among them."""

HEADS_LIMIT = 40_000
"""Heads that are remembered of voices that are not installed."""

STALE_SECONDS = 90 * 86_400
"""A release that nobody offered for this long goes before all others."""

NEWCOMERS = 0.25
"""Share of a full catalog in which newcomers replace each other; the rest stays while it is seen."""

FILL_AGAIN = 0.01
"""Share of the limits that is made free at once, so that a flood does not cost a count each time."""

_STRANGERS = "id NOT IN (SELECT release FROM installed)"


class Room:
    """How much room strangers take. The counts may be too high between two evictions, never too low."""

    def __init__(self) -> None:
        self._releases = RELEASES_LIMIT + 1
        self._bytes = 0
        self._heads = HEADS_LIMIT + 1

    def added_release(self, connection: sqlite3.Connection, author: str, size: int, now: int) -> list[str]:
        """Account for a new release; the ids of those to forget for it."""
        self._releases += 1
        self._bytes += size
        forget = _beyond_quota(connection, author)
        if self._releases > RELEASES_LIMIT or self._bytes > BYTES_LIMIT:
            gone = set(forget)
            rows = [row for row in _in_order(connection, now) if row["id"] not in gone]
            self._releases, self._bytes = len(rows), sum(row["size"] for row in rows)
            if self._releases > RELEASES_LIMIT or self._bytes > BYTES_LIMIT:
                for row in rows:
                    if self._releases <= RELEASES_LIMIT * (1 - FILL_AGAIN) and (
                        self._bytes <= BYTES_LIMIT * (1 - FILL_AGAIN)
                    ):
                        break
                    forget.append(row["id"])
                    self._releases -= 1
                    self._bytes -= row["size"]
        return forget

    def added_head(self, connection: sqlite3.Connection) -> None:
        """Account for the head of a voice that had none; forgets others when there are too many."""
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
                (_newest_part(self._heads), surplus),
            )
            self._heads -= surplus


def _beyond_quota(connection: sqlite3.Connection, author: str) -> list[str]:
    """An author's releases that are too many or too large together: those seen longest ago."""
    rows = connection.execute(
        f"SELECT id, length(data) AS size FROM releases WHERE author=? AND {_STRANGERS}"
        " ORDER BY seen DESC, rowid DESC",
        (author,),
    ).fetchall()
    total, beyond = 0, []
    for number, row in enumerate(rows, start=1):
        total += row["size"]
        if number > AUTHOR_RELEASES or total > AUTHOR_BYTES:
            beyond.append(str(row["id"]))
    return beyond


def _in_order(connection: sqlite3.Connection, now: int) -> list[sqlite3.Row]:
    """All strangers' releases, the first to be forgotten first.

    The stale ones, longest unseen first. Then the newest part by arrival: of each author the newest last, so
    that who has most of it loses first. Then the others, the latest to arrive first.
    """
    count = connection.execute(f"SELECT count(*) FROM releases WHERE {_STRANGERS}").fetchone()[0]
    return connection.execute(
        "WITH held AS (SELECT id, rowid AS place, author, seen, length(data) AS size,"
        f" row_number() OVER (ORDER BY rowid DESC) AS age FROM releases WHERE {_STRANGERS}),"
        " classed AS (SELECT *, CASE WHEN seen < :stale THEN 0 WHEN age <= :newest THEN 1 ELSE 2 END"
        " AS class FROM held),"
        " ranked AS (SELECT *, row_number() OVER (PARTITION BY class, author ORDER BY seen DESC, place DESC)"
        " AS rank FROM classed)"
        " SELECT id, size FROM ranked ORDER BY class, CASE class WHEN 1 THEN -rank ELSE 0 END,"
        " CASE class WHEN 2 THEN age ELSE seen END, place",
        {"stale": now - STALE_SECONDS, "newest": _newest_part(count)},
    ).fetchall()


def _newest_part(count: int) -> int:
    return max(2, int(count * NEWCOMERS))
