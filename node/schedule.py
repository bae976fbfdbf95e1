"""When to announce what: a queue with a pace, retries and republishing. Pure logic, no clock of its own.

Times are seconds of whatever clock the caller uses; chance comes from a ``random.Random`` of the caller's.
The loop that acts on it is in announcing.py. Follows specs/discovery.md, "Allotment".
"""

import random
from collections import deque
from dataclasses import dataclass

PACE_COUNT = 8
"""Announcements in any window of ``PACE_WINDOW`` seconds; the DHT silently drops more than 10 in 10 s."""

PACE_WINDOW = 11.0
"""Seconds; one more than the receiver's window, so that delays on the way do not squeeze two into one."""

REPUBLISH_EVERY = 12 * 3600.0
"""Seconds between announcements of one key. Providers expire after 48 h, values after 24 h."""

REPUBLISH_JITTER = 0.1
"""Part of the interval by which each announcement is moved, so that nodes started together drift apart."""

RETRY_PAUSES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Seconds before a failed announcement is repeated; the last one repeats."""

QUEUE_LIMIT = 30_000
"""Keys in the schedule: what the pace can republish within 12 hours."""


class Allotment:
    """At most ``count`` events in any ``window`` seconds; the first ones need not wait."""

    def __init__(self, count: int = PACE_COUNT, window: float = PACE_WINDOW) -> None:
        self._count = count
        self._window = window
        self._recent: deque[float] = deque()

    def delay(self, now: float) -> float:
        """Seconds until the next event may happen; 0 when it may happen now."""
        while self._recent and self._recent[0] <= now - self._window:
            self._recent.popleft()
        if len(self._recent) < self._count:
            return 0.0
        return self._recent[0] + self._window - now

    def spend(self, now: float) -> None:
        """Note that an event happened."""
        self._recent.append(now)


@dataclass
class Slot:
    """The state of one key: when it is due, how often it failed since, when it last succeeded."""

    due: float
    failures: int = 0
    done_at: float | None = None


class Schedule:
    """All keys of a node and when each is due."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()
        self._slots: dict[bytes, Slot] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: bytes) -> bool:
        return key in self._slots

    def slot(self, key: bytes) -> Slot | None:
        """The state of ``key``."""
        return self._slots.get(key)

    def add(self, key: bytes, now: float, *, again: bool = False) -> bool:
        """Make ``key`` due now; a known one keeps its time unless ``again``. ``False``: the queue is full."""
        present = self._slots.get(key)
        if present is None:
            if len(self._slots) >= QUEUE_LIMIT:
                return False
            self._slots[key] = Slot(now)
        elif again:
            present.due, present.failures, present.done_at = now, 0, None
        return True

    def remove(self, key: bytes) -> None:
        """Never announce ``key`` again."""
        self._slots.pop(key, None)

    def due(self, now: float) -> bytes | None:
        """The key that waits longest, if any is due."""
        key = self._first()
        return key if key is not None and self._slots[key].due <= now else None

    def wait(self, now: float) -> float:
        """Seconds until some key is due; infinite when there is none."""
        key = self._first()
        return float("inf") if key is None else max(0.0, self._slots[key].due - now)

    def succeeded(self, key: bytes, now: float) -> None:
        """The announcement reached somebody: due again after the interval, more or less."""
        slot = self._slots.get(key)
        if slot is not None:
            spread = self._chance.uniform(1 - REPUBLISH_JITTER, 1 + REPUBLISH_JITTER)
            slot.due, slot.failures, slot.done_at = now + REPUBLISH_EVERY * spread, 0, now

    def failed(self, key: bytes, now: float) -> None:
        """The announcement reached nobody: try again soon, then less and less often."""
        slot = self._slots.get(key)
        if slot is not None:
            pause = RETRY_PAUSES[min(slot.failures, len(RETRY_PAUSES) - 1)]
            slot.due = now + pause * self._chance.uniform(1 - REPUBLISH_JITTER, 1 + REPUBLISH_JITTER)
            slot.failures += 1

    def hurry(self, now: float) -> None:
        """Make every key that failed due now, as when the first peer appears."""
        for slot in self._slots.values():
            if slot.failures:
                slot.due = min(slot.due, now)

    def queued(self, now: float) -> int:
        """Keys waiting for their turn or their retry."""
        return sum(1 for slot in self._slots.values() if slot.due <= now or slot.failures)

    def _first(self) -> bytes | None:
        return min(self._slots, key=lambda k: self._slots[k].due, default=None)
