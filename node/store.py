"""Files by their hash: what a release consists of, on disk, each file once.

A whole file stands at ``files/<hex of its sha-256>`` and never changes. One in the making stands in
``partial/`` (see partial.py) and is renamed when the hash of all of it is right. One whose bytes were found
changed is set aside as ``partial/<hex>.damaged``: it is not served and not opened, and a repair takes from it
what is still right. An index (index.py) knows where every chunk is, so that a chunk two files share is copied
and not fetched. Which files are still wanted is the catalog's knowledge: ``collect`` is told what to keep.
All methods block; the daemon calls them from threads. Follows specs/store.md.
"""

import hashlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from p2pvoice.node.durable import sync_folder
from p2pvoice.node.index import ChunkIndex
from p2pvoice.node.partial import Partial, offsets_of, storage_error, write_all
from p2pvoice.protocol.chunks import CHUNKS_LIMIT, Chunk
from p2pvoice.protocol.errors import (
    CorruptError,
    IntegrityError,
    NotFoundError,
    QuotaError,
    UsageError,
)

log = logging.getLogger("p2pvoice.store")

#: Largest file the store takes, in bytes (a full-size v4 voice has 1.5 GB).
FILE_LIMIT = 4 << 30


#: Endings of a digest's files in ``partial/``: in the making, its bitmap, found damaged.
PART, BITS, DAMAGED = ENDINGS = (".part", ".bits", ".damaged")


@dataclass(frozen=True)
class Usage:
    """What the store occupies: whole files, and allocated bytes of whole and partial files together."""

    files: int
    bytes: int


@dataclass(frozen=True)
class Removed:
    """A file that was, or would be, deleted: ``kind`` is ``file``, ``partial`` or ``damaged``.

    ``digest`` is None for a file whose name says nothing; ``bytes`` are allocated ones.
    """

    kind: str
    digest: bytes | None
    bytes: int


