"""Talking to one other keeper: the client's side of one stream of shelves.

What a peer answers is checked as far as its form goes; a peer that lies is shunned as elsewhere. Not for what
is said (protocol/shelf_talk.py) nor for whom to talk to (rounds.py). Follows specs/shelves.md, "Talking".
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.blame import blamed
from p2pvoice.node.host import P2PHost
from p2pvoice.node.turns import ask
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
            yield lambda step: ask(channel, step.request, REPLY[type(step.request)])
