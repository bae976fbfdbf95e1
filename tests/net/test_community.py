"""Logs between real hosts: reconciliation, passing on, privacy, full nodes, lines of keys, two devices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pvoice.node.community import room, sync
from p2pvoice.node.community.neighbours import Neighbours
from p2pvoice.node.community.talk import talk_to
from p2pvoice.node.identity import Identity, generate
from p2pvoice.node.tombstone import Kind
from p2pvoice.protocol.acts import Comment, Star
from p2pvoice.protocol.errors import NotFoundError, RevokedError
from p2pvoice.protocol.operations import Operation, Signed, VoiceName, sign_operation
from p2pvoice.protocol.reconcile import Pairs
from p2pvoice.protocol.revocation import Revocation, sign_revocation

from .commons import Neighbour, eventually, neighbour, neighbours

Make = Callable[..., Any]


def strangers(voice: VoiceName, count: int, *, text: str = "hello") -> list[Signed]:
    """One comment each by so many strangers."""
    said = []
    for number in range(count):
        who = generate()
        operation = Operation(voice, who.author_public, 1, None, 1_700_000_000_000 + number, Comment(text))
        said.append(sign_operation(operation, who.author))
    return said


def long_chain(voice: VoiceName, who: Identity, count: int) -> list[Signed]:
    """Many comments by one signer."""
    said: list[Signed] = []
    for number in range(count):
        before = said[-1].id if said else None
        time = 1_700_000_000_000 + number
        operation = Operation(voice, who.author_public, number + 1, before, time, Comment(f"{number}"))
        said.append(sign_operation(operation, who.author))
    return said


def branch(stem: list[Signed], who: Identity, word: str, count: int) -> list[Signed]:
    """What the signer goes on to say behind a chain."""
    said = list(stem)
    for number in range(len(stem), len(stem) + count):
        voice, time = stem[0].operation.voice, 1_700_000_000_000 + number
        act = Comment(f"{word} {number}")
        operation = Operation(voice, who.author_public, number + 1, said[-1].id, time, act)
        said.append(sign_operation(operation, who.author))
    return said[len(stem) :]


def put(node: Neighbour, said: list[Signed]) -> None:
    for at in range(0, len(said), 64):
        node.community.logs.take(said[0].operation.voice, said[at : at + 64])


async def test_both_sides_end_with_the_same_log(tmp_path: Path, publish: Make) -> None:
    """Each has what the other lacks, longer and shorter chains, and many signers: one talk settles it."""
    release = publish().release
    async with neighbours(tmp_path, 2) as (a, b):
        voice = a.install(release)
        b.install(release)
        both = strangers(voice, 90)
        put(a, both[:60])
        put(b, both[30:])
        for node, words in ((a, "a"), (b, "b")):
            for number in range(5):
                await node.act(voice, Comment(f"{words} {number}"))
        await a.sync(b)
        assert a.heads(voice) == b.heads(voice)
        assert len(a.heads(voice)) == 92
        assert sorted(a.texts(voice)) == sorted(b.texts(voice))
        # What is equal costs one question: nothing is taken or sent again.
        joined = (a.community.intake.joined, b.community.intake.joined)
        assert await b.sync(a)
        assert (a.community.intake.joined, b.community.intake.joined) == joined


async def test_a_long_chain_comes_in_parts_and_goes_on_where_it_was(tmp_path: Path, publish: Make) -> None:
    key = generate()
    release = publish(key=key.author).release
    async with (
        neighbour(tmp_path / "a.sqlite", key) as a,
        neighbour(tmp_path / "b.sqlite") as b,
    ):
        voice = a.install(release)
        b.install(release)
        put(a, long_chain(voice, key, 560))
        assert await b.sync(a)
        assert b.heads(voice) == a.heads(voice)
        await a.act(voice, Comment("one more"))
        before = b.community.intake.joined
        assert await b.sync(a)
        assert b.community.intake.joined == before + 1
        # And the other way: who is ahead sends what the other lacks.
        await a.act(voice, Comment("and another"))
        assert await a.sync(b)
        assert b.heads(voice) == a.heads(voice)


async def test_news_goes_on_to_others_who_hold_the_voice_and_not_back(tmp_path: Path, publish: Make) -> None:
    """A chain of three: the ends never meet, and the middle passes on."""
    release = publish().release
    async with neighbours(tmp_path, 3, run=True) as (a, b, c):
        voice = a.install(release)
        for one in (b, c):
            one.install(release)
        await b.host.reach(a.info)
        await b.host.reach(c.info)
        await eventually(lambda: len(b.community.neighbours.holders(voice)) == 2)
        _, told = await a.say(voice, Star())
        assert told == 1
        await eventually(lambda: c.heads(voice) == a.heads(voice) != {})
        # What is in the log is counted a moment later.
        await eventually(lambda: b.community.intake.joined == c.community.intake.joined == 1)
        assert a.community.intake.joined == a.community.intake.refused == 0


async def test_who_was_away_catches_up_by_comparing_alone(tmp_path: Path, publish: Make) -> None:
    release, identity = publish().release, generate()
    async with neighbour(tmp_path / "a.sqlite", run=True) as a:
        voice = a.install(release)
        async with neighbour(tmp_path / "b.sqlite", identity, run=True) as b:
            b.install(release)
            await b.host.reach(a.info)
            await a.say(voice, Comment("first"))
            await eventually(lambda: b.texts(voice) == ["first"])
        for number in range(3):
            await a.say(voice, Comment(f"meanwhile {number}"))
        async with neighbour(tmp_path / "b.sqlite", identity, run=True) as b:
            await b.host.reach(a.info)
            await eventually(lambda: len(b.texts(voice)) == 4)


async def test_what_reached_nobody_is_told_when_somebody_comes(tmp_path: Path, publish: Make) -> None:
    """Even of a voice that is not offered here: the user has spoken of it in public."""
    release = publish().release
    async with neighbours(tmp_path, 2, run=True) as (a, b):
        voice = a.install(release)
        b.install(release, seed=False)
        _, told = await b.say(voice, Comment("hello?"))
        assert told == 0
        assert b.community.logs.untold(b.community.lines.own_keys()) == [(voice, b.identity.author_public)]
        await b.host.reach(a.info)
        await eventually(lambda: a.texts(voice) == ["hello?"])
        await eventually(lambda: not b.community.logs.untold(b.community.lines.own_keys()))


async def test_of_what_is_kept_and_not_offered_nobody_is_told(tmp_path: Path, publish: Make) -> None:
    """It neither asks about it, nor answers about it, nor says what it kept, nor passes news on."""
    release = publish().release
    async with neighbours(tmp_path, 3) as (a, b, c):
        voice = a.install(release)
        b.install(release, seed=False)
        c.install(release)
        said = strangers(voice, 3)
        put(b, said[:1])
        assert await b.sync(a)
        assert a.heads(voice) == {}
        async with talk_to(c.host, b.info) as talk:
            empty = Pairs({}).fingerprint()
            assert await talk.compare([(voice, empty)]) == []
            with pytest.raises(NotFoundError):
                await talk.differences(voice, Pairs({}))
            with pytest.raises(NotFoundError):
                await talk.chain(voice, said[0].operation.signer, (), 10)
            assert await talk.tell([said[1].data]) == 0
        assert set(b.heads(voice)) == {said[0].operation.signer, said[1].operation.signer}
        await b.host.reach(a.info)
        b.community.neighbours.holds(a.host.id, [voice])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.community.run)
            async with talk_to(c.host, b.info) as talk:
                await talk.tell([said[2].data])
            # What the user says is told in public; by then what came before it would have been passed on.
            await b.say(voice, Star())
            nursery.cancel_scope.cancel()
        assert set(a.heads(voice)) == {b.identity.author_public}


async def test_logs_of_voices_that_are_not_here_are_not_taken(tmp_path: Path, publish: Make) -> None:
    release = publish().release
    async with neighbours(tmp_path, 2) as (a, b):
        voice = a.install(release)
        [one] = strangers(voice, 1)
        made_up = strangers(VoiceName(b.identity.author_public, "never-published"), 1)
        async with talk_to(a.host, b.info) as talk:
            assert await talk.tell([one.data, made_up[0].data]) == 0
        assert b.community.logs.voices() == []


async def test_a_revoked_voice_has_no_log_any_more(tmp_path: Path, publish: Make) -> None:
    key = generate()
    release = publish(key=key.author).release
    async with (
        neighbour(tmp_path / "a.sqlite", key) as a,
        neighbour(tmp_path / "b.sqlite") as b,
    ):
        voice = a.install(release)
        b.install(release)
        await a.act(voice, Comment("good-bye"))
        await b.sync(a)
        record = Revocation(key.author_public, key.author_public, voice.slug, 1_790_000_000)
        data = sign_revocation(record, key.author)
        for one in (a, b):
            one.catalog.tombstones.add(data, Kind.HELD, (), release)
        async with talk_to(b.host, a.info) as talk:
            with pytest.raises(NotFoundError):
                await talk.differences(voice, Pairs({}))
            [late] = strangers(voice, 1)
            assert await talk.tell([late.data]) == 0
        with pytest.raises(RevokedError):
            await b.act(voice, Star())
        assert b.community.forget_unneeded() == 1
        assert b.heads(voice) == {}


async def test_two_full_nodes_do_not_sync_for_ever(
    tmp_path: Path, publish: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each keeps other strangers than the other: a talk exchanges a few, and less and less."""
    monkeypatch.setattr(room, "VOICE_CHAINS", 40)
    monkeypatch.setattr(sync, "VOICE_CHAINS", 40)
    release = publish().release
    async with neighbours(tmp_path, 2) as (a, b):
        voice = a.install(release)
        b.install(release)
        put(a, strangers(voice, 60))
        put(b, strangers(voice, 60))
        first = [set(node.heads(voice)) for node in (a, b)]
        costs = []
        for _ in range(12):
            before = a.community.intake.joined + b.community.intake.joined
            assert await a.sync(b)
            costs.append(a.community.intake.joined + b.community.intake.joined - before)
        assert max(costs) <= 2 * sync.NEWCOMERS_WHEN_FULL
        assert costs[-1] == 0
        for node, early in zip((a, b), first, strict=True):
            assert len(node.heads(voice)) == 40
            # Three quarters were here first, and stay.
            assert len(early & set(node.heads(voice))) >= 30


