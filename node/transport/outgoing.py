"""What a connection sends: frames without bytes are gathered and leave with the next write, or by themselves.

Turns are those of the session below: whoever holds ``turn`` writes. Follows specs/wire.md, "Frames sent".
"""

import logging
from collections.abc import Sequence

import trio
from libp2p.io.exceptions import ConnectionClosedError

from p2pvoice.node.transport.frames import HEADER, WireViolation
from p2pvoice.node.transport.noise import MESSAGE, WRITE_BUDGET, NoiseSession

ANSWERS_LIMIT = 64 * 1024
"""Bytes of answers that a peer may call for and not read; beyond, its connection ends."""

CROWDED = 4096
"""Bytes of frames beyond which opening another stream waits until they are written."""

log = logging.getLogger(__name__)


class Outgoing:
    """The writing side of one connection."""

    def __init__(self, session: NoiseSession) -> None:
        self.turn = session.turn
        self._session = session
        self._gathered = bytearray()
        self._any = trio.Event()

    def __len__(self) -> int:
        """Bytes that are gathered."""
        return len(self._gathered)

    def put(self, kind: int, flags: int, stream: int, value: int = 0) -> None:
        """Send a frame without bytes before anything else is sent. Never waits."""
        self._gathered += HEADER.pack(0, kind, flags, stream, value)
        self._any.set()

    def answer(self, kind: int, flags: int, stream: int, value: int = 0) -> None:
        """The same for a frame that the peer called for. Raises :class:`WireViolation` at too many."""
        if len(self._gathered) >= ANSWERS_LIMIT:
            raise WireViolation("the peer calls for answers and does not read them")
        self.put(kind, flags, stream, value)

    async def send(self, messages: Sequence[bytes] = (), *, within: float = WRITE_BUDGET) -> None:
        """Write what is gathered, then ``messages``, whole frames each. The caller holds ``turn``."""
        gathered, self._gathered = bytes(self._gathered), bytearray()
        first = [gathered[at : at + MESSAGE] for at in range(0, len(gathered), MESSAGE)]
        if first or messages:
            await self._session.send([*first, *messages], within=within)

    async def run(self) -> None:
        """Write what is gathered whenever there is some, until the connection takes no more."""
        try:
            while True:
                await self._any.wait()
                self._any = trio.Event()
                # Mostly it left with somebody's data before this task came to run.
                if self._gathered:
                    async with self.turn:
                        await self.send()
        except ConnectionClosedError as error:
            log.debug("the connection takes no more: %s", error)
            await self._session.close()
