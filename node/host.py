"""The libp2p host of a node: listening, dialing, streams, and staying connected to the bootstrap peers.

TCP, Noise and Yamux only; plaintext and the other stock options are never offered. Every dial is bounded
and walks through all of a peer's addresses, because libp2p by itself tries one and then shuns the peer.
Not for finding content (discovery.py) nor for moving it (exchange.py, fetch.py). Follows specs/network.md.
"""

import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import trio
from libp2p import new_host
from libp2p.abc import IHost, INetConn, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from libp2p.peer.peerstore import PeerStoreError
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr  # type: ignore[import-untyped]
from multiaddr.exceptions import Error as MultiaddrError  # type: ignore[import-untyped]

from p2pvoice.node import unbounded
from p2pvoice.node.door import Door, is_inbound
from p2pvoice.node.held import Held
from p2pvoice.node.identity import Identity
from p2pvoice.node.kad import Kad
from p2pvoice.node.peers import Fault, PeerBook
from p2pvoice.node.wire import STREAM_ERRORS, Channel, Noise, WholeWrites
from p2pvoice.protocol.errors import (
    NetworkError,
    PeerTimeoutError,
    PolicyError,
    ProtocolMismatchError,
    UsageError,
)

DIAL_TIMEOUT = 10.0
"""Seconds for one address: connect, Noise, Yamux. A listener that never speaks costs this much, not 80 s."""

STREAM_TIMEOUT = 10.0
"""Seconds to open a stream on an open connection and agree on its protocol."""

DIAL_ADDRESSES = 8
"""Addresses of one peer that are tried in one dial."""

DIAL_BUDGET = 25.0
"""Seconds for all addresses of one dial, so that a made-up peer with eight silent ones does not cost 80 s."""

FAILED_DIAL_PAUSE = 20.0
"""Seconds in which a peer whose addresses all failed is not dialed again, unless asked for by name."""

ADDRESS_TTL = 24 * 3600
"""Seconds an address that worked is remembered (libp2p's own connect keeps it for 120 s)."""

