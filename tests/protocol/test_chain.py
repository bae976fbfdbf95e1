import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import operations
from p2pvoice.protocol.acts import Comment, Star, Unknown
from p2pvoice.protocol.chain import (
    START,
    ChainExchange,
    Link,
    Log,
    Verdict,
    judge,
    latest_common,
    point_places,
)
from p2pvoice.protocol.conversation import POINTS_LIMIT
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.operations import OWNER_CHAIN_LIMIT, Operation, Signed, VoiceName, sign_operation

from .histories import KEYS, PUBLIC, VOICE


def signed(after: Signed | None, text: str, time: int | None = None, key: int = 2) -> Signed:
    """A comment behind another operation; ``key`` is the number of its signer."""
    seq = after.operation.seq + 1 if after else 1
    moment = time if time is not None else (after.operation.time + 1 if after else 1)
    operation = Operation(VOICE, PUBLIC[key], seq, after.id if after else None, moment, Comment(text))
    return sign_operation(operation, KEYS[key])


def chain(length: int, text: str = "x", key: int = 2, after: Signed | None = None) -> list[Signed]:
    made: list[Signed] = []
    for number in range(length):
        after = signed(after, f"{text} {number}", key=key)
        made.append(after)
    return made


def pair(after: Signed | None = None) -> tuple[Signed, Signed]:
    """Two operations with one predecessor, the smaller id first."""
    one, two = sorted((signed(after, "one"), signed(after, "two")), key=lambda one: one.id)
    return one, two


@pytest.fixture
def log() -> Log:
    return Log(VOICE)


def held(log: Log, key: int = 2) -> list[Signed]:
    return list(log.chains().get(PUBLIC[key], ()))


def test_operations_join_in_order_and_once(log: Log) -> None:
    one, two, three = chain(3)
    assert log.add(two) is Verdict.EARLY
    assert log.add(one) is Verdict.JOINS
    assert log.add(one) is Verdict.KNOWN
    assert log.add(three) is Verdict.EARLY
    assert log.add(two) is Verdict.JOINS
    assert log.add(three) is Verdict.JOINS
    assert log.add(one) is log.add(two) is Verdict.KNOWN
    assert held(log) == [one, two, three]
    assert log.heads() == {PUBLIC[2]: three.id}
    assert {verdict for verdict in Verdict if verdict.kept} == {Verdict.JOINS, Verdict.REPLACES}


def test_chains_of_signers_do_not_meet(log: Log) -> None:
    first, second = chain(2, key=2), chain(3, key=3)
    assert log.add_all(first + second) == 5
    assert (held(log, 2), held(log, 3)) == (first, second)
    assert log.operations() == sorted(first + second, key=lambda one: (one.operation.time, one.id))


def test_an_operation_on_another_voice_is_not_taken(log: Log) -> None:
    other = Operation(VoiceName(VOICE.author, "other"), PUBLIC[2], 1, None, 1, Star())
    with pytest.raises(ValueError, match="another voice"):
        log.add(sign_operation(other, KEYS[2]))


@pytest.mark.parametrize("place", [0, 1, 3])
def test_the_smaller_id_stays_whichever_comes_first(place: int) -> None:
    shared = chain(place)
    less, more = pair(shared[-1] if shared else None)
    tail = chain(3, "tail", after=more)
    one, two = Log(VOICE), Log(VOICE)
    one.add_all([*shared, less])
    assert [one.add(late) for late in (more, *tail)] == [
        Verdict.LOSES,
        Verdict.LOSES,
        Verdict.EARLY,
        Verdict.EARLY,
    ]
    two.add_all([*shared, more, *tail])
    assert two.add(less) is Verdict.REPLACES
    assert held(one) == held(two) == [*shared, less]
    assert two.add(tail[0]) is Verdict.LOSES
    end = signed(less, "end")
    assert two.add(end) is Verdict.JOINS
    assert held(two) == [*shared, less, end]


