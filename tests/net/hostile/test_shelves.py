"""Keepers that lie about shelves, or flood them: each answer and question that must cost the victim little.

A liar is a real host whose side of the stream of shelves says what an attack wants; the victim is a keeper
with a real database. What must hold afterwards: nothing of it is on the shelf, the liar is shunned where it
lied, and the victim still talks with honest keepers.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.peers import Fault
from p2pvoice.node.shelves import server
from p2pvoice.node.shelves.talk import asking
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.errors import BusyError, NetworkError, NotFoundError, P2PVoiceError
from p2pvoice.protocol.framing import encode_frame
from p2pvoice.protocol.head import Head, sign_head
from p2pvoice.protocol.ids import cid_of, digest_of
from p2pvoice.protocol.messages import Fail, decode_message, encode_message, message_limit
from p2pvoice.protocol.reconcile import LAST_KEY, Range
from p2pvoice.protocol.shelf import Arc, epoch_of, value_of, voice_key
from p2pvoice.protocol.shelf_entry import ENTRIES_LIMIT, Entry
from p2pvoice.protocol.shelf_keeper import PULL_LIMIT
from p2pvoice.protocol.shelf_messages import (
    PAIRS_TOUCHED,
    SHELF,
    ComparedShelf,
    CompareShelf,
    Contact,
    Entries,
    GetEntries,
    Open,
    Opened,
    Shelves,
    TellEntries,
    Took,
    Touch,
    Wanted,
)
from p2pvoice.protocol.shelf_talk import ROUNDS, Ask

from ..conftest import Publication
from ..keepers import TAG, Node, keeper

Make = Callable[..., Publication]
Tally = Callable[..., None]
Answer = Callable[[Any], Any]

WHOLE = Arc(0)
FOREVER = 10 * 365 * 86_400


def key_of(publication: Publication) -> bytes:
    manifest = publication.release.manifest
    return voice_key(manifest.author, manifest.slug)


def entry_of(publication: Publication, head: bytes | None = None) -> Entry:
    data = publication.release.envelope.to_bytes()
    return Entry(data, publication.head if head is None else head, epoch_of(key_of(publication), time.time()))


def pair_of(publication: Publication) -> tuple[bytes, bytes]:
    key = key_of(publication)
    return key, value_of(publication.release.id, 1, epoch_of(key, time.time()))


def made_up(count: int, first: int = 0) -> list[tuple[bytes, bytes]]:
    """Pairs of voices that do not exist, in order."""
    pairs = []
    for number in range(first, first + count):
        key = number.to_bytes(32)
        pairs.append((key, value_of(cid_of(digest_of(key)), 1, epoch_of(key, time.time()))))
    return pairs


class Liar:
    """A host that answers each kind of request as it is told to, and counts them."""

    def __init__(self, host: P2PHost) -> None:
        self.host = host
        self.asked: list[Any] = []
        self.answers: dict[type, Answer] = {
            Open: lambda request: Shelves((Opened(False, WHOLE, 1),) * len(request.shelves)),
            CompareShelf: lambda request: ComparedShelf(()),
            GetEntries: lambda request: Entries((), len(request.keys)),
            Touch: lambda request: Wanted(()),
            TellEntries: lambda request: Took(0),
        }
        host.serve(SHELF, self._serve)

    def claims(self, *pairs: tuple[bytes, bytes]) -> None:
        """Say that these stand on its shelf."""
        said = ComparedShelf((Range(LAST_KEY, pairs=tuple(sorted(pairs))),))
        self.answers[CompareShelf] = lambda request: said

    def gives(self, *entries: Entry) -> None:
        self.answers[GetEntries] = lambda request: Entries(entries, max(len(entries), len(request.keys)))

    async def _serve(self, channel: Channel) -> None:
        kinds = tuple(self.answers)
        while (frame := await channel.receive(message_limit(*kinds))) is not None:
            request = decode_message(frame, *kinds)
            self.asked.append(request)
            said = self.answers[type(request)](request)
            await channel.send(said if isinstance(said, bytes) else encode_message(said))


@asynccontextmanager
async def attacked(folder: Path, publish: Make) -> AsyncIterator[tuple[Node, Liar]]:
    """A victim that offers a voice, and a liar connected to it."""
    async with (
        keeper(folder / "victim") as victim,
        open_host(generate(), listen=["/ip4/127.0.0.1/tcp/0"]) as host,
    ):
        await victim.offer(publish(slug="own"))
        liar = Liar(host)
        await victim.host.connect(host.addresses()[0])
        yield victim, liar


def fault_of(victim: Node, liar: Liar) -> Fault | None:
    drop = victim.host.peers.entry(liar.host.id).drop
    return drop.fault if drop is not None else None


async def ask(victim: Node, liar: Liar) -> bool:
    """One talk of the victim's with the liar, which must end by itself; whether it went through."""
    victim.host.peers.forgive(liar.host.id)
    with trio.fail_after(60):
        return await victim.shelves.rounds.with_peer(victim.host.neighbours()[0], [TAG]) is not None