BOOTSTRAP_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds between attempts to reach a bootstrap peer; the last one repeats. Each is jittered by 20 %."""

BOOTSTRAP_CHECK = 30.0
"""Seconds between looks whether a bootstrap peer is still connected."""

BOOK_INTERVAL = 300.0
"""Seconds between saves of the peer book."""

CLOSE_TIMEOUT = 5.0
"""Seconds for closing connections and listeners at the end."""

MAX_CONNECTIONS = 256
"""Connections in all; about 80 KB each."""

EXAMPLE = "example: /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…"

log = logging.getLogger(__name__)

StreamHandler = Callable[[Channel], Awaitable[None]]


class P2PHost:
    """A running host. Made by :func:`open_host`; peers are named by their base58 ids everywhere outside."""

    def __init__(self, host: IHost, peers: PeerBook, nursery: trio.Nursery, dial_timeout: float) -> None:
        self.host = host
        self.peers = peers
        self.id = str(host.get_id())
        self.dial_timeout = dial_timeout
        self._swarm = cast(Any, host.get_network())
        self._nursery = nursery
        self._dials: dict[ID, trio.Lock] = {}
        self._failed_addresses: dict[tuple[ID, str], float] = {}
        self._failed_peers: dict[ID, float] = {}
        self._arrival = trio.Event()
        self.joined = trio.Event()
        """Set when a bootstrap peer was reached and the neighbourhood in the DHT was looked up."""
        # Whatever inside libp2p wants a connection comes through here: its DHT, its streams, ourselves.
        self._swarm.dial_peer = self._dial_peer
        self._swarm.register_notifee(_Watch(self))
        self.held = Held()
        self.kad = Kad(host, self._ensure)

    def addresses(self) -> list[str]:
        """Our listening addresses with our peer id, as others dial them."""
        return [str(a) for a in self.host.get_addrs()]

    def observed(self) -> list[str]:
        """Addresses at which connected peers see us, as they told when they introduced themselves.

        libp2p believes one that several peers tell; here what any of them says is shown, to a person.
        """
        manager = getattr(self.host, "_observed_addr_manager", None)
        return [str(a) for a in manager.addrs(1)] if manager is not None else []

    def connected(self) -> list[str]:
        """Peers with an open connection."""
        return [str(p) for p in self.host.get_connected_peers()]

    def coming(self) -> trio.Event:
        """The event that is set when the next peer connects."""
        return self._arrival

    async def arrival(self) -> None:
        """Wait until some peer is connected; returns at once when one is."""
        while not self.host.get_connected_peers():
            await self._arrival.wait()

    async def connect(self, address: str) -> str:
        """Connect to ``address``, a multiaddr that ends in ``/p2p/<peer id>``; returns the peer id.

        Asking by hand overrides a shunning and the pause after a failed dial.
        """
        try:
            info = info_from_p2p_addr(Multiaddr(address))
        except (MultiaddrError, ValueError) as error:
            raise UsageError(f"{address} is not the address of a peer", hint=EXAMPLE) from error
        self.peers.forgive(str(info.peer_id))
        self._failed_peers.pop(info.peer_id, None)
        for known in info.addrs:
            self._failed_addresses.pop((info.peer_id, str(known)), None)
        await self.reach(info)
        return str(info.peer_id)

    async def reach(self, info: PeerInfo) -> None:
        """Make sure there is a connection to the peer, trying the addresses in ``info`` and those known.

        Raises :class:`NetworkError` (:class:`PeerTimeoutError` when every address stayed silent).
        """
        if info.peer_id == self.host.get_id():
            raise UsageError("that is this node's own address")
        if info.addrs:
            plain = [_without_peer(a) for a in info.addrs[:DIAL_ADDRESSES]]
            self.host.get_peerstore().add_addrs(info.peer_id, plain, ADDRESS_TTL)
            self.peers.seen(str(info.peer_id), [str(a) for a in plain])
        await self._ensure(info.peer_id)
        await self.kad.join(info.peer_id)

    async def open_stream(self, peer: str | PeerInfo, protocol: str) -> Channel:
        """A stream to the peer that speaks ``protocol``. Refuses shunned peers with :class:`PolicyError`."""
        info = peer if isinstance(peer, PeerInfo) else PeerInfo(ID.from_string(peer), [])
        name = str(info.peer_id)
        if self.peers.is_shunned(name):
            raise PolicyError(f"peer {name} is not asked for a while", hint="p2pvoice peers tells why")
        await self.reach(info)
        try:
            with trio.fail_after(STREAM_TIMEOUT):
                stream = await self.host.new_stream(info.peer_id, [TProtocol(protocol)])
        except trio.TooSlowError as error:
            raise PeerTimeoutError(f"peer {name} did not open a stream in {STREAM_TIMEOUT:g} s") from error
        except STREAM_ERRORS as error:
            if "not supported" in str(error.__cause__):
                raise ProtocolMismatchError(f"peer {name} does not speak {protocol}") from error
            raise NetworkError(f"peer {name} refused the stream or closed the connection") from error
        return self._channel(stream)

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Give incoming streams of ``protocol`` to ``handler``; no error of it reaches libp2p."""

        async def guarded(stream: INetStream) -> None:
            channel = self._channel(stream)
            if self.peers.is_shunned(channel.peer):
                await channel.close(reset=True)
                return
            try:
                async with channel:
                    await handler(channel)
            except (NetworkError, OSError) as error:
                log.debug("stream %s of %s ended: %s", protocol, channel.peer, error)
            except Exception:
                log.exception("the handler of %s failed on a stream of %s", protocol, channel.peer)

        self.host.set_stream_handler(TProtocol(protocol), guarded)

    async def disconnect(self, peer: str) -> None:
        """Close every connection to the peer."""
        await self.host.disconnect(ID.from_string(peer))

    def _channel(self, stream: INetStream) -> Channel:
        peer = str(stream.muxed_conn.peer_id)
        return Channel(stream, lambda received, sent: self.peers.count(peer, received=received, sent=sent))

    async def _ensure(self, peer: ID) -> None:
        try:
            await self._dial_peer(peer)
        except SwarmException as error:
            if isinstance(error.__cause__, PeerTimeoutError):
                raise error.__cause__ from error
            raise NetworkError(f"peer {peer} could not be reached: {error}") from error

    async def _dial_peer(self, peer: ID) -> list[INetConn]:
        """Open connections to ``peer``, dialing its addresses one by one; stands in for ``Swarm.dial_peer``.

        Raises ``SwarmException`` as libp2p expects it.
        """
        if live := self._live(peer):
            return live
        lock = self._dials.setdefault(peer, trio.Lock())
        try:
            async with lock:
                if live := self._live(peer):
                    return live
                return [await self._dial_addresses(peer)]
        finally:
            if not lock.statistics().locked:
                self._dials.pop(peer, None)

    def _live(self, peer: ID) -> list[INetConn]:
        return [c for c in self._swarm.get_connections(peer) if not c.is_closed]

    async def _dial_addresses(self, peer: ID) -> INetConn:
        now = trio.current_time()
        if now - self._failed_peers.get(peer, -FAILED_DIAL_PAUSE) < FAILED_DIAL_PAUSE:
            raise SwarmException(f"peer {peer} could not be reached a moment ago")
        try:
            known = [_without_peer(a) for a in self.host.get_peerstore().addrs(peer)]
        except PeerStoreError:
            known = []
        candidates = sorted(
            (a for a in dict.fromkeys(known) if _is_tcp(a)),
            key=lambda a: (self._failed_addresses.get((peer, str(a)), 0.0), _is_loopback(a)),
        )[:DIAL_ADDRESSES]
        if not candidates:
            raise SwarmException(f"no address of peer {peer} is known")
        errors: list[BaseException] = []
        give_up = now + max(DIAL_BUDGET, self.dial_timeout)
        for address in candidates:
            if trio.current_time() >= give_up:
                break
            # Noted before the attempt: a caller that loses patience cancels it, and the next call
            # should then begin with another address.
            self._failed_addresses[peer, str(address)] = trio.current_time()
            try:
                with trio.fail_after(self.dial_timeout):
                    connection: INetConn = await self._swarm.dial_addr(address, peer)
            except trio.TooSlowError as error:
                errors.append(error)
            except (SwarmException, *STREAM_ERRORS) as error:
                errors.append(error)
            else:
                self._failed_addresses.pop((peer, str(address)), None)
                self._failed_peers.pop(peer, None)
                self.host.get_peerstore().add_addrs(peer, [address], ADDRESS_TTL)
                return connection
        self._trim_failures()
        self._failed_peers[peer] = trio.current_time()
        self.peers.drop(str(peer), Fault.UNREACHABLE, f"{len(errors)} addresses tried")
        if all(isinstance(e, trio.TooSlowError) for e in errors):
            raise SwarmException("silent") from PeerTimeoutError(
                f"peer {peer} did not answer in {self.dial_timeout:g} s at any of {len(errors)} addresses"
            )
        raise SwarmException(f"none of {len(errors)} addresses answered") from errors[-1]

    def _trim_failures(self) -> None:
        """Forget old failures, so that a flood of made-up peers does not fill memory."""
        horizon = trio.current_time() - 600.0
        for peer, at in list(self._failed_peers.items()):
            if at < horizon or len(self._failed_peers) > 1000:
                del self._failed_peers[peer]
        for key, at in list(self._failed_addresses.items()):
            if at < horizon or len(self._failed_addresses) > 4000:
                del self._failed_addresses[key]

    async def keep_bootstrapped(self, address: str) -> None:
        """Dial a bootstrap peer until it answers, and again whenever it is lost. Runs until cancelled."""
        attempt = 0
        peer = ID.from_string(peer_of(address))
        while True:
            if not self._live(peer):
                try:
                    await self.connect(address)
                except NetworkError as error:
                    pause = BOOTSTRAP_PAUSES[min(attempt, len(BOOTSTRAP_PAUSES) - 1)]
                    attempt += 1
                    log.info("bootstrap peer %s: %s; again in %g s", peer, error.message, pause)
                    await trio.sleep(pause * random.uniform(0.8, 1.2))
                    continue
                attempt = 0
                # The first query tells our addresses, and only the second puts us into the others' tables.
                await self.kad.refresh()
                await self.kad.refresh()
                self.joined.set()
            await trio.sleep(BOOTSTRAP_CHECK * random.uniform(0.8, 1.2))


