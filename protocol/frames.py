"""zstd frames whose size is known before they are opened.

For chunks and for the planes of a delta: one that declares anything else than the size that is expected is
refused before the decompressor sees it. Follows specs/chunks.md, "Decode".
"""

import struct
import threading

import zstandard

from p2pvoice.protocol.errors import ChunkMismatchError

WINDOW_LOG = 20
WINDOW_LIMIT = 1 << WINDOW_LOG
"""Bytes of the window a zstd frame may ask for: what the largest chunk needs."""

_local = threading.local()


def compress(data: bytes, level: int) -> bytes:
    """One frame that declares its size, without checksum or dictionary."""
    # Sharing a compressor between threads crashes the process, so each thread has its own.
    made: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    if level not in made:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, window_log=WINDOW_LOG, write_content_size=True, write_checksum=False, write_dict_id=False
        )
        made[level] = zstandard.ZstdCompressor(compression_params=parameters)
    return made[level].compress(data)


def decompress(data: bytes, size: int) -> bytes:
    """What a frame holds, which must be exactly ``size`` bytes. Raises ChunkMismatchError."""
    # The decompressor believes the size a frame declares and allocates it, ignoring every limit it is given;
    # so the frame's own parameters are read and compared first.
    try:
        frame = zstandard.get_frame_parameters(data)
        if frame.content_size != size or frame.window_size > WINDOW_LIMIT or frame.dict_id != 0:
            raise ChunkMismatchError("a compressed chunk declares another size, window or dictionary")
        return _decompressor().decompress(data, max_output_size=size, allow_extra_data=False)
    except (zstandard.ZstdError, struct.error, ValueError, MemoryError) as error:
        raise ChunkMismatchError("a compressed chunk cannot be decompressed") from error


def _decompressor() -> zstandard.ZstdDecompressor:
    found: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if found is None:
        found = _local.decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
    return found
