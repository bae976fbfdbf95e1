"""Limits: arithmetic by properties, the waiting under a mock clock, and real daemons that keep to it."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from p2pvoice.node.bucket import BURST_SECONDS, METER_SECONDS, Bucket, Meter
from p2pvoice.node.ratelimit import CHUNK_SECONDS, LARGEST_CHUNK, Throttle, places
from p2pvoice.protocol.amounts import LEAST_RATE
from p2pvoice.protocol.errors import UsageError

from .nodes import Daemon, bring, install_encoder, large_gpt, publish, refusal

Make = Callable[[], Daemon]

STEPS = st.lists(
    st.tuples(st.floats(0, 20), st.integers(0, LARGEST_CHUNK), st.booleans()), min_size=1, max_size=60
)


@given(rate=st.integers(LEAST_RATE, 10**9), steps=STEPS)
def test_no_span_of_time_lets_more_through_than_the_rate_the_burst_and_one_piece(
    rate: int, steps: list[tuple[float, int, bool]]
) -> None:
    """Each step waits at random, or exactly as long as it is told to, and then takes if it may."""
    bucket, now, passed = Bucket(rate, 0.0), 0.0, list[tuple[float, int]]()
    for pause, size, patient in steps:
        now += pause
        if patient:
            now += bucket.delay(now)
            # Who waited as long as it was told passes, but for the last bits of a float.
            assert bucket.delay(now) < 1e-6
        if bucket.delay(now) < 1e-6:
            bucket.spend(size, now)
            passed.append((now, size))
    for first, (begin, _) in enumerate(passed):
        total = 0
        for at, size in passed[first:]:
            total += size
            assert total <= rate * (at - begin + BURST_SECONDS) + LARGEST_CHUNK + 1


@given(rate=st.integers(LEAST_RATE, 10**9), size=st.integers(1, 1 << 30))
def test_what_goes_back_is_as_if_it_had_not_been_taken(rate: int, size: int) -> None:
    bucket = Bucket(rate, 0.0)
    bucket.spend(size, 1.0)
    bucket.give_back(size, 1.0)
    assert bucket.delay(1.0) == 0
    # And never more than the burst, however much is given back.
    bucket.give_back(size, 1.0)
    bucket.spend(int(rate * BURST_SECONDS) + rate, 1.0)
    assert bucket.delay(1.0) == pytest.approx(1.0, rel=1e-3)


def test_a_rate_that_changes_is_paid_at_the_new_one() -> None:
    bucket = Bucket(100_000, 0.0)
    bucket.spend(1_025_000, 0.0)
    assert bucket.delay(0.0) == pytest.approx(10)
    bucket.set_rate(1_000_000, 0.0)
    assert bucket.delay(0.0) == pytest.approx(1)
    bucket.set_rate(0, 0.0)
    assert bucket.delay(0.0) == 0


def test_a_clock_that_stands_or_goes_back_gives_nothing_away() -> None:
    bucket = Bucket(100_000, 10.0)
    bucket.spend(125_000, 10.0)
    assert bucket.delay(5.0) == bucket.delay(10.0) == pytest.approx(1)


def test_meter_forgets_and_stays_small() -> None:
    meter = Meter()
    for second in range(1000):
        for _ in range(3):
            meter.note(1000, second + 0.5)
    assert meter.rate(999.9) == 3000
    assert len(meter._seconds) <= METER_SECONDS + 1
    assert meter.rate(2000.0) == 0


def test_places_at_the_rates() -> None:
    assert places(0) == float("inf")
    assert places(LEAST_RATE) == 1
    assert places(2 * LEAST_RATE) == 2
    for rate in (LEAST_RATE, 10 * LEAST_RATE, 10**7):
        # So many streams, each with a whole chunk to wait for, get theirs in time.
        assert places(rate) * LARGEST_CHUNK / rate <= CHUNK_SECONDS


async def test_those_who_wait_pass_in_their_order_and_at_the_rate(autojump_clock: MockClock) -> None:
    throttle = Throttle(100_000)
    order: list[int] = []

    async def peer(number: int) -> None:
        for _ in range(5):
            await throttle.take(50_000)
            order.append(number)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(peer, number)
            await trio.testing.wait_all_tasks_blocked()
    # 20 takes of half a second each; the last one is still owed.
    assert trio.current_time() - began == pytest.approx(20 * 0.5 - 0.5, abs=0.1)
    for number in range(4):
        # Nobody is served twice before everybody was served once.
        places_ = [at for at, one in enumerate(order) if one == number]
        assert all(later - earlier <= 4 for earlier, later in pairwise(places_))


async def test_a_new_limit_reaches_those_who_wait_already(autojump_clock: MockClock) -> None:
    throttle = Throttle(LEAST_RATE)
    await throttle.take(LEAST_RATE * 1000)
    done = trio.Event()

    async def wait() -> None:
        await throttle.take(1)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(1.0)
        assert not done.is_set()
        began = trio.current_time()
        throttle.set_rate(0)
    assert done.is_set()
    assert trio.current_time() - began < 1


async def test_one_who_gives_up_waiting_takes_nothing(autojump_clock: MockClock) -> None:
    throttle = Throttle(100_000)
    await throttle.take(300_000)
    with trio.move_on_after(1) as scope:
        await throttle.take(10**9)
    assert scope.cancelled_caught
    assert not throttle.ready()
    began = trio.current_time()
    await throttle.take(1)
    assert trio.current_time() - began == pytest.approx(2, abs=0.1)


async def test_fetches_share_the_places() -> None:
    throttle = Throttle(10 * LEAST_RATE)
    async with throttle.waited_place():
        assert throttle.share(6) == 6
        async with throttle.waited_place(), throttle.waited_place():
            assert throttle.share(6) == 3
            throttle.set_rate(LEAST_RATE)
            assert throttle.share(6) == 1
            throttle.set_rate(0)
            assert throttle.share(6) == 6


async def test_places_are_held_and_come_back() -> None:
    throttle = Throttle(LEAST_RATE)
    with throttle.place() as first:
        with throttle.place() as second:
            assert (first, second) == (True, False)
        throttle.set_rate(2 * LEAST_RATE)
        with throttle.place() as second:
            assert second
    with pytest.raises(UsageError):
        throttle.set_rate(LEAST_RATE - 1)
    assert throttle.rate == 2 * LEAST_RATE


LIMITED = "[network]\nlimit_lan = true\n"


def watched_fetch(daemon: Daemon, release: str, giver: Daemon) -> tuple[list[int], int, float]:
    """Fetch, and ask the giver at each event how fast it sends; these, the bytes sent, and the seconds."""
    rates: list[int] = []
    result: dict[str, Any] = {}
    for event in daemon.client.fetch(release):
        rates.append(giver.client.limits()["up_now"])
        result = dict(event)
    return rates, int(result["bytes_sent"]), float(result["transfer_seconds"])


def test_daemons_keep_to_their_limits_both_ways(
    daemons: Make, encoder: Path, clip: Path, tmp_path: Path
) -> None:
    """B receives at most 400 kB/s; then A sends at most that to C."""
    a, b, c = daemons(), daemons(), daemons()
    a.home.joinpath("config.toml").write_text(LIMITED)
    b.home.joinpath("config.toml").write_text(LIMITED + 'down = "400 kB"\n')
    a.start()
    install_encoder(a, encoder)
    # Random weights: nothing of them is compressed away on the wire.
    bring(a, clip, gpt=large_gpt(tmp_path / "large.ckpt", feed=4096, seed=3, layers=2), name="Large")
    release = publish(a, "large")["release"]
    b.start(a)
    assert b.client.limits()["down"] == 400_000
    _, sent, seconds = watched_fetch(b, release, a)
    print(f"down: {sent} in {seconds} s")
    assert sent > 1_500_000
    # The last chunk asked for is still owed when it comes, and the burst is free.
    assert (sent - LARGEST_CHUNK - 100_000) / 400_000 * 0.8 <= seconds
    b.end()
    assert a.client.set_limits(up=400_000)["up"] == 400_000
    c.start(a)
    rates, sent, seconds = watched_fetch(c, release, a)
    print(f"up: {sent} in {seconds} s: {sent / seconds:.0f} B/s, shown {max(rates)} B/s")
    assert sent / seconds <= 400_000 * 1.2
    assert 0 < max(rates) <= 400_000 * 1.2
    assert refusal(lambda: a.client.set_limits(up=LEAST_RATE - 1)).code == "usage"
    assert a.client.set_limits(down=0)["up"] == 400_000
