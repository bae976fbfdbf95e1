"""A Yamux connection over one of our Noise sessions: who of the streams is whose, and what is answered.

Frames are handled as they are read, without waiting; what they call for is gathered and leaves with the next
write. frames.py cuts the bytes, stream.py holds what belongs to one stream, held.py counts over all
connections. Follows specs/wire.md.
"""

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio
from libp2p.abc import IMuxedConn
from libp2p.connection_types import ConnectionType
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamError
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node import held as limits
from p2pvoice.node.transport.frames import (
    ACK,
    FIN,
    FIRST_WINDOW,
    GO_AWAY,
    HEADER,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    WINDOW_UPDATE,
    FrameReader,
    WireViolation,
)
from p2pvoice.node.transport.noise import MESSAGE, NoiseSession
from p2pvoice.node.transport.stream import YamuxStream

OUTBOUND_STREAMS = 96
"""Streams of our own that are open at once on a connection; the next waits. Fewer than peers of ours take."""

ANSWERS_LIMIT = 64 * 1024
"""Bytes of answers that a peer may call for and not read; beyond, its connection ends."""

QUEUE_SOFT_LIMIT = 4096
"""Bytes of control frames beyond which opening another stream waits until they are written."""

GROWN_LIMIT = 4 * 1024 * 1024
"""Bytes by which all windows of a connection together may grow beyond what they begin with."""

LINGER = 120.0
"""Seconds the peer has to finish a stream that was closed here, before it is reset."""

LINGERERS = 1024
"""Streams of a connection that linger at once; beyond, the oldest is reset."""

PING_INTERVAL = 30.0
"""Seconds between pings, and between looks at the streams that linger."""

GOODBYE_BUDGET = 1.0
"""Seconds for the last frame of a connection."""

CHECK_AFTER = 64 * 1024
"""Bytes by which what waits may grow until it is counted with all connections again."""

log = logging.getLogger(__name__)


