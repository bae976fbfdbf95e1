"""Peers that lie about logs, or flood them: each answer and each question that must cost the victim little.

A liar is a real host whose side of the stream of operations says what an attack wants; the victim is a node
with a real database. What must hold afterwards: nothing of it is in the log, the liar is shunned where it
lied, and the victim still talks with honest peers.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pvoice.node.community import server, sync
from p2pvoice.node.community.talk import talk_to
from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import Identity, generate
from p2pvoice.node.peers import Fault
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.acts import Comment, Star
from p2pvoice.protocol.conversation import (
    OPERATIONS,
    TOLD_LIMIT,
    VOICES_COMPARED,
    ChainReply,
    Compare,
    Differ,
    GetChain,
    Reconcile,
    Reconciled,
    TellOperations,
    Told,
)
from p2pvoice.protocol.errors import BusyError, NetworkError
from p2pvoice.protocol.framing import encode_frame
from p2pvoice.protocol.messages import Fail, decode_message, encode_message, message_limit
from p2pvoice.protocol.operations import AHEAD, Operation, Signed, VoiceName, sign_operation
from p2pvoice.protocol.reconcile import LAST_KEY, Range

from ..commons import Neighbour, eventually, neighbour

Make = Callable[..., Any]
Tally = Callable[..., None]
Answer = Callable[[Any], Any]

PAST = 1_700_000_000_000


def chain(
    voice: VoiceName, who: Identity, count: int, *, time: int = PAST, text: str = "spam"
) -> list[Signed]:
    said: list[Signed] = []
    for seq in range(1, count + 1):
        before = said[-1].id if said else None
        act = Comment(f"{text} {seq}")
        operation = Operation(voice, who.author_public, seq, before, time + seq, act)
        said.append(sign_operation(operation, who.author))
    return said


class Liar:
    """A host that answers each kind of request as it is told to, and counts them."""

    def __init__(self, host: P2PHost) -> None:
        self.host = host
        self.asked: list[Any] = []
        self.answers: dict[type, Answer] = {
            Compare: lambda request: Differ(tuple(range(len(request.voices)))),
            Reconcile: lambda request: Reconciled(()),
            GetChain: lambda request: ChainReply(),
            TellOperations: lambda request: Told(0),
        }
        host.serve(OPERATIONS, self._serve)

    def claims(self, *signers: bytes) -> None:
        """Say that it has chains of these signers."""
        pairs = tuple(sorted((signer, b"\1" * 32) for signer in signers))
        self.answers[Reconcile] = lambda request: Reconciled((Range(LAST_KEY, pairs=pairs),))

    def sends(self, records: Sequence[bytes], length: int | None = None) -> None:
        reply = ChainReply(tuple(records), len(records) if length is None else length)
        self.answers[GetChain] = lambda request: reply

    async def _serve(self, channel: Channel) -> None:
        kinds = tuple(self.answers)
        while (frame := await channel.receive(message_limit(*kinds))) is not None:
            request = decode_message(frame, *kinds)
            self.asked.append(request)
            said = self.answers[type(request)](request)
            await channel.send(said if isinstance(said, bytes) else encode_message(said))


@asynccontextmanager
async def attacked(folder: Path, publish: Make) -> AsyncIterator[tuple[Neighbour, VoiceName, Liar]]:
    """A victim that holds a voice, and a liar connected to it."""
    async with (
        neighbour(folder / "victim.sqlite") as victim,
        open_host(generate(), listen=["/ip4/127.0.0.1/tcp/0"]) as host,
    ):
        voice = victim.install(publish().release)
        liar = Liar(host)
        await victim.host.connect(host.addresses()[0])
        yield victim, voice, liar


def drop_of(victim: Neighbour, liar: Liar) -> Fault | None:
    drop = victim.host.peers.entry(liar.host.id).drop
    return drop.fault if drop is not None else None


async def ask(victim: Neighbour, liar: Liar) -> bool:
    """One round of the victim's with the liar, which must end by itself."""
    victim.host.peers.forgive(liar.host.id)
    with trio.fail_after(30):
        return await victim.community.sync.with_peer(victim.host.neighbours()[0])


def forged(one: Signed) -> bytes:
    data = bytearray(one.data)
    data[data.index(b"signature") + 20] ^= 1
    return bytes(data)


async def test_lies_in_chains_shun_the_liar(tmp_path: Path, publish: Make, tally: Tally) -> None:
    async with attacked(tmp_path, publish) as (victim, voice, liar):
        spammer, other = generate(), generate()
        said = chain(voice, spammer, 4)
        elsewhere = VoiceName(voice.author, "elsewhere")
        lies: dict[str, tuple[list[bytes], Fault]] = {
            "another signer": ([one.data for one in chain(voice, other, 2)], Fault.BROKE_PROTOCOL),
            "another voice": ([one.data for one in chain(elsewhere, spammer, 2)], Fault.BROKE_PROTOCOL),
            "a gap": ([said[0].data, said[2].data], Fault.BROKE_PROTOCOL),
            "the wrong order": ([said[1].data, said[0].data], Fault.BROKE_PROTOCOL),
            "not from a point that was named": ([said[2].data, said[3].data], Fault.BROKE_PROTOCOL),
            "no operation": ([b"\x80"], Fault.BROKE_PROTOCOL),
            "a broken signature": ([said[0].data, forged(said[1])], Fault.BAD_SIGNATURE),
        }
        liar.claims(spammer.author_public)
        refused = 0
        for name, (records, fault) in lies.items():
            liar.sends(records)
            assert not await ask(victim, liar), name
            assert drop_of(victim, liar) is fault, name
            assert victim.host.peers.is_shunned(liar.host.id), name
            refused += victim.community.logs.sizes()["operations"] == 0
        tally("lies in chains", tried=len(lies), refused=refused)


