"""Talking to one other keeper: the client's side of one stream of shelves.

What a peer answers is checked as far as its form goes; a peer that lies is shunned as elsewhere. Not for what
is said (protocol/shelf_talk.py) nor for whom to talk to (rounds.py). Follows specs/shelves.md, "Talking".
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.blame import blamed
from p2pvoice.node.host import P2PHost
from p2pvoice.node.wire import STALL_TIMEOUT, Channel
from p2pvoice.protocol.errors import (
    BusyError,
    NetworkError,
    NotFoundError,
)
from p2pvoice.protocol.messages import Fail, decode_message, encode_message, message_limit
from p2pvoice.protocol.shelf_messages import REPLY, SHELF, ShelfReply
from p2pvoice.protocol.shelf_talk import Ask

Asking = Callable[[Ask], Awaitable[ShelfReply]]
"""Puts a request to the peer and returns its answer."""


@asynccontextmanager
async def asking(host: P2PHost, peer: PeerInfo) -> AsyncIterator[Asking]:
    """A stream of shelves to a peer; what it does wrong inside the block is written into the peer book.

    A peer that does not speak the protocol is not blamed: ProtocolMismatchError then. Asking raises
    NotFoundError, BusyError, and NetworkError and its kin.
    """
    async with await host.open_stream(peer, SHELF) as channel:
        with blamed(host, channel.peer):
            yield lambda step: _ask(channel, step)


async def _ask(channel: Channel, step: Ask) -> ShelfReply:
    reply = REPLY[type(step.request)]
    await channel.send(encode_message(step.request), within=STALL_TIMEOUT)
    frame = await channel.receive(message_limit(reply, Fail))
    if frame is None:
        raise NetworkError(f"peer {channel.peer} ended the stream")
    answer = decode_message(frame, reply, Fail)
    if not isinstance(answer, Fail):
        return answer
    if answer.code == NotFoundError.code:
        raise NotFoundError("not kept there")
    if answer.code == BusyError.code:
        raise BusyError(f"peer {channel.peer} has no time")
    raise NetworkError(f"peer {channel.peer} refused: {answer.error().message}")
