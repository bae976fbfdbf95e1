"""The catalog's tables in the node's database, and what all its parts share.

Each part of the catalog is a class on top of these tables: heads.py, installed.py, releases.py, searching.py,
naming.py; catalog.py puts them together. Not for what a row means, which is each part's own. Follows
specs/catalog.md.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

from p2pvoice.node.database import Database
from p2pvoice.node.eviction import Room
from p2pvoice.node.recall import Tombstones
from p2pvoice.protocol.manifest import Release, verify_release


class Tables:
    """What every part of the catalog works with."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._room = Room()
        #: Asked before a release gets in or is installed.
        self.tombstones = Tombstones(database, clock=clock)


def first_schema(connection: sqlite3.Connection) -> None:
    """The catalog's tables, as of version 1 of the database."""
    for statement in (
        "CREATE TABLE releases(id TEXT PRIMARY KEY, author TEXT NOT NULL, slug TEXT NOT NULL,"
        " created INTEGER NOT NULL, seen INTEGER NOT NULL, data BLOB NOT NULL)",
        "CREATE INDEX releases_by_voice ON releases(author, slug, created)",
        "CREATE INDEX releases_by_seen ON releases(seen)",
        "CREATE TABLE heads(author TEXT NOT NULL, slug TEXT NOT NULL, sequence INTEGER NOT NULL,"
        " release TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY(author, slug))",
        "CREATE TABLE tags(tag TEXT NOT NULL, release TEXT NOT NULL, PRIMARY KEY(tag, release))"
        " WITHOUT ROWID",
        "CREATE INDEX tags_by_release ON tags(release)",
        "CREATE TABLE files(digest BLOB NOT NULL, release TEXT NOT NULL, PRIMARY KEY(digest, release))"
        " WITHOUT ROWID",
        "CREATE INDEX files_by_release ON files(release)",
        "CREATE TABLE installed(release TEXT PRIMARY KEY, author TEXT NOT NULL, slug TEXT NOT NULL,"
        " at INTEGER NOT NULL, seed INTEGER NOT NULL, UNIQUE(author, slug))",
        "CREATE VIRTUAL TABLE words USING"
        " fts5(release UNINDEXED, text, tokenize='unicode61 remove_diacritics 2')",
    ):
        connection.execute(statement)


def forget_releases(connection: sqlite3.Connection, identifiers: Sequence[str]) -> None:
    """Take releases out of every table of the catalog but that of installed ones."""
    # All at once: to find one release among the words, all of them are read.
    if identifiers:
        given = (json.dumps(list(identifiers)),)
        connection.execute("DELETE FROM releases WHERE id IN (SELECT value FROM json_each(?))", given)
        connection.execute("DELETE FROM parents WHERE child IN (SELECT value FROM json_each(?))", given)
        for table in ("tags", "files", "words", "bases"):
            connection.execute(
                f"DELETE FROM {table} WHERE release IN (SELECT value FROM json_each(?))", given
            )


@lru_cache(maxsize=512)
def open_release(data: bytes) -> Release:
    """A release out of its stored bytes, which were verified when they came in."""
    return verify_release(data)