class _Watch:
    """Keeps the peer book's connection column true; libp2p calls it."""

    def __init__(self, owner: P2PHost) -> None:
        self._owner = owner

    async def connected(self, network: object, connection: Any) -> None:
        owner = self._owner
        peer = connection.muxed_conn.peer_id
        session = connection.muxed_conn.secured_conn
        if isinstance(session, WholeWrites):
            session.guard(connection.muxed_conn, owner.held)
        direction = "inbound" if is_inbound(connection) else "outbound"
        owner.peers.connected(str(peer), direction)
        owner._arrival.set()
        owner._arrival = trio.Event()

    async def disconnected(self, network: object, connection: Any) -> None:
        peer = connection.muxed_conn.peer_id
        if not self._owner._live(peer):
            self._owner.peers.disconnected(str(peer))

    async def opened_stream(self, network: object, stream: object) -> None:
        """Streams are counted where they are used."""

    async def closed_stream(self, network: object, stream: object) -> None:
        """Streams are counted where they are used."""

    async def listen(self, network: object, multiaddr: object) -> None:
        """Listening addresses are read from the host when asked for."""

    async def listen_close(self, network: object, multiaddr: object) -> None:
        """Listening addresses are read from the host when asked for."""


@asynccontextmanager
async def open_host(
    identity: Identity,
    *,
    listen: Sequence[str] = ("/ip4/0.0.0.0/tcp/0",),
    bootstrap: Sequence[str] = (),
    peers: PeerBook | None = None,
    book_path: Path | None = None,
    dial_timeout: float = DIAL_TIMEOUT,
) -> AsyncIterator[P2PHost]:
    """Run a host for the length of the ``async with`` block.

    ``listen`` and ``bootstrap`` are multiaddrs, the latter with ``/p2p/<id>``; bootstrap peers are dialed
    in the background. ``peers`` is loaded from and saved to ``book_path`` when that is given. Raises
    :class:`UsageError` for an address that makes no sense, :class:`NetworkError` when listening fails and
    ``BugError`` when libp2p is not the one this code was written for. An error of the block itself comes out
    as it is, not wrapped in the groups of the nurseries below.
    """
    failure: BaseException | None = None
    try:
        async with _running(identity, listen, bootstrap, peers, book_path, dial_timeout) as node:
            try:
                yield node
            except BaseException as error:
                failure = error
                raise
        # libp2p's services can end without a word while an error passes through them.
        if failure is not None:
            raise failure
    except BaseExceptionGroup as group:
        inner: BaseException = group
        while isinstance(inner, BaseExceptionGroup):
            if len(inner.exceptions) > 1:
                raise
            inner = inner.exceptions[0]
        raise inner from None


