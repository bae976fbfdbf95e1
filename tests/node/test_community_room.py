"""Room: floods of spam leave the bounds intact and honest words visible; bounds at n and n + 1."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pvoice.node.community import room
from p2pvoice.node.community.room import TURNED_AWAY_SECONDS, TurnedAway
from p2pvoice.node.identity import generate
from p2pvoice.protocol.acts import Comment, Star
from p2pvoice.protocol.chain import Verdict
from p2pvoice.protocol.operations import VoiceName

from .community_parts import Clock, Desk, Writer
from .spam import flood, settle


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path / "catalog.sqlite")
    yield one
    one.close()


@pytest.mark.parametrize("keys", [1, 40, 3_000])
def test_a_flood_of_spam_leaves_bounds_and_honest_words(desk: Desk, keys: int) -> None:
    """A small one; tests/bench/spam.py prints the figures of 10⁵ operations."""
    voice, honest = settle(desk)
    for batch in flood(voice, 3_000, keys):
        desk.logs.take(voice, batch)
        sizes = desk.logs.sizes()
        assert sizes["chains"] <= room.VOICE_CHAINS + 3
        assert sizes["stranger_bytes"] <= room.VOICE_BYTES
    assert honest.visible(desk, voice) == len(honest.said)
    view = desk.views.look(desk.lines.of_voice(voice))
    assert (view.totals["stars"], view.totals["comments"], view.totals["issues"]) == (1, 1, 0)
    assert [row["shown"] for row in view.issues()["issues"]] == [True]
    assert sum(row["shown"] for row in view.comments()["comments"]) == 0
    assert len(desk.logs.turned_away) <= room.TURNED_AWAY_LIMIT


def test_large_chains_leave_the_bytes_within_bounds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "VOICE_BYTES", 256 * 1024)
    voice, honest = settle(desk)
    for batch in flood(voice, 600, 30, text="x" * 2_000):
        desk.logs.take(voice, batch)
        assert desk.logs.sizes()["stranger_bytes"] <= room.VOICE_BYTES
    assert honest.visible(desk, voice) == len(honest.said)


def test_early_ones_that_grow_leave_newcomers_their_share(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who came first with little and grows afterwards keeps to the early ones' share of the bytes."""
    monkeypatch.setattr(room, "VOICE_BYTES", 64 * 1024)
    voice = VoiceName(generate().author_public, "storyteller")
    early = [Writer(voice) for _ in range(12)]
    desk.take([writer.say(Star()) for writer in early])
    newcomer = Writer(voice)
    for number in range(3):
        desk.take([newcomer.say(Comment(f"newcomer {number}"))])
    for _ in range(4):
        for writer in early:
            desk.take([writer.say(Comment("x" * 3_000))])
    assert newcomer.public in desk.signers(voice)
    assert desk.logs.sizes()["stranger_bytes"] <= 64 * 1024


@pytest.mark.parametrize("more", [0, 1])
def test_chains_of_a_voice_at_the_limit_and_one_past_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr(room, "VOICE_CHAINS", 20)
    voice = VoiceName(generate().author_public, "storyteller")
    writers = [Writer(voice) for _ in range(20 + more)]
    desk.take([writer.say(Star()) for writer in writers], size=1)
    assert desk.logs.sizes()["chains"] == 20
    # The newest quarter replaces itself: of the newcomers the first to have come goes for the last.
    gone = {writer.public for writer in writers} - desk.signers(voice)
    assert gone == ({writers[20 + 1 - 5].public} if more else set())
    assert [desk.logs.turned_away.holds(voice, writer.public) for writer in writers].count(True) == more


def test_a_longer_word_is_not_lost_to_many_short_ones(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer's comment stays until as many newcomers came after it as the newest quarter holds."""
    monkeypatch.setattr(room, "VOICE_CHAINS", 20)
    voice = VoiceName(generate().author_public, "storyteller")
    desk.take([Writer(voice).say(Star()) for _ in range(40)], size=1)
    late = Writer(voice)
    desk.take([late.say(Comment("x" * 1_500))])
    for _ in range(4):
        assert late.public in desk.signers(voice)
        desk.take([Writer(voice).say(Star())])
    desk.take([Writer(voice).say(Comment("y" * 3_900)) for _ in range(3)], size=1)
    assert late.public not in desk.signers(voice)


def test_all_voices_together_and_whose_share_is_largest_gives(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "NODE_OPERATIONS", 100)
    quiet = VoiceName(generate().author_public, "quiet")
    loud = [VoiceName(generate().author_public, f"loud-{n}") for n in range(3)]
    first = [Writer(quiet) for _ in range(10)]
    desk.take([writer.say(Star()) for writer in first])
    for voice in loud:
        for batch in flood(voice, 80, 20):
            desk.logs.take(voice, batch)
            assert desk.logs.sizes()["stranger_operations"] <= 100
    assert desk.signers(quiet) == {writer.public for writer in first}
    assert all(desk.signers(voice) for voice in loud)


def test_the_bytes_of_all_voices_together(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "NODE_BYTES", 100_000)
    for number in range(4):
        voice = VoiceName(generate().author_public, f"loud-{number}")
        for batch in flood(voice, 100, 25, text="x" * 300):
            desk.logs.take(voice, batch)
            assert desk.logs.sizes()["stranger_bytes"] <= 100_000


def test_who_was_turned_away_comes_again_later_or_when_trusted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "VOICE_CHAINS", 8)
    voice, clock = VoiceName(generate().author_public, "storyteller"), desk.clock
    assert isinstance(clock, Clock)
    writers = [Writer(voice) for _ in range(9)]
    desk.take([writer.say(Star()) for writer in writers], size=1)
    [gone] = [writer for writer in writers if writer.public not in desk.signers(voice)]
    assert desk.logs.take(voice, gone.said).verdicts == (Verdict.REFUSED,)
    desk.following.follow(gone.author)
    assert desk.logs.take(voice, gone.said).verdicts == (Verdict.JOINS,)
    tenth = Writer(voice)
    desk.take([tenth.say(Star())])
    away = [writer for writer in writers if writer.public not in desk.signers(voice)]
    assert away
    for writer in away:
        assert desk.logs.take(voice, writer.said).verdicts == (Verdict.REFUSED,)
    clock.now += TURNED_AWAY_SECONDS
    assert desk.logs.take(voice, away[0].said).verdicts == (Verdict.JOINS,)


def test_the_memory_of_those_turned_away_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TURNED_AWAY_LIMIT", 3)
    away, voice = TurnedAway(Clock()), VoiceName(bytes(32), "v")
    for number in range(4):
        away.add(voice, bytes([number]))
    assert [away.holds(voice, bytes([number])) for number in range(4)] == [False, True, True, True]
    assert len(away) == 3
