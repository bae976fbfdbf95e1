"""Who may be asked in a search: those whom the DHT names under its tags, as it names them.

Where it names few, those we are connected to are asked, too: announcements keep a pace, so in a young or
small network a neighbour may have what it has not told the DHT yet.

Not for asking them (seeking.py). Follows specs/discovery.md, "Finding".
"""

from collections.abc import Sequence

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.host import P2PHost
from p2pvoice.protocol.head import tag_key

CONNECTED_BELOW = 8
"""Candidates below which connected peers are asked as well, up to as many."""


class Candidates:
    """Whom to ask, as the look-ups find them: who provides most of the tags first, of equals the best scores.

    Without tags, those we are connected to.
    """

    def __init__(self, host: P2PHost, tags: Sequence[str]) -> None:
        self._host = host
        self._tags = list(dict.fromkeys(tags))
        self._infos: dict[str, PeerInfo] = {}
        self._hits: dict[str, int] = {}
        self._given: set[str] = set()
        self._looking = True
        self._changed = trio.Event()
        self._scope = trio.CancelScope()

    async def look_up(self) -> None:
        """Look up all tags at once."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                for tag in self._tags:
                    nursery.start_soon(self._host.kad.find_providers, tag_key(tag), self._hear)
            self._add_connected()
        self._looking = False
        self._wake()

    def close(self) -> None:
        """Look no further: nobody asks for another one."""
        self._scope.cancel()

    async def next(self) -> PeerInfo | None:
        """The best one that was not given yet; waits for the look-ups, and is None when there is none left.

        While they are under way only who provides all of the tags is given: others might bring nothing.
        """
        while True:
            least = len(self._tags) if self._looking else 0
            left = [n for n in self._infos if n not in self._given and self._hits[n] >= least]
            names = self._host.peers.best_first(left)
            if names:
                name = max(names, key=lambda n: self._hits[n])
                self._given.add(name)
                return self._infos[name]
            if not self._looking:
                return None
            await self._changed.wait()

    def _add_connected(self) -> None:
        """Those we are connected to: all of them without tags, else as many as make up for the few found."""
        beside = [name for name in self._host.connected() if name not in self._infos]
        if self._tags:
            beside = self._host.peers.best_first(beside)[: max(0, CONNECTED_BELOW - len(self._infos))]
        for name in beside:
            self._infos[name] = PeerInfo(ID.from_string(name), [])
            self._hits[name] = 0

    def _hear(self, info: PeerInfo) -> None:
        name = str(info.peer_id)
        self._infos.setdefault(name, info)
        self._hits[name] = self._hits.get(name, 0) + 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