async def test_lies_in_answers_shun_the_liar(tmp_path: Path, publish: Make, tally: Tally) -> None:
    def growing(request: Reconcile) -> Reconciled:
        """Fingerprints of ever smaller ranges that never fit."""
        last = request.ranges[-1].upper
        return Reconciled((Range(last[:16] + b"\0" * 16, b"f" * 16), Range(last, b"g" * 16)))

    async with attacked(tmp_path, publish) as (victim, voice, liar):
        await victim.act(voice, Star())
        lies: dict[str, tuple[type, Answer]] = {
            "a voice that was not asked about": (Compare, lambda request: Differ((VOICES_COMPARED - 1,))),
            "an answer of another kind": (Compare, lambda request: Told(1)),
            "the question again": (Reconcile, lambda request: Reconciled(request.ranges)),
            "ranges that never settle": (Reconcile, growing),
            "more kept than told": (TellOperations, lambda request: Told(TOLD_LIMIT)),
            "no message": (Compare, lambda request: b"\xc1"),
        }
        refused = 0
        for name, (kind, lie) in lies.items():
            honest = liar.answers[kind]
            liar.answers[kind] = lie
            liar.asked.clear()
            await ask(victim, liar)
            # Whether it is a lie or only never ends, few questions were wasted on it.
            assert len(liar.asked) <= 140, name
            refused += victim.heads(voice).keys() == {victim.identity.author_public}
            liar.answers[kind] = honest
        tally("lies in answers", tried=len(lies), refused=refused)


async def test_what_never_ends_ends(tmp_path: Path, publish: Make, tally: Tally) -> None:
    """The same part again and again, and made-up signers without number."""
    async with attacked(tmp_path, publish) as (victim, voice, liar):
        spammer = generate()
        said = chain(voice, spammer, 3)
        liar.claims(spammer.author_public)
        liar.sends([said[0].data], length=16_384)
        assert not await ask(victim, liar)
        assert drop_of(victim, liar) is Fault.BROKE_PROTOCOL
        assert len(liar.asked) <= 5
        liar.asked.clear()
        # Two thousand signers of whom there is nothing to be had: as many are asked about as there is room.
        lists = []
        for number in range(64):
            keys = [(number * 32 + place).to_bytes(32) for place in range(32)]
            upper = LAST_KEY if number == 63 else keys[-1]
            lists.append(Range(upper, pairs=tuple((key, b"\1" * 32) for key in keys)))
        liar.answers[Reconcile] = lambda request: Reconciled(tuple(lists))
        liar.answers[GetChain] = lambda request: ChainReply()
        await ask(victim, liar)
        chains = sum(isinstance(request, GetChain) for request in liar.asked)
        assert chains <= sync.VOICE_CHAINS
        tally("answers without end", tried=2, refused=2, cost=f"{chains} questions")


async def test_the_future_is_nobodys_fault_and_is_not_kept(tmp_path: Path, publish: Make) -> None:
    async with attacked(tmp_path, publish) as (victim, voice, liar):
        spammer = generate()
        soon = int(victim.community.logs._clock() * 1000) + AHEAD + 60_000
        said = chain(voice, spammer, 3, time=soon)
        liar.claims(spammer.author_public)
        liar.sends([one.data for one in said])
        assert await ask(victim, liar)
        assert victim.heads(voice) == {}
        assert drop_of(victim, liar) is None