class Store:
    """The files under one folder."""

    def __init__(self, folder: Path, *, quota: int = 0) -> None:
        self._files = folder / "files"
        self._partials = folder / "partial"
        self._files.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._partials.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.index = ChunkIndex(folder / "index.sqlite")
        self._quota = quota
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._open: dict[bytes, Partial] = {}
        self._held: Counter[bytes] = Counter()
        self._clean()

    def _clean(self) -> None:
        """Remove what a crash left behind: half-made additions, and beginnings of files that are whole."""
        for path in list(self._partials.iterdir()):
            digest = _digest_of_name(path)
            if path.name.startswith("add-") or (digest is not None and self.has(digest)):
                path.unlink()

    def close(self) -> None:
        """Close every open file and the index."""
        with self._lock:
            for partial in self._open.values():
                partial.close()
            self._open.clear()
        self.index.close()

    # -- whole files ---------------------------------------------------------------------------------

    def has(self, digest: bytes) -> bool:
        """Whether the whole file is here."""
        return self._path(digest).is_file()

    def place(self, digest: bytes) -> Path:
        """Where the whole file is when it is here."""
        return self._path(digest)

    def path(self, digest: bytes) -> Path:
        """Where the whole file is; NotFoundError when it is not here."""
        path = self._path(digest)
        if not path.is_file():
            raise NotFoundError(f"file {digest.hex()[:12]}… is not in the store")
        return path

    def chunks(self, digest: bytes) -> tuple[Chunk, ...] | None:
        """The chunk list of a whole file, or of one being fetched; None for an unknown file."""
        found = self.index.chunks(digest)
        if found is not None:
            return found
        with self._lock:
            partial = self._open.get(digest)
        return partial.chunks if partial is not None else None

    @contextmanager
    def holding(self, digests: Iterable[bytes] = ()) -> Iterator[Callable[[bytes], None]]:
        """Keep files from being collected for a while, though no installed release needs them yet.

        Gives a function that adds a file to those that are kept until the block ends.
        """
        held: list[bytes] = []

        def hold(digest: bytes) -> None:
            with self._lock:
                self._held[digest] += 1
            held.append(digest)

        try:
            for digest in digests:
                hold(digest)
            yield hold
        finally:
            with self._lock:
                self._held.subtract(held)
                self._held = +self._held

    def add_file(self, source: Path, chunks: Sequence[Chunk]) -> bytes:
        """Copy a finished file into the store and return its digest. It is on disk when this returns.

        The copy is hashed while it is made, so the name is true to the bytes that were stored even if
        the source changes meanwhile. Raises IntegrityError when the chunk list does not fit.
        """
        size = source.stat().st_size
        self._admit_size(size, chunks)
        temporary = self._partials / f"add-{os.getpid()}-{threading.get_ident()}-{source.name}"
        whole = hashlib.sha256()
        try:
            with source.open("rb") as reader, _created(temporary) as writer:
                for number, (chunk, start) in enumerate(zip(chunks, offsets_of(chunks), strict=True)):
                    data = reader.read(chunk.size)
                    if not _is_chunk(data, chunk):
                        raise IntegrityError(f"{source.name} changed while it was read (chunk {number})")
                    whole.update(data)
                    write_all(writer, data, start)
                if reader.read(1):
                    raise IntegrityError(f"{source.name} is longer than its chunk list")
                os.fdatasync(writer)
            digest = whole.digest()
            self._settle(temporary, digest, chunks)
        except OSError as error:
            raise storage_error(error, source) from error
        finally:
            temporary.unlink(missing_ok=True)
        return digest

    def usage(self) -> Usage:
        """How much is stored, in allocated blocks: a sparse file costs only what was written of it."""
        files = total = 0
        for folder in (self._files, self._partials):
            with os.scandir(folder) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    files += folder is self._files
        return Usage(files, total)

    def collect(self, keep: Container[bytes], *, dry_run: bool = False) -> list[Removed]:
        """Delete every file, whole or not, that ``keep`` does not hold; what it was.

        What is being fetched right now or is held stays. With ``dry_run`` nothing is deleted.
        """
        removed: list[Removed] = []
        with self._lock:
            for path in [*self._files.iterdir(), *self._partials.iterdir()]:
                digest = _digest_of_name(path)
                if digest is not None and (digest in keep or self._in_use(digest)):
                    continue
                if path.name.startswith("add-") or path.is_dir():
                    continue
                kind = "damaged" if path.suffix == DAMAGED else "partial"
                kind = "file" if path.parent == self._files else kind
                removed.append(Removed(kind, digest, path.lstat().st_blocks * 512))
                if dry_run:
                    continue
                path.unlink()
                if digest is not None and kind == "file":
                    self.index.drop(digest)
        return removed

    def remove(self, digests: Iterable[bytes]) -> int:
        """Delete files, whole, unfinished or set aside, by name; returns the bytes freed."""
        freed = 0
        for digest in digests:
            with self._lock:
                if self._in_use(digest):
                    continue
                for path in (self._path(digest), *(self._partial(digest, end) for end in ENDINGS)):
                    if path.is_file():
                        freed += path.stat().st_blocks * 512
                        path.unlink()
                self.index.drop(digest)
        return freed

    def _in_use(self, digest: bytes) -> bool:
        return digest in self._open or digest in self._held

    # -- files whose bytes changed ---------------------------------------------------------------------

    def check(self, digest: bytes, chunks: Sequence[Chunk], numbers: Iterable[int]) -> list[int]:
        """Read some chunks of a file again, from the disk and not from memory; those that are not right.

        A file that was set aside is read where it lies; of a file that is not here at all, no chunk is right.
        """
        offsets = offsets_of(chunks)
        try:
            descriptor = os.open(self._readable(digest), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return list(numbers)
        try:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            return [
                number
                for number in numbers
                if not _is_chunk(_pread(descriptor, offsets[number], chunks[number].size), chunks[number])
            ]
        finally:
            os.close(descriptor)

    def has_size(self, digest: bytes, size: int) -> bool:
        """Whether the file is in its place, with this many bytes."""
        try:
            return self._path(digest).stat().st_size == size
        except OSError:
            return False

    def set_aside(self, digest: bytes) -> None:
        """Take a file whose bytes changed out of service, until a repair has made it anew."""
        with self._lock:
            if self._path(digest).is_file():
                log.error("a stored file is damaged and was set aside", extra={"file": digest.hex()})
                self._path(digest).replace(self._partial(digest, DAMAGED))
                sync_folder(self._partials)
                sync_folder(self._files)
        self.index.drop(digest)

    def ensure_indexed(self, digest: bytes, chunks: Sequence[Chunk]) -> bool:
        """Index a whole file that a crash left without; False, and it is set aside, when it is damaged.

        Raises IntegrityError when the file is right and the chunk list is not.
        """
        if self.index.locate(digest, 0) is not None or not chunks:
            return True
        if self.check(digest, chunks, range(len(chunks))):
            if _hash_file(self._readable(digest)) == digest:
                raise IntegrityError("the chunk list does not fit the file: the manifest is broken")
            self.set_aside(digest)
            return False
        if not self.has_size(digest, sum(chunk.size for chunk in chunks)):
            self.set_aside(digest)
            return False
        self.index.put(digest, chunks)
        return True

    def forget_missing(self) -> int:
        """Drop from the index what is not on disk; returns how many files that were."""
        lost = [digest for digest in self.index.files() if not self.has(digest)]
        for digest in lost:
            self.index.drop(digest)
        return len(lost)

    def unindexed(self) -> list[bytes]:
        """Whole files that the index does not know."""
        known = self.index.files()
        found = [_digest_of_name(path) for path in self._files.iterdir()]
        return [digest for digest in found if digest is not None and digest not in known]

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
        # A repair takes the room that the damaged file gives back.
        if not self._partial(digest, DAMAGED).exists():
            self._check_quota(sum(chunk.size for chunk in chunks))
        with self._opening:
            with self._lock:
                partial = self._open.get(digest)
            if partial is None:
                partial = Partial(self._partial(digest, PART), self._partial(digest, BITS), chunks)
                wrong = partial.recheck()
                if wrong:
                    log.warning("chunks were damaged", extra={"file": digest.hex(), "chunks": wrong})
                with self._lock:
                    self._open[digest] = partial
            return partial

    def copy_known(self, digest: bytes) -> int:
        """Copy chunks that other whole files have, or this one before it was damaged, into an open partial
        file; returns the bytes that saved. A source that turns out damaged is set aside.
        """
        partial = self._opened(digest)
        missing, damaged = partial.missing(), set[bytes]()

        def known() -> Iterator[tuple[int, bytes]]:
            old = self._partial(digest, DAMAGED)
            for index in missing:
                chunk = partial.chunks[index]
                data = _read_at(old, partial.offsets[index], chunk.size)
                if data is not None and _is_chunk(data, chunk):
                    yield index, data
                    continue
                place = self.index.find(chunk)
                if place is None or place.file in damaged:
                    continue
                data = _read_at(self._path(place.file), place.start, chunk.size)
                if data is not None and _is_chunk(data, chunk):
                    yield index, data
                elif data is not None:
                    damaged.add(place.file)

        # The generator reads a chunk only when it is written: one chunk is in memory at a time.
        saved = partial.write_many(known())
        for file in damaged:
            self.set_aside(file)
        return saved

    def finish(self, digest: bytes) -> Path:
        """Turn a complete partial file into a whole one, after hashing all of it.

        Raises CorruptError when the disk changed chunks that were right: they count as missing again.
        Raises IntegrityError, and forgets the partial file, when its chunks are right and the whole is
        not: then the manifest contradicts itself and no peer can help.
        """
        partial = self._opened(digest)
        if partial.missing():
            raise IntegrityError("the file is not complete")
        path = self._partial(digest, PART)
        good = _hash_file(path) == digest
        if not good and partial.recheck():
            raise CorruptError("chunks changed on this disk after they were written", hint="fetch it again")
        with self._lock:
            self._open.pop(digest, None)
            partial.close()
        if not good:
            path.unlink(missing_ok=True)
            self._partial(digest, BITS).unlink(missing_ok=True)
            raise IntegrityError("the file's chunks are right and its hash is wrong: the manifest is broken")
        try:
            self._settle(path, digest, partial.chunks)
        except OSError as error:
            raise storage_error(error, path) from error
        finally:
            # Also when only the index found no room: the file is whole and is indexed the next time.
            if self.has(digest):
                for end in (BITS, DAMAGED):
                    self._partial(digest, end).unlink(missing_ok=True)
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

        Bytes that no longer match their hash are not given out: the file is set aside, CorruptError.
        """
        place = self.index.locate(digest, index)
        if place is None:
            with self._lock:
                partial = self._open.get(digest)
            return partial.read(index) if partial is not None else None
        data = _read_at(self._path(digest), place.start, place.chunk.size)
        if data is None:
            return None
        if not _is_chunk(data, place.chunk):
            self.set_aside(digest)
            raise CorruptError(
                f"file {digest.hex()[:12]}… no longer matches its hash", hint="p2pvoice verify"
            )
        return data

    # -- inside ------------------------------------------------------------------------------------------

    def _path(self, digest: bytes) -> Path:
        return self._files / digest.hex()

    def _partial(self, digest: bytes, ending: str) -> Path:
        return self._partials / (digest.hex() + ending)

    def _readable(self, digest: bytes) -> Path:
        path = self._path(digest)
        return path if path.is_file() else self._partial(digest, DAMAGED)

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
        sync_folder(self._files)
        self.index.put(digest, chunks)


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


@contextmanager
def _created(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _hash_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _read_at(path: Path, start: int, size: int) -> bytes | None:
    """Up to ``size`` bytes, fewer where the file ends or cannot be read; None when there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _pread(descriptor, start, size)
    finally:
        os.close(descriptor)


def _pread(descriptor: int, start: int, size: int) -> bytes:
    try:
        return os.pread(descriptor, size, start)
    except OSError:
        # A sector that cannot be read any more is a damaged one.
        return b""


def _is_chunk(data: bytes, chunk: Chunk) -> bool:
    return len(data) == chunk.size and hashlib.sha256(data).digest() == chunk.digest


def _digest_of_name(path: Path) -> bytes | None:
    stem = path.name.split(".", 1)[0]
    try:
        digest = bytes.fromhex(stem)
    except ValueError:
        return None
    return digest if len(digest) == 32 else None
