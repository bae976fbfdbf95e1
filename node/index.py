"""The store's index: where every chunk of every whole file is, and which fetches were begun.

A convenience: it can be lost and is built again from manifests and files (tidy.py), so its commits need not
survive a power cut, and a damaged index is thrown away and not mourned. Not for the bytes themselves: see
store.py. Follows specs/store.md.
"""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pvoice.node.blocks import offsets_of
from p2pvoice.node.database import Database
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.errors import CorruptError

#: Files whose chunk lists are kept in memory: those that are served just now.
FILES_REMEMBERED = 8


@dataclass(frozen=True)
class Place:
    """Where a chunk lies: the file's digest and the offset in it."""

    file: bytes
    start: int
    chunk: Chunk


class ChunkIndex:
    """``index.sqlite`` of one store."""

    def __init__(self, path: Path) -> None:
        try:
            self._database = _open(path)
        except CorruptError:
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            self._database = _open(path)
        self._lock = threading.Lock()
        self._lists: OrderedDict[bytes, tuple[Place, ...]] = OrderedDict()
        self._writes = 0

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # -- chunks ----------------------------------------------------------------------------------------

    def put(self, file: bytes, chunks: Sequence[Chunk]) -> None:
        """Note a whole file's chunks, in place of what was known of it."""
        with self._database.write(lasting=False) as connection:
            connection.execute("DELETE FROM chunks WHERE file=?", (file,))
            connection.executemany(
                "INSERT INTO chunks(file, number, start, size, digest) VALUES (?,?,?,?,?)",
                [
                    (file, number, start, chunk.size, chunk.digest)
                    for number, (chunk, start) in enumerate(zip(chunks, offsets_of(chunks), strict=True))
                ],
            )
        self._forget(file)

    def drop(self, file: bytes) -> None:
        """Forget a file."""
        with self._database.write(lasting=False) as connection:
            connection.execute("DELETE FROM chunks WHERE file=?", (file,))
        self._forget(file)

    def chunks(self, file: bytes) -> tuple[Chunk, ...] | None:
        """The chunk list of an indexed file."""
        rows = self._database.rows("SELECT size, digest FROM chunks WHERE file=? ORDER BY number", (file,))
        return tuple(Chunk(int(row["size"]), bytes(row["digest"])) for row in rows) or None

    def locate(self, file: bytes, number: int) -> Place | None:
        """Where a chunk of a file is. Who serves a file asks this for each of its chunks."""
        places = self._places(file)
        return places[number] if 0 <= number < len(places) else None

    def _places(self, file: bytes) -> tuple[Place, ...]:
        with self._lock:
            found = self._lists.get(file)
            if found is not None:
                self._lists.move_to_end(file)
                return found
            writes = self._writes
        chunks = self.chunks(file) or ()
        places = tuple(
            Place(file, start, chunk) for chunk, start in zip(chunks, offsets_of(chunks), strict=True)
        )
        with self._lock:
            # What was written meanwhile may be newer than what was read; unknown files are not remembered.
            if places and writes == self._writes:
                self._lists[file] = places
                while len(self._lists) > FILES_REMEMBERED:
                    self._lists.popitem(last=False)
        return places

    def _forget(self, file: bytes) -> None:
        with self._lock:
            self._writes += 1
            self._lists.pop(file, None)

    def find(self, chunk: Chunk) -> Place | None:
        """Some place where a chunk's bytes are."""
        row = self._database.row(
            "SELECT file, start FROM chunks WHERE digest=? AND size=? LIMIT 1", (chunk.digest, chunk.size)
        )
        return Place(bytes(row["file"]), int(row["start"]), chunk) if row is not None else None

    def files(self) -> set[bytes]:
        """Digests of all indexed files."""
        return {bytes(row["file"]) for row in self._database.rows("SELECT DISTINCT file FROM chunks")}

    # -- fetches ---------------------------------------------------------------------------------------

    def begin_fetch(self, release: str, now: int) -> None:
        """Note that a release is wanted: what comes of it is kept though it is not installed yet."""
        with self._database.write(lasting=False) as connection:
            connection.execute("INSERT OR REPLACE INTO fetches(release, since) VALUES (?,?)", (release, now))

    def end_fetch(self, release: str) -> bool:
        """Note that a fetch is done or given up; True when it was noted as begun."""
        with self._database.write(lasting=False) as connection:
            return connection.execute("DELETE FROM fetches WHERE release=?", (release,)).rowcount > 0

    def fetches(self, since: int) -> list[str]:
        """Releases whose fetch was begun, or taken up again, at ``since`` or later."""
        rows = self._database.rows("SELECT release FROM fetches WHERE since >= ? ORDER BY release", (since,))
        return [str(row["release"]) for row in rows]


def _open(path: Path) -> Database:
    database = Database(path, [_chunks_table, _fetches_table])
    try:
        # A page that rotted would be noticed only when a query meets it, long after the start.
        row = database.row("PRAGMA quick_check(1)")
        if row is None or row[0] != "ok":
            raise CorruptError(f"{path} is damaged")
    except BaseException:
        database.close()
        raise
    return database


def _chunks_table(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE chunks(file BLOB NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL,"
        " size INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY(file, number)) WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX chunks_by_digest ON chunks(digest)")


def _fetches_table(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE fetches(release TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID")