@asynccontextmanager
async def _running(
    identity: Identity,
    listen: Sequence[str],
    bootstrap: Sequence[str],
    peers: PeerBook | None,
    book_path: Path | None,
    dial_timeout: float,
) -> AsyncIterator[P2PHost]:
    listening = [_listen_address(text) for text in listen]
    for address in bootstrap:
        peer_of(address)
    book = peers if peers is not None else PeerBook()
    if book_path is not None:
        book.load(book_path)
    unbounded.install()
    keys = create_new_key_pair(identity.peer_seed)
    host = new_host(
        keys,
        listen_addrs=listening,
        sec_opt={NOISE: Noise(keys)},
        muxer_opt={TProtocol(YAMUX): Yamux},
        negotiate_timeout=10,
        connection_config=ConnectionConfig(
            max_connections=MAX_CONNECTIONS,
            high_watermark=MAX_CONNECTIONS,
            min_connections=0,
            low_watermark=0,
            max_connections_per_peer=1,
            enable_health_monitoring=True,
            abort_connection_on_ping_failure=True,
            health_check_interval=15,
            health_initial_delay=5,
            ping_timeout=5,
        ),
    )
    network: Any = host.get_network()
    network.retry_config = RetryConfig(max_retries=0)
    # With any settings libp2p dials whoever it heard of until half of the connection limit is used.
    network.auto_connector.maybe_connect = _dial_nobody
    Door(network, book).attach()
    async with host.run(listen_addrs=listening):
        if not host.get_addrs():
            raise NetworkError(
                f"could not listen on {', '.join(listen)}", hint="is the port taken? try --listen …/tcp/0"
            )
        async with trio.open_nursery() as nursery:
            node = P2PHost(host, book, nursery, dial_timeout)
            async with background_trio_service(node.kad.dht):
                for address in bootstrap:
                    nursery.start_soon(node.keep_bootstrapped, address)
                if book_path is not None:
                    nursery.start_soon(_keep_book, book, book_path)
                try:
                    yield node
                finally:
                    if book_path is not None:
                        book.save(book_path)
                    nursery.cancel_scope.cancel()
                    await _say_goodbye(host)


