"""Chunks on the wire: raw, or compressed with zstd where that helps.

For encoding a chunk before it is sent, and for decoding one from a stranger within a memory bound that is
checked before the decoder starts. The digest is of the raw bytes and is always checked. Deltas to another
chunk are in delta.py, which is imported when one comes. Follows specs/chunks.md.
"""

import hashlib
import hmac

from p2pvoice.protocol import frames
from p2pvoice.protocol.chunks import CHUNK_LIMIT
from p2pvoice.protocol.errors import ChunkMismatchError, ManifestError
from p2pvoice.protocol.ids import Digest

DELTA = "delta1"
"""The codec of specs/delta.md."""

ZSTD_LEVEL = 3
"""Weights gain nothing from higher levels."""

SAVING = 0.03
"""Share of its size a chunk must save to be sent compressed; below that the receiver's time is worth more."""


def encode_chunk(raw: bytes) -> tuple[str, bytes]:
    """The codec and the encoded bytes under which to send a chunk."""
    if not 1 <= len(raw) <= CHUNK_LIMIT:
        raise ManifestError(f"a chunk has 1 to {CHUNK_LIMIT} bytes")
    packed = frames.compress(raw, ZSTD_LEVEL)
    if len(packed) < len(raw) * (1 - SAVING):
        return "zstd", packed
    return "raw", raw


def decode_chunk(codec: str, data: bytes, size: int, digest: Digest, base: bytes | None = None) -> bytes:
    """The raw bytes of a chunk of which the manifest promises size and digest.

    ``base`` is the chunk that a delta was asked against, when one was. Raises ChunkMismatchError for anything
    else than exactly those bytes. Takes memory for a few times ``size`` bytes only.
    """
    if not 1 <= size <= CHUNK_LIMIT:
        raise ManifestError(f"a chunk has 1 to {CHUNK_LIMIT} bytes")
    if codec == "raw":
        raw = data
    elif codec == "zstd":
        raw = frames.decompress(data, size)
    elif codec == DELTA and base is not None and len(base) == size:
        # Imported here: a node that is sent no deltas does without numpy.
        from p2pvoice.protocol import delta

        raw = delta.decode(data, base)
    else:
        raise ChunkMismatchError(f"a chunk came in the unknown codec {codec[:20]!r}")
    if len(raw) != size:
        raise ChunkMismatchError(f"a chunk of {len(raw)} bytes came where {size} were promised")
    if not hmac.compare_digest(hashlib.sha256(raw).digest(), digest):
        raise ChunkMismatchError()
    return bytes(raw)
