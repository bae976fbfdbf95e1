"""The arithmetic of a fetch's pace: rates, windows, who is slow, and what all windows hold together."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.node import pacing
from p2pvoice.node.pacing import (
    ALL_BYTES,
    ENOUGH,
    FAR_BELOW,
    FETCH_PEERS,
    FIRST_BYTES,
    FIRST_CHUNKS,
    TRIAL,
    WINDOW_BYTES,
    WINDOW_CHUNKS,
    Pace,
    Standing,
    gives_way,
    points,
    room,
    spare,
    worth_a_second,
)
from p2pvoice.protocol.chunks import CHUNK_LIMIT

SIZES = st.integers(1, CHUNK_LIMIT)
SPANS = st.floats(1e-4, 100)
MIB = 1 << 20


def paced(deliveries: list[tuple[int, float]]) -> tuple[Pace, float]:
    """A pace after deliveries of some sizes, each some seconds after the one before; and the time then."""
    pace, now = Pace(), 5.0
    for size, seconds in deliveries:
        pace.asked(size, now)
        now += seconds
        assert pace.delivers(now) == pytest.approx(seconds, rel=1e-3)
    return pace, now


# -- rates ------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(SIZES, SPANS), min_size=1, max_size=30))
def test_a_rate_lies_between_the_slowest_and_the_fastest(deliveries: list[tuple[int, float]]) -> None:
    pace, now = paced(deliveries)
    seen = [size / seconds for size, seconds in deliveries]
    assert pace.rate is not None
    assert min(seen) * 0.99 <= pace.rate <= max(seen) * 1.01
    assert min(seen) * 0.99 <= pace.mean() <= max(seen) * 1.01
    assert pace.best(now + 1) == pace.rate  # Nothing is owed: time passes and nobody is to blame.


@given(st.lists(st.tuples(SIZES, SPANS), min_size=1, max_size=10), SIZES, SPANS, SPANS)
def test_what_a_peer_can_have_at_best_falls_while_it_owes(
    deliveries: list[tuple[int, float]], size: int, wait: float, more: float
) -> None:
    pace, now = paced(deliveries)
    pace.asked(size, now)
    first, later = pace.best(now + wait), pace.best(now + wait + more)
    assert later <= max(first, pace.rate or 0) * 1.001
    pace.delivers(now + wait)
    assert pace.rate == pytest.approx(first, rel=1e-6)


@given(SIZES, st.floats(1, 1e4))
def test_a_peer_that_never_answers_is_known_to_be_slow(size: int, wait: float) -> None:
    pace = Pace()
    assert pace.best(0.0) == math.inf
    pace.asked(size, 0.0)
    assert pace.rate is None
    assert pace.best(wait) == pytest.approx(size / wait, rel=1e-6)
    assert pace.owing(wait) == wait


def test_time_in_which_nothing_was_owed_does_not_count() -> None:
    pace, now = paced([(MIB, 1.0)])
    pace.asked(MIB, now + 1000)
    pace.delivers(now + 1001)
    assert pace.rate == pytest.approx(MIB)
    pace.asked(MIB, now + 2000)
    pace.lacks(now + 2001)
    assert pace.rate == pytest.approx(MIB)
    assert pace.owing(now + 3000) == pytest.approx(2.0)


# -- windows ----------------------------------------------------------------------------------------------


@given(SIZES, SPANS, SPANS)
def test_a_window_grows_with_the_rate_within_its_bounds(size: int, one: float, other: float) -> None:
    assert Pace().window(0.0) == FIRST_CHUNKS
    (slow, then), (fast, now) = paced([(size, max(one, other))]), paced([(size, min(one, other))])
    assert 1 <= slow.window(then) <= fast.window(now) <= WINDOW_CHUNKS


def test_a_window_is_what_comes_in_half_a_second_and_one_more() -> None:
    slow = ((0.017, 1), (0.9, 1), (1.1, 2), (2, 2), (3.1, 3))
    for rate, chunks in (*slow, (20, 11), (30, 16), (31, 16), (1000, 16)):
        pace, now = paced([(MIB, 1 / rate)])
        assert pace.window(now) == chunks, rate


@given(st.lists(st.tuples(st.integers(0, FETCH_PEERS - 1), SIZES, st.booleans()), max_size=400))
def test_all_windows_together_stay_within_their_bound(steps: list[tuple[int, int, bool]]) -> None:
    owed: list[list[int]] = [[] for _ in range(FETCH_PEERS)]
    for peer, size, takes in steps:
        used = [sum(one) for one in owed]
        left = room(used[peer], spare(used))
        if not takes and owed[peer]:
            owed[peer].pop(0)
        elif size <= left:
            owed[peer].append(size)
        # Whatever the others hold, a peer that holds little may be asked for a chunk.
        assert used[peer] > FIRST_BYTES - CHUNK_LIMIT or left >= CHUNK_LIMIT
    used = [sum(one) for one in owed]
    assert max(used) <= WINDOW_BYTES
    assert sum(used) <= ALL_BYTES


# -- who is slow ------------------------------------------------------------------------------------------


def lanes(*rates: float, owing: float = TRIAL) -> list[Standing]:
    return [Standing(str(number), rate, owing) for number, rate in enumerate(rates)]


def test_six_just_above_the_least_rate_give_way_one_by_one() -> None:
    assert gives_way(lanes(*[17_500.0] * 6)) == "0"
    assert gives_way(lanes(*[17_500.0] * 6, owing=TRIAL - 0.1)) is None


def test_slow_is_a_quarter_of_what_may_be_expected() -> None:
    limit = FAR_BELOW * ENOUGH
    assert gives_way(lanes(*[limit] * 6)) is None
    assert gives_way(lanes(*[limit] * 5, limit - 1)) == "5"
    # Where the others are fast, what is slow among them is faster than that.
    assert gives_way(lanes(40e6, 40e6, 40e6, 10e6)) is None
    assert gives_way(lanes(40e6, 40e6, 40e6, 10e6 - 1)) == "3"
    assert gives_way(lanes()) is None


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=FETCH_PEERS))
def test_whoever_gives_way_is_the_slowest(rates: list[float]) -> None:
    name = gives_way(lanes(*rates))
    assert name is None or rates[int(name)] == min(rates)
    assert name is None or rates[int(name)] < FAR_BELOW * max(ENOUGH, sorted(rates)[(len(rates) - 1) // 2])


def test_a_second_peer_is_asked_when_that_more_than_halves_the_wait() -> None:
    assert worth_a_second(MIB, 17_500.0, MIB, 50e6)
    assert worth_a_second(MIB, 17_500.0, MIB, None)
    assert not worth_a_second(MIB, 50e6, MIB, 50e6)
    assert not worth_a_second(MIB, 50e6, MIB, 17_500.0)
    assert not worth_a_second(8 * MIB, 50e6, MIB, 50e6)  # 0.17 s: gone before the second copy is asked for.
    assert not worth_a_second(MIB, 17_500.0, MIB, 17_500.0)


@given(SIZES, SPANS, SPANS)
def test_points_are_for_bytes_in_time(size: int, one: float, other: float) -> None:
    assert 0 < points(size, max(one, other)) <= points(size, min(one, other)) <= pacing.POINTS
    assert points(MIB, 0.0) == pacing.POINTS
    assert points(MIB, 60.0) == pytest.approx(pacing.POINTS / 60)