class YamuxConnection(IMuxedConn):
    """libp2p runs :meth:`start` in a task of the host and sets ``on_close``."""

    def __init__(self, session: NoiseSession, peer_id: ID) -> None:
        self.session = session
        self.secured_conn = session
        self.peer_id = peer_id
        self.on_close: Callable[[], Awaitable[None] | None] | None = None
        self.streams: dict[int, YamuxStream] = {}
        self.event_started = trio.Event()
        self.event_shutting_down = trio.Event()
        self.event_closed = trio.Event()
        self._next_id = 1 if session.is_initiator else 2
        self._inbound = 0
        self._outbound = trio.Semaphore(OUTBOUND_STREAMS)
        self._holding_slot: set[int] = set()
        self._arrived, self._arrivals = trio.open_memory_channel[YamuxStream](limits.CONNECTION_STREAMS)
        self._frames = FrameReader(self)
        self._current: YamuxStream | None = None
        self._current_flags = 0
        self._queue = bytearray()
        self._queued = trio.Event()
        self._waiting = 0
        self._grown = 0
        self._lingering: deque[tuple[float, YamuxStream]] = deque()
        self._ping: tuple[int, float] = (0, 0.0)
        self._rtt = 0.0
        self._held: limits.Held | None = None

    # What libp2p asks for.

    @property
    def is_initiator(self) -> bool:
        """Whether we dialed; then our streams have odd numbers."""
        return self.session.is_initiator

    @property
    def is_established(self) -> bool:
        """Whether streams can be opened."""
        return self.event_started.is_set() and not self.event_shutting_down.is_set()

    @property
    def is_closed(self) -> bool:
        """Whether the socket is closed."""
        return self.event_closed.is_set()

    async def start(self) -> None:
        """Read until the connection ends, whoever ends it."""
        if self.event_started.is_set():
            return
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_queue)
                nursery.start_soon(self._keep_time)
                self.event_started.set()
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            await self._end()

    async def open_stream(self) -> YamuxStream:
        """A new stream; waits while too many of ours are open. Raises ``MuxedStreamError`` at the end."""
        await self._outbound.acquire()
        if self.event_shutting_down.is_set():
            self._outbound.release()
            raise MuxedStreamError("the connection is closing")
        number, self._next_id = self._next_id, self._next_id + 2
        stream = self.streams[number] = YamuxStream(number, self, True)
        self._holding_slot.add(number)
        # The frame leaves together with the first bytes of the stream, or by the writer a moment later.
        self.queue(WINDOW_UPDATE, SYN, number)
        if len(self._queue) > QUEUE_SOFT_LIMIT:
            try:
                async with self.session.turn:
                    await self.send_in_turn([])
            except BaseException:
                await stream.reset()
                raise
        return stream

    async def accept_stream(self) -> YamuxStream:
        """The next stream that the peer opened. Raises ``MuxedConnUnavailable`` at the end."""
        try:
            return await self._arrivals.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError) as error:
            raise MuxedConnUnavailable("the connection ended") from error

    async def close(self, error_code: int = NORMAL) -> None:
        """Say GO_AWAY, in a second at most, and end the connection; harmless to repeat."""
        if not self.event_shutting_down.is_set():
            self.event_shutting_down.set()
            self.queue(GO_AWAY, 0, 0, error_code)
            with trio.move_on_after(GOODBYE_BUDGET) as scope:
                scope.shield = True
                try:
                    async with self.session.turn:
                        await self.send_in_turn([], within=GOODBYE_BUDGET)
                except ConnectionClosedError as error:
                    log.debug("no goodbye to %s: %s", self.peer_id, error)
        await self._end()

    def get_transport_addresses(self) -> list[Multiaddr]:
        return self.session.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        return self.session.get_connection_type()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.session.get_remote_address()

    # What the streams ask for.

    def rtt(self) -> float:
        """Seconds of a round trip, 0 while unknown."""
        return self._rtt

    def queue(self, kind: int, flags: int, stream: int, value: int = 0) -> None:
        """Send a frame without bytes before anything else is sent."""
        self._queue += HEADER.pack(0, kind, flags, stream, value)
        self._queued.set()

    async def send_in_turn(self, messages: Sequence[bytes], *, within: float | None = None) -> None:
        """Write what is queued, then ``messages``, whole frames each. The caller holds ``session.turn``."""
        queued, self._queue = bytes(self._queue), bytearray()
        first = [queued[at : at + MESSAGE] for at in range(0, len(queued), MESSAGE)]
        if not first and not messages:
            return
        if within is None:
            await self.session.send([*first, *messages])
        else:
            await self.session.send([*first, *messages], within=within)

    def may_grow(self, size: int) -> int:
        """How much of ``size`` bytes a window may grow; noted as grown."""
        growth = max(0, min(size, GROWN_LIMIT - self._grown))
        self._grown += growth
        return growth

    def held(self, size: int) -> None:
        """So many bytes more wait to be read."""
        self._waiting += size

    def released(self, size: int) -> None:
        """So many bytes fewer wait to be read."""
        self._waiting -= size

    def settle(self, stream: YamuxStream) -> None:
        """Forget the stream if it is over, whatever of it still waits to be read."""
        if (stream.send_closed or stream.closed) and stream.stream_id in self._holding_slot:
            self._holding_slot.remove(stream.stream_id)
            self._outbound.release()
        if stream.closed and self.streams.get(stream.stream_id) is stream:
            del self.streams[stream.stream_id]
            self._grown -= stream.window - FIRST_WINDOW
            if not stream.is_initiator:
                self._inbound -= 1

    def linger(self, stream: YamuxStream) -> None:
        """The stream was closed here; see to it that the peer closes it too."""
        if not stream.closed:
            self._lingering.append((trio.current_time() + LINGER, stream))
            if len(self._lingering) > LINGERERS:
                self._lingering.popleft()[1].abandon()

    # What the node asks for.

    def guard(self, held: limits.Held) -> None:
        """Count this connection with the others in ``held``."""
        self._held = held

    def holds(self) -> tuple[int, int]:
        """Bytes that wait to be read, and streams that the peer opened; nothing counts once it is closed.

        libp2p resets the streams of a closed connection, and with them goes what still waits.
        """
        if self.event_closed.is_set():
            return 0, 0
        return self._waiting, self._inbound

    # Frames that came.

    def on_data(self, flags: int, stream: int, length: int) -> None:
        if flags & SYN:
            self._on_syn(stream)
        # Of a stream that is no longer here the bytes are dropped: its peer could not know yet.
        self._current, self._current_flags = self.streams.get(stream), flags
        if self._current is not None:
            self._current.on_announced(length)

    def on_body(self, piece: memoryview, last: bool) -> None:
        stream = self._current
        if stream is None:
            return
        if stream.ended and not stream.was_reset:
            if not stream.send_closed:
                self._answer(WINDOW_UPDATE, RST, stream.stream_id)
                stream.on_more_after_fin()
        else:
            stream.on_piece(piece)
        if last:
            self._current = None
            self._on_end_flags(stream, self._current_flags)

    def on_control(self, kind: int, flags: int, stream: int, value: int) -> None:
        if kind == PING:
            self._on_ping(flags, value)
        elif kind == GO_AWAY:
            raise ConnectionClosedError(f"the peer went away with code {value}")
        else:
            if flags & SYN:
                if flags & RST:
                    return
                self._on_syn(stream)
            known = self.streams.get(stream)
            if known is None:
                return
            if kind == WINDOW_UPDATE and value:
                known.on_window(value)
            self._on_end_flags(known, flags)

    def _on_syn(self, number: int) -> None:
        if number == 0 or number % 2 == self._next_id % 2:
            raise WireViolation(f"stream {number} is not the peer's to open")
        if number in self.streams:
            raise WireViolation(f"stream {number} is open already")
        if self._inbound >= limits.CONNECTION_STREAMS:
            raise WireViolation(f"more than {limits.CONNECTION_STREAMS} streams")
        stream = YamuxStream(number, self, False)
        try:
            self._arrived.send_nowait(stream)
        except (trio.WouldBlock, trio.ClosedResourceError):
            self._answer(WINDOW_UPDATE, RST, number)
            return
        self.streams[number] = stream
        self._inbound += 1
        self._answer(WINDOW_UPDATE, ACK, number)

    def _on_end_flags(self, stream: YamuxStream, flags: int) -> None:
        if flags & RST:
            stream.on_reset()
        elif flags & FIN:
            stream.on_fin()

    def _on_ping(self, flags: int, value: int) -> None:
        if flags & SYN:
            self._answer(PING, ACK, 0, value)
        elif self._ping[0] == value and self._ping[1]:
            took = trio.current_time() - self._ping[1]
            self._rtt = (self._rtt + took) / 2 if self._rtt else took
            self._ping = (value, 0.0)

    def _answer(self, kind: int, flags: int, stream: int, value: int = 0) -> None:
        if len(self._queue) >= ANSWERS_LIMIT:
            raise WireViolation("the peer calls for answers and does not read them")
        self.queue(kind, flags, stream, value)

    # The tasks.

    async def _read(self) -> None:
        noted = 0
        try:
            while messages := await self.session.receive():
                for message in messages:
                    self._frames.feed(message)
                noted = min(noted, self._waiting)
                if self._held is not None and self._waiting - noted > CHECK_AFTER:
                    noted = self._waiting
                    await self._check(self._held)
        except WireViolation as error:
            log.debug("peer %s broke the wire format: %s", self.peer_id, error)
            await self.close(PROTOCOL_ERROR)
        except ConnectionClosedError as error:
            log.debug("the connection to %s ended: %s", self.peer_id, error)

    async def _check(self, held: limits.Held) -> None:
        for session, reason in held.note(self.session, self):
            if session is self.session:
                raise ConnectionClosedError(reason)
            await session.close()

    async def _write_queue(self) -> None:
        try:
            while True:
                await self._queued.wait()
                async with self.session.turn:
                    self._queued = trio.Event()
                    await self.send_in_turn([])
        except ConnectionClosedError as error:
            log.debug("the connection to %s takes no more: %s", self.peer_id, error)
            await self.session.close()

    async def _keep_time(self) -> None:
        while True:
            self._ping = ((self._ping[0] + 1) % 2**32, trio.current_time())
            self.queue(PING, SYN, 0, self._ping[0])
            await trio.sleep(PING_INTERVAL)
            while self._lingering and self._lingering[0][0] <= trio.current_time():
                self._lingering.popleft()[1].abandon()

    async def _end(self) -> None:
        if self.event_closed.is_set():
            return
        self.event_shutting_down.set()
        self._arrived.close()
        for stream in list(self.streams.values()):
            stream.on_lost()
            self.settle(stream)
        await self.session.close()
        if self.event_closed.is_set():
            return
        self.event_closed.set()
        if self.on_close is not None:
            result: Any = self.on_close()
            if inspect.isawaitable(result):
                await result
