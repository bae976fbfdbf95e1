"""When announcements are due: pure logic with a clock of plain numbers, no waiting."""

import random

from p2pvoice.node.schedule import (
    PACE_COUNT,
    PACE_WINDOW,
    QUEUE_LIMIT,
    REPUBLISH_EVERY,
    REPUBLISH_JITTER,
    RETRY_PAUSES,
    Allotment,
    Schedule,
)

A, B = b"a" * 32, b"b" * 32


def test_pace_lets_a_few_pass_and_then_spreads_them() -> None:
    pace, now, sent = Allotment(), 0.0, []
    for _ in range(40):
        now += pace.delay(now)
        assert pace.delay(now) == 0
        pace.spend(now)
        sent.append(now)
    assert sent[PACE_COUNT - 1] == 0
    assert sent[PACE_COUNT] == PACE_WINDOW
    # No receiver's window of ten seconds, wherever it begins, sees more than ten.
    assert max(sum(1 for t in sent if start <= t < start + 10) for start in sent) <= 10


def test_new_key_is_due_at_once_and_then_every_twelve_hours_more_or_less() -> None:
    schedule, now = Schedule(random.Random(1)), 100.0
    assert schedule.add(A, now)
    gaps = []
    for _ in range(200):
        assert schedule.due(now) == A
        schedule.succeeded(A, now)
        assert schedule.due(now) is None
        gaps.append(schedule.wait(now))
        now += schedule.wait(now)
    assert min(gaps) >= REPUBLISH_EVERY * (1 - REPUBLISH_JITTER)
    assert max(gaps) <= REPUBLISH_EVERY * (1 + REPUBLISH_JITTER)
    assert max(gaps) - min(gaps) > 3600  # jittered, or all nodes come at once
    assert max(gaps) < 24 * 3600  # values expire after a day, providers after two


def test_failure_is_retried_soon_then_less_often_and_success_resets() -> None:
    schedule, now = Schedule(random.Random(1)), 0.0
    schedule.add(A, now)
    pauses = []
    for _ in range(len(RETRY_PAUSES) + 3):
        schedule.failed(A, now)
        pauses.append(schedule.wait(now))
        now += schedule.wait(now)
    for pause, wanted in zip(pauses, [*RETRY_PAUSES, *[RETRY_PAUSES[-1]] * 3], strict=True):
        assert abs(pause - wanted) <= wanted * REPUBLISH_JITTER + 1e-6
    assert schedule.queued(now) == 1
    schedule.succeeded(A, now)
    assert schedule.queued(now) == 0
    now += schedule.wait(now)
    schedule.failed(A, now)
    assert schedule.wait(now) <= RETRY_PAUSES[0] * (1 + REPUBLISH_JITTER)


def test_missed_republish_is_made_up_for_not_forgotten() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add(A, 0)
    schedule.succeeded(A, 0)
    late = 5 * REPUBLISH_EVERY  # the machine slept
    assert schedule.due(late) == A
    schedule.failed(A, late)
    assert schedule.wait(late) < 60


def test_hurry_brings_failures_forward_and_nothing_else() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add(A, 0)
    schedule.succeeded(A, 0)
    schedule.add(B, 0)
    for _ in range(6):
        schedule.failed(B, 0)
    assert schedule.due(1) is None
    schedule.hurry(1)
    assert schedule.due(1) == B
    schedule.remove(B)
    assert schedule.due(1) is None
    assert schedule.wait(1) > 3600


def test_known_key_keeps_its_time_unless_asked_again() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add(A, 0)
    schedule.succeeded(A, 0)
    schedule.add(A, 10)
    assert schedule.due(10) is None
    schedule.add(A, 10, again=True)
    assert schedule.due(10) == A
    slot = schedule.slot(A)
    assert slot is not None
    assert slot.done_at is None


def test_longest_waiting_key_comes_first() -> None:
    schedule = Schedule()
    schedule.add(A, 5)
    schedule.add(B, 3)
    assert schedule.due(10) == B


def test_queue_is_bounded_at_what_the_pace_can_republish() -> None:
    assert QUEUE_LIMIT <= REPUBLISH_EVERY / PACE_WINDOW * PACE_COUNT
    schedule = Schedule()
    for number in range(QUEUE_LIMIT):
        assert schedule.add(number.to_bytes(32, "big"), 0)
    assert not schedule.add(b"\xff" * 32, 0)
    assert schedule.add((0).to_bytes(32, "big"), 0)
    assert len(schedule) == QUEUE_LIMIT


def test_removed_key_is_not_brought_back_by_its_own_result() -> None:
    schedule = Schedule()
    schedule.add(A, 0)
    schedule.remove(A)
    schedule.succeeded(A, 0)
    schedule.failed(A, 0)
    assert A not in schedule
    assert schedule.wait(0) == float("inf")
