"""What the connections of one host hold in memory for their peers, and which of them holds too much.

A connection costs its peer nothing until bytes or streams of it wait here: data that arrived and nobody has
read yet, and streams that the peer opened. libp2p bounds the first per stream and the second not at all. This
file counts both and names the connections to close; wire.py asks it while it reads. It closes nothing itself.
Follows specs/network.md, "Memory".
"""

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

CONNECTION_BYTES = 12 * 1024 * 1024
"""Bytes received on one connection and not yet read; a fetch asks 4 MiB of one peer at a time."""

TOTAL_BYTES = 64 * 1024 * 1024
"""Bytes received and not yet read on all connections; beyond, the connection that holds most is closed."""

CONNECTION_STREAMS = 128
"""Streams one peer may have open to us: four of each of our protocols, some DHT queries, and room."""

TOTAL_STREAMS = 1024
"""Streams all peers may have open to us; beyond, the connection with most of them is closed."""


class Held:
    """The count over all connections of a host. Single-threaded."""

    def __init__(self) -> None:
        self._muxed: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._noted: WeakKeyDictionary[Any, tuple[int, int]] = WeakKeyDictionary()

    def note(self, session: Any, muxed: Any) -> Iterator[tuple[Any, str]]:
        """Count the connection anew; gives the sessions to close, and why."""
        self._muxed[session] = muxed
        size, streams = self._noted[session] = measure(muxed)
        if size > CONNECTION_BYTES:
            yield session, f"{size} bytes wait on one connection"
        elif streams > CONNECTION_STREAMS:
            yield session, f"{streams} streams on one connection"
        else:
            yield from self._beyond_total()

    def total(self) -> tuple[int, int]:
        """Bytes and streams as last noted, over all connections."""
        noted = list(self._noted.values())
        return sum(size for size, _ in noted), sum(streams for _, streams in noted)

    def _beyond_total(self) -> Iterator[tuple[Any, str]]:
        size, streams = self.total()
        if size <= TOTAL_BYTES and streams <= TOTAL_STREAMS:
            return
        # What was noted may have been read since; only a fresh count may cost a connection.
        for session, muxed in list(self._muxed.items()):
            self._noted[session] = measure(muxed)
        size, streams = self.total()
        for amount, limit, what, which in (
            (size, TOTAL_BYTES, "bytes", 0),
            (streams, TOTAL_STREAMS, "streams", 1),
        ):
            if amount > limit:
                worst = max(self._noted, key=lambda s: self._noted[s][which])
                held = self._noted.pop(worst)[which]
                self._muxed.pop(worst, None)
                yield worst, f"{amount} {what} wait in all, {held} of them on one connection"


def measure(muxed: Any) -> tuple[int, int]:
    """Bytes that wait to be read on a Yamux connection, libp2p's or ours, and streams its peer opened."""
    if hasattr(muxed, "holds"):
        waiting, opened = muxed.holds()
        return waiting, opened
    ours = muxed.next_stream_id % 2
    return (
        sum(map(len, muxed.stream_buffers.values())),
        sum(1 for number in muxed.streams if number % 2 != ours),
    )
