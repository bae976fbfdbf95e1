"""One SQLite file, opened the way the store and the catalog need it.

A connection in WAL mode behind one lock, so that threads may share it and there is exactly one writer;
a schema version with steps that lead from each version to the next. Not for queries: those live with
the tables they read. Follows specs/catalog.md, "On disk".
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from p2pvoice.protocol.errors import CorruptError, DiskFullError, StorageError

#: Milliseconds a statement waits for another process (a backup, an inspection by hand) to let go.
BUSY_TIMEOUT_MS = 5_000

#: Bytes free on the disk below which an unclear error of SQLite means that it is full.
LEAST_ROOM = 64 * 1024

#: A step lifts the schema by one version; it runs inside the transaction that also records the version.
Step = Callable[[sqlite3.Connection], None]


class Database:
    """A SQLite file with a schema of ``len(steps)`` versions."""

    def __init__(self, path: Path, steps: Sequence[Step]) -> None:
        self._lock = threading.RLock()
        self._lasting = True
        #: Transactions that were undone: what was kept in memory of one is not true.
        self.undone = 0
        self._path = path
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            self._connection.execute("PRAGMA foreign_keys=ON")
        except sqlite3.Error as error:
            raise translate(error, path) from error
        try:
            self._migrate(steps)
        except BaseException:
            self._connection.close()
            raise

    def _migrate(self, steps: Sequence[Step]) -> None:
        with self.write() as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > len(steps):
                raise StorageError(
                    f"{self._path} was written by a newer p2pvoice: "
                    f"its schema is {version}, this one knows {len(steps)}",
                    hint="upgrade p2pvoice",
                )
            for number, step in enumerate(steps[version:], start=version + 1):
                step(connection)
                connection.execute(f"PRAGMA user_version={number}")

    @contextmanager
    def write(self, *, lasting: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction: committed when the block ends, undone when it raises.

        A commit is on disk when the block has ended. ``lasting=False`` saves that wait for what can be
        found or built again: a power cut may then undo the last commits, and damages nothing.
        """
        with self._lock:
            try:
                if lasting != self._lasting:
                    self._connection.execute(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
                    self._lasting = lasting
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    self.undone += 1
                    # SQLite has undone the transaction by itself after some errors, a full disk among them.
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise translate(error, self._path) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other threads out for several statements: what was read still holds when it is used."""
        with self._lock:
            yield

    def rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            try:
                return self._connection.execute(query, tuple(values)).fetchall()
            except sqlite3.Error as error:
                raise translate(error, self._path) from error

    def row(self, query: str, values: Sequence[object] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found = self.rows(query, values)
        return found[0] if found else None

    @property
    def changes(self) -> int:
        """Rows changed since the file was opened: what was computed at the same number is still true."""
        return self._connection.total_changes

    def close(self) -> None:
        """Close the file; the write-ahead log is folded back by SQLite."""
        with self._lock:
            self._connection.close()


def translate(error: sqlite3.Error, path: Path) -> StorageError:
    """An error of SQLite as one of ours."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # What a full disk does to the files beside the database is "cannot open" or "I/O error" to SQLite.
    unclear = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
    if code == sqlite3.SQLITE_FULL or (unclear and _no_room(path)):
        return DiskFullError(f"the disk is full: {path} could not be written")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CorruptError(f"{path} is damaged: {error}", hint="move it away; the daemon builds a new one")
    return StorageError(f"{path}: {error}")


def _no_room(path: Path) -> bool:
    try:
        room = os.statvfs(path.parent)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < LEAST_ROOM
