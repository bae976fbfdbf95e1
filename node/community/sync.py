"""Bringing logs up to date with peers: when to ask whom, and one voice's sync with one peer.

Connected peers are asked when they connect and every ten minutes about the voices that this node offers or
published: about no others, because a question tells that the voice is here. What the user asks for by name
is asked of those who provide the voice. A sync is reconciliation: what is equal is not sent, and both sides
end with the same chains as far as each has room. Not for passing on what is new (telling.py). Follows
specs/community.md.
"""

import logging
import random
from collections.abc import Sequence

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.community.intake import Intake
from p2pvoice.node.community.lines import Lines
from p2pvoice.node.community.log import Logs
from p2pvoice.node.community.neighbours import Neighbours
from p2pvoice.node.community.room import VOICE_CHAINS
from p2pvoice.node.community.sets import Sets
from p2pvoice.node.community.standing import Standing
from p2pvoice.node.community.talk import Talk, check_chain, talk_to
from p2pvoice.node.host import P2PHost
from p2pvoice.protocol.chain import ChainExchange, point_places
from p2pvoice.protocol.conversation import RECORDS_BYTES, RECORDS_LIMIT, TOLD_LIMIT, VOICES_COMPARED
from p2pvoice.protocol.errors import (
    BusyError,
    ManifestError,
    NotFoundError,
    P2PVoiceError,
    ProtocolMismatchError,
)
from p2pvoice.protocol.operations import VoiceName
from p2pvoice.protocol.reconcile import Difference

ASK_EVERY = 600.0
"""Seconds between two times the same connected peer is asked, jittered by 20 %."""

ASK_CHECK = 60.0
"""Seconds between looks whether a peer is to be asked; a new connection is noticed at once."""

ASK_VOICES = 512
"""Voices asked about in one round with one peer."""

WIDTH = 6
"""Peers talked with at the same time."""

URGENT_WIDTH = 16
"""Peers talked with at the same time because the user waits for it."""

TALK_TIMEOUT = 60.0
"""Seconds one talk with one peer may take; what was taken by then stays."""

FETCH_OPERATIONS = 4_096
"""Operations taken from one peer in one talk."""

FETCH_BYTES = 8 * 1024 * 1024
"""Signed bytes of them together."""

SEND_OPERATIONS = 2_048
"""Operations sent to one peer in one talk: half of what it lets a peer send at once."""

NEWCOMERS_WHEN_FULL = 8
"""Strangers' chains that one talk brings, or sends, where a voice has no room for more."""

log = logging.getLogger("p2pvoice.community")


class _Budget:
    """What one talk may still bring and send."""

    def __init__(self) -> None:
        self.operations = FETCH_OPERATIONS
        self.bytes = FETCH_BYTES
        self.sending = SEND_OPERATIONS


