"""One file that is still being fetched: its bytes in place, and a bitmap of the chunks that are there.

A chunk is written at its final offset and synced to disk before its bit is set, so a bit never promises
bytes that a crash could take back; whatever was written without its bit is simply fetched again. The
bitmap is bound to the chunk list, because bits of another list would mean other bytes. What an earlier run
left is read again before it is believed. Not for the network, nor for whole files: see fetch.py and store.py.
Follows specs/store.md.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from p2pvoice.node.blocks import fits, offsets_of, pread, write_all
from p2pvoice.node.durable import sync_folder
from p2pvoice.protocol.chunks import Bitmap, Chunk
from p2pvoice.protocol.errors import ChunkMismatchError, DiskFullError, ManifestError, StorageError

#: Errors of the system that mean "no more room": the disk, the user's quota, the process's file limit.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def storage_error(error: OSError, path: Path) -> StorageError:
    """An error of the system as one of ours."""
    if error.errno in FULL:
        return DiskFullError(f"the disk is full: {path.name} could not be written")
    return StorageError(f"{path}: {error.strerror or error}")


class Partial:
    """A file in the making. Safe to use from several threads; writes to one file are one after another."""

    def __init__(self, part: Path, bits: Path, chunks: Sequence[Chunk]) -> None:
        self.chunks = tuple(chunks)
        self.size = sum(chunk.size for chunk in self.chunks)
        self.offsets = offsets_of(self.chunks)
        self._part, self._bits = part, bits
        self._lock = threading.Lock()
        self._closed = False
        self._stamp = hashlib.sha256(
            b"".join(chunk.size.to_bytes(8, "big") + chunk.digest for chunk in self.chunks)
        ).digest()
        self._bitmap = self._read_bits()
        self._have = sum(chunk.size for index, chunk in enumerate(self.chunks) if index in self._bitmap)
        #: The hash of the first ``_hashed`` chunks; what a chunk's bytes are, its digest says for ever.
        self._whole, self._hashed = hashlib.sha256(), 0
        try:
            if not self._bitmap:
                # Bits of something else must be gone before there is a file that they would speak of.
                bits.unlink(missing_ok=True)
                sync_folder(bits.parent)
            self._file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._file, self.size)
            self._bits_file = os.open(bits, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, part) from error

    def _read_bits(self) -> Bitmap:
        try:
            data = self._bits.read_bytes()
            if not self._part.exists() or data[:32] != self._stamp:
                raise ValueError
            return Bitmap.from_bytes(data[32:], len(self.chunks))
        except (OSError, ValueError, ManifestError):
            # No file, another chunk list, or half a bitmap: start over. Every chunk is checked anyway.
            return Bitmap(len(self.chunks))

    def bitmap(self) -> bytes:
        """The bitmap's bytes, for peers that ask what we have."""
        with self._lock:
            return self._bitmap.to_bytes()

    def has(self, index: int) -> bool:
        """Whether chunk ``index`` is here."""
        with self._lock:
            return index in self._bitmap

    def missing(self) -> list[int]:
        """Indexes of the chunks that are not here yet."""
        with self._lock:
            return self._bitmap.missing()

    def have_bytes(self) -> int:
        """Bytes of the file that are here."""
        with self._lock:
            return self._have

    def recheck(self) -> int:
        """Read what was here before this start and clear the bit of every chunk that is not right.

        What a power cut or a failing disk left behind a bit is then fetched again. Returns how many.
        """
        wrong = 0
        with self._lock:
            self._whole, self._hashed = hashlib.sha256(), 0
        for index, chunk in enumerate(self.chunks):
            with self._lock:
                if index not in self._bitmap:
                    continue
                data = self._pread(index)
                if fits(data, chunk):
                    self._hash(index, data)
                else:
                    self._clear(index)
                    wrong += 1
        return wrong

    def write_many(self, chunks: Iterable[tuple[int, bytes]], *, checked: bool = False) -> int:
        """As :meth:`write` for several chunks with one sync; returns the bytes kept.

        A chunk with other bytes than its own is passed over; ``checked`` ones were compared with their
        digests by whoever has them from the network.
        """
        kept: list[int] = []
        with self._lock:
            try:
                for index, data in chunks:
                    if index not in self._bitmap and (checked or fits(data, self.chunks[index])):
                        write_all(self._file, data, self.offsets[index])
                        self._hash(index, data)
                        kept.append(index)
                if kept:
                    os.fdatasync(self._file)
                    self._set(kept)
                    self._catch_up()
            except OSError as error:
                raise storage_error(error, self._part) from error
        return sum(self.chunks[index].size for index in kept)

    def _set(self, indexes: Sequence[int]) -> None:
        for index in indexes:
            self._bitmap.set(index)
        try:
            write_all(self._bits_file, self._stamp + self._bitmap.to_bytes(), 0)
        except OSError:
            for index in indexes:
                self._bitmap.clear(index)
            raise
        self._have += sum(self.chunks[index].size for index in indexes)

    def _clear(self, index: int) -> None:
        self._bitmap.clear(index)
        self._have -= self.chunks[index].size

    def _hash(self, index: int, data: bytes) -> None:
        """Take a chunk into the hash of the whole when it is its turn."""
        if index == self._hashed:
            self._whole.update(data)
            self._hashed += 1

    def _catch_up(self) -> None:
        """Take in what came before its turn and is on disk by now."""
        while self._hashed in self._bitmap:
            self._hash(self._hashed, self._pread(self._hashed))

    def digest(self) -> bytes:
        """The hash of the whole file, all chunks of which are here."""
        with self._lock:
            self._catch_up()
            return self._whole.digest()

    def _pread(self, index: int) -> bytes:
        return pread(self._file, self.offsets[index], self.chunks[index].size)

    def write(self, index: int, data: bytes) -> bool:
        """Check, write and sync one chunk, then set its bit; False when it was here already.

        Raises ChunkMismatchError when the bytes are not those the chunk list names, and DiskFullError
        when there is no room; in both cases what was here stays.
        """
        if not fits(data, self.chunks[index]):
            raise ChunkMismatchError(f"chunk {index} does not have the hash its manifest names")
        return self.write_many([(index, data)], checked=True) > 0

    def read(self, index: int) -> bytes | None:
        """The bytes of chunk ``index``, or None when it is not here. Damaged ones are not here any more."""
        with self._lock:
            # A fetch may end while a peer is served from it.
            if self._closed or not 0 <= index < len(self.chunks) or index not in self._bitmap:
                return None
            data = self._pread(index)
            if not fits(data, self.chunks[index]):
                self._clear(index)
                return None
            return data

    def close(self) -> None:
        """Close the files; what is on disk stays for the next time."""
        with self._lock:
            self._closed = True
            os.close(self._file)
            os.close(self._bits_file)
