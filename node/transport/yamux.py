"""A Yamux connection over a Noise session of ours: what libp2p asks of it, and the tasks that keep it going.

Frames are handled as they are read, without waiting (incoming.py); what they call for is gathered and leaves
with the next write (outgoing.py). table.py knows the streams, stream.py holds what belongs to one, windows.py
says how much may come, held.py counts over all connections. Follows specs/wire.md.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from libp2p.abc import IMuxedConn
from libp2p.connection_types import ConnectionType
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node import held as limits
from p2pvoice.node.transport.frames import (
    GO_AWAY,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    SYN,
    WINDOW_UPDATE,
    FrameReader,
    WireViolation,
)
from p2pvoice.node.transport.incoming import Incoming
from p2pvoice.node.transport.noise import NoiseSession
from p2pvoice.node.transport.outgoing import CROWDED, Outgoing
from p2pvoice.node.transport.roundtrip import RoundTrip
from p2pvoice.node.transport.stream import YamuxStream
from p2pvoice.node.transport.table import StreamTable
from p2pvoice.node.transport.windows import Growth

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
        self.event_started = trio.Event()
        self.event_shutting_down = trio.Event()
        self.event_closed = trio.Event()
        self.outgoing = Outgoing(session)
        self.table = StreamTable(self, session.is_initiator)
        self.growth = Growth()
        self.trip = RoundTrip()
        self.waiting = 0
        """Bytes that wait to be read; the streams count."""
        self._frames = FrameReader(Incoming(self))
        self._held: limits.Held | None = None

    # What libp2p asks for.

    @property
    def streams(self) -> dict[int, YamuxStream]:
        """Open streams by number."""
        return self.table.streams

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
        """Read until the connection ends, whoever ends it. Only cancellation is raised."""
        if self.event_started.is_set():
            return
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.outgoing.run)
                nursery.start_soon(self._keep_time)
                self.event_started.set()
                await self._read()
                nursery.cancel_scope.cancel()
        except* Exception:
            # The tasks of libp2p's host end together: a fault here must cost this connection only.
            log.exception("the connection to %s failed", self.peer_id)
        finally:
            await self._end()

    async def open_stream(self) -> YamuxStream:
        """A new stream; waits while too many of ours are open. Raises ``MuxedStreamError`` at the end."""
        stream = await self.table.open()
        # The frame leaves together with the first bytes of the stream, or by itself a moment later.
        self.outgoing.put(WINDOW_UPDATE, SYN, stream.stream_id)
        if len(self.outgoing) > CROWDED:
            try:
                async with self.outgoing.turn:
                    await self.outgoing.send()
            except BaseException:
                await stream.reset()
                raise
        return stream

    async def accept_stream(self) -> YamuxStream:
        """The next stream that the peer opened. Raises ``MuxedConnUnavailable`` at the end."""
        return await self.table.accept()

    async def close(self, error_code: int = NORMAL) -> None:
        """Say GO_AWAY, in a second at most, and end the connection; harmless to repeat."""
        if not self.event_shutting_down.is_set():
            self.event_shutting_down.set()
            self.outgoing.put(GO_AWAY, 0, 0, error_code)
            with trio.move_on_after(GOODBYE_BUDGET) as scope:
                scope.shield = True
                try:
                    async with self.outgoing.turn:
                        await self.outgoing.send(within=GOODBYE_BUDGET)
                except ConnectionClosedError as error:
                    log.debug("no goodbye to %s: %s", self.peer_id, error)
        await self._end()

    def rtt(self) -> float:
        """Seconds of a round trip, 0 while unknown."""
        return self.trip.seconds

    def get_transport_addresses(self) -> list[Multiaddr]:
        return self.session.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        return self.session.get_connection_type()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.session.get_remote_address()

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
        return self.waiting, self.table.inbound

    # The tasks.

    async def _read(self) -> None:
        noted = 0
        try:
            while messages := await self.session.receive():
                for message in messages:
                    self._frames.feed(message)
                noted = min(noted, self.waiting)
                if self._held is not None and self.waiting - noted > CHECK_AFTER:
                    noted = self.waiting
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

    async def _keep_time(self) -> None:
        while True:
            self.outgoing.put(PING, SYN, 0, self.trip.ping(trio.current_time()))
            await trio.sleep(PING_INTERVAL)
            self.table.sweep(trio.current_time())

    async def _end(self) -> None:
        if self.event_closed.is_set():
            return
        self.event_shutting_down.set()
        self.table.lose()
        await self.session.close()
        if self.event_closed.is_set():
            return
        self.event_closed.set()
        if self.on_close is not None:
            result: Any = self.on_close()
            if inspect.isawaitable(result):
                await result