class Sync:
    """Asks peers. Start :meth:`run` in the daemon's nursery."""

    def __init__(
        self,
        host: P2PHost,
        logs: Logs,
        lines: Lines,
        standing: Standing,
        sets: Sets,
        intake: Intake,
        neighbours: Neighbours,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._host = host
        self._logs = logs
        self._lines = lines
        self._standing = standing
        self._sets = sets
        self._intake = intake
        self._neighbours = neighbours
        self._disk = disk
        self._width = trio.CapacityLimiter(WIDTH)
        self._urgent = trio.CapacityLimiter(URGENT_WIDTH)
        #: Talks that went through since the start, for tests and metrics.
        self.talks = 0

    async def run(self) -> None:
        """Ask every connected peer, again and again; for ever."""
        due: dict[str, float] = {}
        async with trio.open_nursery() as nursery:
            while True:
                coming, now = self._host.coming(), trio.current_time()
                connected = self._host.connected()
                self._neighbours.only(connected)
                due = {name: at for name, at in due.items() if name in connected}
                for name in connected:
                    if due.get(name, now) <= now and not self._host.peers.is_shunned(name):
                        due[name] = now + ASK_EVERY * random.uniform(0.8, 1.2)
                        nursery.start_soon(self.with_peer, PeerInfo(ID.from_string(name), []))
                # What could not be signed again while the key was locked.
                await self._intake.restore()
                with trio.move_on_after(ASK_CHECK):
                    await coming.wait()

    async def with_peer(self, peer: PeerInfo, voices: Sequence[VoiceName] | None = None) -> bool:
        """Bring ``voices``, or all that peers may know of, up to date with one peer; False when it failed.

        ``voices`` are named when the user waits: slow peers that are asked by and by do not stand in the way.
        """
        name, width = str(peer.peer_id), self._width if voices is None else self._urgent
        if voices is None:
            shown = await trio.to_thread.run_sync(self._lines.shown, limiter=self._disk)
            voices = [voice for voice in shown if not self._neighbours.is_lacking(name, voice)]
            voices = random.sample(voices, min(len(voices), ASK_VOICES))
        if not voices:
            return True
        async with width:
            with trio.move_on_after(TALK_TIMEOUT):
                try:
                    async with talk_to(self._host, peer) as talk:
                        budget = _Budget()
                        for at in range(0, len(voices), VOICES_COMPARED):
                            await self._batch(talk, voices[at : at + VOICES_COMPARED], budget)
                    self.talks += 1
                    return True
                except (BusyError, ProtocolMismatchError) as error:
                    log.debug("no talk of logs with peer %s: %s", name, error.message)
                except P2PVoiceError as error:
                    log.info("the talk of logs with peer %s ended: %s", name, error.message)
                except Exception:
                    # Whatever a peer finds to break here must not end the daemon.
                    log.exception("the talk of logs with peer %s failed", name)
        return False

    async def _batch(self, talk: Talk, voices: Sequence[VoiceName], budget: _Budget) -> None:
        def ours() -> list[tuple[VoiceName, bytes]]:
            return [(voice, self._sets.of(voice).fingerprint()) for voice in voices]

        asked = await trio.to_thread.run_sync(ours, limiter=self._disk)
        differing = await talk.compare(asked)
        alike = [voice for voice, mine in asked if voice not in differing and mine != self._sets.empty]
        await self._settled(talk.peer, alike)
        for voice in differing:
            try:
                await self._voice(talk, voice, budget)
            except NotFoundError:
                self._neighbours.lacks(talk.peer, voice)

    async def _voice(self, talk: Talk, voice: VoiceName, budget: _Budget) -> None:
        pairs = await trio.to_thread.run_sync(self._sets.of, voice, limiter=self._disk)
        differences = await talk.differences(voice, pairs)
        self._neighbours.holds(talk.peer, [voice])

        def chosen() -> list[Difference]:
            return self._chosen(talk.peer, voice, differences, len(pairs))

        for one in await trio.to_thread.run_sync(chosen, limiter=self._disk):
            common = 0
            if one.theirs is not None:
                common = await self._fetch(talk, voice, one, budget)
            if one.ours is not None:
                await self._send(talk, voice, one, common, budget)
        own = await trio.to_thread.run_sync(self._lines.own_keys, limiter=self._disk)
        if not any(one.key in own for one in differences):
            await self._settled(talk.peer, [voice])

    def _chosen(
        self, peer: str, voice: VoiceName, differences: Sequence[Difference], held: int
    ) -> list[Difference]:
        """The chains to talk about: those who count first, then known ones, then strangers as room allows."""
        trusted = self._standing.on(self._lines.of_voice(voice))
        counting = [one for one in differences if one.key in trusted]
        strangers = [one for one in differences if one.key not in trusted]
        both = [one for one in strangers if one.ours is not None and one.theirs is not None]
        turned_away, declined = self._logs.turned_away, self._neighbours.has_declined
        new_here = [one for one in strangers if one.ours is None and not turned_away.holds(voice, one.key)]
        new_there = [one for one in strangers if one.theirs is None and not declined(peer, voice, one.key)]
        there = held - sum(one.theirs is None for one in differences)
        there += sum(one.ours is None for one in differences)
        # Nobody's chain is always the first to be left out.
        for some in (both, new_here, new_there):
            random.shuffle(some)
        return [
            *counting,
            *both,
            *new_here[: max(NEWCOMERS_WHEN_FULL, VOICE_CHAINS - held)],
            *new_there[: max(NEWCOMERS_WHEN_FULL, VOICE_CHAINS - there)],
        ]

    async def _fetch(self, talk: Talk, voice: VoiceName, one: Difference, budget: _Budget) -> int:
        """Take what the peer has of a chain; the place behind which ours is news to the peer."""
        signer = one.key

        def named() -> list[tuple[int, bytes]]:
            length = self._logs.length(voice, signer)
            at = ((seq, self._logs.id_at(voice, signer, seq)) for seq in point_places(length))
            return [(seq, digest) for seq, digest in at if digest is not None]

        exchange = ChainExchange(tuple(await trio.to_thread.run_sync(named, limiter=self._disk)))
        # The first answer may also begin at the beginning: the two chains need not have a point in common.
        behind = {0, *(seq for seq, _ in exchange.points or ())}
        while exchange.points is not None and budget.operations > 0 and budget.bytes > 0:
            points = list(exchange.points)
            reply = await talk.chain(voice, signer, points, min(RECORDS_LIMIT, budget.operations))
            budget.operations -= max(1, len(reply.records))
            budget.bytes -= sum(map(len, reply.records))
            verified = await self._intake.verify(reply.records)
            check_chain(verified, voice, signer)
            if verified and verified[0].operation.seq - 1 not in behind:
                raise ManifestError("the peer answered behind a point that was not named")
            came = await self._intake.take(verified, talk.peer)
            exchange.take(came.judged, reply.length)
            behind = {seq for seq, _ in exchange.points or ()}
        return exchange.common

    async def _send(
        self, talk: Talk, voice: VoiceName, one: Difference, common: int, budget: _Budget
    ) -> None:
        """Send what the peer lacks of a chain, behind the place up to which both have the same."""

        def ours() -> tuple[int, bytes | None]:
            length = self._logs.length(voice, one.key)
            return length, self._logs.id_at(voice, one.key, length)

        length, head = await trio.to_thread.run_sync(ours, limiter=self._disk)
        if head == one.theirs:
            return
        place = common
        while place < length and budget.sending > 0:
            count = min(TOLD_LIMIT, budget.sending)
            records = await trio.to_thread.run_sync(
                self._logs.behind, voice, one.key, place, count, RECORDS_BYTES, limiter=self._disk
            )
            if not records:
                break
            budget.sending -= len(records)
            kept = await talk.tell(records)
            if not kept:
                self._neighbours.declined(talk.peer, voice, one.key)
                break
            place += len(records)
            if kept == len(records):
                await self._reached(voice, one.key, place)

    async def _settled(self, peer: str, voices: Sequence[VoiceName]) -> None:
        """The peer's logs of these voices are like ours, as far as our own words are concerned."""
        if not voices:
            return
        self._neighbours.holds(peer, voices)

        def note() -> None:
            for voice, key in self._logs.untold(self._lines.own_keys()):
                if voice in voices:
                    self._logs.told(voice, key, self._logs.length(voice, key))

        await trio.to_thread.run_sync(note, limiter=self._disk)

    async def _reached(self, voice: VoiceName, signer: bytes, length: int) -> None:
        def note() -> None:
            if signer in self._lines.own_keys():
                self._logs.told(voice, signer, length)

        await trio.to_thread.run_sync(note, limiter=self._disk)
