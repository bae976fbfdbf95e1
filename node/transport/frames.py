"""Yamux frames: the header, its limits, and a reader that takes bytes as they come. No sockets, no streams.

Follows specs/wire.md, "Yamux".
"""

import struct
from typing import Protocol

from libp2p.stream_muxer.exceptions import MuxedConnError

HEADER = struct.Struct("!BBHII")
"""Version, type, flags, stream id, length."""

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8

NORMAL, PROTOCOL_ERROR = 0, 1
"""Codes of GO_AWAY."""

FIRST_WINDOW = 256 * 1024
"""Bytes that either side of a stream may send before it was given more; fixed by the format."""

FRAME_LIMIT = FIRST_WINDOW
"""Bytes of one frame of data that is received. The known implementations send 64 KiB at most."""

BODY = 65_519 - HEADER.size
"""Bytes of one frame of data that is sent: with its header it is just one Noise message."""


class WireViolation(MuxedConnError):
    """The peer sent what no honest Yamux sends; its connection ends."""


class FrameSink(Protocol):
    """What takes the frames. Any call may raise :class:`WireViolation`."""

    def on_data(self, flags: int, stream: int, length: int) -> None:
        """The header of a frame with ``length`` bytes, which come next."""

    def on_body(self, piece: memoryview, last: bool) -> None:
        """Some bytes of the frame begun last. ``piece`` is good until the call returns, unless copied."""

    def on_control(self, kind: int, flags: int, stream: int, value: int) -> None:
        """A frame without bytes: any but DATA, or DATA of length 0."""


class FrameReader:
    """Cuts bytes, however they were split on the way, into frames for a sink."""

    def __init__(self, sink: FrameSink) -> None:
        self._sink = sink
        self._head = bytearray()
        self._left = 0

    def feed(self, message: bytes) -> None:
        """Take the next bytes. Raises :class:`WireViolation` for a frame of no kind, or of too many bytes."""
        view, at, end = memoryview(message), 0, len(message)
        while at < end:
            if self._left:
                take = min(self._left, end - at)
                self._left -= take
                self._sink.on_body(view[at : at + take], self._left == 0)
                at += take
                continue
            if self._head or end - at < HEADER.size:
                take = min(HEADER.size - len(self._head), end - at)
                self._head += view[at : at + take]
                at += take
                if len(self._head) < HEADER.size:
                    return
                fields = HEADER.unpack(self._head)
                self._head.clear()
            else:
                fields = HEADER.unpack_from(view, at)
                at += HEADER.size
            self._begin(*fields)

    def _begin(self, version: int, kind: int, flags: int, stream: int, length: int) -> None:
        if version or kind > GO_AWAY:
            raise WireViolation(f"a frame of version {version} and type {kind}")
        if kind != DATA or not length:
            self._sink.on_control(kind, flags, stream, length)
            return
        if length > FRAME_LIMIT:
            raise WireViolation(f"a frame of {length} bytes, the limit is {FRAME_LIMIT}")
        self._sink.on_data(flags, stream, length)
        self._left = length
