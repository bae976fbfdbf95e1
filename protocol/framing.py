"""Frames: a four-byte big-endian length, then that many bytes.

For cutting a byte stream into messages without reading or waiting itself: bytes in, frames out. Not for
chunk data, which follows its ChunkFrame bare. Follows specs/framing.md.
"""

import struct

from p2pvoice.protocol.errors import ManifestError

MESSAGE_LIMIT = 1024 * 1024 + 64 * 1024
"""Bytes of the largest message any protocol of ours sends: a full query page with its frame around it."""

PREFIX_SIZE = 4
"""Bytes of the length in front of a frame."""

_PREFIX = struct.Struct(">I")


def encode_frame(payload: bytes, limit: int = MESSAGE_LIMIT) -> bytes:
    """The payload with its length in front."""
    if not 1 <= len(payload) <= limit:
        raise ManifestError(f"a frame has 1 to {limit} bytes, not {len(payload)}")
    return _PREFIX.pack(len(payload)) + payload


def frame_length(prefix: bytes, limit: int = MESSAGE_LIMIT) -> int:
    """How many bytes follow a prefix, checked against the limit before anybody allocates them."""
    if len(prefix) != PREFIX_SIZE:
        raise ManifestError(f"the prefix of a frame has {PREFIX_SIZE} bytes")
    length: int = _PREFIX.unpack(prefix)[0]
    if not 1 <= length <= limit:
        raise ManifestError(f"a frame of {length} bytes is announced; 1 to {limit} are allowed")
    return length


class FrameReader:
    """Collects bytes as they come and gives whole frames. Holds at most one frame and what was fed last."""

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; returns the frames they complete. ManifestError as soon as a length is out of bounds."""
        self._buffer += data
        frames: list[bytes] = []
        position = 0
        while len(self._buffer) - position >= PREFIX_SIZE:
            start = position + PREFIX_SIZE
            end = start + frame_length(bytes(self._buffer[position:start]), self._limit)
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[start:end]))
            position = end
        del self._buffer[:position]
        return frames

    @property
    def pending(self) -> int:
        """Bytes of the unfinished frame that have come so far; 0 at a clean end."""
        return len(self._buffer)

    def finish(self) -> None:
        """Tell that no more bytes come. ManifestError when that cuts a frame."""
        if self._buffer:
            raise ManifestError("the stream ended in the middle of a frame")
