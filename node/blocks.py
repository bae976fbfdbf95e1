"""Chunks in files on this disk: cutting, hashing, reading and writing them.

Reading never raises for bytes that the disk cannot give any more: they are damaged like any others, and a
digest is what decides. Not for which file a chunk is in: see index.py; nor for where the files stand: see
layout.py. All functions block. Follows specs/chunks.md and specs/store.md.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.errors import IntegrityError


def offsets_of(chunks: Sequence[Chunk]) -> tuple[int, ...]:
    """Where each chunk starts in its file."""
    offsets, position = [], 0
    for chunk in chunks:
        offsets.append(position)
        position += chunk.size
    return tuple(offsets)


def fits(data: bytes, chunk: Chunk) -> bool:
    """Whether these are the chunk's bytes."""
    return len(data) == chunk.size and hashlib.sha256(data).digest() == chunk.digest


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
def created(path: Path) -> Iterator[int]:
    """A descriptor of a new file, closed at the end; FileExistsError when there is one of that name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> bytes:
    """The SHA-256 of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def read_at(path: Path, start: int, size: int) -> bytes | None:
    """Up to ``size`` bytes, fewer where the file ends or cannot be read; None when there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return pread(descriptor, start, size)
    finally:
        os.close(descriptor)


def pread(descriptor: int, start: int, size: int) -> bytes:
    """Up to ``size`` bytes from ``start``, fewer where the file ends, none where it cannot be read."""
    try:
        return os.pread(descriptor, size, start)
    except OSError:
        # A sector that cannot be read any more is a damaged one.
        return b""


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``: the kernel may take only a part when the disk fills up."""
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
