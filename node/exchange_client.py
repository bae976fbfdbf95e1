"""Asking one peer for chunks: the client side of one exchange stream.

Wants go out several ahead and answers come in their order; what comes is unverified. The limit on receiving
(ratelimit.py) is kept here. Not for choosing what to ask of whom (window.py, fetch.py) nor for serving
(exchange.py). Follows specs/exchange.md.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.exchange import CHUNK_TIMEOUT
from p2pvoice.node.host import P2PHost
from p2pvoice.node.ratelimit import Limits
from p2pvoice.node.turns import BUSY
from p2pvoice.node.wire import STALL_TIMEOUT, Channel
from p2pvoice.protocol.codec import DELTA
from p2pvoice.protocol.errors import ManifestError, NetworkError, NotFoundError, PeerTimeoutError
from p2pvoice.protocol.exchange_messages import CODECS, EXCHANGE, PLAIN_CODECS, ChunkFrame, Want
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.messages import Fail, decode_message, encode_message, message_limit

WANTS_HELD = 64
"""Wants that are kept back until an answer is waited for, at most."""


class PeerBusy(Exception):
    """The peer has no free place just now: no fault of it, and worth asking again."""


@dataclass(frozen=True)
class Answer:
    """A chunk as it came, unverified: its codec, its encoded bytes, and the base of a delta."""

    codec: str
    blob: bytes
    base: Digest | None = None


class ExchangeClient:
    """One stream on which chunks are asked of a peer. Answers come in the order of the wants."""

    def __init__(self, channel: Channel, stall: float, limits: Limits) -> None:
        self._channel = channel
        self._stall = stall
        self._wants: list[bytes] = []
        self._down = limits.down
        self._limited = limits.applies(channel)
        #: Bytes that were taken from the limit for each want that is not answered yet.
        self._taken: deque[int] = deque()

    @classmethod
    async def open(cls, host: P2PHost, peer: PeerInfo, *, stall: float = STALL_TIMEOUT) -> Self:
        """Reach the peer and open the stream; raises as :meth:`P2PHost.open_stream` does."""
        return cls(await host.open_stream(peer, EXCHANGE), stall, host.limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget_asked()
        await self._channel.__aexit__(kind, error, trace)

    def may_ask(self) -> bool:
        """Whether the limit on receiving lets one more chunk be asked for now."""
        return not self._limited or self._down.ready()

    async def turn(self) -> None:
        """Wait until it does, after everybody who waits already. Not while answers are on their way."""
        if self._limited:
            await self._down.turn()

    def _forget_asked(self) -> None:
        """Nothing of what was asked is awaited any more: what it took from the limit goes back."""
        self._wants.clear()
        while self._taken:
            self._settle(0)

    def _settle(self, size: int) -> None:
        """Account for the answer to the oldest want, of ``size`` bytes; what was taken beyond goes back."""
        taken = self._taken.popleft() if self._taken else 0
        self._down.note(size)
        if taken > size:
            self._down.give_back(taken - size)

    async def want(self, file: bytes, index: int, bases: Sequence[Digest] = (), size: int = 0) -> None:
        """Ask for one chunk, if possible as a delta to one of ``bases``; :meth:`chunk` reads the answer.

        What is asked leaves when an answer is waited for, so that several wants make one message below.
        ``size`` are the chunk's bytes, which the limit on receiving counts from now on.
        """
        self._taken.append(size if self._limited else 0)
        if self._limited:
            self._down.spend(size)
        codecs = CODECS if bases else PLAIN_CODECS
        self._wants.append(encode_message(Want(file, index, 1, codecs, tuple(bases))))
        if len(self._wants) > WANTS_HELD:
            await self._ask()

    async def _ask(self) -> None:
        wants, self._wants = self._wants, []
        if wants:
            await self._channel.send_frames(wants, within=self._stall)

    async def chunk(self, index: int, size: int, bases: Sequence[Digest] = ()) -> Answer | None:
        """The next answer, unverified, or ``None`` when the peer does not have it.

        ``bases`` are those that the want named. Raises :class:`PeerBusy` when the peer has no place
        for us, :class:`ManifestError` when it answers something else than was asked,
        :class:`PeerTimeoutError` when it stalls or is too slow, :class:`NetworkError` when it leaves.
        """
        try:
            with trio.fail_after(CHUNK_TIMEOUT):
                await self._ask()
                frame = await self._channel.receive(message_limit(ChunkFrame, Fail), stall=self._stall)
                if frame is None:
                    raise NetworkError(f"peer {self._channel.peer} ended the stream")
                answer = cast("ChunkFrame | Fail", decode_message(frame, ChunkFrame, Fail))
                if isinstance(answer, Fail):
                    if answer.code == NotFoundError.code:
                        self._settle(0)
                        return None
                    if answer.code == BUSY.code:
                        raise PeerBusy(f"peer {self._channel.peer}: {answer.error().message}")
                    raise NetworkError(f"peer {self._channel.peer} refused: {answer.error().message}")
                # An honest encoding is never longer than the chunk itself.
                if answer.index != index or answer.size > size:
                    raise ManifestError(f"peer {self._channel.peer} answered something that was not asked")
                base = None
                if answer.codec == DELTA:
                    if answer.base >= len(bases):
                        raise ManifestError(f"peer {self._channel.peer} sent a delta to a base not named")
                    base = bases[answer.base]
                blob = await self._channel.receive_exactly(answer.size, stall=self._stall)
                self._settle(len(blob))
                return Answer(answer.codec, blob, base)
        except trio.TooSlowError as error:
            raise PeerTimeoutError(f"peer {self._channel.peer} is too slow") from error
