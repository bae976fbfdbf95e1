"""The table of parents: which release says that it was made from which, so that children are found, too.

Filled from the manifests as they come into the catalog and emptied as they leave it. A row is the child's
claim; nothing is believed because it stands here. Not for the graph (lineage.py). All functions block, in a
transaction of the caller's where they write. Follows specs/lineage.md, "On disk".
"""

import sqlite3
from collections.abc import Sequence

from p2pvoice.node.database import Database
from p2pvoice.protocol.canonical import decode
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.manifest import MANIFEST_ITEMS, MANIFEST_LIMIT, PARENTS_LIMIT, RELEASE_LIMIT, Release

#: Descendants of a release that are looked at to see whether one of them is offered.
DESCENDANTS_LIMIT = 1_000


def first_schema(connection: sqlite3.Connection) -> None:
    """The table, filled with what the releases that are here say."""
    for statement in (
        "CREATE TABLE parents(child TEXT NOT NULL, parent TEXT NOT NULL, kind TEXT NOT NULL,"
        " PRIMARY KEY(child, parent)) WITHOUT ROWID",
        "CREATE INDEX parents_by_parent ON parents(parent)",
    ):
        connection.execute(statement)
    rows = []
    for row in connection.execute("SELECT id, data FROM releases"):
        rows += [(str(row[0]), parent, kind) for parent, kind in _claimed(bytes(row[1]))]
    connection.executemany("INSERT OR IGNORE INTO parents(child, parent, kind) VALUES (?,?,?)", rows)


def note(connection: sqlite3.Connection, release: Release) -> None:
    """Remember what a release that came in was made from."""
    connection.executemany(
        "INSERT OR IGNORE INTO parents(child, parent, kind) VALUES (?,?,?)",
        [(release.id, parent.release, parent.kind) for parent in release.manifest.parents],
    )


def children_of(database: Database, release: str, limit: int) -> list[str]:
    """Known releases that name this one as a parent: installed ones first, then as they came here.

    A flood of children that comes later finds the places taken.
    """
    rows = database.rows(
        "SELECT p.child FROM parents p JOIN releases r ON r.id=p.child"
        " LEFT JOIN installed i ON i.release=p.child WHERE p.parent=?"
        " ORDER BY i.release IS NULL, r.rowid LIMIT ?",
        (release, limit),
    )
    return [str(row["child"]) for row in rows]


def leads_to_offered(database: Database, release: str) -> bool:
    """Whether an installed and seeded release is a descendant of this one, as far as is quickly seen."""
    row = database.row(
        "WITH RECURSIVE down(id) AS (SELECT ? UNION"
        " SELECT p.child FROM parents p JOIN down ON p.parent=down.id LIMIT ?)"
        " SELECT 1 FROM down JOIN installed i ON i.release=down.id AND i.seed=1 LIMIT 1",
        (release, DESCENDANTS_LIMIT),
    )
    return row is not None


def _claimed(data: bytes) -> Sequence[tuple[str, str]]:
    """The parents in a stored release. It was verified when it came in, which is not done again here."""
    try:
        envelope = decode(data, limit=RELEASE_LIMIT, max_depth=1, max_items=16)
        manifest = decode(envelope["payload"], limit=MANIFEST_LIMIT, max_items=MANIFEST_ITEMS)
        return [(str(row["release"]), str(row["kind"])) for row in manifest["parents"][:PARENTS_LIMIT]]
    except (P2PVoiceError, KeyError, TypeError):
        return ()
