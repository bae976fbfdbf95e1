"""Files by their hash: what a release consists of, on disk, each file once.

A whole file stands at ``files/<hex of its sha-256>`` and never changes. One in the making stands in
``partial/`` (see partial.py) and is renamed when the hash of all of it is right. An index in SQLite knows
where every chunk of every whole file is, so that a chunk two files share is copied and not fetched; the
index is a convenience and can be rebuilt from manifests. Which files are still wanted is the catalog's
knowledge: ``collect`` is told what to keep. All methods block; the daemon calls them from threads.
Follows specs/store.md.
"""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pvoice.node.database import Database
from p2pvoice.node.partial import Partial, offsets_of, storage_error
from p2pvoice.protocol.chunks import CHUNKS_LIMIT, Chunk
from p2pvoice.protocol.errors import (
    CorruptError,
    IntegrityError,
    NotFoundError,
    QuotaError,
    UsageError,
)

#: Bytes hashed or copied at a time.
PIECE = 1 << 20

#: Largest file the store takes, in bytes (a full-size v4 voice has 1.5 GB).
FILE_LIMIT = 4 << 30


@dataclass(frozen=True)
class Usage:
    """What the store occupies: whole files, and allocated bytes of whole and partial files together."""

    files: int
    bytes: int


class Store:
    """The files under one folder."""

    def __init__(self, folder: Path, *, quota: int = 0) -> None:
        self._files = folder / "files"
        self._partials = folder / "partial"
        self._files.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._partials.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left_over in self._partials.glob("add-*"):
            left_over.unlink()
        self._index = Database(folder / "index.sqlite", [_first_schema])
        self._quota = quota
        self._lock = threading.Lock()
        self._open: dict[bytes, Partial] = {}

    def close(self) -> None:
        """Close every open file and the index."""
        with self._lock:
            for partial in self._open.values():
                partial.close()
            self._open.clear()
        self._index.close()

    # -- whole files ---------------------------------------------------------------------------------

    def has(self, digest: bytes) -> bool:
        """Whether the whole file is here."""
        return self._path(digest).is_file()

    def path(self, digest: bytes) -> Path:
        """Where the whole file is; NotFoundError when it is not here."""
        path = self._path(digest)
        if not path.is_file():
            raise NotFoundError(f"file {digest.hex()[:12]}… is not in the store")
        return path

    def chunks(self, digest: bytes) -> tuple[Chunk, ...] | None:
        """The chunk list of a whole file, or of one being fetched; None for an unknown file."""
        rows = self._index.rows("SELECT size, digest FROM chunks WHERE file=? ORDER BY number", (digest,))
        if rows:
            return tuple(Chunk(int(row["size"]), bytes(row["digest"])) for row in rows)
        with self._lock:
            partial = self._open.get(digest)
        return partial.chunks if partial is not None else None

    def add_file(self, source: Path, chunks: Sequence[Chunk]) -> bytes:
        """Copy a finished file into the store and return its digest.

        The copy is hashed while it is made, so the name is true to the bytes that were stored even if
        the source changes meanwhile. Raises IntegrityError when the chunk list does not fit.
        """
        size = source.stat().st_size
        self._admit_size(size, chunks)
        temporary = self._partials / f"add-{os.getpid()}-{threading.get_ident()}-{source.name}"
        whole = hashlib.sha256()
        try:
            with source.open("rb") as reader, temporary.open("wb") as writer:
                for number, chunk in enumerate(chunks):
                    data = reader.read(chunk.size)
                    if len(data) != chunk.size or hashlib.sha256(data).digest() != chunk.digest:
                        raise IntegrityError(f"{source.name} changed while it was read (chunk {number})")
                    whole.update(data)
                    writer.write(data)
                if reader.read(1):
                    raise IntegrityError(f"{source.name} is longer than its chunk list")
                writer.flush()
                os.fdatasync(writer.fileno())
            digest = whole.digest()
            self._settle(temporary, digest, chunks)
        except OSError as error:
            raise storage_error(error, source) from error
        finally:
            temporary.unlink(missing_ok=True)
        return digest

    def verify(self, digest: bytes) -> None:
        """Read the whole file again; CorruptError when it no longer has its hash."""
        if _hash_file(self.path(digest)) != digest:
            raise CorruptError(f"file {digest.hex()[:12]}… no longer matches its hash", hint="fetch it again")

    def usage(self) -> Usage:
        """How much is stored, in allocated blocks: a sparse file costs only what was written of it."""
        files = total = 0
        for folder in (self._files, self._partials):
            with os.scandir(folder) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    files += folder is self._files
        return Usage(files, total)

    def collect(self, keep: Container[bytes]) -> int:
        """Delete every whole and partial file that ``keep`` does not hold; returns the bytes freed.

        A file that is being fetched right now stays.
        """
        freed = 0
        with self._lock:
            for folder in (self._files, self._partials):
                for path in list(folder.iterdir()):
                    digest = _digest_of_name(path)
                    if digest is not None and (digest in keep or digest in self._open):
                        continue
                    if digest is None and path.name.startswith("add-"):
                        continue
                    freed += path.stat().st_blocks * 512
                    path.unlink()
                    if digest is not None and folder is self._files:
                        with self._index.write() as connection:
                            connection.execute("DELETE FROM chunks WHERE file=?", (digest,))
        return freed

    def remove(self, digests: Iterable[bytes]) -> int:
        """Delete whole files, and their unfinished beginnings, by name; returns the bytes freed."""
        freed = 0
        for digest in digests:
            with self._lock:
                if digest in self._open:
                    continue
            for path in (
                self._path(digest),
                self._partials / f"{digest.hex()}.part",
                self._bits(digest),
            ):
                if path.is_file():
                    freed += path.stat().st_blocks * 512
                    path.unlink()
            with self._index.write() as connection:
                connection.execute("DELETE FROM chunks WHERE file=?", (digest,))
        return freed

    # -- files in the making ---------------------------------------------------------------------------

    def open_partial(self, digest: bytes, chunks: Sequence[Chunk]) -> Partial:
        """The partial file for a digest, resumed when some of it is here already."""
        self._admit_size(sum(chunk.size for chunk in chunks), chunks)
        with self._lock:
            found = self._open.get(digest)
            if found is not None:
                if found.chunks != tuple(chunks):
                    raise IntegrityError("two chunk lists for one file")
                return found
        self._check_quota(sum(chunk.size for chunk in chunks))
        with self._lock:
            partial = self._open.get(digest)
            if partial is None:
                partial = Partial(self._partials / f"{digest.hex()}.part", self._bits(digest), chunks)
                self._open[digest] = partial
            return partial

    def copy_known(self, digest: bytes) -> int:
        """Copy chunks of other whole files into an open partial file; returns the bytes that saved.

        A chunk whose source turned out damaged is left to be fetched.
        """
        partial = self._opened(digest)
        saved = 0
        for index in partial.missing():
            chunk = partial.chunks[index]
            row = self._index.row(
                "SELECT file, start FROM chunks WHERE digest=? AND size=? LIMIT 1", (chunk.digest, chunk.size)
            )
            if row is None:
                continue
            data = _read_at(self._path(bytes(row["file"])), int(row["start"]), chunk.size)
            if data is None or hashlib.sha256(data).digest() != chunk.digest:
                continue
            if partial.write(index, data):
                saved += chunk.size
        return saved

    def finish(self, digest: bytes) -> Path:
        """Turn a complete partial file into a whole one, after hashing all of it.

        Raises IntegrityError, and forgets the partial file, when its chunks were right and the whole is
        not: then the manifest contradicts itself and no peer can help.
        """
        partial = self._opened(digest)
        if partial.missing():
            raise IntegrityError("the file is not complete")
        path = self._partials / f"{digest.hex()}.part"
        good = _hash_file(path) == digest
        with self._lock:
            self._open.pop(digest, None)
            partial.close()
        if not good:
            path.unlink(missing_ok=True)
            self._bits(digest).unlink(missing_ok=True)
            raise IntegrityError("the file's chunks are right and its hash is wrong: the manifest is broken")
        self._settle(path, digest, partial.chunks)
        self._bits(digest).unlink(missing_ok=True)
        return self._path(digest)

    def close_partial(self, digest: bytes) -> None:
        """Stop fetching a file for now; what is here stays for the next time."""
        with self._lock:
            partial = self._open.pop(digest, None)
        if partial is not None:
            partial.close()

    # -- serving -----------------------------------------------------------------------------------------

    def bitmap(self, digest: bytes) -> bytes | None:
        """The bitmap of a file being fetched; None when the file is whole or unknown."""
        with self._lock:
            partial = self._open.get(digest)
        return partial.bitmap() if partial is not None else None

    def read_chunk(self, digest: bytes, index: int) -> bytes | None:
        """One chunk of a whole file or of one being fetched; None when it is not here.

        Bytes that no longer match their hash are not given out: CorruptError.
        """
        row = self._index.row(
            "SELECT start, size, digest FROM chunks WHERE file=? AND number=?", (digest, index)
        )
        if row is None:
            with self._lock:
                partial = self._open.get(digest)
            return partial.read(index) if partial is not None else None
        data = _read_at(self._path(digest), int(row["start"]), int(row["size"]))
        if data is None:
            return None
        if hashlib.sha256(data).digest() != bytes(row["digest"]):
            raise CorruptError(f"file {digest.hex()[:12]}… no longer matches its hash")
        return data

    # -- inside ------------------------------------------------------------------------------------------

    def _path(self, digest: bytes) -> Path:
        return self._files / digest.hex()

    def _bits(self, digest: bytes) -> Path:
        return self._partials / f"{digest.hex()}.bits"

    def _opened(self, digest: bytes) -> Partial:
        with self._lock:
            partial = self._open.get(digest)
        if partial is None:
            raise NotFoundError(f"file {digest.hex()[:12]}… is not being fetched")
        return partial

    def _admit_size(self, size: int, chunks: Sequence[Chunk]) -> None:
        if size > FILE_LIMIT:
            raise UsageError(f"a file of {size} bytes is larger than the store takes ({FILE_LIMIT})")
        if len(chunks) > CHUNKS_LIMIT:
            raise UsageError(f"a file of {len(chunks)} chunks is more than the store takes ({CHUNKS_LIMIT})")

    def _check_quota(self, size: int) -> None:
        if self._quota and self.usage().bytes + size > self._quota:
            raise QuotaError(
                f"the store's quota of {self._quota} bytes does not leave room for {size} more",
                hint="p2pvoice rm VOICE, or raise quota_bytes in config.toml",
            )

    def _settle(self, source: Path, digest: bytes, chunks: Sequence[Chunk]) -> None:
        """Give a complete file its final name and index its chunks."""
        source.chmod(0o400)
        source.rename(self._path(digest))
        folder = os.open(self._files, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        with self._index.write() as connection:
            connection.execute("DELETE FROM chunks WHERE file=?", (digest,))
            connection.executemany(
                "INSERT INTO chunks(file, number, start, size, digest) VALUES (?,?,?,?,?)",
                [
                    (digest, number, start, chunk.size, chunk.digest)
                    for number, (chunk, start) in enumerate(zip(chunks, offsets_of(chunks), strict=True))
                ],
            )


def plan_file(path: Path, sizes: Iterable[int]) -> tuple[bytes, tuple[Chunk, ...]]:
    """Hash a file once, whole and by chunks of the given sizes: its digest and its chunk list."""
    whole, chunks = hashlib.sha256(), []
    with path.open("rb") as file:
        for size in sizes:
            data = file.read(size)
            if len(data) != size:
                raise IntegrityError(f"{path.name} is shorter than its chunk plan")
            whole.update(data)
            chunks.append(Chunk(size, hashlib.sha256(data).digest()))
        if file.read(1):
            raise IntegrityError(f"{path.name} is longer than its chunk plan")
    return whole.digest(), tuple(chunks)


def _first_schema(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE chunks(file BLOB NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL,"
        " size INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY(file, number)) WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX chunks_by_digest ON chunks(digest)")


def _hash_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _read_at(path: Path, start: int, size: int) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.pread(descriptor, size, start)
    finally:
        os.close(descriptor)
    return data if len(data) == size else None


def _digest_of_name(path: Path) -> bytes | None:
    stem = path.name.split(".", 1)[0]
    try:
        digest = bytes.fromhex(stem)
    except ValueError:
        return None
    return digest if len(digest) == 32 else None
