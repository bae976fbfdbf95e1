"""One look-up of the providers of a key: whom to ask next, how many at once, and when it is over.

The walk towards the key and the asking go on side by side, and a peer that does not answer holds up its own
place only: after a third of a network has died, most answers still come at once. Not for how a peer is asked
nor for what a key means: see kad.py. Follows specs/discovery.md, "Finding".
"""

from collections.abc import Awaitable, Callable, Sequence

import trio
from libp2p.kad_dht.utils import sort_peer_ids_by_distance
from libp2p.peer.id import ID

LOOKUP_WIDTH = 10
"""Queries for providers under way at once."""

LOOKUP_QUERIES = 40
"""Peers asked for providers in one look-up, at most."""

LOOKUP_AHEAD = 10
"""Of them, peers of our own routing table that are asked while the walk is still under way."""

LOOKUP_NEAREST = 20
"""Peers that answered after which nobody farther from the key than all of them is asked: as many hold a
record.
"""

Walk = Callable[[bytes], Awaitable[Sequence[ID]]]
"""The peers nearest to a key in the network, asked anew."""

Ask = Callable[[ID, bytes], Awaitable[Sequence[ID]]]
"""Ask one peer for providers and note them; returns the peers it names as nearer, none when it is silent.

It ends in good time by itself.
"""


class Lookup:
    """One look-up. ``known`` are the nearest peers of our own table, ``me`` is never asked."""

    def __init__(self, key: bytes, me: ID, known: Sequence[ID], walk: Walk, ask: Ask) -> None:
        self._key = key
        self._walk = walk
        self._ask = ask
        self._asked = {me}
        self._waiting = list(known)
        self._nearest: list[ID] = []
        self._under_way = 0
        self._walking = True
        self._changed = trio.Event()

    async def run(self) -> None:
        """Look until nobody is left to ask or enough were asked. Cancelling loses nothing that was heard."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._approach)
            for _ in range(LOOKUP_WIDTH):
                nursery.start_soon(self._work)

    async def _approach(self) -> None:
        nearest = await self._walk(self._key)
        self._walking = False
        self._learn(nearest)

    async def _work(self) -> None:
        while True:
            peer = self._next()
            if peer is None:
                if not self._walking and (not self._under_way or len(self._asked) > LOOKUP_QUERIES):
                    self._wake()
                    return
                await self._changed.wait()
                continue
            self._under_way += 1
            try:
                heard = await self._ask(peer, self._key)
            finally:
                self._under_way -= 1
            if heard:
                answered = sort_peer_ids_by_distance(self._key, [*self._nearest, peer])
                self._nearest = answered[:LOOKUP_NEAREST]
            self._learn(heard)

    def _next(self) -> ID | None:
        limit = LOOKUP_AHEAD if self._walking else LOOKUP_QUERIES
        if len(self._asked) > limit:
            return None
        while self._waiting:
            peer = self._waiting.pop(0)
            if peer not in self._asked and self._is_near(peer):
                self._asked.add(peer)
                return peer
        return None

    def _is_near(self, peer: ID) -> bool:
        """Whether a peer may hold a record of the key, as far as the answers so far show."""
        if len(self._nearest) < LOOKUP_NEAREST:
            return True
        return sort_peer_ids_by_distance(self._key, [self._nearest[-1], peer])[0] == peer

    def _learn(self, peers: Sequence[ID]) -> None:
        fresh = [peer for peer in dict.fromkeys(peers) if peer not in self._asked]
        self._waiting = sort_peer_ids_by_distance(self._key, list(dict.fromkeys([*self._waiting, *fresh])))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
