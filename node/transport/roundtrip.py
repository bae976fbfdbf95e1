"""How long a round trip takes, measured by pings. No sockets, no clock of its own.

Follows specs/wire.md, "Pings".
"""


class RoundTrip:
    """One ping is under way at a time; ``now`` is in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """Of a round trip, smoothed; 0 while none was measured."""
        self._number = 0
        self._sent: float | None = None

    def ping(self, now: float) -> int:
        """The number of the ping that is sent now; an answer to an earlier one no longer counts."""
        self._number = (self._number + 1) % 2**32
        self._sent = now
        return self._number

    def pong(self, number: int, now: float) -> None:
        """An answer came. One that nobody asked for, or a second one, is nothing."""
        if self._sent is not None and number == self._number:
            took, self._sent = now - self._sent, None
            self.seconds = (self.seconds + took) / 2 if self.seconds else took