def strangers(victim: Node) -> int:
    """Voices on the victim's shelf that it does not offer itself."""
    return sum(not card.own for card in victim.shelves.keeping.keeper.cards.values())


async def test_lies_about_voices_shun_the_liar(tmp_path: Path, publish: Make, tally: Tally) -> None:
    async with attacked(tmp_path, publish) as (victim, liar):
        key = Ed25519PrivateKey.generate()
        good, other, male = publish(key=key), publish(key=key, slug="other"), publish(tags=["gender/male"])
        broken = bytearray(good.release.envelope.to_bytes())
        broken[broken.index(b"signature") + 20] ^= 1
        author, slug = good.release.manifest.author, good.release.manifest.slug
        endless = sign_head(Head(author, slug, 1, good.release.id, int(time.time()) + FOREVER), key)
        epoch = entry_of(good).epoch
        lies = {
            "a broken signature": (good, Entry(bytes(broken), good.head, epoch), Fault.BAD_SIGNATURE),
            "another voice than asked for": (good, entry_of(other), Fault.BROKE_PROTOCOL),
            "a voice without the tag": (male, entry_of(male), Fault.BROKE_PROTOCOL),
            "another voice's head": (good, entry_of(good, other.head), Fault.BROKE_PROTOCOL),
            "a head for ever": (good, entry_of(good, endless), Fault.BROKE_PROTOCOL),
            "no release": (good, Entry(b"\x80", b"", epoch), Fault.BROKE_PROTOCOL),
            "no head": (good, entry_of(good, b"\x80"), Fault.BROKE_PROTOCOL),
        }
        refused = 0
        for name, (claimed, entry, fault) in lies.items():
            liar.claims(pair_of(claimed))
            liar.gives(entry)
            assert not await ask(victim, liar), name
            assert fault_of(victim, liar) is fault, name
            assert victim.host.peers.is_shunned(liar.host.id), name
            refused += strangers(victim) == 0
        tally("lies about voices on a shelf", tried=len(lies), refused=refused)


async def test_what_is_out_of_date_is_not_asked_for(tmp_path: Path, publish: Make) -> None:
    """From the past or the future: not fetched, not blamed."""
    async with attacked(tmp_path, publish) as (victim, liar):
        voice = publish()
        key, now = key_of(voice), epoch_of(key_of(voice), time.time())
        for epoch in (now - 4, now + 2):
            liar.claims((key, value_of(voice.release.id, 1, epoch)))
            assert await ask(victim, liar)
        assert not any(isinstance(one, GetEntries) for one in liar.asked)
        # And what comes with another epoch than was promised is judged by what came.
        liar.claims(pair_of(voice))
        liar.gives(Entry(voice.release.envelope.to_bytes(), voice.head, now + 2))
        assert await ask(victim, liar)
        assert strangers(victim) == 0