async def _keep_book(book: PeerBook, path: Path) -> None:
    """Save the book now and then, so that a killed node still remembers who lied."""
    while True:
        await trio.sleep(BOOK_INTERVAL)
        try:
            book.save(path)
        except OSError as error:
            log.warning("could not save the peer book: %s", error)


async def _dial_nobody() -> None:
    """Stands in for libp2p's auto-connector: the DHT and this node know whom they need."""


async def _say_goodbye(host: IHost) -> None:
    """Close all connections at once, then the listeners, even when the node is being cancelled.

    libp2p's own way takes 0.1 s a connection, one after the other, and leaves a listener accepting.
    """
    with trio.move_on_after(CLOSE_TIMEOUT) as scope:
        scope.shield = True
        async with trio.open_nursery() as nursery:
            for peer in list(host.get_connected_peers()):
                nursery.start_soon(host.disconnect, peer)
        await host.close()


def peer_of(address: str) -> str:
    """The peer id at the end of a multiaddr; raises :class:`UsageError` when there is none."""
    try:
        return str(info_from_p2p_addr(Multiaddr(address)).peer_id)
    except (MultiaddrError, ValueError) as error:
        raise UsageError(f"{address} is not the address of a peer", hint=EXAMPLE) from error


def _listen_address(text: str) -> Multiaddr:
    try:
        address = Multiaddr(text)
    except (MultiaddrError, ValueError) as error:
        raise UsageError(f"{text} is not a multiaddr", hint="example: /ip4/0.0.0.0/tcp/4001") from error
    if not _is_tcp(address):
        raise UsageError(f"{text}: only TCP is supported", hint="example: /ip4/0.0.0.0/tcp/4001")
    return address


def _without_peer(address: Multiaddr) -> Multiaddr:
    text = str(address)
    head, found, _ = text.partition("/p2p/")
    return Multiaddr(head) if found and head else address


def _is_tcp(address: Multiaddr) -> bool:
    names = [p.name for p in address.protocols()]
    return "tcp" in names and not {"ws", "wss", "p2p-circuit", "tls"} & set(names)


def _is_loopback(address: Multiaddr) -> bool:
    text = str(address)
    return text.startswith(("/ip4/127.", "/ip6/::1/"))