async def test_two_devices_with_one_key_lose_nothing(tmp_path: Path, publish: Make) -> None:
    mine, release = generate(), publish().release
    other = generate()
    # One author key, two peer keys, as when a key was exported to a second machine.
    other.become(mine.author)
    async with (
        neighbour(tmp_path / "a.sqlite", mine) as a,
        neighbour(tmp_path / "b.sqlite", other) as b,
    ):
        voice = a.install(release)
        b.install(release)
        await a.act(voice, Comment("from the desk"))
        await b.act(voice, Comment("from the sofa"))
        for _ in range(4):
            await a.sync(b)
            await b.sync(a)
        assert sorted(a.texts(voice)) == sorted(b.texts(voice)) == ["from the desk", "from the sofa"]
        assert a.heads(voice) == b.heads(voice)


async def test_a_branch_that_left_long_ago_is_settled_in_one_talk(tmp_path: Path, publish: Make) -> None:
    """The points that are named lie far apart: what both have fills whole answers, and is gone through."""
    key, release = generate(), publish().release
    async with neighbours(tmp_path, 2) as (a, b):
        voice = a.install(release)
        b.install(release)
        stem = long_chain(voice, key, 200)
        branches = [branch(stem, key, word, 600) for word in ("desk", "sofa")]
        better, worse = sorted(branches, key=lambda said: said[0].id)
        put(a, [*stem, *better])
        put(b, [*stem, *worse[:20]])
        assert a.heads(voice) != b.heads(voice)
        assert await a.sync(b)
        assert b.heads(voice) == a.heads(voice) == {key.author_public: better[-1].id}


