"""What one real host does for one look-up: DHT queries, hops, streams, dials, payload bytes.

Wraps methods of one host's objects and changes nothing of what they do. Bytes are those of the streams,
without the frames and seals of Yamux and Noise below. Not for what libp2p's identify and ping send, which
open streams of their own but belong to no look-up. Follows specs/scale.md, "What is counted".
"""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from libp2p.peer.id import ID

from p2pvoice.node.host import P2PHost
from p2pvoice.node.kad import KAD_PROTOCOL
from p2pvoice.protocol.catalog_messages import CATALOG


@dataclass
class Counts:
    """What was counted.

    ``queries`` are DHT requests, ``unanswered`` those of them that brought nothing; ``hops`` has for each
    walk the length of the path to the nearest peer it found.
    """

    lookups: int = 0
    queries: int = 0
    unanswered: int = 0
    hops: list[int] = field(default_factory=list)
    dials: int = 0
    failed_dials: int = 0
    streams: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_NAMES = {KAD_PROTOCOL: "dht", CATALOG: "catalog"}


class Counting:
    """Counts what a host does, into ``counts``; :meth:`fresh` begins anew."""

    def __init__(self, host: P2PHost) -> None:
        self.counts = Counts()
        self._host = host
        self._streams(host.host)
        self._dials(host)
        self._queries(host)

    def fresh(self) -> Counts:
        """New counts from now on; returns the old ones."""
        old, self.counts = self.counts, Counts()
        return old

    def _streams(self, host: Any) -> None:
        stock = host.new_stream

        async def new_stream(peer: ID, protocols: Any) -> Any:
            stream = await stock(peer, protocols)
            name = _NAMES.get(str(protocols[0]), str(protocols[0]))
            self._tally(self.counts.streams, name, 1)
            # Below libp2p's own stream, which a channel goes around where ours is (node/wire.py).
            muxed: Any = stream.muxed_stream
            write, read = muxed.write, muxed.read

            async def counted_write(*data: bytes) -> Any:
                result = await write(*data)
                self._tally(self.counts.sent, name, sum(map(len, data)))
                return result

            def counted(read: Any) -> Any:
                async def counted_read(*words: Any) -> bytes:
                    data: bytes = await read(*words)
                    self._tally(self.counts.received, name, len(data))
                    return data

                return counted_read

            muxed.write, muxed.read = counted_write, counted(read)
            if hasattr(muxed, "read_whole"):
                muxed.read_whole = counted(muxed.read_whole)
            return stream

        host.new_stream = new_stream

    def _dials(self, host: P2PHost) -> None:
        swarm: Any = host.host.get_network()
        stock = swarm.dial_addr

        async def dial_addr(address: Any, peer: ID) -> Any:
            self.counts.dials += 1
            try:
                return await stock(address, peer)
            except BaseException:
                self.counts.failed_dials += 1
                raise

        swarm.dial_addr = dial_addr

    def _queries(self, host: P2PHost) -> None:
        routing: Any = host.kad.dht.peer_routing
        store: Any = host.kad.dht.provider_store
        nearest, closest, providers = (
            routing.find_closest_peers_network,
            routing._query_peer_for_closest,
            store._get_providers_from_peer_with_closers,
        )
        depths: dict[bytes, dict[ID, int]] = {}

        async def find(key: bytes, count: int = 20) -> list[ID]:
            counts = self.counts
            depths[key] = {}
            found: list[ID] = await nearest(key, count)
            known = depths.pop(key, {})
            counts.lookups += 1
            others = [peer for peer in found if peer != host.host.get_id()]
            # A peer of our own table is one hop away, one that such a peer named is two.
            counts.hops.append(max((known.get(peer, 1) for peer in others[:1]), default=0))
            return found

        async def query(peer: ID, key: bytes) -> list[ID]:
            self.counts.queries += 1
            known = depths.get(key, {})
            depth = known.setdefault(peer, 1)
            heard: list[ID] = await closest(peer, key)
            if not heard:
                self.counts.unanswered += 1
            for one in heard:
                known.setdefault(one, depth + 1)
            return heard

        async def ask(peer: ID, key: bytes) -> Any:
            self.counts.queries += 1
            answered = False
            try:
                result = await providers(peer, key)
                answered = bool(result[0] or result[1])
                return result
            finally:
                if not answered:
                    self.counts.unanswered += 1

        routing.find_closest_peers_network = find
        routing._query_peer_for_closest = query
        store._get_providers_from_peer_with_closers = ask

    @staticmethod
    def _tally(where: dict[str, int], name: str, amount: int) -> None:
        where[name] = where.get(name, 0) + amount


@contextlib.contextmanager
def counted(counting: Counting) -> Iterator[Counts]:
    """Counts of what happens in the block."""
    counting.fresh()
    counts = counting.counts
    yield counts
    counting.fresh()