def test_a_better_branch_that_arrives_before_its_beginning(log: Log) -> None:
    root = signed(None, "root")
    less, more = pair(root)
    good, bad = chain(3, "good", after=less), chain(3, "bad", after=more)
    log.add_all([root, more, *bad])
    # Nothing of it joins, and nothing goes, until its beginning is there; then all of it joins.
    assert [log.add(one) for one in good] == [Verdict.LOSES] * 3
    assert held(log) == [root, more, *bad]
    assert log.add(less) is Verdict.REPLACES
    assert [log.add(one) for one in good] == [Verdict.JOINS] * 3
    assert held(log) == [root, less, *good]


def test_time_must_rise(log: Log) -> None:
    one = signed(None, "one", time=50)
    log.add(one)
    for time in (1, 49, 50):
        assert log.add(signed(one, "two", time=time)) is Verdict.REFUSED
    assert log.add(signed(one, "two", time=51)) is Verdict.JOINS


def test_what_is_refused_does_not_win_a_place(log: Log) -> None:
    one = signed(None, "one", time=50)
    good = signed(one, "good")
    bad = next(late for late in (signed(one, f"bad {n}", time=50) for n in range(100)) if late.id < good.id)
    for order in ((one, good, bad), (one, bad, good), (bad, one, bad, good, bad)):
        log = Log(VOICE)
        for each in order:
            log.add(each)
        assert held(log) == [one, good]


