"""The daemon's one door to the network: everything above it asks here and never touches libp2p.

It joins host, announcer, discovery and fetch with the catalog: what is found is verified and remembered,
what is installed is announced. Not for what a peer may ask of us: see offer.py. Follows specs/network.md.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.announcing import Announcer
from p2pvoice.node.ask import Recalled, SignedHead, fetch_manifest, get_head, get_successor
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.collection_swarm import CollectionSwarm
from p2pvoice.node.discovery import connected_peers, find_head, find_providers, find_successor
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.fetch import fetch_files
from p2pvoice.node.fetch_report import FetchReport, Progress
from p2pvoice.node.hearsay import Hearsay
from p2pvoice.node.host import P2PHost
from p2pvoice.node.identity import Identity
from p2pvoice.node.offer import Landing
from p2pvoice.node.peers import Fault
from p2pvoice.node.ratelimit import Limits
from p2pvoice.node.recalling import Recall
from p2pvoice.node.seeking import Found, find_releases
from p2pvoice.node.sharing import Sharing
from p2pvoice.protocol.errors import (
    KeyLockedError,
    NetworkError,
    NotFoundError,
    P2PVoiceError,
    RevokedError,
    StaleError,
)
from p2pvoice.protocol.head import LIFETIME, Head, sign_head
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import FileEntry, Release
from p2pvoice.protocol.successor import successor_key

log = logging.getLogger("p2pvoice.network")

#: Seconds a publication waits for the network to have heard of it before it answers.
ANNOUNCE_WAIT = 20.0

#: Peers asked one after another for a release or a head, at most.
ASK_LIMIT = 8

#: Peers that are connected to in one round of counting holders, at most.
ALIVE_LIMIT = 64


class Network:
    """Host and announcer, with the catalog they feed."""

    def __init__(
        self,
        host: P2PHost,
        announcer: Announcer,
        server: ExchangeServer,
        catalog: Catalog,
        identity: Identity,
        disk: trio.CapacityLimiter,
        voices: Path,
        bases: Path,
    ) -> None:
        self._host = host
        self._announcer = announcer
        self._server = server
        self._catalog = catalog
        self._identity = identity
        self._disk = disk
        #: Release -> its keys. The announcer counts users of a tag, so each release is told to it once.
        self._announced: dict[str, list[bytes]] = {}
        #: Revocations: taking them in, and passing them on.
        self.recall = Recall(
            host,
            announcer,
            catalog,
            identity,
            voices,
            disk,
            lambda release, with_head: self.withdraw(release, with_head=with_head),
            bases,
        )
        #: Revocations: learning of them.
        self.hearsay = Hearsay(host, catalog, self.recall, disk)
        #: Collections: announcing and finding them.
        self.collections = CollectionSwarm(host, announcer)
        #: What is being fetched with seeding.
        self.sharing = Sharing(announcer)
        #: Heads of our own that wait for the author key to be unlocked: slug -> when the held one expires.
        self.unsigned: dict[str, int] = {}
        #: Told when what is offered here has changed: the shelves of its tags are kept.
        self.on_offer: Callable[[], None] = lambda: None

    # -- facts -------------------------------------------------------------------------------------------

    @property
    def peer_id(self) -> str:
        """Our own peer id."""
        return self._host.id

    def addresses(self) -> list[str]:
        """Addresses under which others reach us."""
        return self._host.addresses()

    def listening_addresses(self) -> list[str]:
        """Where this node listens, without our peer id."""
        return self._host.listening()

    def observed_addresses(self) -> list[str]:
        """Addresses at which peers see us; what a peer says is a claim."""
        return self._host.observed()

    def relay_facts(self) -> dict[str, Any] | None:
        """What relays are used for; None when they are not."""
        return self._host.relaying.facts() if self._host.relaying is not None else None

    def connected_count(self) -> int:
        """Peers we are connected to."""
        return len(self._host.connected())

    def dht_facts(self) -> dict[str, Any]:
        """The announcer's state."""
        return self._announcer.status()

    def served_bytes(self) -> int:
        """Bytes of chunks sent to peers since the start, as they travelled."""
        return self._server.chunk_bytes

    def traffic(self) -> tuple[int, int, dict[str, int]]:
        """Payload bytes in and out since the start, and how often peers were dropped, by reason."""
        book = self._host.peers
        return book.received, book.sent, {fault.value: book.drops[fault] for fault in Fault}

    @property
    def limits(self) -> Limits:
        """How fast chunks may leave and come."""
        return self._host.limits

    def served_at(self) -> dict[bytes, float]:
        """Digest of each file that peers had chunks of since the start -> when last, in trio's time."""
        return self._server.served_at

    def peer_rows(self) -> list[dict[str, Any]]:
        """The peer book."""
        return self._host.peers.rows()

    async def connect(self, multiaddr: str) -> str:
        """Dial a peer by hand; returns its id."""
        return await self._host.connect(multiaddr)

    # -- announcing --------------------------------------------------------------------------------------

    def announce(self, release: Release) -> list[bytes]:
        """Announce an installed release, and its head when the voice is our own; returns the keys.

        Announcing it once more changes nothing but the head, which is signed afresh.
        """
        manifest = release.manifest
        if release.id not in self._announced:
            self._announced[release.id] = self._announcer.release(release.id, manifest.finding_tags)
        self.on_offer()
        keys = list(self._announced[release.id])
        # Bases have no head: whoever needs one names it.
        if manifest.author == self._identity.author_public and not manifest.is_base:
            author = author_id(manifest.author)
            make = partial(self.sign_again, author, manifest.slug)
            keys.append(self._announcer.head(author, manifest.slug, make))
        return keys

    def announce_successor(self, author: str, data: bytes) -> bytes:
        """Announce what comes after a former author key of our own; returns the DHT key."""
        return self._announcer.record(successor_key(author), f"successor of {author}", lambda: data)

    def sign_again(self, author: str, slug: str) -> bytes:
        """Our newest head of a voice, signed afresh so that it does not expire."""
        head = self._catalog.head(author, slug)
        if head is None:
            raise NotFoundError(f"there is no head of {slug}")
        now = int(time.time())
        if self._identity.locked:
            self.unsigned[slug] = head.expires
            held = self._catalog.head_bytes(author, slug)
            # What was signed before is put as it is, for as long as it is valid: only signing waits.
            if held is None or head.expires <= now:
                raise KeyLockedError(f"the head of {slug} has expired, and the author key is locked")
            return held
        data = sign_head(replace(head, expires=now + LIFETIME), self._identity.author)
        self.unsigned.pop(slug, None)
        self._catalog.add_head(data)
        return data

    def withdraw(self, release: Release, *, with_head: bool = False) -> None:
        """Stop announcing a release, if it was announced."""
        if self._announced.pop(release.id, None) is not None:
            self._announcer.withdraw(release.id, release.manifest.finding_tags)
        self.on_offer()
        if with_head:
            self.withdraw_head(release)

    def withdraw_head(self, release: Release) -> None:
        """Stop republishing the head of a voice of our own."""
        self.unsigned.pop(release.manifest.slug, None)
        self._announcer.withdraw_head(author_id(release.manifest.author), release.manifest.slug)

    async def announced(self, keys: Sequence[bytes]) -> bool:
        """Whether the network has heard of all keys, after waiting a while when there are peers."""
        if not self._host.connected():
            return False
        return await self._announcer.done(keys, ANNOUNCE_WAIT)

    # -- finding -----------------------------------------------------------------------------------------

    async def find(
        self, tags: Sequence[str], deliver: Callable[[Release], Awaitable[None]], seconds: float
    ) -> int:
        """Search the network; every release found is remembered and delivered. How many peers answered."""

        async def take(found: Found) -> None:
            try:
                await self.remember(found.release, found.head)
            except RevokedError as error:
                log.info("peer %s offers what was revoked: %s", found.peer, error.message)
                return
            if await self.hearsay.judge(found.release):
                await deliver(found.release)

        return await find_releases(self._host, tags, take, timeout=seconds, hear=self.hearsay.hear)

    async def remember(self, release: Release, head: SignedHead | None) -> None:
        """Put a verified release and its head into the catalog. RevokedError for one that was revoked."""

        def keep() -> None:
            self._catalog.add_verified(release)
            if head is not None:
                try:
                    self._catalog.add_head(head.data)
                except StaleError as error:
                    log.info("a replayed head was ignored: %s", error.message)

        await trio.to_thread.run_sync(keep, limiter=self._disk)

    async def find_release(self, identifier: str, *, child: str = "") -> Release:
        """Get a release by its id from whoever provides it, and remember it.

        When nobody does, those are asked who provide its ``child``, a release that names it as a parent, and
        else a few whom we are connected to.

        Raises NotFoundError when nobody has it, NoPeersError when none who provides it could be asked, and
        RevokedError when somebody shows that it was revoked.
        """
        stone = await trio.to_thread.run_sync(
            self._catalog.tombstones.of_release, identifier, limiter=self._disk
        )
        if stone is not None:
            raise stone.error()
        providers = await find_providers(self._host, identifier)
        if not providers and child:
            providers = await find_providers(self._host, child)
        asked = providers or connected_peers(self._host)
        try:
            release = await fetch_manifest(self._host, identifier, asked[:ASK_LIMIT])
        except Recalled as recalled:
            raise await self.hearsay.believe(recalled) from None
        except (NotFoundError, NetworkError):
            await self.hearsay.seek(identifier)
            if providers:
                raise
            raise NotFoundError(
                f"nobody in the network has the release {identifier}", hint="p2pvoice find --tag …"
            ) from None
        await self.remember(release, None)
        return release

    async def holders(self, identifier: str) -> list[str]:
        """Ids of the peers that say they have a release, the best first. NetworkError when nobody answers."""
        return [str(info.peer_id) for info in await find_providers(self._host, identifier)]

    async def count_holders(self, identifier: str, alive: dict[str, bool]) -> int:
        """How many others say that they have a release and can be reached.

        Records in the DHT outlive whoever made them by two days, so those who say so are connected to; who
        was reached or not is kept in ``alive`` by the caller, for the next count. After ALIVE_LIMIT attempts
        the rest is believed.
        """
        count = 0
        for info in await find_providers(self._host, identifier):
            name = str(info.peer_id)
            if name not in alive:
                alive[name] = len(alive) >= ALIVE_LIMIT or await self._reaches(info)
            count += alive[name]
        return count

    async def _reaches(self, info: PeerInfo) -> bool:
        try:
            await self._host.reach(info)
        except P2PVoiceError:
            return False
        return True

    async def arrival(self) -> None:
        """Wait until some peer is connected."""
        await self._host.arrival()

    async def joined(self, within: float) -> None:
        """Wait a while for a node that has only just started to find its way into the DHT."""
        if not self._host.kad.table_size():
            with trio.move_on_after(within):
                await self._host.joined.wait()

    async def find_successors(self, author: str, release: str | None) -> list[bytes]:
        """Verified records of what comes after an author's key, from the DHT and a release's providers.

        Empty when nobody knows one. More than one may mean a fork; none of them is believed by being here.
        """
        found: dict[bytes, None] = {}
        try:
            data = await find_successor(self._host, author)
            if data is not None:
                found[data] = None
            providers = await find_providers(self._host, release) if release is not None else []
        except NetworkError as error:
            log.info("no look-up of the successor of %s: %s", author, error.message)
            providers = []
        for info in providers[:ASK_LIMIT]:
            try:
                found[await get_successor(self._host, info, author)] = None
            except P2PVoiceError as error:
                log.info("peer %s knows no successor of %s: %s", info.peer_id, author, error.message)
        return list(found)

    async def newest_head(self, author: str, slug: str, release: str | None) -> Head:
        """The newest head of a voice that the DHT or the release's providers know; remembered, too.

        Raises NotFoundError when nobody knows one, StaleError when only old ones are replayed, and
        RevokedError when somebody shows that the voice was revoked.
        """
        known = await trio.to_thread.run_sync(self._catalog.head, author, slug, limiter=self._disk)
        best: Head | None = known
        problem: P2PVoiceError | None = None

        async def consider(head: SignedHead) -> None:
            nonlocal best
            await trio.to_thread.run_sync(self._catalog.add_head, head.data, limiter=self._disk)
            if best is None or head.sequence > best.sequence:
                best = head

        try:
            await consider(await find_head(self._host, author, slug, known))
        except (NotFoundError, NetworkError, StaleError) as error:
            problem = error
        if release is not None:
            try:
                providers = await find_providers(self._host, release)
            except NetworkError:
                providers = []
            for info in providers[:ASK_LIMIT]:
                try:
                    await consider(await get_head(self._host, info, author, slug, best))
                except Recalled as recalled:
                    raise await self.hearsay.believe(recalled) from None
                except P2PVoiceError as error:
                    log.info("peer %s has no newer head: %s", info.peer_id, error.message)
        if isinstance(problem, StaleError) and best is known:
            raise problem
        if best is None:
            await self.hearsay.seek(author=author, slug=slug)
            raise problem or NotFoundError(f"nobody knows a head of {author}/{slug}")
        return best

    # -- fetching ----------------------------------------------------------------------------------------

    async def fetch(
        self,
        release: str,
        files: Sequence[FileEntry],
        landing: Landing,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> FetchReport:
        """Fetch what is missing of a release's files from whoever provides the release."""

        async def more() -> Sequence[Any]:
            return await find_providers(self._host, release)

        async with self._host.limits.fetching():
            return await fetch_files(
                self._host, files, await more(), landing, progress=on_progress, find_more=more
            )
