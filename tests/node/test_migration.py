"""A database of an older version is lifted with nothing lost, a kill in the middle leaves one version whole.

tests/golden/catalog_v1.sqlite was written by version 1's own code (tests/crash/old_catalog.py); whatever
steps are added later must lift it.
"""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.node import schema
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.schema import open_database
from p2pvoice.protocol.errors import StorageError

GOLDEN = Path(__file__).parent.parent / "golden"
"""Of this project's own making, so it is always the one in the tree."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the database that version 1 wrote."""
    return Path(shutil.copy(GOLDEN / "catalog_v1.sqlite", tmp_path / "catalog.sqlite"))


@pytest.fixture
def expected() -> Any:
    """What version 1 put into it."""
    return json.loads((GOLDEN / "catalog_v1.json").read_text())


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def check(path: Path, expected: Any) -> None:
    """Everything that version 1 held is there and answers through today's catalog."""
    database = open_database(path)
    catalog = Catalog(database, clock=lambda: expected["now"])
    rows = expected["releases"]
    for row in rows:
        assert catalog.release_bytes(row["release"]) == bytes.fromhex(row["data"])
        assert catalog.is_installed(row["release"]) == (row["seed"] is not None)
        assert catalog.is_offered(row["release"]) == (row["seed"] is True)
        if row["head"]:
            assert catalog.head_bytes(row["author"], row["slug"]) == bytes.fromhex(row["head"])
            head = catalog.head(row["author"], row["slug"])
            assert head is not None
            assert head.sequence == row["sequence"]
            assert row["release"] in [found.id for found in catalog.search(row["tags"], "", 10)]
    files = {file.digest for row in rows for file in catalog._known(row["release"]).manifest.files}
    assert catalog.known_files() == files
    assert catalog.counts() == (4, 2)
    assert [found.manifest.slug for found in catalog.search([], "講古", 10)] == ["storyteller"]
    assert [found.manifest.slug for found in catalog.search([], "天气", 10)] == ["weather"]
    database.close()


def test_what_version_1_wrote_is_lifted_with_nothing_lost(old: Path, expected: Any) -> None:
    assert version(old) == 1
    check(old, expected)
    assert version(old) == len(schema.STEPS)
    check(old, expected)


def test_a_newer_version_is_refused_and_not_touched(old: Path) -> None:
    connection = sqlite3.connect(old)
    connection.execute(f"PRAGMA user_version={len(schema.STEPS) + 1}")
    connection.close()
    before = old.read_bytes()
    with pytest.raises(StorageError, match="newer p2pvoice") as caught:
        open_database(old)
    assert caught.value.hint == "upgrade p2pvoice"
    assert old.read_bytes() == before


LIFT = """
import os, signal, sys
from pathlib import Path
from p2pvoice.node import schema
from p2pvoice.node.database import Database

count, place = int(sys.argv[2]), int(sys.argv[3])
done = 0

class Killing:
    '''The connection, but the process dies at its place-th statement.'''
    def __init__(self, connection):
        self._connection = connection
    def execute(self, *arguments):
        global done
        if done == place:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return self._connection.execute(*arguments)
    def __getattr__(self, name):
        return getattr(self._connection, name)

def wrapped(step):
    return lambda connection: step(Killing(connection))

def extra(connection):
    '''A step that rebuilds a table, as the steps do that change a column.'''
    for statement in (
        'CREATE TABLE later(release TEXT PRIMARY KEY, author TEXT, slug TEXT, why TEXT)',
        "INSERT INTO later SELECT release, author, slug, 'old' FROM installed",
        'CREATE INDEX later_by_author ON later(author)',
        'UPDATE later SET why=upper(why)',
    ):
        connection.execute(statement)

steps = [wrapped(step) for step in (*schema.STEPS, *[extra] * count)]
Database(Path(sys.argv[1]), steps).close()
print(done)
"""


def lift(path: Path, extra: int, place: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", LIFT, str(path), str(extra), str(place)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_kill_in_the_middle_leaves_either_version_whole(old: Path, expected: Any, tmp_path: Path) -> None:
    """At every statement of the steps from version 1 on, and of one more that later versions might bring."""
    whole = Path(shutil.copy(old, tmp_path / "whole.sqlite"))
    done = lift(whole, 1, -1)
    assert done.returncode == 0, done.stderr
    statements = int(done.stdout)
    assert statements >= 4
    assert version(whole) == len(schema.STEPS) + 1
    for place in range(statements):
        path = Path(shutil.copy(old, tmp_path / f"killed-{place}.sqlite"))
        assert lift(path, 1, place).returncode == -signal.SIGKILL
        # All steps are one transaction: nothing of a lifting that did not end is left.
        assert version(path) == 1
        check(path, expected)
    print(f"{statements} kills, 0 lost")


def test_a_full_disk_in_the_middle_is_said_and_undone(old: Path, expected: Any) -> None:
    def too_much(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 2}")
        connection.execute("CREATE TABLE large(x)")
        connection.execute("INSERT INTO large VALUES (zeroblob(1000000))")

    with pytest.raises(StorageError) as caught:
        Database(old, [*schema.STEPS, too_much])
    assert caught.value.code == "disk_full"
    assert version(old) == 1
    check(old, expected)


def test_the_golden_file_is_what_old_code_wrote() -> None:
    """Read without SQLite, which would write beside it: offset 60 of the header holds the version."""
    header = (GOLDEN / "catalog_v1.sqlite").read_bytes()[:100]
    assert header.startswith(b"SQLite format 3\0")
    assert int.from_bytes(header[60:64], "big") == 1