async def test_a_talk_that_is_cut_short_keeps_what_came(tmp_path: Path, publish: Make) -> None:
    """The asker goes away in the middle; what it took is a beginning, and the next talk ends it."""
    key = generate()
    release = publish(key=key.author).release
    async with (
        neighbour(tmp_path / "a.sqlite", key) as a,
        neighbour(tmp_path / "b.sqlite") as b,
    ):
        voice = a.install(release)
        b.install(release)
        put(a, long_chain(voice, key, 700))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.sync, a)
            await eventually(lambda: b.community.intake.joined > 0)
            nursery.cancel_scope.cancel()
        length = b.community.logs.length(voice, key.author_public)
        assert length > 0
        chain = b.community.logs.operations(voice)
        assert [one.operation.seq for one in chain] == list(range(1, length + 1))
        assert await b.sync(a)
        assert b.heads(voice) == a.heads(voice)


def test_notes_on_neighbours_are_bounded() -> None:
    from p2pvoice.node.community import neighbours as module

    now = 0.0
    notes = Neighbours(lambda: now)
    for number in range(module.VOICES_NOTED + 1):
        voice = VoiceName(number.to_bytes(32), "v")
        notes.holds("peer", [voice])
        notes.lacks("other", voice)
    first, last = (VoiceName(number.to_bytes(32), "v") for number in (0, module.VOICES_NOTED))
    assert (notes.holders(first), notes.holders(last)) == ([], ["peer"])
    assert (notes.is_lacking("other", first), notes.is_lacking("other", last)) == (False, True)
    now = module.LACK_SECONDS
    assert not notes.is_lacking("other", last)
    for number in range(module.DECLINED_LIMIT + 1):
        notes.declined("peer", last, number.to_bytes(32))
    assert not notes.has_declined("peer", last, (0).to_bytes(32))
    assert notes.has_declined("peer", last, (1).to_bytes(32))
    notes.only(["other"])
    assert notes.holders(last) == []