async def test_a_flood_of_tellings_stops_at_the_allowance(
    tmp_path: Path, publish: Make, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One peer may send so many operations; of more it hears that there is no time, and others are served."""
    monkeypatch.setattr(server, "RECORDS_BURST", 512)
    async with attacked(tmp_path, publish) as (victim, voice, liar):
        own = (await victim.act(voice, Comment("honest"))).signed
        assert own is not None
        batches = [[one.data for one in chain(voice, generate(), TOLD_LIMIT)] for _ in range(7)]
        sent = kept = 0
        busy = False
        with trio.fail_after(60):
            async with talk_to(liar.host, victim.info) as talk:
                while not busy and sent < 7 * TOLD_LIMIT:
                    try:
                        kept += await talk.tell(batches[sent // TOLD_LIMIT])
                        sent += TOLD_LIMIT
                    except BusyError:
                        busy = True
        assert busy
        # The signing takes its time, and some of the allowance comes back meanwhile.
        assert 512 <= sent <= 512 + TOLD_LIMIT
        assert victim.identity.author_public in victim.heads(voice)
        async with neighbour(tmp_path / "honest.sqlite") as honest:
            honest.install(victim.catalog.releases_of(*_named(victim))[0])
            await honest.host.reach(victim.info)
            _, told = await honest.say(voice, Comment("honest, too"))
            # It may have come to know of the liar's host, too.
            assert told in {1, 2}
            assert "honest, too" in victim.texts(voice)
        tally("operations told in a flood", tried=sent, refused=sent, cost=f"{kept} kept of {sent}")


def _named(victim: Neighbour) -> tuple[str, str]:
    [held] = victim.catalog.installed()
    return held.author, held.slug


async def test_requests_that_make_no_sense_end_the_stream(
    tmp_path: Path, publish: Make, tally: Tally
) -> None:
    async with attacked(tmp_path, publish) as (victim, _, liar):
        limit = message_limit(Compare, Reconcile, GetChain, TellOperations)
        bad = [
            encode_frame(b"\xc1", 1),
            encode_frame(encode_message(Told(1)), 10_000),
            (limit + 1).to_bytes(4) + b"x",
            b"\xff\xff\xff\xff",
        ]
        refused = 0
        for data in bad:
            async with await liar.host.open_stream(victim.info, OPERATIONS) as channel:
                await channel.stream.write(data)
                with trio.fail_after(10):
                    try:
                        frame = await channel.receive(message_limit(Fail))
                        ended = frame is None or await channel.receive(message_limit(Fail)) is None
                    except NetworkError:
                        ended = True
                refused += ended
        tally("requests that make no sense", tried=len(bad), refused=refused)
        assert victim.community.logs.voices() == []


async def test_questions_have_a_price(tmp_path: Path, publish: Make, tally: Tally) -> None:
    """Comparing 64 made-up voices again and again runs into the same allowance, and notes nothing."""
    async with attacked(tmp_path, publish) as (victim, _, liar):
        made_up = [(VoiceName(bytes([n]) * 32, f"v{n}"), b"f" * 16) for n in range(VOICES_COMPARED)]
        asked = 0
        busy = False
        with trio.fail_after(60):
            async with talk_to(liar.host, victim.info) as talk:
                while not busy and asked < 200:
                    try:
                        assert len(await talk.compare(made_up)) == VOICES_COMPARED
                        asked += 1
                    except BusyError:
                        busy = True
        assert busy
        assert asked <= server.RECORDS_BURST // VOICES_COMPARED + 1
        assert victim.community.neighbours.holders(made_up[0][0]) == []
        tally("comparisons in a flood", tried=asked, refused=asked)


async def test_an_allowance_at_the_limit_and_one_past_it() -> None:
    from p2pvoice.node.community.intake import Allowance

    now = 0.0
    one = Allowance(10, 2.0, 2, lambda: now)
    assert one.spend("a", 10)
    assert not one.spend("a", 1)
    now = 0.5
    assert one.spend("a", 1)
    assert not one.spend("a", 1)
    now = 100.0
    assert not one.spend("a", 11)
    assert one.spend("a", 10)
    assert [one.grant("b", 7), one.grant("b", 7), one.grant("b", 7)] == [7, 3, 0]
    for peer in "cde":
        assert one.spend(peer, 10)
    assert len(one) <= 2


async def test_a_liar_does_not_stop_an_honest_peer(tmp_path: Path, publish: Make) -> None:
    async with attacked(tmp_path, publish) as (victim, voice, liar):
        liar.claims(generate().author_public)
        liar.sends([b"\x80"])
        assert not await ask(victim, liar)
        async with neighbour(tmp_path / "honest.sqlite") as honest:
            honest.install(victim.catalog.releases_of(*_named(victim))[0])
            await honest.act(voice, Comment("true"))
            call: Awaitable[bool] = victim.sync(honest)
            assert await call
        assert victim.texts(voice) == ["true"]


async def test_a_holder_that_never_answers_keeps_no_news_from_others(tmp_path: Path, publish: Make) -> None:
    async with attacked(tmp_path, publish) as (victim, voice, liar):
        asked = trio.Event()

        async def hang(channel: Channel) -> None:
            await channel.receive(message_limit(TellOperations))
            asked.set()
            await trio.sleep_forever()

        liar.host.serve(OPERATIONS, hang)
        async with (
            neighbour(tmp_path / "honest.sqlite") as honest,
            neighbour(tmp_path / "third.sqlite") as third,
            trio.open_nursery() as nursery,
        ):
            for one in (honest, third):
                one.install(victim.catalog.releases_of(*_named(victim))[0])
            await victim.host.reach(honest.info)
            for peer in (liar.host.id, honest.host.id):
                victim.community.neighbours.holds(peer, [voice])
            nursery.start_soon(victim.community.telling.run)
            for number in range(20):
                acted = await third.act(voice, Comment(f"news {number}"))
                assert acted.signed is not None
                async with talk_to(third.host, victim.info) as talk:
                    assert await talk.tell([acted.signed.data]) == 1
            await asked.wait()
            await eventually(lambda: len(honest.texts(voice)) >= 15)
            nursery.cancel_scope.cancel()
