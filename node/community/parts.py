"""What the community's side of a daemon consists of, and how it is put together.

Only a list of parts, like node/parts.py. Follows specs/community.md.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.community.acting import Acted, Acting
from p2pvoice.node.community.credits import Credits
from p2pvoice.node.community.intake import Intake
from p2pvoice.node.community.lines import Lines
from p2pvoice.node.community.log import Logs
from p2pvoice.node.community.neighbours import Neighbours
from p2pvoice.node.community.server import OperationsServer
from p2pvoice.node.community.sets import Sets
from p2pvoice.node.community.standing import Standing
from p2pvoice.node.community.states import States
from p2pvoice.node.community.sync import Sync
from p2pvoice.node.community.telling import Telling
from p2pvoice.node.community.views import Views
from p2pvoice.node.database import Database
from p2pvoice.node.following import Following
from p2pvoice.node.host import P2PHost
from p2pvoice.node.identity import Identity
from p2pvoice.node.names import Names
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.acts import Act
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.operations import VoiceName


@dataclass(frozen=True)
class Community:
    """The logs of voices and everything that reads and writes them."""

    logs: Logs
    lines: Lines
    standing: Standing
    states: States
    acting: Acting
    views: Views
    intake: Intake
    neighbours: Neighbours
    sync: Sync
    telling: Telling
    server: OperationsServer
    credits: Credits

    async def say(self, voice: VoiceName, act: Act) -> tuple[Acted, int]:
        """Do an act of the user's on a voice and tell others of it; how many others hold it now.

        Raises as :meth:`Acting.act` does; what reaches nobody is told later.
        """
        acted = await self.acting.act(voice, act)
        return acted, await self.tell(acted)

    async def tell(self, acted: Acted) -> int:
        """Tell others of an act that was done; how many others hold it now."""
        return await self.telling.tell(acted.line, [acted.signed]) if acted.signed is not None else 0

    def forget_unneeded(self) -> int:
        """Forget the logs of voices that this node has nothing to do with any more; how many. Blocking."""
        gone = [voice for voice in self.logs.voices() if not self.lines.keeps(self.lines.of_voice(voice))]
        for voice in gone:
            self.logs.drop(voice)
        return len(gone)

    async def run(self) -> None:
        """Sync with peers and pass news on; for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sync.run)
            nursery.start_soon(self.telling.run)


def open_community(
    host: P2PHost,
    database: Database,
    catalog: Catalog,
    following: Following,
    successors: Successors,
    names: Names,
    identity: Identity,
    disk: trio.CapacityLimiter,
    *,
    clock: Callable[[], float] = time.time,
) -> Community:
    """The community's parts over the node's database and host; served after ``server.attach`` only."""

    def own() -> str:
        return author_id(identity.author_public)

    lines = Lines(database, catalog, successors, own, clock=clock)
    standing = Standing(following, successors, own)
    logs = Logs(database, lambda voice: standing.on(lines.of_voice(voice)), clock=clock)
    states, sets, neighbours = States(logs), Sets(logs), Neighbours()
    acting = Acting(logs, lines, states, identity, disk)
    intake = Intake(logs, lines, acting, disk)
    sync = Sync(host, logs, lines, standing, sets, intake, neighbours, disk)
    telling = Telling(host, catalog, logs, lines, neighbours, sync, disk)
    intake.heard = telling.heard
    return Community(
        logs=logs,
        lines=lines,
        standing=standing,
        states=states,
        acting=acting,
        views=Views(logs, states, standing, names, lines.own_keys),
        intake=intake,
        neighbours=neighbours,
        sync=sync,
        telling=telling,
        server=OperationsServer(host, logs, lines, sets, intake, neighbours, disk),
        credits=Credits(database, catalog, lines, standing, states, logs, successors, own),
    )
