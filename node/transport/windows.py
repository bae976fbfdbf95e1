"""Receive windows: what the peer of a stream may still send, and when it may send more at once.

Counts bytes and keeps none; no sockets, no clock of its own. Follows specs/wire.md, "Credit".
"""

from p2pvoice.node.transport.frames import FIRST_WINDOW, WireViolation

WINDOW_LIMIT = 4 * 1024 * 1024
"""Bytes to which the window of one stream may grow: what a fetch asks of one peer at a time."""

GROWN_LIMIT = 4 * 1024 * 1024
"""Bytes by which all windows of a connection together may grow beyond what they begin with."""

GROWTH_ROUNDS = 4
"""Round trips within which a whole window would be read for it to grow. A sender that finds its way doubles
what it has under way in each round trip, and a window of a few times that never holds it up."""

BULK = 32 * 1024
"""Bytes read from a stream after which it is taken for more than an exchange of short messages."""

BULK_WINDOW = 1024 * 1024
"""Bytes that the window of such a stream has at once, so that a long way does not begin slowly."""


class Growth:
    """What the windows of one connection have grown by together."""

    def __init__(self) -> None:
        self.grown = 0

    def left(self) -> int:
        """How much the windows may still grow."""
        return GROWN_LIMIT - self.grown

    def take(self, size: int) -> int:
        """How much of ``size`` bytes a window may grow; noted as grown."""
        growth = max(0, min(size, self.left()))
        self.grown += growth
        return growth

    def give_back(self, size: int) -> None:
        """A window that had grown by ``size`` bytes is no more."""
        self.grown -= size


class ReceiveWindow:
    """The window of one stream, from the side that reads. ``now`` and ``rtt`` are seconds."""

    def __init__(self, growth: Growth, now: float) -> None:
        self.credit = FIRST_WINDOW
        """Bytes that the peer may still send."""
        self.size = FIRST_WINDOW
        """``credit``, what waits, and what was read and not given back yet make this together."""
        self._growth = growth
        self._read = 0
        self._round = 0
        self._since = now

    def announced(self, length: int) -> None:
        """A frame of ``length`` bytes begins. Raises :class:`WireViolation` when they were not granted."""
        if length > self.credit:
            raise WireViolation(f"{length - self.credit} bytes beyond the window")
        self.credit -= length

    def read(self, size: int, now: float, rtt: float) -> int:
        """``size`` bytes were read; returns the credit to give for it, mostly none: half a window at once."""
        self._read += size
        bulk = self._round + self._read >= BULK
        if self._read * 2 < self.size and not (bulk and self.size < BULK_WINDOW and self._growth.left()):
            return 0
        grant, self._read = self._read, 0
        self._round += grant
        grown = 0
        if self.size < BULK_WINDOW and bulk:
            grown = self._growth.take(BULK_WINDOW - self.size)
        else:
            # In the time of a whole window: what was read is half of one, or somewhat more.
            took = (now - self._since) * self.size / self._round
            if took <= GROWTH_ROUNDS * rtt:
                grown = self._growth.take(min(self.size, WINDOW_LIMIT - self.size))
        if self.size >= BULK_WINDOW or grown:
            self._round, self._since = 0, now
        self.size += grown
        grant += grown
        self.credit += grant
        return grant

    def close(self) -> None:
        """Give back what it grew by; once."""
        self._growth.give_back(self.size - FIRST_WINDOW)
