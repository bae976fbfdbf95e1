"""Chunks: how a file is cut for transfer, and which pieces somebody has.

For cutting along tensors, so that equal tensors of two releases give equal chunks and travel once. It only
computes sizes; hashing and reading are done where the file is. Follows specs/chunks.md.
"""

import math
from dataclasses import dataclass

from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.ids import DIGEST_SIZE, Digest
from p2pvoice.protocol.tensors import ITEM_SIZE, SafetensorsHeader

CHUNK_LIMIT = 1024 * 1024
"""Bytes of one chunk, raw."""

MERGE_LIMIT = 64 * 1024
"""Tensors smaller than this are gathered into one chunk until together they reach it."""

CHUNKS_LIMIT = 6000
"""Chunks of one release; more do not fit into a manifest."""


@dataclass(frozen=True)
class Chunk:
    """A verified piece of a file: its raw size in bytes and the digest of its raw bytes."""

    size: int
    digest: Digest

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= CHUNK_LIMIT:
            raise ManifestError(f"a chunk has 1 to {CHUNK_LIMIT} bytes")
        if not isinstance(self.digest, bytes) or len(self.digest) != DIGEST_SIZE:
            raise ManifestError(f"the digest of a chunk has {DIGEST_SIZE} bytes")


def plan_chunks(size: int, header: SafetensorsHeader | None = None) -> list[int]:
    """The sizes of the chunks of a file of ``size`` bytes, in order; their sum is ``size``.

    With a safetensors header: the header alone, then along tensor boundaries, large tensors in whole rows,
    runs of small tensors together. Without: cuts of CHUNK_LIMIT.
    """
    if size < 1:
        raise ManifestError("an empty file has no chunks")
    if header is None:
        return _cut(size, CHUNK_LIMIT)
    if header.file_size != size:
        raise ManifestError("the safetensors header belongs to a file of another size")
    sizes = [header.header_size]
    run = 0
    for tensor in header.tensors.values():
        length = tensor.end - tensor.start
        if length < MERGE_LIMIT:
            run += length
            if run >= MERGE_LIMIT:
                sizes.append(run)
                run = 0
            continue
        if run:
            sizes.append(run)
            run = 0
        row = math.prod(tensor.shape[1:]) * ITEM_SIZE[tensor.dtype]
        # A row longer than a chunk cannot be kept whole; its tensor is cut like a plain file.
        sizes.extend(_cut(length, CHUNK_LIMIT // row * row if row <= CHUNK_LIMIT else CHUNK_LIMIT))
    if run:
        sizes.append(run)
    return sizes


def _cut(size: int, step: int) -> list[int]:
    whole, rest = divmod(size, step)
    return [step] * whole + ([rest] if rest else [])


class Bitmap:
    """Which chunks of a file are there. Bit 0 of byte 0 is chunk 0; unused bits are zero."""

    def __init__(self, count: int) -> None:
        if not 0 <= count <= CHUNKS_LIMIT:
            raise ManifestError(f"a bitmap covers 0 to {CHUNKS_LIMIT} chunks")
        self.count = count
        self._bits = bytearray((count + 7) // 8)

    @classmethod
    def from_bytes(cls, data: bytes, count: int) -> "Bitmap":
        """Read a bitmap over ``count`` chunks. ManifestError unless it has exactly the right form."""
        bitmap = cls(count)
        if len(data) != len(bitmap._bits):
            raise ManifestError(f"a bitmap over {count} chunks has {len(bitmap._bits)} bytes")
        if count % 8 and data[-1] >> (count % 8):
            raise ManifestError("a bitmap has bits behind its last chunk")
        bitmap._bits[:] = data
        return bitmap

    @classmethod
    def full(cls, count: int) -> "Bitmap":
        """A bitmap with every chunk present."""
        bitmap = cls(count)
        for index in range(count):
            bitmap.set(index)
        return bitmap

    def to_bytes(self) -> bytes:
        """The bitmap as it is stored and sent."""
        return bytes(self._bits)

    def set(self, index: int) -> None:
        """Note that a chunk is there."""
        self._check(index)
        self._bits[index >> 3] |= 1 << (index & 7)

    def clear(self, index: int) -> None:
        """Note that a chunk is not there."""
        self._check(index)
        self._bits[index >> 3] &= ~(1 << (index & 7))

    def __contains__(self, index: int) -> bool:
        return 0 <= index < self.count and bool(self._bits[index >> 3] >> (index & 7) & 1)

    def __len__(self) -> int:
        """How many chunks are there."""
        return int.from_bytes(self._bits).bit_count()

    def __bool__(self) -> bool:
        return any(self._bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bitmap) and (self.count, self._bits) == (other.count, other._bits)

    __hash__ = None  # type: ignore[assignment]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return len(self) == self.count

    def missing(self) -> list[int]:
        """The chunks that are not there, in order."""
        return [index for index in range(self.count) if index not in self]

    def _check(self, index: int) -> None:
        if not 0 <= index < self.count:
            raise IndexError(f"chunk {index} of {self.count}")
