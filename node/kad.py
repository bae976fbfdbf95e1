"""The DHT: libp2p's Kademlia under our own protocol id, and lookups that ask the network every time.

Everything that touches libp2p's private parts is in this one file, with the reason beside it; the
version is pinned and :func:`assert_installed` refuses to start when a part is no longer where it was.
Not for deciding what to announce or when: see announcing.py. Follows specs/discovery.md.
"""

import contextlib
import sys
import time
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import trio
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.kad_dht import common, kad_dht, peer_routing, provider_store, value_store
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.kad_dht.pb.kademlia_pb2 import Record
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.records.validator import NamespacedValidator
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.dht_store import BoundedProviders, BoundedValues
from p2pvoice.node.lookup import Lookup
from p2pvoice.node.records import RecordValidator
from p2pvoice.node.slots import Slots
from p2pvoice.node.wire import CLOSE_BUDGET, STREAM_ERRORS
from p2pvoice.protocol.errors import BugError, P2PVoiceError, RefusedError

KAD_PROTOCOL = "/p2pvoice/kad/1.0.0"
"""The DHT's protocol id: a network of its own, apart from IPFS."""

QUERY_TIMEOUT = 2
"""Seconds one peer may take to answer one DHT query (libp2p's own default is 10)."""

REFRESH_EVERY = 3_600
"""Seconds between two refreshes of the routing table (libp2p: 600), each a walk for every bucket. Every ten
minutes they would be four fifths of all that a node sends; specs/scale.md has the figures."""

MESSAGE_LIMIT = 64 * 1024
"""Bytes of one DHT message (libp2p: 4 MiB). An honest answer names 40 peers and has about 30 KB; each record
in it costs us a check of a signature, which nothing interrupts."""

SERVED_STREAMS = 48
"""DHT streams that are served at once (libp2p: 12, of which none has a time limit)."""

SERVED_PER_PEER = 6
"""DHT streams that one peer may have served at once."""

STREAM_SECONDS = 20.0
"""Seconds one DHT stream is served; a peer with more to ask opens another."""

PROVIDER_ADDRESSES = 16
"""Addresses of one provider that a lookup gathers."""

LOOKUP_TIMEOUT = 20.0
"""Seconds one whole lookup may take; what was found by then counts."""

PROVIDER_LIMIT = 100
"""Different providers one lookup returns, at most."""

SILENT_PAUSE = 60.0
"""Seconds for which a peer that let a query run out of time is not asked again by the DHT."""

SPARE_PEERS = 20
"""Peers in the routing table up to which a silent one is asked all the same, and stays there: in a small
network nobody may be left without it, and a busy machine is silent now and then."""

SILENT_LIMIT = 1_000
"""Peers of which that is remembered."""

_MODULES: tuple[ModuleType, ...] = (common, kad_dht, peer_routing, provider_store, value_store)
_STOCK_PROTOCOL = common.PROTOCOL_ID


def install() -> None:
    """Put our protocol id, query time-out and size of messages in force.

    ``KadDHT(protocol_prefix=…)`` is ignored by libp2p, and every module holds its own copy of the
    constant, so each copy is replaced. Process-wide, and harmless to repeat.
    """
    for module in _MODULES:
        for name, value in (
            ("PROTOCOL_ID", TProtocol(KAD_PROTOCOL)),
            ("QUERY_TIMEOUT", QUERY_TIMEOUT),
            ("MAX_DHT_MESSAGE_SIZE", MESSAGE_LIMIT),
            ("ROUTING_TABLE_REFRESH_INTERVAL", REFRESH_EVERY),
        ):
            if hasattr(module, name):
                setattr(module, name, value)


def assert_installed(host: IHost, dht: KadDHT) -> None:
    """Raise :class:`BugError` unless the DHT of ``host`` really speaks our protocol, strictly."""
    kad_modules = [m for name, m in list(sys.modules.items()) if name.startswith("libp2p.kad_dht")]
    for module in kad_modules:
        if getattr(module, "PROTOCOL_ID", KAD_PROTOCOL) != KAD_PROTOCOL:
            raise BugError(f"{module.__name__} still speaks {module.PROTOCOL_ID}")
        if getattr(module, "QUERY_TIMEOUT", QUERY_TIMEOUT) != QUERY_TIMEOUT:
            raise BugError(f"{module.__name__} still waits {module.QUERY_TIMEOUT} s for a query")
        if getattr(module, "MAX_DHT_MESSAGE_SIZE", MESSAGE_LIMIT) != MESSAGE_LIMIT:
            raise BugError(f"{module.__name__} still takes messages of {module.MAX_DHT_MESSAGE_SIZE} bytes")
    if not {m.__name__ for m in _MODULES if hasattr(m, "PROTOCOL_ID")} >= {m.__name__ for m in _MODULES}:
        raise BugError("libp2p's DHT modules no longer hold the protocol id where it was patched")
    handlers = host.get_mux().handlers
    if TProtocol(KAD_PROTOCOL) not in handlers or TProtocol("/ipfs/kad/1.0.0") in handlers:
        raise BugError(f"the host does not serve {KAD_PROTOCOL}")
    if not dht.strict_validation:
        raise BugError("the DHT would store records that nobody validated")


