"""Nodes that keep logs of voices, in one process: real hosts and databases on loopback, no daemon around."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.community.acting import Acted
from p2pvoice.node.community.parts import Community, open_community
from p2pvoice.node.database import Database
from p2pvoice.node.following import Following
from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import Identity, generate
from p2pvoice.node.names import Names
from p2pvoice.node.schema import open_database
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.acts import Act
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.operations import VoiceName

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)

PATIENCE = 60.0
"""Seconds until something that peers do by themselves must have happened."""


@dataclass
class Neighbour:
    """One node: its host, its database, and the community's parts over both."""

    host: P2PHost
    identity: Identity
    database: Database
    catalog: Catalog
    following: Following
    successors: Successors
    community: Community

    @property
    def info(self) -> PeerInfo:
        return PeerInfo(ID.from_string(self.host.id), self.host.host.get_transport_addrs())

    def install(self, release: Release, *, seed: bool = True) -> VoiceName:
        """Hold a voice, as after a fetch."""
        self.catalog.add_release(release.envelope.to_bytes())
        self.catalog.install(release, seed=seed)
        return VoiceName(release.manifest.author, release.manifest.slug)

    async def act(self, voice: VoiceName, act: Act) -> Acted:
        """Say something without telling anybody."""
        return await self.community.acting.act(voice, act)

    async def say(self, voice: VoiceName, act: Act) -> tuple[Acted, int]:
        """Say something and tell others, as the RPC does."""
        return await self.community.say(voice, act)

    def heads(self, voice: VoiceName) -> dict[bytes, bytes]:
        return self.community.logs.heads(voice)

    def texts(self, voice: VoiceName) -> list[str]:
        state = self.community.states.of(self.community.lines.of_voice(voice))
        return [post.text for post in state.comments.values()]

    async def sync(self, other: "Neighbour", voices: Sequence[VoiceName] | None = None) -> bool:
        return await self.community.sync.with_peer(other.info, voices)


@asynccontextmanager
async def neighbour(
    path: Path, identity: Identity | None = None, *, run: bool = False, bootstrap: Sequence[str] = ()
) -> AsyncIterator[Neighbour]:
    """One node. With ``run`` it syncs and passes news on by itself, else only when a test says so."""
    identity = identity or generate()
    disk = trio.CapacityLimiter(4)
    database = open_database(path)
    catalog, following, successors = Catalog(database), Following(database), Successors(database)
    names = Names(catalog, following, successors, lambda: author_id(identity.author_public))
    try:
        async with (
            open_host(identity, listen=LOOPBACK, bootstrap=bootstrap) as host,
            trio.open_nursery() as nursery,
        ):
            community = open_community(host, database, catalog, following, successors, names, identity, disk)
            community.server.attach()
            if run:
                nursery.start_soon(community.run)
            yield Neighbour(host, identity, database, catalog, following, successors, community)
            nursery.cancel_scope.cancel()
    finally:
        database.close()


@asynccontextmanager
async def neighbours(folder: Path, count: int, *, run: bool = False) -> AsyncIterator[list[Neighbour]]:
    """Several nodes that do not know each other yet."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(neighbour(folder / f"{number}.sqlite", run=run))
            for number in range(count)
        ]


async def eventually(look: Callable[[], Any]) -> Any:
    """What ``look`` returns as soon as that is true."""
    with trio.fail_after(PATIENCE):
        # What is looked at is a database and notes in memory: there is no event for all of it.
        while not (found := look()):  # noqa: ASYNC110
            await trio.sleep(0.02)
    return found


async def within(seconds: float, call: Callable[[], Awaitable[Any]]) -> Any:
    """The result of a call that must not take longer; and how long it took is checked by trio's clock."""
    started = time.monotonic()
    with trio.fail_after(seconds):
        result = await call()
    assert time.monotonic() - started < seconds
    return result
