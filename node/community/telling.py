"""Telling others what is new, and asking those who provide a voice when the user wants to know.

What the user says goes to the connected peers and to providers of the voice, at once; while it reached
nobody it is tried again. What came from a peer goes on to a few others that are known to hold the voice: a
hint that makes news quick, no more; whoever misses it finds it by comparing (sync.py). Follows
specs/community.md, "Telling".
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.community.lines import Line, Lines
from p2pvoice.node.community.log import Logs
from p2pvoice.node.community.neighbours import Neighbours
from p2pvoice.node.community.sync import Sync
from p2pvoice.node.community.talk import talk_to
from p2pvoice.node.discovery import find_providers
from p2pvoice.node.host import P2PHost
from p2pvoice.protocol.conversation import RECORDS_BYTES, TOLD_LIMIT
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.operations import Signed, VoiceName

TELL_PEERS = 64
"""Connected peers that are told what the user says, at most."""

PROVIDERS_ASKED = 8
"""Providers of a voice that are told, or asked, at most."""

PROVIDED_RELEASES = 2
"""Releases of a voice whose providers are looked up: the installed one and the newest."""

TELL_SECONDS = 10.0
"""Seconds that telling, or asking on the user's behalf, may take in all."""

TELL_WIDTH = 6
"""Peers told at the same time."""

PASS_ON_PEERS = 6
"""Other holders of a voice that news from a peer goes on to."""

PASS_ON_QUEUE = 256
"""Batches of news that wait to be passed on; of more, others learn by comparing."""

ASK_QUEUE = 64
"""Voices that wait to be asked about."""

TRY_AGAIN = 600.0
"""Seconds between two attempts to tell what reached nobody yet; a new connection is an occasion, too."""

TRY_PAUSE = 20.0
"""Seconds between two such attempts at least, however many peers connect."""

log = logging.getLogger("p2pvoice.community")


@dataclass(frozen=True)
class _News:
    voice: VoiceName
    records: tuple[bytes, ...]
    source: str


