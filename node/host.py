"""The libp2p host of a node: peers by name, connections to them, streams in and out, and its life.

Not for how a dial goes (dialing.py), who may come in (door.py), what libp2p is told to be (swarm.py), finding
content (discovery.py) nor moving it (exchange.py, fetch.py). Follows specs/network.md.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.tools.anyio_service import background_trio_service

from p2pvoice.node.addresses import parse_listening, parse_peer
from p2pvoice.node.config import Wire, default_wire
from p2pvoice.node.dialing import DIAL_TIMEOUT, Dialer
from p2pvoice.node.door import Door, is_inbound
from p2pvoice.node.held import Held
from p2pvoice.node.identity import Identity
from p2pvoice.node.joining import keep_bootstrapped, rejoin
from p2pvoice.node.kad import Kad
from p2pvoice.node.links import kind_of
from p2pvoice.node.peers import PeerBook
from p2pvoice.node.ratelimit import Limits
from p2pvoice.node.relaying import Relaying, RelaySettings
from p2pvoice.node.swarm import make_host, say_goodbye
from p2pvoice.node.transport.yamux import YamuxConnection
from p2pvoice.node.wire import STREAM_ERRORS, Channel, WholeWrites
from p2pvoice.protocol.errors import (
    NetworkError,
    PeerTimeoutError,
    PolicyError,
    ProtocolMismatchError,
    UsageError,
)

STREAM_TIMEOUT = 10.0
"""Seconds to open a stream on an open connection and agree on its protocol."""

BOOK_INTERVAL = 300.0
"""Seconds between saves of the peer book."""

log = logging.getLogger(__name__)

StreamHandler = Callable[[Channel], Awaitable[None]]


class P2PHost:
    """A running host. Made by :func:`open_host`; peers are named by their base58 ids everywhere outside."""

    def __init__(self, host: IHost, peers: PeerBook, dialer: Dialer) -> None:
        self.host = host
        self.peers = peers
        self.id = str(host.get_id())
        self.limits = Limits()
        """How fast chunks may leave and come; the daemon sets it."""
        self.relaying: Relaying | None = None
        """What relays are used for, when they are."""
        self._dialer = dialer
        self._arrival = trio.Event()
        self.joined = trio.Event()
        """Set when a bootstrap peer was reached and the neighbourhood in the DHT was looked up."""
        dialer.attach()
        network: Any = host.get_network()
        network.register_notifee(_Watch(dialer, peers, self._arrived))
        self.kad = Kad(host, dialer.ensure)

    def addresses(self) -> list[str]:
        """Our listening addresses with our peer id, as others dial them."""
        return [str(a) for a in self.host.get_addrs()]

    def listening(self) -> list[str]:
        """Where this node listens, as it was told to, without our peer id."""
        return [str(a) for a in self.host.get_transport_addrs()]

    def observed(self) -> list[str]:
        """Addresses at which connected peers see us, as they told when they introduced themselves.

        libp2p believes one that several peers tell; here what any of them says is shown, to a person.
        """
        manager = getattr(self.host, "_observed_addr_manager", None)
        return [str(a) for a in manager.addrs(1)] if manager is not None else []

    def connected(self) -> list[str]:
        """Peers with an open connection."""
        return [str(p) for p in self.host.get_connected_peers()]

    def is_connected(self, peer: str) -> bool:
        """Whether a connection to the peer is open."""
        return bool(self._dialer.live(ID.from_string(peer)))

    def neighbours(self) -> list[PeerInfo]:
        """Connected peers that may be asked, best score first."""
        names = self.peers.best_first(self.connected())
        return [PeerInfo(ID.from_string(name), []) for name in names]

    def coming(self) -> trio.Event:
        """The event that is set when the next peer connects."""
        return self._arrival

    async def arrival(self) -> None:
        """Wait until some peer is connected; returns at once when one is."""
        while not self.host.get_connected_peers():
            await self._arrival.wait()

    def note_addresses(self) -> None:
        """Note in the book where connected peers say that they listen, for the next start."""
        for peer in self.host.get_connected_peers():
            self._dialer.note(peer)

    async def connect(self, address: str) -> str:
        """Connect to ``address``, a multiaddr that ends in ``/p2p/<peer id>``; returns the peer id.

        Asking by hand overrides a shunning and the pause after a failed dial.
        """
        info = parse_peer(address)
        self.peers.forgive(str(info.peer_id))
        self._dialer.forgive(info)
        await self.reach(info)
        return str(info.peer_id)

    async def reach(self, info: PeerInfo) -> None:
        """Make sure there is a connection to the peer, trying the addresses in ``info`` and those known.

        Raises :class:`NetworkError` (:class:`PeerTimeoutError` when every address stayed silent).
        """
        if info.peer_id == self.host.get_id():
            raise UsageError("that is this node's own address")
        self._dialer.learn(info)
        await self._dialer.ensure(info.peer_id)
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

    def _arrived(self) -> None:
        self._arrival.set()
        self._arrival = trio.Event()


class _Watch:
    """Keeps the peer book's connection column true, and guards new connections; libp2p calls it."""

    def __init__(self, dialer: Dialer, book: PeerBook, arrived: Callable[[], None]) -> None:
        self._dialer = dialer
        self._book = book
        self._arrived = arrived
        self._held = Held()

    async def connected(self, network: object, connection: Any) -> None:
        peer = connection.muxed_conn.peer_id
        session = connection.muxed_conn.secured_conn
        if isinstance(session, WholeWrites):
            session.guard(connection.muxed_conn, self._held)
        elif isinstance(connection.muxed_conn, YamuxConnection):
            connection.muxed_conn.guard(self._held)
        direction = "inbound" if is_inbound(connection) else "outbound"
        self._book.connected(str(peer), direction, kind_of(connection))
        self._arrived()

    async def disconnected(self, network: object, connection: Any) -> None:
        peer = connection.muxed_conn.peer_id
        if not self._dialer.live(peer):
            self._book.disconnected(str(peer))

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
    relay: RelaySettings | None = None,
    wire: Wire | None = None,
) -> AsyncIterator[P2PHost]:
    """Run a host for the length of the ``async with`` block.

    ``listen`` and ``bootstrap`` are multiaddrs, the latter with ``/p2p/<id>``; bootstrap peers are dialed
    in the background. ``peers`` is loaded from and saved to ``book_path`` when that is given. ``relay`` says
    whether relays are used, or this is one; ``wire`` whose sessions run below the streams (specs/wire.md).

    Raises :class:`UsageError` for an address that makes no sense, :class:`NetworkError` when listening fails
    and ``BugError`` when libp2p is not the one this code was written for. An error of the block itself comes
    out as it is, not wrapped in the groups of the nurseries below.
    """
    failure: BaseException | None = None
    try:
        async with _running(identity, listen, bootstrap, peers, book_path, dial_timeout, relay, wire) as node:
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
    relay: RelaySettings | None,
    wire: Wire | None,
) -> AsyncIterator[P2PHost]:
    listening = [parse_listening(text) for text in listen]
    for address in bootstrap:
        parse_peer(address)
    book = peers if peers is not None else PeerBook()
    if book_path is not None:
        book.load(book_path)
    relaying = Relaying(relay)
    host = make_host(identity.peer_seed, listening, relaying.announce, wire or default_wire())
    door = Door(host.get_network(), book)
    door.attach()
    async with host.run(listen_addrs=listening):
        if not host.get_addrs():
            raise NetworkError(
                f"could not listen on {', '.join(listen)}", hint="is the port taken? try --listen …/tcp/0"
            )
        async with trio.open_nursery() as nursery:
            dialer = Dialer(host, book, dial_timeout)
            node = P2PHost(host, book, dialer)
            if relay is not None:
                node.relaying = relaying
                relaying.attach(host, door, dialer, book, node.reach)
                nursery.start_soon(relaying.run)
            async with background_trio_service(node.kad.dht):
                for address in bootstrap:
                    nursery.start_soon(
                        keep_bootstrapped, address, dialer, node.connect, node.kad, node.joined
                    )
                if book_path is not None:
                    nursery.start_soon(_keep_book, node, book_path)
                nursery.start_soon(rejoin, book, node.reach, node.kad, node.joined)
                try:
                    yield node
                finally:
                    if book_path is not None:
                        node.note_addresses()
                        book.save(book_path)
                    nursery.cancel_scope.cancel()
                    await say_goodbye(host)


async def _keep_book(node: P2PHost, path: Path) -> None:
    """Save the book now and then, so that a killed node still remembers who lied."""
    while True:
        await trio.sleep(BOOK_INTERVAL)
        node.note_addresses()
        try:
            node.peers.save(path)
        except OSError as error:
            log.warning("could not save the peer book: %s", error)