async def test_lies_in_answers_end_the_talk(tmp_path: Path, publish: Make, tally: Tally) -> None:
    def growing(request: CompareShelf) -> ComparedShelf:
        """Fingerprints of ever smaller ranges that never fit."""
        last = request.ranges[-1].upper
        return ComparedShelf((Range(last[:16] + b"\0" * 16, b"f" * 16), Range(last, b"g" * 16)))

    async with attacked(tmp_path, publish) as (victim, liar):
        lies: dict[str, tuple[type, Answer]] = {
            "fewer shelves than asked about": (Open, lambda request: Shelves(())),
            "more shelves than asked about": (Open, lambda request: Shelves((None,) * 2)),
            "an answer of another kind": (Open, lambda request: Took(0)),
            "no message": (Open, lambda request: b"\xc1"),
            "the question again": (CompareShelf, lambda request: ComparedShelf(request.ranges)),
            "ranges that never settle": (CompareShelf, growing),
            "voices wanted that were not named": (Touch, lambda request: Wanted((PAIRS_TOUCHED - 1,))),
            "more looked up than asked for": (GetEntries, lambda request: Entries((), ENTRIES_LIMIT)),
            "nothing looked up, ever": (GetEntries, lambda request: Entries((), 0)),
            "more kept than told": (TellEntries, lambda request: Took(ENTRIES_LIMIT)),
        }
        liar.claims(pair_of(publish()))
        refused = 0
        for number, (name, (kind, lie)) in enumerate(lies.items()):
            honest = dict(liar.answers)
            liar.answers[Touch] = lambda request: Wanted((0,))
            liar.answers[kind] = lie
            liar.asked.clear()
            # Something to tell each time.
            await victim.offer(publish(slug=f"own-{number}"))
            await ask(victim, liar)
            assert len(liar.asked) <= ROUNDS + 10, name
            refused += strangers(victim) == 0
            liar.answers = honest
        tally("lies in answers about shelves", tried=len(lies), refused=refused)


async def test_voices_without_number_are_asked_for_up_to_a_limit_and_not_again(
    tmp_path: Path, publish: Make, tally: Tally
) -> None:
    """Two thousand made-up voices in each answer, of which none is given."""
    async with attacked(tmp_path, publish) as (victim, liar):
        lists = []
        for number in range(64):
            pairs = made_up(32, number * 32)
            upper = LAST_KEY if number == 63 else pairs[-1][0]
            lists.append(Range(upper, pairs=tuple(pairs)))
        liar.answers[CompareShelf] = lambda request: ComparedShelf(tuple(lists))
        await ask(victim, liar)
        asked = sum(len(one.keys) for one in liar.asked if isinstance(one, GetEntries))
        assert 0 < asked <= PULL_LIMIT
        liar.asked.clear()
        await ask(victim, liar)
        again = sum(len(one.keys) for one in liar.asked if isinstance(one, GetEntries))
        assert again == 0
        tally("voices promised and not given", tried=2, refused=2, cost=f"{asked} asked for, then {again}")


async def test_a_shelf_that_is_not_kept_is_not_there(tmp_path: Path, publish: Make) -> None:
    async with attacked(tmp_path, publish) as (victim, liar):
        hidden = publish(slug="quiet", tags=["gender/male"])
        await victim.offer(hidden, seed=False)
        key = key_of(hidden)
        requests = [
            CompareShelf("gender/male", WHOLE, ()),
            GetEntries("gender/male", (key,)),
            Touch("gender/male", (pair_of(hidden),)),
            TellEntries("gender/male", (entry_of(hidden),)),
        ]
        async with asking(liar.host, victim.info) as put:
            for request in requests:
                with pytest.raises(NotFoundError):
                    await put(Ask(request))
            # Neither by way of a shelf that is kept.
            assert await put(Ask(GetEntries(TAG, (key,)))) == Entries((), 1)


async def test_what_is_told_is_answered_for(tmp_path: Path, publish: Make, tally: Tally) -> None:
    """Without the tag, or with a signature that is none: the teller is shunned."""
    async with attacked(tmp_path, publish) as (victim, liar):
        voice = publish()
        broken = bytearray(voice.release.envelope.to_bytes())
        broken[broken.index(b"signature") + 20] ^= 1
        bad = [
            (entry_of(publish(tags=["gender/male"])), Fault.BROKE_PROTOCOL),
            (Entry(bytes(broken), voice.head), Fault.BAD_SIGNATURE),
        ]
        refused = 0
        for entry, fault in bad:
            victim.host.peers.forgive(liar.host.id)
            with pytest.raises(P2PVoiceError):
                async with asking(liar.host, victim.info) as put:
                    await put(Ask(TellEntries(TAG, (entry,))))
            assert fault_of(victim, liar) is fault
            refused += strangers(victim) == 0
        tally("bad voices told", tried=len(bad), refused=refused)