class Telling:
    """Passes operations on. Start :meth:`run` in the daemon's nursery."""

    def __init__(
        self,
        host: P2PHost,
        catalog: Catalog,
        logs: Logs,
        lines: Lines,
        neighbours: Neighbours,
        sync: Sync,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._host = host
        self._catalog = catalog
        self._logs = logs
        self._lines = lines
        self._neighbours = neighbours
        self._sync = sync
        self._disk = disk
        self._width = trio.CapacityLimiter(TELL_WIDTH)
        self._again = trio.Event()
        self._to_ask, self._asking = trio.open_memory_channel[Line](ASK_QUEUE)
        self._to_pass, self._passing = trio.open_memory_channel[_News](PASS_ON_QUEUE)

    # -- what the user says ------------------------------------------------------------------------------

    async def tell(self, line: Line, signed: Sequence[Signed]) -> int:
        """Tell connected peers and the voice's providers of the user's operations; how many hold them now."""
        told: set[str] = set()
        records = tuple(one.data for one in signed)

        async def tell(peer: PeerInfo) -> None:
            name = str(peer.peer_id)
            kept = await self._tell(peer, records)
            if kept == len(records):
                self._neighbours.holds(name, {one.operation.voice for one in signed})
                told.add(name)
                await self._reached(signed)
                return
            lacking = any(self._neighbours.is_lacking(name, voice) for voice in line.voices)
            # It has them from somebody else, or lacks what comes before them: comparing tells.
            compared = kept is not None and not lacking and await self._sync.with_peer(peer, line.voices)
            if compared and self._holds(name, line):
                told.add(name)

        await self._each(line, tell, everybody=True)
        return len(told)

    async def ask_about(self, line: Line) -> int:
        """Bring a voice up to date with those who provide it; how many answered.

        The user asked for it by name, so those who are asked may know.
        """
        answered: set[str] = set()

        def note() -> bool:
            for voice in line.voices:
                self._logs.asked(voice)
            return self._lines.shows(line)

        shown = await trio.to_thread.run_sync(note, limiter=self._disk)

        async def ask(peer: PeerInfo) -> None:
            if await self._sync.with_peer(peer, line.voices) and self._holds(str(peer.peer_id), line):
                answered.add(str(peer.peer_id))

        await self._each(line, ask, everybody=shown)
        return len(answered)

    def ask_later(self, line: Line) -> None:
        """Do the same beside what goes on, as after a fetch."""
        try:
            self._to_ask.send_nowait(line)
        except trio.WouldBlock:
            log.info("not asking about a voice: too many at once")

    async def _ask_in_turn(self) -> None:
        async for line in self._asking:
            await self.ask_about(line)

    async def _each(
        self, line: Line, call: Callable[[PeerInfo], Awaitable[None]], *, everybody: bool
    ) -> None:
        """Call for connected peers, all or those known to hold the voice, and for providers in the DHT."""
        asked: set[str] = set()
        with trio.move_on_after(TELL_SECONDS):
            async with trio.open_nursery() as nursery:

                def begin(peers: Sequence[PeerInfo]) -> None:
                    for peer in peers:
                        if str(peer.peer_id) not in asked:
                            asked.add(str(peer.peer_id))
                            nursery.start_soon(call, peer)

                holders = {name for voice in line.voices for name in self._neighbours.holders(voice)}
                near = [peer for peer in self._host.neighbours() if everybody or str(peer.peer_id) in holders]
                begin(near[:TELL_PEERS])
                begin(await self._providers(line))

    async def _providers(self, line: Line) -> list[PeerInfo]:
        def releases() -> list[str]:
            found: dict[str, None] = {}
            for author in reversed(line.authors):
                held = self._catalog.installed_release(author, line.slug)
                head = self._catalog.head(author, line.slug)
                known = self._catalog.releases_of(author, line.slug)[:1]
                named = [held.release if held else "", head.release if head else ""]
                found |= dict.fromkeys(one for one in (*named, *(one.id for one in known)) if one)
            return list(found)[:PROVIDED_RELEASES]

        found: dict[str, PeerInfo] = {}
        for release in await trio.to_thread.run_sync(releases, limiter=self._disk):
            try:
                for peer in await find_providers(self._host, release):
                    found.setdefault(str(peer.peer_id), peer)
            except P2PVoiceError as error:
                log.info("no look-up of who provides a voice: %s", error.message)
        return list(found.values())[:PROVIDERS_ASKED]

    def _holds(self, peer: str, line: Line) -> bool:
        return any(peer in self._neighbours.holders(voice) for voice in line.voices)

    async def _tell(self, peer: PeerInfo, records: Sequence[bytes]) -> int | None:
        """How many of the records were news to the peer; None when it could not be told."""
        async with self._width:
            try:
                with trio.fail_after(TELL_SECONDS):
                    async with talk_to(self._host, peer) as talk:
                        return await talk.tell(records)
            except (P2PVoiceError, trio.TooSlowError) as error:
                log.info("peer %s was not told of operations: %s", peer.peer_id, error)
            except Exception:
                # Whatever a peer finds to break here must not end the daemon.
                log.exception("telling peer %s of operations failed", peer.peer_id)
        return None

    async def _reached(self, signed: Sequence[Signed]) -> None:
        def note() -> None:
            for one in signed:
                self._logs.told(one.operation.voice, one.operation.signer, one.operation.seq)

        await trio.to_thread.run_sync(note, limiter=self._disk)

    # -- what others say ---------------------------------------------------------------------------------

    def heard(self, voice: VoiceName, signed: Sequence[Signed], peer: str) -> None:
        """Something new joined a log here, brought by ``peer``; it is passed on in a moment.

        Without a peer it is the user's own, signed again: then it is told like all that reached nobody yet.
        """
        if not peer:
            self._again.set()
            return
        records: list[bytes] = []
        size = 0
        for one in signed[:TOLD_LIMIT]:
            size += len(one.data)
            if size > RECORDS_BYTES:
                break
            records.append(one.data)
        try:
            self._to_pass.send_nowait(_News(voice, tuple(records), peer))
        except trio.WouldBlock:
            log.info("not passing operations on: too many at once")

    async def run(self) -> None:
        """Pass news on, and tell again what reached nobody; for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._try_again)
            nursery.start_soon(self._ask_in_turn)
            async for news in self._passing:
                await self._pass_on(news)

    async def _pass_on(self, news: _News) -> None:
        def shown() -> bool:
            return self._lines.shows(self._lines.of_voice(news.voice))

        # Passing on what is kept and not offered would tell that it is here.
        if not await trio.to_thread.run_sync(shown, limiter=self._disk):
            return
        connected = set(self._host.connected())
        holders = [
            name
            for name in self._neighbours.holders(news.voice)
            if name in connected and name != news.source and not self._host.peers.is_shunned(name)
        ]
        async with trio.open_nursery() as nursery:
            for name in random.sample(holders, min(len(holders), PASS_ON_PEERS)):
                nursery.start_soon(self._tell, PeerInfo(ID.from_string(name), []), news.records)

    async def _try_again(self) -> None:
        while True:
            coming = self._host.coming()
            untold = await trio.to_thread.run_sync(self._untold, limiter=self._disk)
            if untold and self._host.connected():
                for line, records in untold:
                    await self.tell(line, records)
                await trio.sleep(TRY_PAUSE)
            with trio.move_on_after(TRY_AGAIN * random.uniform(0.8, 1.2)):
                await self._occasion(coming)

    async def _occasion(self, coming: trio.Event) -> None:
        """Wait until a peer connects, or something of the user's was signed again."""
        async with trio.open_nursery() as nursery:

            async def wait(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait, coming)
            nursery.start_soon(wait, self._again)
        self._again = trio.Event()

    def _untold(self) -> list[tuple[Line, list[Signed]]]:
        """The user's operations that reached nobody yet, by voice; the earliest of each, as many as fit."""
        found: list[tuple[Line, list[Signed]]] = []
        for voice, key in self._logs.untold(self._lines.own_keys()):
            line = self._lines.of_voice(voice)
            if self._lines.revoked(line) is None:
                found.append((line, self._logs.behind_told(voice, key, TOLD_LIMIT, RECORDS_BYTES)))
        return [(line, records) for line, records in found if records]
