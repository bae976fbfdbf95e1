"""What a connection does with the frames that come: whose they are, what they change, what is answered.

Never waits; frames.py cuts the bytes. Follows specs/wire.md, "What is refused".
"""

from typing import TYPE_CHECKING

import trio
from libp2p.io.exceptions import ConnectionClosedError

from p2pvoice.node.transport.frames import ACK, FIN, GO_AWAY, PING, RST, SYN, WINDOW_UPDATE
from p2pvoice.node.transport.stream import YamuxStream

if TYPE_CHECKING:
    from p2pvoice.node.transport.yamux import YamuxConnection


class Incoming:
    """The sink of one connection's frames (frames.py)."""

    def __init__(self, connection: "YamuxConnection") -> None:
        self._connection = connection
        self._table = connection.table
        self._outgoing = connection.outgoing
        self._current: YamuxStream | None = None
        self._current_flags = 0

    def on_data(self, flags: int, stream: int, length: int) -> None:
        if flags & SYN:
            self._table.arrive(stream)
        # Of a stream that is no longer here the bytes are dropped: its peer could not know yet.
        self._current, self._current_flags = self._table.streams.get(stream), flags
        if self._current is not None:
            self._current.window.announced(length)

    def on_body(self, piece: memoryview, last: bool) -> None:
        stream = self._current
        if stream is None:
            return
        if stream.ended and not stream.was_reset:
            if not stream.send_closed:
                self._outgoing.answer(WINDOW_UPDATE, RST, stream.stream_id)
                stream.on_more_after_fin()
        else:
            stream.on_piece(piece)
        if last:
            self._current = None
            self._end(stream, self._current_flags)
            stream.spare()

    def on_control(self, kind: int, flags: int, stream: int, value: int) -> None:
        if kind == PING:
            if flags & SYN:
                self._outgoing.answer(PING, ACK, 0, value)
            else:
                self._connection.trip.pong(value, trio.current_time())
        elif kind == GO_AWAY:
            raise ConnectionClosedError(f"the peer went away with code {value}")
        else:
            if flags & SYN:
                if flags & RST:
                    return
                self._table.arrive(stream)
            known = self._table.streams.get(stream)
            if known is None:
                return
            if kind == WINDOW_UPDATE and value:
                known.on_window(value)
            self._end(known, flags)

    def _end(self, stream: YamuxStream, flags: int) -> None:
        if flags & RST:
            stream.on_reset()
        elif flags & FIN:
            stream.on_fin()
