"""What a keeper remembers for a while: values that were refused, told, or asked for.

Bounded by count and time; forgetting costs a question or a page, never correctness. Follows specs/shelves.md.
"""

from collections import OrderedDict

MEMORY = 16_384
"""Notes of one kind that are remembered."""

MEMORY_SECONDS = 6 * 3_600.0
"""Seconds for which they are remembered."""


class Memory:
    """A name, a key, and the value up to which the note holds."""

    def __init__(self, seconds: float = MEMORY_SECONDS, limit: int = MEMORY) -> None:
        self._seconds = seconds
        self._limit = limit
        self._noted: OrderedDict[tuple[str, bytes], tuple[bytes, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, name: str, key: bytes, value: bytes, now: float) -> None:
        """Remember a value of a key, under a name."""
        self._noted[name, key] = (value, now)
        self._noted.move_to_end((name, key))
        while len(self._noted) > self._limit:
            self._noted.popitem(last=False)

    def holds(self, name: str, key: bytes, value: bytes, now: float) -> bool:
        """Whether this value, or a larger one, is remembered."""
        noted = self._noted.get((name, key))
        return noted is not None and value <= noted[0] and abs(now - noted[1]) < self._seconds
