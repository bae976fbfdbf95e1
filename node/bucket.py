"""How fast bytes may pass, and how fast they do: a token bucket and a meter, without I/O and without a clock.

Every method is given the time. A bucket lets one who asks through as soon as nothing is owed, whatever the
size, and the size is owed afterwards: so a chunk larger than the burst passes, too, and in any span of time
no more passes than the rate allows, the burst, and one piece. Not for waiting: see ratelimit.py. Follows
specs/mirror.md, "Limits".
"""

from collections import deque

BURST_SECONDS = 0.25
"""Seconds of its rate that a bucket saves up while nobody takes."""

METER_SECONDS = 10
"""Seconds over which the current rate is taken."""


class Bucket:
    """A token bucket of ``rate`` bytes per second; 0 is no limit. Times are in seconds and never go back."""

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self._at = now
        self._balance = rate * BURST_SECONDS

    def set_rate(self, rate: int, now: float) -> None:
        """Go on at another rate; what is owed stays owed, and is paid at the new one."""
        self._fill(now)
        self.rate = rate
        self._balance = min(self._balance, rate * BURST_SECONDS)

    def delay(self, now: float) -> float:
        """Seconds until somebody may take; 0 when that is now."""
        if not self.rate:
            return 0.0
        self._fill(now)
        return max(0.0, -self._balance / self.rate)

    def spend(self, size: int, now: float) -> None:
        """Take ``size`` bytes; the caller has waited for :meth:`delay`."""
        if self.rate:
            self._fill(now)
            self._balance -= size

    def give_back(self, size: int, now: float) -> None:
        """Return bytes that were taken and did not pass."""
        if self.rate:
            self._fill(now)
            self._balance = min(self._balance + size, self.rate * BURST_SECONDS)

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._at = max(self._at, now)
        self._balance = min(self._balance + passed * self.rate, self.rate * BURST_SECONDS)


class Meter:
    """The bytes of the last METER_SECONDS, by the second: memory does not grow with traffic."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()

    def note(self, size: int, now: float) -> None:
        """Count bytes that passed."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            size += self._seconds.pop()[1]
        self._seconds.append((second, size))
        self._forget(now)

    def rate(self, now: float) -> float:
        """Bytes per second, on average over the last METER_SECONDS."""
        self._forget(now)
        return sum(size for _, size in self._seconds) / METER_SECONDS

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - METER_SECONDS:
            self._seconds.popleft()
