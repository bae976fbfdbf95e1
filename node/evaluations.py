"""What this node has measured of releases: kept by release id and method, so that nothing is measured twice.

A release never changes, so a figure of it stays true for its method. Only figures are kept, no sound and no
embedding. A convenience: what is lost is measured again. Not for measuring (evaluating.py). All methods
block. Follows specs/collections.md, "Evaluation".
"""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Any

from p2pvoice.node.database import Database

EVALUATIONS_LIMIT = 200_000
"""Measurements that are kept; those of longest ago go. A full collection has 130,000 pairs of voices."""

FILL_AGAIN = 0.02
"""Share of the limit that is made free at once."""


class Evaluations:
    """The table of measurements in the node's database (schema.py)."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def get(self, release: str, method: str) -> Any:
        """What was found of a release by a method: a plain JSON value, or None."""
        row = self._database.row(
            "SELECT data FROM evaluations WHERE release=? AND method=?", (release, method)
        )
        return json.loads(row["data"]) if row is not None else None

    def beginning(self, release: str, method: str) -> dict[str, Any]:
        """What was found of a release by each method whose name begins so, by the rest of the name."""
        rows = self._database.rows(
            "SELECT method, data FROM evaluations WHERE release=? AND method >= ? AND method < ?",
            (release, method, method + "\x7f"),
        )
        return {str(row["method"])[len(method) :]: json.loads(row["data"]) for row in rows}

    def put(self, release: str, found: Mapping[str, Any]) -> None:
        """Keep what was found of a release, by method."""
        now = int(self._clock())
        # It can be measured again, so nobody waits for the disk.
        with self._database.write(lasting=False) as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO evaluations(release, method, at, data) VALUES (?,?,?,?)",
                [
                    (release, method, now, json.dumps(data, ensure_ascii=False))
                    for method, data in found.items()
                ],
            )
            count = connection.execute("SELECT count(*) FROM evaluations").fetchone()[0]
            if count > EVALUATIONS_LIMIT:
                surplus = count - int(EVALUATIONS_LIMIT * (1 - FILL_AGAIN))
                connection.execute(
                    "DELETE FROM evaluations WHERE rowid IN"
                    " (SELECT rowid FROM evaluations ORDER BY at, rowid LIMIT ?)",
                    (surplus,),
                )


def first_schema(connection: sqlite3.Connection) -> None:
    """The table of measurements."""
    connection.execute(
        "CREATE TABLE evaluations(release TEXT NOT NULL, method TEXT NOT NULL, at INTEGER NOT NULL,"
        " data TEXT NOT NULL, PRIMARY KEY(release, method))"
    )