@pytest.mark.parametrize(("key", "name"), [(2, "CHAIN"), (0, "OWNER_CHAIN")])
def test_the_quota_in_bytes_is_of_the_chain_up_to_the_operation(
    key: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chain(4, key=key)
    size = sum(len(one.data) for one in made[:3])
    monkeypatch.setattr(operations, f"{name}_BYTES", size)
    log = Log(VOICE)
    assert [log.add(one) for one in made] == [Verdict.JOINS] * 3 + [Verdict.REFUSED]
    monkeypatch.setattr(operations, f"{name}_BYTES", size - 1)
    log = Log(VOICE)
    assert [log.add(one) for one in made] == [Verdict.JOINS] * 2 + [Verdict.REFUSED, Verdict.EARLY]
    # What takes an earlier place is measured without what goes for it.
    monkeypatch.setattr(operations, f"{name}_BYTES", size)
    log.add(made[2])
    less = next(
        late for late in (signed(made[0], f"l {n}", key=key) for n in range(200)) if late.id < made[1].id
    )
    assert log.add(less) is Verdict.REPLACES
    assert log.add(signed(less, "x 2", key=key)) is Verdict.JOINS


def test_unknown_acts_are_links_like_any_other(log: Log) -> None:
    one = signed(None, "one")
    wave = sign_operation(Operation(VOICE, PUBLIC[2], 2, one.id, 2, Unknown("wave", {"at": b"x"})), KEYS[2])
    assert log.add_all([one, wave, signed(wave, "three")]) == 3


def test_judge_needs_three_points_only() -> None:
    one = signed(None, "one")
    two = signed(one, "two")
    link = Link(one.id, one.operation.time, len(one.data))
    assert judge(one, START, None) is Verdict.JOINS
    assert judge(two, link, None) is Verdict.JOINS
    assert judge(two, None, None) is Verdict.EARLY
    assert judge(two, link, Link(two.id, 9, 9)) is Verdict.KNOWN
    assert judge(two, link, Link(bytes(32), 9, 9)) is Verdict.LOSES
    assert judge(two, link, Link(b"\xff" * 32, 9, 9)) is Verdict.REPLACES
    assert judge(two, Link(bytes(32), 1, 1), Link(b"\xff" * 32, 9, 9)) is Verdict.LOSES


@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_all_at_once_is_one_by_one(start: int, rnd: random.Random) -> None:
    # A tree of branches, each behind any operation there is.
    made: list[Signed] = []
    for number in range(rnd.randint(1, 15)):
        made.append(signed(rnd.choice([None, *made]), f"{start} {number}"))
    begun = rnd.sample(made, rnd.randint(0, len(made)))
    one, two = Log(VOICE), Log(VOICE)
    for log in (one, two):
        for each in begun:
            log.add(each)
    one.add_all(made)
    while any([two.add(each).kept for each in rnd.sample(made, len(made))]):
        pass
    assert held(one) == held(two)
    assert held(one)[0].id == min(each.id for each in made if each.operation.seq == 1)


def test_points_lie_ever_further_apart() -> None:
    assert point_places(0) == ()
    assert point_places(1) == (1,)
    assert point_places(2) == (2, 1)
    assert point_places(20) == (20, 19, 18, 16, 12, 4)
    assert len(point_places(OWNER_CHAIN_LIMIT)) <= POINTS_LIMIT
    for length in range(1, 300):
        places = point_places(length)
        assert list(places) == sorted(set(places), reverse=True)
        assert min(places) >= 1
        assert min(places) <= length // 2 + 1


def test_the_latest_common_point() -> None:
    ids = {1: b"a", 2: b"b", 3: b"c"}

    def there(seq: int) -> Digest | None:
        return ids.get(seq)

    assert latest_common([(4, b"d"), (3, b"x"), (2, b"b"), (1, b"a")], there) == 2
    assert latest_common([(4, b"d")], there) == latest_common([], there) == 0


def talk(asker: Log, asked: Log, page: int) -> tuple[int, int]:
    """The exchange of a chain, both ways; how many questions it took, and operations sent back."""
    exchange, questions = ChainExchange(asker.points(PUBLIC[2])), 0
    while exchange.points is not None:
        records = asked.after(PUBLIC[2], exchange.points)[:page]
        exchange.take([(one, asker.add(one)) for one in records], len(held(asked)))
        questions += 1
    back = held(asker)[exchange.common :]
    asked.add_all(back)
    return questions, len(back)


@pytest.mark.parametrize("page", [1, 2, 5, 1000])
@pytest.mark.parametrize("shared", [0, 1, 2, 13, 40])
@pytest.mark.parametrize(("mine", "yours"), [(0, 0), (0, 1), (1, 0), (1, 1), (0, 20), (20, 0), (7, 9)])
def test_an_exchange_of_a_chain_ends_with_the_same_one(page: int, shared: int, mine: int, yours: int) -> None:
    trunk = chain(shared)
    end = trunk[-1] if trunk else None
    for names in (("a", "b"), ("b", "a"), ("c", "d")):
        branches = [chain(count, name, after=end) for count, name in zip((mine, yours), names, strict=True)]
        logs = [Log(VOICE), Log(VOICE)]
        for log, branch in zip(logs, branches, strict=True):
            log.add_all([*trunk, *branch])
        best = min((branch for branch in branches if branch), key=lambda branch: branch[0].id, default=[])
        questions, back = talk(*logs, page)
        assert held(logs[0]) == held(logs[1]) == trunk + best
        # What both have is not sent at length: points halve the way, and then it goes on from the known.
        assert questions <= (min(shared, mine) + yours) // page + 2
        assert back <= mine


def test_an_exchange_with_a_peer_that_repeats_itself_ends(log: Log) -> None:
    made = chain(6)
    exchange = ChainExchange(())
    exchange.take([(one, log.add(one)) for one in made[:3]], OWNER_CHAIN_LIMIT)
    assert (exchange.common, exchange.points) == (3, ((3, made[2].id),))
    exchange.take([(one, log.add(one)) for one in made[:3]], OWNER_CHAIN_LIMIT)
    assert (exchange.common, exchange.points) == (3, None)
    exchange = ChainExchange(())
    # A gap ends it as well.
    exchange.take([(made[0], log.add(made[0])), (made[5], log.add(made[5]))], 6)
    assert (exchange.common, exchange.points) == (1, None)


def test_a_long_chain_is_added_in_linear_time(log: Log) -> None:
    made = chain(operations.CHAIN_LIMIT)
    assert log.add_all(reversed(made)) == len(made)
    assert log.add(made[-1]) is Verdict.KNOWN
