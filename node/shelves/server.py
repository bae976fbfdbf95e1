"""Answering other keepers: the server's side of the stream of shelves.

Each peer has an allowance of voices and pairs, named, sent and taken; what it asks beyond that is ``busy``.
About a tag whose shelf is not kept here nothing is said. Not for asking (rounds.py). Follows
specs/shelves.md.
"""

from dataclasses import replace
from typing import get_args

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError

from p2pvoice.node.addresses import without_peer
from p2pvoice.node.community.intake import Allowance
from p2pvoice.node.host import P2PHost
from p2pvoice.node.shelves.keeping import Keeping
from p2pvoice.node.slots import Slots
from p2pvoice.node.turns import IDLE_TIMEOUT, Turns
from p2pvoice.protocol.errors import BusyError
from p2pvoice.protocol.shelf_messages import (
    ADDRESS_LENGTH,
    ADDRESSES_LIMIT,
    SHELF,
    CompareShelf,
    Contact,
    GetEntries,
    Open,
    Opened,
    ShelfReply,
    ShelfRequest,
    Shelves,
    TellEntries,
    Touch,
)
from p2pvoice.protocol.shelf_talk import answer

REQUESTS_PER_STREAM = 512
"""Requests on one stream."""

STREAMS_PER_PEER = 2
"""Streams of one peer: a talk, and a hint beside it."""

STREAMS_TOTAL = 32
"""Streams in all; each may hold a page of a megabyte."""

BURST = 4_096
"""Voices and pairs that one peer may name, send or be sent at once."""

PER_SECOND = 16.0
"""Voices and pairs a second that one peer may name, send or be sent from then on."""

TOLD_BURST = 8_192
"""Voices that all peers together may tell at once."""

TOLD_PER_SECOND = 128.0
"""Voices a second that all peers together may tell; each costs checks of two signatures."""

ALLOWANCES = 4_096
"""Peers whose allowances are remembered."""

OPEN_COST = 2
"""What a tag in an Open costs of the allowance."""

COMPARE_COST = 8
"""What a question about ranges costs: a set for the asker's arc may have to be sorted for it."""


class ShelfServer:
    """Answers streams of shelves, from :meth:`attach` on."""

    def __init__(self, host: P2PHost, keeping: Keeping, *, idle: float = IDLE_TIMEOUT) -> None:
        self._host = host
        self._keeping = keeping
        self._turns = Turns(
            host,
            get_args(ShelfRequest),
            self._answer,
            Slots(STREAMS_PER_PEER, STREAMS_TOTAL),
            count=REQUESTS_PER_STREAM,
            idle=idle,
            tells=True,
        )
        self._allowance = Allowance(BURST, PER_SECOND, ALLOWANCES, trio.current_time)
        self._told = Allowance(TOLD_BURST, TOLD_PER_SECOND, 1, trio.current_time)

    def attach(self) -> None:
        """Begin to serve."""
        self._host.serve(SHELF, self._turns.serve)

    async def _answer(self, peer: str, request: ShelfRequest) -> ShelfReply:
        if not self._allowance.spend(peer, _cost(request)):
            raise BusyError("too much at once")
        if isinstance(request, TellEntries) and not self._told.spend("", len(request.entries)):
            raise BusyError("too much is told just now")
        keeping = self._keeping
        said = await keeping.drive(answer(keeping.keeper, peer, request, keeping.now()))
        return self._with_addresses(said) if isinstance(said, Shelves) else said

    def _with_addresses(self, said: Shelves) -> Shelves:
        """Other keepers are named with the addresses by which this node reaches them, or not at all."""

        def known(contact: Contact) -> Contact:
            store = self._host.host.get_peerstore()
            try:
                addresses = [str(without_peer(one)) for one in store.addrs(ID.from_string(contact.peer))]
            except (PeerStoreError, ValueError):
                # Not known to this node, or no peer id at all: other keepers may name anything.
                addresses = []
            fitting = [one for one in addresses if len(one) <= ADDRESS_LENGTH]
            return Contact(contact.peer, tuple(dict.fromkeys(fitting))[:ADDRESSES_LIMIT])

        def named(opened: Opened) -> Opened:
            others = map(known, opened.others)
            return replace(opened, others=tuple(other for other in others if other.addresses))

        return Shelves(tuple(named(one) if one is not None else None for one in said.shelves))


def _cost(request: ShelfRequest) -> int:
    match request:
        case Open(shelves):
            return OPEN_COST * len(shelves)
        case CompareShelf():
            return COMPARE_COST
        case GetEntries(_, keys):
            return len(keys)
        case Touch(_, pairs):
            return len(pairs)
        case TellEntries(_, entries):
            return len(entries)
