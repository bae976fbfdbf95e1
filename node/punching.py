"""Hole punching: turning a connection through a relay into a direct one, by libp2p's own DCUtR.

What is ours here are the bounds: who may make us dial, how many addresses, and how often at a time. Follows
specs/reach.md, "Hole punching".
"""

from collections.abc import Sequence
from typing import Any

from libp2p.abc import IHost, INetStream
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.dcutr import DCUtRProtocol
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.addresses import is_tcp
from p2pvoice.node.interfaces import is_local, split
from p2pvoice.node.links import RELAYED, kind_of_muxed
from p2pvoice.node.relay_wire import reset
from p2pvoice.node.slots import Slots

PUNCHES = 8
"""Peers whose wish to be dialed is served at the same time, each once."""

PUNCH_ADDRESSES = 4
"""Addresses that one peer may name."""


def worth_punching(addresses: Sequence[Multiaddr]) -> list[Multiaddr]:
    """Of the addresses a peer names those that are dialed: TCP, and none in a network of our own."""
    found = []
    for address in addresses:
        apart = split(str(address))
        if apart is None or not is_tcp(address):
            continue
        ip = apart[0]
        if not (is_local(ip) or ip.is_loopback or ip.is_unspecified or ip.is_multicast):
            found.append(address)
    return found[:PUNCH_ADDRESSES]


def keep_both(swarm: Any) -> None:
    """Let a relayed connection stand beside the direct one that follows it, until the puncher closes it.

    libp2p keeps one connection a peer, and would close the relayed one at once, with all that is under way.
    """
    stock = swarm._trim_connections

    def trim(peer: ID) -> None:
        every = swarm.connections[peer]
        relayed = [one for one in every if kind_of_muxed(one.muxed_conn) == RELAYED]
        if len(relayed) == 1 and len(every) > 1:
            swarm.connections[peer] = [one for one in every if one is not relayed[0]]
            stock(peer)
            swarm.connections[peer] += relayed
        else:
            stock(peer)

    swarm._trim_connections = trim


class Puncher(DCUtRProtocol):
    """DCUtR within bounds. Run it as a service of the host."""

    def __init__(self, host: IHost) -> None:
        super().__init__(host)
        self._slots = Slots(1, PUNCHES)

    async def _handle_dcutr_stream(self, stream: INetStream) -> None:
        if kind_of_muxed(stream.muxed_conn) == RELAYED:
            with self._slots.hold(str(stream.muxed_conn.peer_id)) as slot:
                if slot.free:
                    await super()._handle_dcutr_stream(stream)
                    return
        await reset(stream)

    def _decode_observed_addrs(self, addr_bytes: list[bytes]) -> list[Multiaddr]:
        return worth_punching(super()._decode_observed_addrs(addr_bytes[: 2 * PUNCH_ADDRESSES]))
