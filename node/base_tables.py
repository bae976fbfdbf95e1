"""The table of bases: which of the known releases are bases and no voices, by kind and by their ids.

Filled as releases come into the catalog and emptied as they leave it. Whether a base is installed says the
catalog's own table of installed releases, as for voices. Not for folders (base_places.py). All functions
block, in a transaction of the caller's where they write. Follows specs/bases.md.
"""

import sqlite3
from collections.abc import Sequence

from p2pvoice.node.database import Database
from p2pvoice.protocol.base import asks_for_bases, base_ids
from p2pvoice.protocol.manifest import Release

#: A condition on ``releases r``: voices only.
VOICES_ONLY = "r.id NOT IN (SELECT release FROM bases)"

#: The same: bases only.
BASES_ONLY = "r.id IN (SELECT release FROM bases)"


def first_schema(connection: sqlite3.Connection) -> None:
    """The table. Of what a catalog held before it, nothing was a base: they were not read."""
    for statement in (
        "CREATE TABLE bases(release TEXT PRIMARY KEY, kind TEXT NOT NULL, content TEXT NOT NULL,"
        " bundle TEXT NOT NULL) WITHOUT ROWID",
        "CREATE INDEX bases_by_content ON bases(content)",
        "CREATE INDEX bases_by_bundle ON bases(bundle)",
    ):
        connection.execute(statement)


def note(connection: sqlite3.Connection, release: Release) -> None:
    """Remember a release that came in, if it is a base."""
    if release.manifest.is_base:
        ids = base_ids(release.manifest)
        connection.execute(
            "INSERT OR IGNORE INTO bases(release, kind, content, bundle) VALUES (?,?,?,?)",
            (release.id, release.manifest.engine.version, ids.content, ids.bundle),
        )


def searched(tags: Sequence[str]) -> str:
    """What a search with these tags is for: bases, or voices. Never both."""
    return BASES_ONLY if asks_for_bases(tags) else VOICES_ONLY


def is_base(connection: sqlite3.Connection, release: str) -> bool:
    """Whether a known release is a base, in a transaction of the caller's."""
    return connection.execute("SELECT 1 FROM bases WHERE release=?", (release,)).fetchone() is not None


def known(
    database: Database, *, kind: str = "", content: str = "", bundle: str = "", limit: int
) -> list[str]:
    """Ids of the known releases that are such a base, installed ones first, then as they came here."""
    rows = database.rows(
        "SELECT b.release FROM bases b JOIN releases r ON r.id=b.release"
        " LEFT JOIN installed i ON i.release=b.release"
        " WHERE (?='' OR b.kind=?) AND (?='' OR b.content=?) AND (?='' OR b.bundle=?)"
        " ORDER BY i.release IS NULL, r.rowid LIMIT ?",
        (kind, kind, content, content, bundle, bundle, limit),
    )
    return [str(row["release"]) for row in rows]
