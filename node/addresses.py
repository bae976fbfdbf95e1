"""Addresses of peers: multiaddrs as a person writes them, and what of one may be dialed or listened on.

Not for connecting to them: see dialing.py. Follows specs/network.md, "Connections".
"""

from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from multiaddr import Multiaddr  # type: ignore[import-untyped]
from multiaddr.exceptions import Error as MultiaddrError  # type: ignore[import-untyped]

from p2pvoice.protocol.errors import UsageError

CIRCUIT = "/p2p-circuit"

EXAMPLE = "example: /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…"


def parse_peer(address: str) -> PeerInfo:
    """The peer that a multiaddr ends in, and where it is; raises :class:`UsageError` when there is none."""
    try:
        return info_from_p2p_addr(Multiaddr(address))
    except (MultiaddrError, ValueError) as error:
        raise UsageError(f"{address} is not the address of a peer", hint=EXAMPLE) from error


def parse_listening(text: str) -> Multiaddr:
    """An address to listen on; raises :class:`UsageError` for what is none, or is not TCP."""
    try:
        address = Multiaddr(text)
    except (MultiaddrError, ValueError) as error:
        raise UsageError(f"{text} is not a multiaddr", hint="example: /ip4/0.0.0.0/tcp/4001") from error
    if not is_tcp(address):
        raise UsageError(f"{text}: only TCP is supported", hint="example: /ip4/0.0.0.0/tcp/4001")
    return address


def without_peer(address: Multiaddr) -> Multiaddr:
    """The address without the peer id at its end."""
    text = str(address)
    way, circuit, rest = text.partition(CIRCUIT)
    if circuit:
        # The peer id before the circuit is the relay's and belongs to the address.
        return Multiaddr(way + circuit) if rest.startswith("/p2p/") else address
    head, found, _ = text.partition("/p2p/")
    return Multiaddr(head) if found and head else address


def is_tcp(address: Multiaddr) -> bool:
    """Whether the address is bare TCP: no WebSocket, relay or TLS on top."""
    names = [p.name for p in address.protocols()]
    return "tcp" in names and not {"ws", "wss", "p2p-circuit", "tls"} & set(names)


def is_circuit(address: Multiaddr) -> bool:
    """Whether the address, without its peer, leads over TCP to one relay and through it."""
    way, circuit, rest = str(address).partition(CIRCUIT)
    if not circuit or rest:
        return False
    try:
        return is_tcp(parse_peer(way).addrs[0])
    except UsageError:
        return False


def is_loopback(address: Multiaddr) -> bool:
    """Whether the address leads to the machine that dials it."""
    text = str(address)
    return text.startswith(("/ip4/127.", "/ip6/::1/"))
