"""The streams of one connection: which are open, how many each side may have, and which wait for their end.

Follows specs/wire.md, "Limits".
"""

from typing import TYPE_CHECKING

import trio
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamError

from p2pvoice.node import held as limits
from p2pvoice.node.transport.frames import ACK, RST, WINDOW_UPDATE, WireViolation
from p2pvoice.node.transport.stream import YamuxStream

if TYPE_CHECKING:
    from p2pvoice.node.transport.yamux import YamuxConnection

OUTBOUND_STREAMS = 96
"""Streams of our own that are open at once on a connection; the next waits. Fewer than peers of ours take."""

REFUSALS = 128
"""Streams refused one after the other, with none taken between them; beyond, the connection ends."""

LAST_NUMBER = 2**32 - 1
"""The largest stream id there is."""

LINGER = 120.0
"""Seconds the peer has to finish a stream that was closed here, before it is reset."""

LINGERERS = 1024
"""Streams of a connection that linger at once; beyond, the oldest is reset."""


class StreamTable:
    """Streams by their numbers. Those of the side that dialed are odd."""

    def __init__(self, connection: "YamuxConnection", dialed: bool) -> None:
        self.streams: dict[int, YamuxStream] = {}
        self.inbound = 0
        """Streams of the peer's that are open."""
        self._connection = connection
        self._next = 1 if dialed else 2
        self._places = trio.Semaphore(OUTBOUND_STREAMS)
        self._placed: set[int] = set()
        self._arrived, self._arrivals = trio.open_memory_channel[YamuxStream](limits.CONNECTION_STREAMS)
        self._refused = 0
        self._lingering: dict[int, tuple[float, YamuxStream]] = {}

    async def open(self) -> YamuxStream:
        """A stream of ours, of which the peer knows nothing yet; waits while too many are open.

        Raises ``MuxedStreamError`` at the end of the connection, or of the numbers.
        """
        await self._places.acquire()
        if self._connection.event_shutting_down.is_set() or self._next > LAST_NUMBER:
            self._places.release()
            raise MuxedStreamError("the connection is closing, or has no number left")
        number, self._next = self._next, self._next + 2
        stream = self.streams[number] = YamuxStream(number, self._connection, True)
        self._placed.add(number)
        return stream

    def arrive(self, number: int) -> None:
        """The peer opens a stream, which is refused when it has too many, or too many wait here.

        Raises :class:`WireViolation` for a number that it may not use, and when it goes on and on.
        """
        if number == 0 or number % 2 == self._next % 2:
            raise WireViolation(f"stream {number} is not the peer's to open")
        if number in self.streams:
            raise WireViolation(f"stream {number} is open already")
        stream = YamuxStream(number, self._connection, False)
        try:
            if self.inbound >= limits.CONNECTION_STREAMS:
                raise trio.WouldBlock
            self._arrived.send_nowait(stream)
        except (trio.WouldBlock, trio.ClosedResourceError):
            self._refused += 1
            if self._refused > REFUSALS:
                raise WireViolation(f"{self._refused} streams too many") from None
            self._connection.outgoing.answer(WINDOW_UPDATE, RST, number)
            return
        self._refused = 0
        self.streams[number] = stream
        self.inbound += 1
        self._connection.outgoing.answer(WINDOW_UPDATE, ACK, number)

    async def accept(self) -> YamuxStream:
        """The next stream that the peer opened. Raises ``MuxedConnUnavailable`` at the end."""
        try:
            return await self._arrivals.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError) as error:
            raise MuxedConnUnavailable("the connection ended") from error

    def settle(self, stream: YamuxStream) -> None:
        """Forget the stream if it is over, whatever of it still waits to be read."""
        if (stream.send_closed or stream.closed) and stream.stream_id in self._placed:
            self._placed.remove(stream.stream_id)
            self._places.release()
        if stream.closed and self.streams.get(stream.stream_id) is stream:
            del self.streams[stream.stream_id]
            self._lingering.pop(stream.stream_id, None)
            stream.window.close()
            if not stream.is_initiator:
                self.inbound -= 1

    def linger(self, stream: YamuxStream, now: float) -> None:
        """The stream was closed here; see to it that the peer closes it too."""
        if not stream.closed and stream.stream_id not in self._lingering:
            self._lingering[stream.stream_id] = (now + LINGER, stream)
            if len(self._lingering) > LINGERERS:
                self._abandon_oldest()

    def sweep(self, now: float) -> None:
        """Reset the streams that the peer did not finish in time."""
        while self._lingering and next(iter(self._lingering.values()))[0] <= now:
            self._abandon_oldest()

    def _abandon_oldest(self) -> None:
        number, (_, stream) = next(iter(self._lingering.items()))
        del self._lingering[number]
        stream.abandon()

    def lose(self) -> None:
        """The connection is gone: all streams end, and nobody waits for another one."""
        self._arrived.close()
        for stream in list(self.streams.values()):
            stream.on_lost()
            self.settle(stream)
        self._lingering.clear()