class Kad:
    """The DHT of one host. Keys of providers are 32 bytes; keys of values are text under ``/p2pvoice``."""

    def __init__(
        self, host: IHost, dial: Callable[[ID], Awaitable[None]], clock: Callable[[], float] = time.time
    ) -> None:
        install()
        self._host = host
        self._dial = dial
        self._validator = RecordValidator(clock)
        namespaces = NamespacedValidator({"p2pvoice": self._validator}, strict_validation=True)
        # ``validator_changed`` keeps libp2p from adding its own namespaces (pk, ipns), which we do not serve.
        self.dht = KadDHT(
            host, DHTMode.SERVER, validator=namespaces, validator_changed=True, strict_validation=True
        )
        self._providers = BoundedProviders(host, self.dht.peer_routing)
        self.dht.provider_store = self._providers
        self.dht.value_store = BoundedValues(host, host.get_id())
        self._slots = Slots(SERVED_PER_PEER, SERVED_STREAMS, idle=1.0)
        self.dht._inbound_limiter = trio.CapacityLimiter(SERVED_STREAMS)
        # libp2p keeps a peer that lets queries run out of time in its table, and each walk waits for it.
        self._silent: dict[ID, float] = {}
        self._query = self.dht.peer_routing._query_peer_for_closest
        self.dht.peer_routing._query_peer_for_closest = self._closest  # type: ignore[assignment]
        host.set_stream_handler(TProtocol(KAD_PROTOCOL), self._serve)
        assert_installed(host, self.dht)

    async def _serve(self, stream: INetStream) -> None:
        """Serve one DHT stream within its time; libp2p would wait for its next request for ever."""
        with self._slots.hold(str(stream.muxed_conn.peer_id)) as slot:
            if slot.free:
                with trio.move_on_after(STREAM_SECONDS):
                    await self.dht.handle_stream(stream)
                    return
        with trio.move_on_after(CLOSE_BUDGET), contextlib.suppress(*STREAM_ERRORS):
            await stream.reset()

    async def join(self, peer: ID) -> None:
        """Put a connected peer into the routing table."""
        await self.dht.add_peer(peer)

    async def refresh(self) -> None:
        """Look up our own id, so that the peers near us and we learn of each other."""
        with trio.move_on_after(LOOKUP_TIMEOUT):
            await self.dht.peer_routing.find_closest_peers_network(self._host.get_id().to_bytes())

    def table_size(self) -> int:
        """Peers in the routing table."""
        return int(self.dht.get_routing_table_size())

    async def provide(self, key: bytes) -> bool:
        """Tell the peers nearest to ``key`` that we provide it; ``False`` when nobody could be told.

        Success means sent, not stored: a receiver drops more than 10 announcements in 10 s from one
        sender without a word, so the caller must keep the pace (announcing.py does).
        """
        store = self.dht.provider_store
        told = False
        with trio.move_on_after(LOOKUP_TIMEOUT):
            told = await store.provide(key)
        # libp2p would republish all keys in one burst ten minutes after the start, far above that pace.
        store.providing_keys.discard(key)
        return told

    def stop_providing(self, key: bytes) -> None:
        """Stop answering for ``key``. What other peers hold about us runs out after 48 h at the latest."""
        store = self.dht.provider_store
        store.providing_keys.discard(key)
        mine = store.providers.get(key)
        if mine is not None:
            mine.pop(str(self._host.get_id()), None)
            if not mine:
                del store.providers[key]

    async def find_providers(
        self, key: bytes, tell: Callable[[PeerInfo], None] | None = None
    ) -> list[PeerInfo]:
        """Everybody known to provide ``key``, ourselves excepted, each once with all addresses.

        ``tell`` hears of each as soon as it is found. libp2p's own lookup answers from a cache up to 48 h old
        and counts duplicates. This one asks the network every time and leaves no hearsay in the store that we
        would later serve as fresh.
        """
        store = self._providers
        found: dict[ID, list[Multiaddr]] = {}

        def add(info: PeerInfo) -> None:
            if info.peer_id == self._host.get_id():
                return
            new = info.peer_id not in found
            if new and len(found) >= PROVIDER_LIMIT:
                return
            addresses = found.setdefault(info.peer_id, [])
            fresh = [a for a in info.addrs[:PROVIDER_ADDRESSES] if a not in addresses]
            addresses.extend(fresh[: PROVIDER_ADDRESSES - len(addresses)])
            if new and tell is not None:
                tell(PeerInfo(info.peer_id, list(addresses)))

        async def ask(peer: ID, key: bytes) -> list[ID]:
            if self._is_silent(peer):
                return []
            closer: list[ID] = []
            with trio.move_on_after(QUERY_TIMEOUT) as limit:
                infos, closer = await store._get_providers_from_peer_with_closers(peer, key)
                for info in infos:
                    add(info)
            self._judge(peer, silent=limit.cancelled_caught)
            return closer

        for info in store.all_providers(key):
            add(info)
        routing = self.dht.peer_routing
        known = routing.routing_table.find_local_closest_peers(key)
        with trio.move_on_after(LOOKUP_TIMEOUT):
            await Lookup(key, self._host.get_id(), known, routing.find_closest_peers_network, ask).run()
        return [PeerInfo(peer, addresses) for peer, addresses in found.items()]

    async def _closest(self, peer: ID, key: bytes) -> list[ID]:
        """One query of libp2p's walk, unless the peer has been silent a moment ago."""
        if self._is_silent(peer):
            return []
        began = trio.current_time()
        heard = await self._query(peer, key)
        # libp2p swallows its own time-out, so the clock has to tell.
        self._judge(peer, silent=not heard and trio.current_time() - began >= QUERY_TIMEOUT)
        return heard

    def _is_silent(self, peer: ID) -> bool:
        return trio.current_time() < self._silent.get(peer, 0.0) and self._can_spare()

    def _can_spare(self) -> bool:
        return self.dht.routing_table.size() > SPARE_PEERS

    def _judge(self, peer: ID, *, silent: bool) -> None:
        self._silent.pop(peer, None)
        if silent:
            self._silent[peer] = trio.current_time() + SILENT_PAUSE
            if self._can_spare():
                self.dht.routing_table.remove_peer(peer)
            while len(self._silent) > SILENT_LIMIT:
                del self._silent[next(iter(self._silent))]

    async def put(self, key: bytes, value: bytes) -> int:
        """Store a record with ourselves and with the peers nearest to its key; how many peers took it.

        libp2p's ``put_value`` never tells how many did. Raises when the record is not valid or when we
        hold a better one.
        """
        text = key.decode()
        self._validator.validate(text, value)
        values = self.dht.value_store
        present = values.get(key)
        if present is not None and self._select(text, [present.value, value]) == 0:
            raise RefusedError("a newer record stands in the DHT already")
        # libp2p would sign the record with our peer key, and so tie our peer to the author for all to see.
        # A head carries its author's signature inside, which is the one that counts. (Kept this way it is
        # also none of the records libp2p republishes; our own loop does, and retries.)
        record = Record(key=key, value=value, timeReceived=common.format_time_rfc3339())
        values.put_record(key, record)
        taken = 0

        async def give(peer: ID) -> None:
            nonlocal taken
            with trio.move_on_after(QUERY_TIMEOUT):
                if await values._store_at_peer(peer, key, value, record=record):
                    taken += 1

        with trio.move_on_after(LOOKUP_TIMEOUT):
            nearest = await self.dht.peer_routing.find_closest_peers_network(key)
            async with trio.open_nursery() as nursery:
                for peer in nearest:
                    if peer != self._host.get_id():
                        nursery.start_soon(give, peer)
        return taken

    async def get(self, key: bytes) -> bytes | None:
        """The best valid record that we or the network hold under ``key``.

        libp2p answers from its own copy when it has one; that copy is taken out while the network is
        asked, and the better of both is kept.
        """
        text = key.decode()
        values = self.dht.value_store
        held: Any = values.store.pop(key, None)
        found: bytes | None = None
        try:
            with trio.move_on_after(LOOKUP_TIMEOUT):
                found = await self.dht.get_value(text)
        finally:
            if held is not None and (found is None or self._select(text, [found, held[0].value]) == 1):
                values.store[key] = held
        candidates = [v for v in (held[0].value if held is not None else None, found) if v is not None]
        best = self._select(text, candidates)
        return None if best is None else candidates[best]

    def forget(self, key: bytes) -> None:
        """Stop holding the record under ``key``."""
        self.dht.value_store.remove(key)

    def _select(self, key: str, values: list[bytes]) -> int | None:
        try:
            return self._validator.select(key, values)
        except P2PVoiceError:
            return None
