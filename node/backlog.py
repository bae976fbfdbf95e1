"""Sound that was made and not heard yet, between a worker in a hurry and a listener at its own pace.

A listener who plays as it hears would hold the worker up, and with it everybody who waits for the worker: so
what is made is kept here, and its maker asks before it makes much more. Not for what the sound is: see
speech.py. Follows specs/streaming.md, "Turns".
"""

from collections import deque

import trio


class Backlog:
    """Pieces of sound in order, from one task to another one."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._closed = False
        self._changed = trio.Event()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def put(self, piece: bytes) -> None:
        """Add a piece."""
        self._pieces.append(piece)
        self._size += len(piece)
        self._tell()

    def close(self) -> None:
        """Say that no more comes."""
        self._closed = True
        self._tell()

    async def shrink(self, limit: int) -> None:
        """Wait until at most ``limit`` bytes are waiting."""
        while self._size > limit:
            await self._changed.wait()

    async def take(self) -> bytes | None:
        """The next piece, when it is there; None at the end."""
        while not self._pieces:
            if self._closed:
                return None
            await self._changed.wait()
        piece = self._pieces.popleft()
        self._size -= len(piece)
        self._tell()
        return piece
