"""Look-ups in networks larger than a machine holds: libp2p's and our own look-up code over modelled routing
tables.

Real: ``PeerRouting.find_closest_peers_network`` of libp2p and ``node/lookup.py`` of ours, line for line.
Modelled: the network below them. A peer's table is full k-buckets of peers drawn by chance, which is what
Kademlia's rules come to after a while; an answer is the table's nearest peers; a dead peer answers nothing.
Not for time: nothing here waits. Checked against real hosts by hosts.py. Follows specs/scale.md, "Look-ups".
"""

import hashlib
import random
from bisect import bisect_left
from types import SimpleNamespace
from typing import Any

import trio
from libp2p.kad_dht.peer_routing import PeerRouting
from libp2p.peer.id import ID

from p2pvoice.node.kad import install
from p2pvoice.node.lookup import Lookup

BITS = 256
BUCKET = 20


class Network:
    """``size`` peers with ids drawn by chance; ``dead`` of each hundred do not answer, and tables still name
    them.
    """

    def __init__(self, size: int, *, dead: float = 0.0, seed: int = 1) -> None:
        install()
        chance = random.Random(seed)
        self.size = size
        peers = sorted(
            (int.from_bytes(hashlib.sha256(name).digest()), name)
            for name in (b"\x00\x24\x08\x01\x12\x20" + chance.randbytes(32) for _ in range(size))
        )
        self.places = [place for place, _ in peers]
        self.ids = [ID(name) for _, name in peers]
        self.number = {peer: number for number, peer in enumerate(self.ids)}
        self.dead = {n for n in range(size) if chance.random() < dead}
        self._seed = seed

    def table(self, number: int) -> list[int]:
        """The peers in the routing table of a peer: of each bucket 20, or all there are."""
        chance = random.Random(self._seed * 1_000_003 + number)
        place, known = self.places[number], list[int]()
        for depth in range(BITS):
            shift = BITS - 1 - depth
            first = ((place >> shift) ^ 1) << shift
            low, high = bisect_left(self.places, first), bisect_left(self.places, first + (1 << shift))
            members = range(low, high)
            known += chance.sample(members, BUCKET) if len(members) > BUCKET else members
            # What shares more bits with us than this bucket's peers do: nobody left means we are done.
            own = (place >> shift) << shift
            if bisect_left(self.places, own + (1 << shift)) - bisect_left(self.places, own) <= 1:
                break
        return known

    def nearest(self, key: bytes, numbers: Any, count: int = BUCKET) -> list[int]:
        """Of the peers named by their numbers the nearest to a key."""
        target = int.from_bytes(hashlib.sha256(key).digest())
        return sorted(numbers, key=lambda n: self.places[n] ^ target)[:count]

    def truly_nearest(self, key: bytes, count: int = BUCKET) -> set[int]:
        """The nearest living peers of the whole network."""
        target = int.from_bytes(hashlib.sha256(key).digest())
        at = bisect_left(self.places, target)
        # All peers under the longest prefix of the key that holds enough of them.
        shift = 0
        while True:
            first = (target >> shift) << shift
            low, high = bisect_left(self.places, first), bisect_left(self.places, first + (1 << shift))
            living = [n for n in range(low, high) if n not in self.dead]
            if len(living) >= count or shift >= BITS:
                return set(self.nearest(key, living, count))
            shift += 1
            assert low <= at <= high


class Searcher:
    """One peer of a :class:`Network` that looks things up with the real code."""

    def __init__(self, network: Network, number: int) -> None:
        self._network, self._number = network, number
        self._table = network.table(number)
        self.queries = self.unanswered = self.asked = 0
        self._depth: dict[int, int] = {}
        me = network.ids[number]
        nobody = SimpleNamespace(peer_ids=lambda: [])
        host: Any = SimpleNamespace(
            get_id=lambda: me, get_connected_peers=lambda: [], get_peerstore=lambda: nobody
        )
        table: Any = SimpleNamespace(find_local_closest_peers=self._local)
        routing = PeerRouting(host, table)
        routing._query_peer_for_closest = self._query  # type: ignore[method-assign]
        self.routing = routing

    def _local(self, key: bytes, count: int = BUCKET) -> list[ID]:
        return [self._network.ids[n] for n in self._network.nearest(key, self._table, count)]

    def _answer(self, peer: ID, key: bytes) -> list[ID]:
        number = self._network.number[peer]
        if number in self._network.dead:
            self.unanswered += 1
            return []
        table = [n for n in self._network.table(number) if n != self._number]
        heard = self._network.nearest(key, table)
        depth = self._depth.setdefault(number, 1)
        for one in heard:
            self._depth.setdefault(one, depth + 1)
        return [self._network.ids[n] for n in heard]

    async def _query(self, peer: ID, key: bytes) -> list[ID]:
        await trio.lowlevel.checkpoint()
        self.queries += 1
        return self._answer(peer, key)

    async def _providers(self, peer: ID, key: bytes) -> list[ID]:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return self._answer(peer, key)

    async def closest(self, key: bytes) -> dict[str, float]:
        """libp2p's look-up alone, as announcing and refreshing do it: queries, hops, how well it ended."""
        self.queries = self.unanswered = 0
        self._depth = {}
        found = [self._network.number[p] for p in await self.routing.find_closest_peers_network(key)]
        true = self._network.truly_nearest(key) - {self._number}
        living = [n for n in found if n not in self._network.dead and n != self._number]
        return {
            "queries": self.queries,
            "unanswered": self.unanswered,
            "hops": max((self._depth.get(n, 1) for n in living[:1]), default=0),
            "true": len(true & set(found)) / max(1, len(true)),
        }

    async def providers(self, key: bytes) -> dict[str, float]:
        """Our whole provider look-up: queries of both kinds."""
        self.queries = self.asked = self.unanswered = 0
        self._depth = {}
        walk = self.routing.find_closest_peers_network
        await Lookup(key, self._network.ids[self._number], self._local(key), walk, self._providers).run()
        return {"queries": self.queries + self.asked, "unanswered": self.unanswered}


async def _sample(network: Network, count: int, seed: int) -> dict[str, float]:
    chance = random.Random(seed)
    living = [
        n for n in chance.sample(range(network.size), min(network.size, 4 * count)) if n not in network.dead
    ]
    closest, providers = [], []
    for turn in range(count):
        searcher = Searcher(network, living[turn % len(living)])
        closest.append(await searcher.closest(chance.randbytes(32)))
        providers.append(await searcher.providers(chance.randbytes(32)))
    mean = {name: sum(one[name] for one in closest) / count for name in closest[0]}
    mean |= {f"find_{name}": sum(one[name] for one in providers) / count for name in providers[0]}
    mean["table"] = sum(len(network.table(n)) for n in living[:20]) / len(living[:20])
    return mean


def sample(size: int, count: int, *, dead: float = 0.0, seed: int = 1) -> dict[str, float]:
    """Means over ``count`` look-ups from living peers in a network of ``size``."""
    return trio.run(_sample, Network(size, dead=dead, seed=seed), count, seed)


if __name__ == "__main__":
    for dead in (0.0, 0.3):
        for size in (12, 25, 50, 100, 1000, 10_000, 100_000):
            print(dead, size, {k: round(v, 2) for k, v in sample(size, 60, dead=dead).items()}, flush=True)
