"""Dialing: from a peer's known addresses to one open connection, and what is remembered of failures.

Every dial is bounded and walks through all of a peer's addresses, because libp2p by itself tries one and
then shuns the peer. Not for inbound connections (door.py) nor for staying connected (joining.py). Follows
specs/network.md, "Connections".
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from libp2p.abc import IHost, INetConn
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import PeerStoreError
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.addresses import is_circuit, is_loopback, is_tcp, without_peer
from p2pvoice.node.peers import Fault, PeerBook
from p2pvoice.node.wire import STREAM_ERRORS
from p2pvoice.protocol.errors import NetworkError, PeerTimeoutError

DIAL_TIMEOUT = 10.0
"""Seconds for one address: connect, Noise, Yamux. A listener that never speaks costs this much, not 80 s."""

DIAL_ADDRESSES = 8
"""Addresses of one peer that are tried in one dial."""

DIAL_BUDGET = 25.0
"""Seconds for all addresses of one dial, so that a made-up peer with eight silent ones does not cost 80 s."""

FAILED_DIAL_PAUSE = 20.0
"""Seconds in which a peer whose addresses all failed is not dialed again, unless asked for by name."""

ADDRESS_TTL = 24 * 3600
"""Seconds an address that worked is remembered (libp2p's own connect keeps it for 120 s)."""


Call = Callable[[Multiaddr, ID], Awaitable[INetConn]]


class Dialer:
    """The outbound side of one host. ``timeout`` is the seconds one address gets."""

    def __init__(self, host: IHost, book: PeerBook, timeout: float = DIAL_TIMEOUT) -> None:
        self._host = host
        self._book = book
        self._timeout = timeout
        self._swarm = cast(Any, host.get_network())
        self._dials: dict[ID, trio.Lock] = {}
        self._failed_addresses: dict[tuple[ID, str], float] = {}
        self._failed_peers: dict[ID, float] = {}
        self.call: Call | None = None
        """Dials an address that leads through a relay; None when relays are not used."""

    def attach(self) -> None:
        """Take the place of libp2p's own dialing.

        Whatever inside libp2p wants a connection comes through here then: its DHT, its streams, ourselves.
        """
        self._swarm.dial_peer = self.dial

    def live(self, peer: ID) -> list[INetConn]:
        """Open connections to the peer."""
        return [c for c in self._swarm.get_connections(peer) if not c.is_closed]

    def learn(self, info: PeerInfo) -> None:
        """Remember where a peer is said to be."""
        if info.addrs:
            plain = [without_peer(a) for a in info.addrs[:DIAL_ADDRESSES]]
            self._host.get_peerstore().add_addrs(info.peer_id, plain, ADDRESS_TTL)
            self._book.seen(str(info.peer_id), [str(a) for a in plain])

    def note(self, peer: ID) -> None:
        """Write the addresses that are known of a peer into the book, those that may be dialed."""
        self._book.seen(str(peer), [str(a) for a in self._candidates(peer)])

    def forgive(self, info: PeerInfo) -> None:
        """Forget that dialing the peer, or one of the addresses given, has failed."""
        self._failed_peers.pop(info.peer_id, None)
        for known in info.addrs:
            self._failed_addresses.pop((info.peer_id, str(known)), None)

    async def ensure(self, peer: ID) -> None:
        """Make sure there is a connection to the peer.

        Raises :class:`NetworkError` (:class:`PeerTimeoutError` when every address stayed silent).
        """
        try:
            await self.dial(peer)
        except SwarmException as error:
            if isinstance(error.__cause__, PeerTimeoutError):
                raise error.__cause__ from error
            raise NetworkError(f"peer {peer} could not be reached: {error}") from error

    async def dial(self, peer: ID) -> list[INetConn]:
        """Open connections to ``peer``, dialing its addresses one by one; stands in for ``Swarm.dial_peer``.

        Raises ``SwarmException`` as libp2p expects it.
        """
        if live := self.live(peer):
            return live
        lock = self._dials.setdefault(peer, trio.Lock())
        try:
            async with lock:
                if live := self.live(peer):
                    return live
                return [await self._dial_addresses(peer)]
        finally:
            if not lock.statistics().locked:
                self._dials.pop(peer, None)

    async def _dial_addresses(self, peer: ID) -> INetConn:
        now = trio.current_time()
        if now - self._failed_peers.get(peer, -FAILED_DIAL_PAUSE) < FAILED_DIAL_PAUSE:
            raise SwarmException(f"peer {peer} could not be reached a moment ago")
        candidates = self._candidates(peer)
        if not candidates:
            raise SwarmException(f"no address of peer {peer} is known")
        errors: list[BaseException] = []
        give_up = now + max(DIAL_BUDGET, self._timeout)
        for address in candidates:
            if trio.current_time() >= give_up:
                break
            # Noted before the attempt: a caller that loses patience cancels it, and the next call
            # should then begin with another address.
            self._failed_addresses[peer, str(address)] = trio.current_time()
            try:
                with trio.fail_after(self._timeout):
                    connection: INetConn
                    if is_circuit(address) and self.call is not None:
                        connection = await self.call(address, peer)
                    else:
                        connection = await self._swarm.dial_addr(address, peer)
            except trio.TooSlowError as error:
                errors.append(error)
            except (SwarmException, *STREAM_ERRORS) as error:
                errors.append(error)
            else:
                self._failed_addresses.pop((peer, str(address)), None)
                self._failed_peers.pop(peer, None)
                self._host.get_peerstore().add_addrs(peer, [address], ADDRESS_TTL)
                return connection
        self._trim_failures()
        self._failed_peers[peer] = trio.current_time()
        self._book.drop(str(peer), Fault.UNREACHABLE, f"{len(errors)} addresses tried")
        if all(isinstance(e, trio.TooSlowError) for e in errors):
            raise SwarmException("silent") from PeerTimeoutError(
                f"peer {peer} did not answer in {self._timeout:g} s at any of {len(errors)} addresses"
            )
        raise SwarmException(f"none of {len(errors)} addresses answered") from errors[-1]

    def _candidates(self, peer: ID) -> list[Multiaddr]:
        """The addresses to try now: those that failed last, relays, and loopback, after the others."""
        try:
            known = [without_peer(a) for a in self._host.get_peerstore().addrs(peer)]
        except PeerStoreError:
            known = []
        return sorted(
            (a for a in dict.fromkeys(known) if is_tcp(a) or (self.call is not None and is_circuit(a))),
            key=lambda a: (
                self._failed_addresses.get((peer, str(a)), 0.0),
                not is_tcp(a),
                is_loopback(a),
            ),
        )[:DIAL_ADDRESSES]

    def _trim_failures(self) -> None:
        """Forget old failures, so that a flood of made-up peers does not fill memory."""
        horizon = trio.current_time() - 600.0
        for peer, at in list(self._failed_peers.items()):
            if at < horizon or len(self._failed_peers) > 1000:
                del self._failed_peers[peer]
        for key, at in list(self._failed_addresses.items()):
            if at < horizon or len(self._failed_addresses) > 4000:
                del self._failed_addresses[key]
