"""The logs of voices in the database: joining, forks, the future, names, lines of keys, what is shown."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from p2pvoice.node.community.log import AHEAD_MARGIN
from p2pvoice.node.community.naming import find_operation
from p2pvoice.node.community.reading import NAME_LETTERS
from p2pvoice.node.identity import generate
from p2pvoice.protocol.acts import Comment, Issue, Proposal, Star, Unknown, Unstar
from p2pvoice.protocol.chain import Log, Verdict
from p2pvoice.protocol.errors import ConflictError, NotFoundError, UsageError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.operations import AHEAD, CHAIN_BYTES, VoiceName, operation_id
from p2pvoice.protocol.replay import replay
from p2pvoice.protocol.successor import Successor, sign_successor

from .community_parts import NOW, Clock, Desk, Writer
from .recall_parts import make_release

MS = int(NOW * 1000)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path / "catalog.sqlite")
    yield one
    one.close()


@pytest.fixture
def voice() -> VoiceName:
    return VoiceName(generate().author_public, "storyteller")


def test_a_log_on_disk_ends_like_the_one_in_memory(desk: Desk, voice: VoiceName, tmp_path: Path) -> None:
    """Chains with forks: a table, a table filled the other way round, and chain.py agree."""
    writers = [Writer(voice) for _ in range(4)]
    said = []
    for number, writer in enumerate(writers):
        for place in range(6):
            said.append(writer.say(Comment(f"{number} says {place}")))
        fork = writer.said[number]
        for place in range(3):
            fork = writer.sign(Comment(f"{number} forks {place}"), fork, fork.operation.time + 7)
            said.append(fork)
    memory = Log(voice)
    memory.add_all(said)
    other = Desk(tmp_path / "other.sqlite")
    for one, order in ((desk, said), (other, said[::-1])):
        while one.take(order, size=5):
            pass
        assert one.logs.heads(voice) == memory.heads()
        assert {signed.id for signed in one.logs.operations(voice)} == {one.id for one in memory.operations()}
        assert one.states.of(one.lines.of_voice(voice)) == replay(memory.operations(), {voice.author})
    other.close()


def test_what_lies_in_the_future_is_refused_until_it_does_not(desk: Desk, voice: VoiceName) -> None:
    writer, clock = Writer(voice), desk.clock
    assert isinstance(clock, Clock)
    soon = writer.say(Star(), time=MS + AHEAD)
    late = writer.say(Unstar(), time=MS + AHEAD + 1)
    taken = desk.logs.take(voice, [soon, late])
    assert taken.verdicts == (Verdict.JOINS, Verdict.REFUSED)
    clock.now += 0.001
    assert desk.logs.take(voice, [late]).verdicts == (Verdict.JOINS,)


def test_what_is_signed_here_comes_after_all_that_is_here(desk: Desk, voice: VoiceName) -> None:
    writer, key = Writer(voice), desk.identity.author
    writer.say(Star(), time=MS + 5_000)
    desk.take(writer.said)
    mine = desk.logs.append(voice, Comment("after"), key)
    assert mine.operation.time == MS + 5_001
    # Somebody at the very edge of the future cannot push the next signer beyond what others would take.
    writer.say(Unstar(), time=MS + AHEAD)
    desk.take(writer.said)
    again = desk.logs.append(voice, Comment("bounded"), key)
    assert again.operation.time == MS + AHEAD - AHEAD_MARGIN
    assert desk.logs.append(voice, Comment("own"), key).operation.time == again.operation.time + 1


def test_a_used_up_quota_is_said_so(desk: Desk, voice: VoiceName) -> None:
    key, text = desk.identity.author, "x" * 4000
    writer = Writer(voice, key=key)
    while sum(len(one.data) for one in writer.said) + 4_500 < CHAIN_BYTES:
        writer.say(Comment(text))
    assert desk.take(writer.said) == len(writer.said)
    desk.logs.append(voice, Comment("short"), key)
    with pytest.raises(ConflictError, match="used up"):
        desk.logs.append(voice, Comment(text), key)
    assert desk.logs.sizes()["bytes"] <= CHAIN_BYTES


def test_an_act_of_another_version_is_kept_and_shown_without_harm(desk: Desk, voice: VoiceName) -> None:
    writer = Writer(voice)
    writer.say(Unknown("applaud", {"target": b"?", "text": 7, "add": [{}], "release": b"x"}))
    writer.say(Comment("after it"))
    assert desk.take(writer.said) == 2
    line = desk.lines.of_voice(voice)
    rows = desk.views.log(line, everything=True)["entries"]
    assert [row["act"] for row in rows] == ["comment", "applaud"]
    assert rows[1]["target"] is None
    assert desk.views.look(line).others["comments"] == 1


def test_operations_are_named_by_their_beginnings(desk: Desk, voice: VoiceName) -> None:
    writer = Writer(voice)
    one = writer.say(Comment("one"))
    desk.take(writer.said)
    name = operation_id(one.id)
    for text in (name, name[:10], name[2:12], name[: 2 + NAME_LETTERS], name.upper()):
        assert find_operation(desk.logs, text) == (voice, one.id), text
    wrong = "opaaaaaa" if not name.startswith("opaaaaaa") else "opbbbbbb"
    with pytest.raises(NotFoundError):
        find_operation(desk.logs, wrong)
    for text in ("", "op", name[2 : 1 + NAME_LETTERS], name + "a", "op!!!!!!", "op01890189"):
        with pytest.raises(UsageError):
            find_operation(desk.logs, text)


def test_an_ambiguous_beginning_is_refused(desk: Desk, voice: VoiceName) -> None:
    """Ids can be ground until two begin alike; then neither is meant."""
    writer = Writer(voice)
    one = writer.say(Comment("one"))
    desk.take(writer.said)
    twin = replace(one, id=one.id[:4] + bytes(28))
    with desk.database.write() as connection:
        connection.execute(
            "INSERT INTO operations(chain, seq, id, time, total, data) SELECT chain, 2, ?, time, total, data"
            " FROM operations",
            (twin.id,),
        )
    with pytest.raises(UsageError, match="several"):
        find_operation(desk.logs, operation_id(one.id)[:8])
    assert find_operation(desk.logs, operation_id(one.id)) == (voice, one.id)


def test_logs_under_a_former_key_are_one_with_those_under_the_next(tmp_path: Path) -> None:
    old, new, clock = generate(), generate(), Clock()
    desk = Desk(tmp_path / "catalog.sqlite", clock=clock)
    before, after = VoiceName(old.author_public, "v"), VoiceName(new.author_public, "v")
    stranger, author = Writer(before), Writer(after, key=new.author)
    asked = stranger.say(Issue("hums"))
    answer = author.say(Comment("it did", asked.id))
    desk.take([asked])
    desk.take([answer])
    assert len(desk.views.look(desk.lines.of_voice(before)).comments()["comments"]) == 0
    record = Successor(old.author_public, new.author_public, int(NOW), "")
    desk.successors.add(sign_successor(record, old.author, new.author))
    line = desk.lines.of_voice(before)
    assert line == desk.lines.of_voice(after)
    assert line.authors == (author_id(old.author_public), author_id(new.author_public))
    view = desk.views.look(line)
    assert view.totals["comments"] == 1
    [issue] = view.issues()["issues"]
    assert (issue["comments"], issue["shown"], issue["counted"]) == (1, True, False)
    [row] = view.issue(view.state.issues[asked.id])["comments"]
    assert (row["owner"], row["counted"], row["depth"]) == (True, True, 0)
    desk.close()


async def test_an_answer_joins_the_log_of_what_it_answers(tmp_path: Path) -> None:
    """The target is under a former key: who knows only that one must find the answer there."""
    old, new = generate(), generate()
    desk = Desk(tmp_path / "catalog.sqlite")
    before, after = VoiceName(old.author_public, "v"), VoiceName(new.author_public, "v")
    stranger = Writer(before)
    asked = stranger.say(Comment("?"))
    desk.take([asked])
    record = Successor(old.author_public, new.author_public, int(NOW), "")
    desk.successors.add(sign_successor(record, old.author, new.author))
    acted = await desk.acting().act(after, Comment("!", asked.id))
    assert acted.signed is not None
    assert acted.signed.operation.voice == before
    # Anything else is said under the latest key with which the voice was published, as far as that is known.
    for known, place in ((None, before), (old, before), (new, after)):
        if known is not None:
            desk.catalog.add_release(make_release(known.author, "v").envelope.to_bytes())
        plain = await desk.acting().act(before, Comment(f"plain {place}"))
        assert plain.signed is not None
        assert plain.signed.operation.voice == place
    desk.close()


async def test_what_lost_to_another_device_is_signed_again(tmp_path: Path, voice: VoiceName) -> None:
    """Two homes with one key act apart; when they meet, nothing that was said is lost, nor said twice."""
    mine = generate()
    one, two = (Desk(tmp_path / name, identity=mine) for name in ("1.sqlite", "2.sqlite"))
    for desk, words in ((one, "from one"), (two, "from two")):
        first = await desk.acting().act(voice, Comment(words))
        assert first.signed is not None
        await desk.acting().act(voice, Comment(f"more {words}", first.signed.id))
        await desk.acting().act(voice, Star())
    for _ in range(6):
        for here, there in ((one, two), (two, one)):
            here.take(there.logs.operations(voice))
            await here.acting().sign_again()
    for desk in (one, two):
        posts = desk.states.of(desk.lines.of_voice(voice)).comments
        assert sorted(post.text for post in posts.values()) == [
            "from one",
            "from two",
            "more from one",
            "more from two",
        ]
        # Answers went along with what they answer.
        assert all(post.target in posts for post in posts.values() if post.text.startswith("more"))
        assert desk.logs.lost() == []
        assert desk.views.look(desk.lines.of_voice(voice)).starred
    assert one.logs.heads(voice) == two.logs.heads(voice)
    for desk in (one, two):
        desk.close()


def test_words_that_were_taken_back_are_in_no_view(desk: Desk, voice: VoiceName) -> None:
    from p2pvoice.protocol.acts import Edit, Retract

    writer = Writer(voice)
    one = writer.say(Comment("regrettable"))
    writer.say(Edit(one.id, "still regrettable"))
    issue = writer.say(Issue("regrettable title", "regrettable"))
    offered = writer.say(Proposal(b"r" * 32, b"b" * 32, "regrettable"))
    for target in (one, issue, offered):
        writer.say(Retract(target.id))
    desk.take(writer.said)
    line = desk.lines.of_voice(voice)
    view = desk.views.look(line)
    everything = [desk.views.log(line, everything=True), view.comments(), view.issues(), view.proposals()]
    everything += [view.comment(view.state.comments[one.id]), view.proposal(view.state.proposals[offered.id])]
    assert "regrettable" not in repr(everything)
