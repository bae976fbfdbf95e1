"""The node's database, ``catalog.sqlite``: which part owns which tables, and the versions they came with.

A file of an older version is lifted step by step when it is opened. A step that was released never changes;
what a later version needs is a step of its own at the end. Not for queries, which live with the tables they
read. Follows specs/catalog.md.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from p2pvoice.node import (
    base_tables,
    catalog_tables,
    collection_tables,
    evaluations,
    following,
    lineage_tables,
    mirror_tables,
    recall_tables,
    room_tables,
    successors,
)
from p2pvoice.node.community import reading
from p2pvoice.node.database import Database, Step
from p2pvoice.node.shelves import tables as shelf_tables

STEPS: Final[Sequence[Step]] = (
    catalog_tables.first_schema,
    recall_tables.first_schema,
    successors.first_schema,
    following.first_schema,
    reading.first_schema,
    lineage_tables.first_schema,
    collection_tables.first_schema,
    evaluations.first_schema,
    base_tables.first_schema,
    room_tables.first_schema,
    shelf_tables.first_schema,
    mirror_tables.first_schema,
)
"""From version to version: the first step makes version 1."""


def open_database(path: Path) -> Database:
    """Open the file, made or lifted to the newest version.

    Raises StorageError for one that a newer version wrote, CorruptError for a damaged one.
    """
    return Database(path, STEPS)
