"""How many streams of one protocol are served at once, in all and of each peer, and who gives way.

Peer ids cost nothing, so a few dozen of them could take all slots and keep them by doing nothing. When all
are taken, the stream that has been idle longest ends for the newcomer. Not for what is served: exchange.py
and kad.py. Follows specs/exchange.md, "Serving limits".
"""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

STREAMS_PER_PEER = 4
"""Incoming streams of one protocol that one peer may hold."""

STREAMS_TOTAL = 48
"""Incoming streams of one protocol in all: about 2 MiB each at worst."""

IDLE_BEFORE_YIELD = 5.0
"""Seconds a stream must have done nothing before it gives way to a newcomer."""


class Slot:
    """One place, held for as long as a stream is served. ``free`` says whether there was one."""

    def __init__(self, peer: str, free: bool) -> None:
        self.peer = peer
        self.free = free
        self.yielded = False
        """Whether the stream was ended for another one."""
        self._scope = trio.CancelScope()
        self._since = trio.current_time()

    def worked(self) -> None:
        """Note that the stream did something: a request came, an answer left."""
        self._since = trio.current_time()


class Slots:
    """The places of one protocol."""

    def __init__(
        self,
        per_peer: int = STREAMS_PER_PEER,
        total: int = STREAMS_TOTAL,
        idle: float = IDLE_BEFORE_YIELD,
    ) -> None:
        self._per_peer = per_peer
        self._total = total
        self._idle = idle
        self._open: list[Slot] = []

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def hold(self, peer: str) -> Iterator[Slot]:
        """Hold a place for the block, which is cut short (``yielded``) when the place goes to another."""
        free = sum(slot.peer == peer for slot in self._open) < self._per_peer and (
            len(self._open) < self._total or self._make_room()
        )
        slot = Slot(peer, free)
        if not free:
            yield slot
            return
        self._open.append(slot)
        try:
            with slot._scope:
                yield slot
        finally:
            if slot in self._open:
                self._open.remove(slot)

    def _make_room(self) -> bool:
        longest = min(self._open, key=lambda slot: slot._since)
        if trio.current_time() - longest._since < self._idle:
            return False
        longest.yielded = True
        longest._scope.cancel()
        self._open.remove(longest)
        return True
