"""Who may come in: inbound connections, from the accepted socket to the established connection.

Stands in for libp2p's own inbound handler, which gives a place to every socket before it has said anything,
and takes the place back only when the node ends: 256 connections, whoever made them and however short they
were, and nobody reaches the node any more. Here a handshake has a time limit, only so many wait at once, and
an established connection frees its place when it closes. Not for dialing (dialing.py). Follows
specs/network.md, "Inbound".
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio
from libp2p.network.connection.raw_connection import RawConnection
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.interfaces import IPAddress, parse_ip
from p2pvoice.node.peers import PeerBook
from p2pvoice.node.wire import CLOSE_BUDGET, STREAM_ERRORS

HANDSHAKE_TIMEOUT = 10.0
"""Seconds from the accepted socket to the established connection; an honest one takes some milliseconds."""

HANDSHAKES = 64
"""Handshakes under way at once; beyond, the one that waits longest is dropped for the newcomer."""

INBOUND_LIMIT = 192
"""Established inbound connections; the rest of all connections is kept for those we dial ourselves."""

log = logging.getLogger(__name__)


class Door:
    """The inbound side of one swarm. Of too many connections the one worth least, by the book, closes."""

    def __init__(self, swarm: Any, book: PeerBook, timeout: float = HANDSHAKE_TIMEOUT) -> None:
        self._swarm = swarm
        self._book = book
        self._timeout = timeout
        self._waiting: dict[trio.CancelScope, None] = {}
        self._expected: dict[IPAddress, trio.Event] = {}
        self.refused = 0
        """Sockets that got no connection, and connections that were closed for others."""

    def attach(self) -> None:
        """Take the place of libp2p's handler; before the swarm listens."""
        self._swarm._handle_inbound_connection = self.enter

    async def enter(self, stream: Any, listener: Multiaddr) -> None:
        """Handle one accepted socket until its connection ends; libp2p's listener calls it."""
        end = stream.get_remote_address() if self._expected else None
        if end and (ip := parse_ip(end[0])) is not None and ip in self._expected:
            self._expected[ip].set()
        await self.admit(RawConnection(stream, False), listener)

    @contextmanager
    def expecting(self, ip: IPAddress) -> Iterator[trio.Event]:
        """An event that is set when a socket from this address is accepted while the block runs."""
        event = self._expected[ip] = trio.Event()
        try:
            yield event
        finally:
            self._expected.pop(ip, None)

    async def admit(self, connection: RawConnection, listener: Multiaddr) -> None:
        """The same for what stands in for a socket, such as a circuit through a relay."""
        if len(self._waiting) >= HANDSHAKES:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.cancel()
        muxed: Any = None
        try:
            with trio.move_on_after(self._timeout) as scope:
                self._waiting[scope] = None
                try:
                    muxed = await self._swarm.upgrade_inbound_raw_conn(connection, listener)
                finally:
                    self._waiting.pop(scope, None)
        except Exception as error:
            # Whatever a stranger's handshake makes libp2p raise, it concerns this socket only.
            log.debug("an inbound connection failed: %s", error)
        if muxed is None:
            self.refused += 1
            await _close(connection)
            return
        await self._make_room()
        # The listener closes the socket as soon as this returns.
        await muxed.event_closed.wait()

    async def _make_room(self) -> None:
        inbound = [c for c in self._swarm.get_connections() if is_inbound(c)]
        if len(inbound) > INBOUND_LIMIT:
            self.refused += 1
            await _close(min(inbound, key=self._worth))

    def _worth(self, connection: Any) -> tuple[float, int, float]:
        """It served us well, it moved bytes, it is young; the first that differs decides."""
        entry = self._book.entry(str(connection.muxed_conn.peer_id))
        return entry.score, entry.bytes_in + entry.bytes_out, connection._created_at


def is_inbound(connection: Any) -> bool:
    """Whether the other side dialed."""
    return "INBOUND" in str(connection.direction).upper()


async def _close(connection: Any) -> None:
    with trio.move_on_after(CLOSE_BUDGET):
        try:
            await connection.close()
        except STREAM_ERRORS as error:
            log.debug("a connection was gone already: %s", error)
