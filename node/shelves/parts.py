"""What keeping shelves consists of, and how it is put together. Follows specs/shelves.md."""

import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.ask import tell_revocation
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.host import P2PHost
from p2pvoice.node.shelves.keeping import Keeping
from p2pvoice.node.shelves.reading import ShelfReader
from p2pvoice.node.shelves.rounds import Rounds
from p2pvoice.node.shelves.server import ShelfServer
from p2pvoice.node.shelves.tables import ShelfTable
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.shelf import ROOM
from p2pvoice.protocol.shelf_keeper import Keeper

log = logging.getLogger("p2pvoice.shelves")


@dataclass(frozen=True)
class Shelving:
    """The parts: the keeper with its disk, what searches read, answering others, and asking them."""

    keeping: Keeping
    reader: ShelfReader
    server: ShelfServer
    rounds: Rounds

    def facts(self) -> dict[str, Any]:
        """Counts for ``status``: shelves kept, voices on them, and whether any of them is partial."""
        keeper = self.keeping.keeper
        shelves = [shelf for shelf in map(keeper.shelf, keeper.tags) if shelf is not None]
        return {
            "kept": len(shelves),
            "voices": len(keeper.cards),
            "partial": sum(shelf.partial for shelf in shelves),
            "taken": self.keeping.taken,
            "talks": self.rounds.talks,
        }

    async def run(self) -> None:
        """Keep the shelves; for ever."""
        self.keeping.wake()
        await self.rounds.run()


def open_shelves(
    host: P2PHost,
    database: Database,
    catalog: Catalog,
    disk: trio.CapacityLimiter,
    hear: Callable[[bytes], Awaitable[None]],
    *,
    room: int = ROOM,
    clock: Callable[[], float] = time.time,
    chance: random.Random | None = None,
) -> Shelving:
    """The parts over the node's database and host; served after ``server.attach`` only.

    ``hear`` takes a revocation that somebody showed.
    """
    keeper = Keeper(host.id, room=room, chance=chance)
    keeping = Keeping(keeper, ShelfTable(database, catalog, clock=clock), disk, clock=clock)

    async def heard(record: bytes) -> None:
        try:
            await hear(record)
        except P2PVoiceError:
            # Not signed, or no revocation at all: it says nothing.
            return

    async def tell(peer: PeerInfo, record: bytes) -> None:
        try:
            await tell_revocation(host, peer, record)
        except P2PVoiceError as error:
            log.info("peer %s was not told of a revocation: %s", peer.peer_id, error.message)

    rounds = Rounds(host, keeping, heard, tell)
    return Shelving(keeping, ShelfReader(keeping), ShelfServer(host, keeping), rounds)
