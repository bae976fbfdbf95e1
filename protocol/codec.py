"""Chunks on the wire: raw, or compressed with zstd where that helps.

For encoding a chunk before it is sent, and for decoding one from a stranger within a memory bound that is
checked before the decoder starts. The digest is of the raw bytes and is always checked. Deltas come later as
further codecs. Follows specs/chunks.md.
"""

import hashlib
import hmac
import struct
import threading

import zstandard

from p2pvoice.protocol.chunks import CHUNK_LIMIT
from p2pvoice.protocol.errors import ChunkMismatchError, ManifestError
from p2pvoice.protocol.ids import Digest

ZSTD_LEVEL = 3
"""Weights gain nothing from higher levels."""

WINDOW_LIMIT = 1 << 20
"""Bytes of the window a zstd frame may ask for: what the largest chunk needs."""

SAVING = 0.03
"""Share of its size a chunk must save to be sent compressed; below that the receiver's time is worth more."""

_local = threading.local()


def encode_chunk(raw: bytes) -> tuple[str, bytes]:
    """The codec and the encoded bytes under which to send a chunk."""
    if not 1 <= len(raw) <= CHUNK_LIMIT:
        raise ManifestError(f"a chunk has 1 to {CHUNK_LIMIT} bytes")
    packed = _compressor().compress(raw)
    if len(packed) < len(raw) * (1 - SAVING):
        return "zstd", packed
    return "raw", raw


def decode_chunk(codec: str, data: bytes, size: int, digest: Digest) -> bytes:
    """The raw bytes of a chunk of which the manifest promises size and digest.

    Raises ChunkMismatchError for anything else than exactly those bytes. Takes memory for ``size`` bytes
    only.
    """
    if not 1 <= size <= CHUNK_LIMIT:
        raise ManifestError(f"a chunk has 1 to {CHUNK_LIMIT} bytes")
    if codec == "raw":
        raw = data
    elif codec == "zstd":
        raw = _decompress(data, size)
    else:
        raise ChunkMismatchError(f"a chunk came in the unknown codec {codec[:20]!r}")
    if len(raw) != size:
        raise ChunkMismatchError(f"a chunk of {len(raw)} bytes came where {size} were promised")
    if not hmac.compare_digest(hashlib.sha256(raw).digest(), digest):
        raise ChunkMismatchError()
    return bytes(raw)


def _decompress(data: bytes, size: int) -> bytes:
    # The decompressor believes the size a frame declares and allocates it, ignoring every limit it is given;
    # so the frame's own parameters are read and compared first.
    try:
        frame = zstandard.get_frame_parameters(data)
        if frame.content_size != size or frame.window_size > WINDOW_LIMIT or frame.dict_id != 0:
            raise ChunkMismatchError("a compressed chunk declares another size, window or dictionary")
        return _decompressor().decompress(data, max_output_size=size, allow_extra_data=False)
    except (zstandard.ZstdError, struct.error, ValueError, MemoryError) as error:
        raise ChunkMismatchError("a compressed chunk cannot be decompressed") from error


def _compressor() -> zstandard.ZstdCompressor:
    # Sharing one between threads crashes the process, so each thread has its own.
    found: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if found is None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            ZSTD_LEVEL, window_log=20, write_content_size=True, write_checksum=False, write_dict_id=False
        )
        found = _local.compressor = zstandard.ZstdCompressor(compression_params=parameters)
    return found


def _decompressor() -> zstandard.ZstdDecompressor:
    found: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if found is None:
        found = _local.decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
    return found
