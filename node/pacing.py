"""How fast a peer delivers, how much is asked of it ahead, and who gives way to whom: arithmetic only.

Time is whatever clock the caller reads, in seconds; sizes are bytes of the files, rates bytes a second. No
input, no output, no tasks: window.py and fetch.py act on what is computed here. Follows specs/exchange.md,
"Pace".
"""

import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2pvoice.protocol.chunks import CHUNK_LIMIT

FETCH_PEERS = 6
"""Peers fetched from at the same time."""

FIRST_CHUNKS = 2
"""Chunks asked of a peer before it is known how fast it is."""

FIRST_BYTES = FIRST_CHUNKS * CHUNK_LIMIT
"""Bytes that may be asked of a peer whatever is asked of the others."""

WINDOW_CHUNKS = 16
"""Chunks asked of one peer and not yet written, at most."""

WINDOW_BYTES = 8 * 1024 * 1024
"""Raw bytes asked of one peer and not yet written, at most: what a kill costs, per peer."""

SPARE_BYTES = 12 * 1024 * 1024
"""Bytes that all peers together may be asked for beyond FIRST_BYTES each."""

ALL_BYTES = FETCH_PEERS * FIRST_BYTES + SPARE_BYTES
"""Raw bytes asked and not yet written, of all peers of a fetch: what a kill costs altogether."""

AHEAD = 0.5
"""Seconds of delivery that are asked for ahead: more than a round trip, so that no peer waits for us."""

MEMORY = 4.0
"""Seconds over which a rate is averaged; what is older counts for less than 37 %."""

ENOUGH = 1024 * 1024
"""Bytes a second that are expected of a provider who was not tried yet."""

FAR_BELOW = 0.25
"""Part of what may be expected of others below which a peer is slow."""

TRIAL = 5.0
"""Seconds that a peer must have owed us chunks before it may be found slow."""

HASTE = 0.25
"""Seconds that asking a second peer for a chunk must save, beyond halving the wait."""

POINTS = 0.1
"""Score points for a MiB delivered at ENOUGH bytes a second or faster."""

_INSTANT = 1e-6


class Pace:
    """What one peer owes us and how fast it has delivered. Time in which it owed nothing does not count."""

    def __init__(self) -> None:
        self._owed: deque[int] = deque()
        self._since = 0.0
        self._sum = self._weight = 0.0
        self._seconds = 0.0
        self.delivered = 0
        self.chunks = 0

    def asked(self, size: int, now: float) -> None:
        """A chunk of ``size`` bytes was asked for; answers come in the order of asking."""
        if not self._owed:
            self._since = now
        self._owed.append(size)

    def delivers(self, now: float) -> float:
        """The chunk asked first is here; returns the seconds that it took since the one before it."""
        size, passed = self._owed.popleft(), max(now - self._since, _INSTANT)
        self._sum, self._weight = self._with(size, passed)
        self._seconds += passed
        self._since = now
        self.delivered += size
        self.chunks += 1
        return passed

    def lacks(self, now: float) -> None:
        """The peer does not have the chunk asked first: no sign of its speed."""
        self._owed.popleft()
        self._since = now

    @property
    def rate(self) -> float | None:
        """Bytes a second, newer deliveries counting more; None before the first."""
        return self._sum / self._weight if self._weight else None

    def best(self, now: float) -> float:
        """The rate if the next chunk came right now: no more than this can be true. Infinite when unknown."""
        if not self._owed:
            return math.inf if self.rate is None else self.rate
        total, weight = self._with(self._owed[0], max(now - self._since, _INSTANT))
        return total / weight

    def owing(self, now: float) -> float:
        """Seconds in which the peer owed us something, so far."""
        return self._seconds + (now - self._since if self._owed else 0.0)

    def mean(self) -> float:
        """Bytes a second over all the time that the peer owed something; 0 before the first delivery."""
        return self.delivered / self._seconds if self._seconds else 0.0

    def window(self, now: float) -> int:
        """Chunks to have asked of the peer: one, and as many as it delivers in AHEAD seconds, rounded."""
        if self.rate is None:
            return FIRST_CHUNKS
        rate = min(self.rate, self.best(now))
        return min(WINDOW_CHUNKS, 1 + round(rate * AHEAD * self.chunks / self.delivered))

    def _with(self, size: int, passed: float) -> tuple[float, float]:
        # A mean over time whose weights fall by e in MEMORY seconds; both parts begin at nothing, so the
        # first delivery counts in full.
        kept, new = math.exp(-passed / MEMORY), -math.expm1(-passed / MEMORY)
        return self._sum * kept + size / passed * new, self._weight * kept + new


def spare(used: Iterable[int]) -> int:
    """Bytes that may still be asked beyond FIRST_BYTES, given what is asked of each peer."""
    return SPARE_BYTES - sum(max(0, one - FIRST_BYTES) for one in used)


def room(used: int, left: int) -> int:
    """Bytes that may be asked of a peer that owes ``used``, when ``left`` is spare for all."""
    return min(WINDOW_BYTES - used, max(0, FIRST_BYTES - used) + max(0, left))


@dataclass(frozen=True)
class Standing:
    """How a peer at work does: the rate it has at best, and the seconds in which it owed something."""

    name: str
    best: float
    owing: float


def gives_way(lanes: Sequence[Standing]) -> str | None:
    """Who makes room for a provider that was not tried yet; None when all are fast enough, or too new.

    Of the untried at least ENOUGH is expected, and as much as the middle one of those at work delivers.
    """
    known = [lane for lane in lanes if lane.owing >= TRIAL]
    if not known:
        return None
    slowest = min(known, key=lambda lane: lane.best)
    expected = max(float(ENOUGH), statistics.median_low(lane.best for lane in known))
    return slowest.name if slowest.best < FAR_BELOW * expected else None


def worth_a_second(ahead: int, best: float, size: int, rate: float | None) -> bool:
    """Whether to ask a second peer for a chunk that another one owes.

    That one owes ``ahead`` bytes up to the chunk's end and delivers ``best`` at best; the second one delivers
    ``rate``, or is unknown, and the chunk has ``size`` bytes.
    """
    mine = size / (ENOUGH if rate is None else max(rate, 1.0))
    return ahead / max(best, 1.0) > 2 * mine + HASTE


def points(size: int, seconds: float) -> float:
    """Score points for a chunk of ``size`` bytes that took ``seconds``: bytes in time, not bytes alone."""
    rate = size / max(seconds, _INSTANT)
    return POINTS * size / CHUNK_LIMIT * min(1.0, rate / ENOUGH)