@pytest.mark.parametrize("kind", ["hints", "tellings", "comparisons"])
async def test_a_flood_stops_at_the_allowance(
    tmp_path: Path, publish: Make, tally: Tally, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """One peer may ask for so much; beyond that it hears that there is no time, and others are served."""
    monkeypatch.setattr(server, "BURST", 256)
    async with attacked(tmp_path, publish) as (victim, liar):
        voice = publish(slug="flood", sizes={"voice.json": 100})
        requests = {
            "hints": lambda turn: Touch(TAG, tuple(made_up(PAIRS_TOUCHED, turn * PAIRS_TOUCHED))),
            "tellings": lambda turn: TellEntries(TAG, (entry_of(voice),) * ENTRIES_LIMIT),
            "comparisons": lambda turn: CompareShelf(TAG, Arc(turn, 1 << 200), ()),
        }
        cost = {"hints": PAIRS_TOUCHED, "tellings": ENTRIES_LIMIT, "comparisons": server.COMPARE_COST}[kind]
        turns, busy = 0, False
        with trio.fail_after(60):
            async with asking(liar.host, victim.info) as put:
                while not busy and turns < 200:
                    try:
                        await put(Ask(requests[kind](turns)))
                        turns += 1
                    except BusyError:
                        busy = True
        assert busy
        # Some of it comes back while the flood lasts.
        assert 256 // cost <= turns <= 256 // cost + 30
        assert strangers(victim) <= 1
        async with keeper(tmp_path / "honest") as honest:
            await honest.offer(publish(slug="honest"))
            outcome = await honest.talk(victim)
            assert outcome is not None
            assert outcome.told == 1
        tally(f"{kind} in a flood", tried=turns, refused=turns)


async def test_requests_that_make_no_sense_end_the_stream(
    tmp_path: Path, publish: Make, tally: Tally
) -> None:
    async with attacked(tmp_path, publish) as (victim, liar):
        limit = message_limit(Open, CompareShelf, GetEntries, Touch, TellEntries)
        bad = [
            encode_frame(b"\xc1", 1),
            encode_frame(encode_message(Took(1)), 10_000),
            (limit + 1).to_bytes(4) + b"x",
            b"\xff\xff\xff\xff",
        ]
        refused = 0
        for data in bad:
            async with await liar.host.open_stream(victim.info, SHELF) as channel:
                await channel.stream.write(data)
                with trio.fail_after(10):
                    try:
                        frame = await channel.receive(message_limit(Fail))
                        ended = frame is None or await channel.receive(message_limit(Fail)) is None
                    except NetworkError:
                        ended = True
                refused += ended
        tally("requests about shelves that make no sense", tried=len(bad), refused=refused)


async def test_one_peer_has_two_streams(tmp_path: Path, publish: Make) -> None:
    async with attacked(tmp_path, publish) as (victim, liar):
        question = Ask(CompareShelf(TAG, WHOLE, ()))
        async with asking(liar.host, victim.info) as one, asking(liar.host, victim.info) as two:
            await one(question)
            await two(question)
            with pytest.raises(BusyError):
                async with asking(liar.host, victim.info) as three:
                    await three(question)


async def test_named_keepers_may_be_anybody(tmp_path: Path, publish: Make) -> None:
    """Peers that are none and addresses that are none cost a talk each, and are forgotten."""
    others = (Contact("12D3Koo", ("/ip4/127.0.0.1/tcp/1",)), Contact("x", ("/nonsense",)), Contact("0OIl"))
    async with attacked(tmp_path, publish) as (victim, liar):
        liar.answers[Open] = lambda request: Shelves((Opened(True, WHOLE, 1, others),) * len(request.shelves))
        assert await ask(victim, liar)
        peers = victim.shelves.keeping.keeper.peers
        with trio.fail_after(60):
            for _ in range(3):
                for name in list(peers.of(TAG)):
                    if name != liar.host.id:
                        peers.of(TAG)[name].talked = 0.0
                        await victim.shelves.rounds._talk_and_note(peers.contact(name), [TAG])
        assert set(peers.of(TAG)) == {liar.host.id}
