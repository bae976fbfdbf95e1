"""Requests in turn: on one stream a question, its answer, the next question. Both ends of it.

What each protocol asks and answers is its own: ask.py and exchange.py, community/, shelves/. Chunks come
without a request for each and go another way: exchange_client.py. Follows specs/exchange.md, "Serving
limits".
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

from p2pvoice.node.blame import fault_of
from p2pvoice.node.host import P2PHost
from p2pvoice.node.slots import Slots
from p2pvoice.node.wire import STALL_TIMEOUT, Channel
from p2pvoice.protocol.errors import (
    BusyError,
    NetworkError,
    NotFoundError,
    P2PVoiceError,
    PeerTimeoutError,
    ProtocolMismatchError,
    RefusedError,
    RevokedError,
)
from p2pvoice.protocol.messages import Fail, Wire, decode_message, encode_message, message_limit

IDLE_TIMEOUT = 60.0
"""Seconds a client may keep a stream without asking for anything."""

BUSY = Fail("busy", "too many streams")
"""What a client hears that finds no free slot."""

_Message = TypeVar("_Message", bound=Wire)
_Request = TypeVar("_Request", bound=Wire)


async def ask(channel: Channel, request: Wire, reply: type[_Message]) -> _Message:
    """Put one request to the peer and read its answer.

    Raises NotFoundError, RevokedError or BusyError when the peer says so, NetworkError and its kin when it
    fails, ManifestError or ProtocolMismatchError when its answer makes no sense.
    """
    await channel.send(encode_message(request), within=STALL_TIMEOUT)
    frame = await channel.receive(message_limit(reply, Fail))
    if frame is None:
        raise NetworkError(f"peer {channel.peer} ended the stream")
    answer = cast("_Message | Fail", decode_message(frame, reply, Fail))
    if not isinstance(answer, Fail):
        return answer
    if answer.code == NotFoundError.code:
        raise NotFoundError("not held there")
    if answer.code == RevokedError.code:
        raise RevokedError("revoked, says the peer")
    if answer.code == BusyError.code:
        raise BusyError(f"peer {channel.peer} has no time")
    raise NetworkError(f"peer {channel.peer} refused: {answer.error().message}")


async def next_request(channel: Channel, *kinds: type[_Request], idle: float) -> _Request | None:
    """The next request, or None at the end, after silence, or after one that makes no sense."""
    try:
        frame = await channel.receive(message_limit(*kinds), stall=idle)
        return None if frame is None else decode_message(frame, *kinds)
    except PeerTimeoutError:
        return None
    except (RefusedError, ProtocolMismatchError) as error:
        await channel.send(encode_message(Fail.of(error)))
        return None


class Turns(Generic[_Request]):
    """Serves one protocol's streams: :meth:`serve` is what a host calls for each.

    ``answer`` gets the peer and its request; an error of ours that it raises is told to the peer. With
    ``tells`` the peer answers for what it sends, since an honest one has verified it: what is refused of it
    is written into the peer book, and ends the stream.
    """

    def __init__(
        self,
        host: P2PHost,
        kinds: tuple[type[_Request], ...],
        answer: Callable[[str, _Request], Awaitable[Wire]],
        slots: Slots,
        *,
        count: int,
        idle: float,
        tells: bool = False,
    ) -> None:
        self._host = host
        self._kinds = kinds
        self._answer = answer
        self._slots = slots
        self._count = count
        self._idle = idle
        self._tells = tells

    async def serve(self, channel: Channel) -> None:
        """Answer one stream until its client ends it, is silent for too long, or has asked enough."""
        with self._slots.hold(channel.peer) as slot:
            if not slot.free:
                await channel.send(encode_message(BUSY))
                return
            for _ in range(self._count):
                request = await next_request(channel, *self._kinds, idle=self._idle)
                if request is None:
                    return
                slot.worked()
                said: Wire
                try:
                    said = await self._answer(channel.peer, request)
                except P2PVoiceError as error:
                    said = Fail.of(error)
                    if self._tells and isinstance(error, RefusedError):
                        self._host.peers.drop(channel.peer, fault_of(error), error.message)
                        await channel.send(encode_message(said))
                        return
                await channel.send(encode_message(said))
