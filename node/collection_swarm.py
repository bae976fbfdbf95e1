"""Collections in the network: announcing the kept ones, and finding the newest of a name.

Who keeps a collection says so under its key; whoever wants it asks all of them, since any may be behind. Not
for keeping what is found (collection_tables.py). Follows specs/collections.md and specs/discovery.md.
"""

import logging

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.announcing import Announcer
from p2pvoice.node.ask import get_collection
from p2pvoice.node.host import P2PHost
from p2pvoice.protocol.collection import SignedCollection, collection_key
from p2pvoice.protocol.errors import NetworkError, NoPeersError, NotFoundError, P2PVoiceError, StaleError

ASK_LIMIT = 8
"""Peers asked for one collection, of its providers and then of the connected ones."""

log = logging.getLogger("p2pvoice.collections")


class CollectionSwarm:
    """Announces and finds collections through one host."""

    def __init__(self, host: P2PHost, announcer: Announcer) -> None:
        self._host = host
        self._announcer = announcer

    def announce(self, author: str, slug: str) -> bytes:
        """Say that this node keeps a collection, from now on; the DHT key. Once more changes nothing."""
        return self._announcer.provide(collection_key(author, slug), f"collection {author}/{slug}")

    def withdraw(self, author: str, slug: str) -> None:
        """Say so no longer; what other peers hold runs out by itself."""
        self._announcer.stop_providing(collection_key(author, slug))

    async def newest(self, author: str, slug: str, known: SignedCollection | None) -> SignedCollection:
        """The newest collection of a name that any peer asked has, verified, and never behind ``known``.

        Another one at the sequence of ``known`` is returned as it came: the caller sees the fork. Raises
        StaleError when only older ones are offered, NotFoundError when nobody has one, NoPeersError when
        nobody could be asked.
        """
        found: list[SignedCollection] = []
        stale: StaleError | None = None
        problems: list[str] = []
        answered: set[str] = set()

        async def ask(info: PeerInfo) -> None:
            nonlocal stale
            try:
                found.append(await get_collection(self._host, info, author, slug, known))
            except StaleError as error:
                stale = error
            except NotFoundError:
                pass
            except P2PVoiceError as error:
                problems.append(f"{info.peer_id}: {error.message}")
                log.info("peer %s gave no collection: %s", info.peer_id, error.message)
                return
            answered.add(str(info.peer_id))

        async def ask_all(peers: list[PeerInfo]) -> None:
            async with trio.open_nursery() as nursery:
                for info in peers[:ASK_LIMIT]:
                    nursery.start_soon(ask, info)

        providers = await self._providers(author, slug)
        await ask_all(providers)
        if not found:
            asked = {str(info.peer_id) for info in providers[:ASK_LIMIT]}
            await ask_all([info for info in self._host.neighbours() if str(info.peer_id) not in asked])
        if found:
            # Of a fork among peers, what agrees with us comes last: the other one is what there is to see.
            return max(found, key=lambda one: (one.collection.sequence, known is None or one.id != known.id))
        if stale is not None:
            raise stale
        if not answered:
            raise NoPeersError(
                f"nobody could be asked for the collection {slug}" + ("; " + problems[0] if problems else "")
            )
        raise NotFoundError(f"nobody who was asked keeps a collection {author}/{slug}")

    async def _providers(self, author: str, slug: str) -> list[PeerInfo]:
        try:
            infos = await self._host.kad.find_providers(collection_key(author, slug))
        except NetworkError as error:
            log.info("no look-up of the collection %s: %s", slug, error.message)
            return []
        found = {str(info.peer_id): info for info in infos}
        return [found[name] for name in self._host.peers.best_first(found)]
