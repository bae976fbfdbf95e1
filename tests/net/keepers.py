"""Nodes that keep shelves, in one process: real hosts, databases and catalog servers on loopback."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.announcing import Announcer
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.hearsay import Hearsay
from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import Identity, generate
from p2pvoice.node.offer import Offer
from p2pvoice.node.recalling import Recall
from p2pvoice.node.schema import open_database
from p2pvoice.node.seeking import Found, find_releases
from p2pvoice.node.shelves.parts import Shelving, open_shelves
from p2pvoice.node.store import Store
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.head import tag_key
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.shelf import ROOM, voice_key
from p2pvoice.protocol.shelf_talk import Outcome

from .commons import PATIENCE
from .conftest import LOOPBACK, Publication

TAG = "language/yue"


@dataclass
class Node:
    """One keeper: its host, its database, and the parts of its shelves."""

    host: P2PHost
    identity: Identity
    database: Database
    catalog: Catalog
    announcer: Announcer
    recall: Recall
    shelves: Shelving

    @property
    def info(self) -> PeerInfo:
        return PeerInfo(ID.from_string(self.host.id), self.host.host.get_transport_addrs())

    def install(self, publication: Publication, *, seed: bool = True) -> Release:
        """Hold a voice, as after a fetch from a search that brought its head."""
        release = publication.release
        self.catalog.add_release(release.envelope.to_bytes())
        self.catalog.add_head(publication.head)
        self.catalog.install(release, seed=seed)
        return release

    async def offer(self, *publications: Publication, seed: bool = True) -> None:
        """Hold voices and keep the shelves of their tags; nothing is announced or told."""
        for publication in publications:
            self.install(publication, seed=seed)
        await self.shelves.keeping.refresh()

    def announce(self, publication: Publication) -> list[bytes]:
        """Announce a voice that is held, as the daemon does."""
        keys = self.announcer.release(publication.release.id, publication.release.manifest.finding_tags)
        self.shelves.keeping.wake()
        return keys

    def knows(self, publication: Publication) -> bool:
        """Whether a release stands on a shelf here, in memory and on the disk."""
        manifest = publication.release.manifest
        card = self.shelves.keeping.keeper.cards.get(voice_key(manifest.author, manifest.slug))
        row = self.database.row("SELECT release FROM shelved WHERE voice=?", (card.key,)) if card else None
        return row is not None and row["release"] == publication.release.id

    async def provide(self) -> None:
        """Say in the DHT that the tag's shelf is kept here. On a busy machine an attempt may fail."""
        with trio.fail_after(PATIENCE):
            while not await self.host.kad.provide(tag_key(TAG)):  # noqa: ASYNC110
                await trio.sleep(0.1)

    async def talk(self, other: "Node", tags: Sequence[str] = (TAG,)) -> Outcome | None:
        """Compare shelves with another node."""
        return await self.shelves.rounds.with_peer(other.info, tags)

    async def find(self, tags: Sequence[str] = (TAG,)) -> dict[str, str]:
        """What a search in the network brings: release id -> the peer that told of it first."""
        found: dict[str, str] = {}

        async def deliver(one: Found) -> None:
            found[one.release.id] = one.peer

        await find_releases(self.host, tags, deliver)
        return found


@asynccontextmanager
async def keeper(
    folder: Path,
    identity: Identity | None = None,
    *,
    run: bool = False,
    bootstrap: Sequence[str] = (),
    room: int = ROOM,
    chance: random.Random | None = None,
) -> AsyncIterator[Node]:
    """One node. With ``run`` it looks up keepers, talks and hints by itself, else when a test says so."""
    identity = identity or generate()
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    disk = trio.CapacityLimiter(4)
    database, store = open_database(folder / "catalog.sqlite"), Store(folder / "store")
    catalog = Catalog(database)
    try:
        async with (
            open_host(identity, listen=LOOPBACK, bootstrap=bootstrap) as host,
            trio.open_nursery() as nursery,
        ):
            announcer = Announcer(host)
            offer = Offer(store, catalog, Successors(database), disk)

            def withdraw(release: Release, with_head: bool) -> None:
                shelves.keeping.wake()

            recall = Recall(host, announcer, catalog, identity, folder, disk, withdraw, folder)
            hearsay = Hearsay(host, catalog, recall, disk)
            offer.hearer = hearsay.hear
            shelves = open_shelves(host, database, catalog, disk, hearsay.hear, room=room, chance=chance)
            offer.shelves = shelves.reader
            ExchangeServer(host, offer).attach()
            shelves.server.attach()
            if run:
                nursery.start_soon(announcer.run)
                nursery.start_soon(shelves.run)
            yield Node(host, identity, database, catalog, announcer, recall, shelves)
            nursery.cancel_scope.cancel()
    finally:
        database.close()
        store.close()


@asynccontextmanager
async def keepers(
    folder: Path, count: int, *, run: bool = False, room: int = ROOM
) -> AsyncIterator[list[Node]]:
    """Several nodes; those after the first know it as their bootstrap peer."""
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        for number in range(count):
            bootstrap = nodes[0].host.addresses() if nodes else ()
            nodes.append(
                await stack.enter_async_context(
                    keeper(folder / f"{number}", run=run, bootstrap=bootstrap, room=room)
                )
            )
        yield nodes
