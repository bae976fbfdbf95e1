"""The other end of a TCP connection, also over IPv6: stands in for libp2p's own look at it.

libp2p 0.8.1 knows the two numbers of an IPv4 socket only. Over IPv6 it says that there is no address, and so
tells no peer how it is seen; and an IPv4 peer of a listener at :: comes in IPv6's dress. Process-wide, and
harmless to repeat. Follows specs/reach.md, "Whose code".
"""

from typing import Any

from libp2p.io.trio import TrioTCPStream

from p2pvoice.node.interfaces import parse_ip
from p2pvoice.protocol.errors import BugError


def remote_address(stream: Any) -> tuple[str, int] | None:
    """IP address and port of the other end of a ``TrioTCPStream``; kept, since a closed socket has none."""
    known: tuple[str, int] | None = stream._cached_remote_address
    if known is None:
        try:
            host, port, *_ = stream.stream.socket.getpeername()
        except (AttributeError, OSError, ValueError):
            return None
        ip = parse_ip(str(host))
        known = stream._cached_remote_address = (str(ip) if ip is not None else str(host), int(port))
    return known


def install() -> None:
    """Put it in force. Raises :class:`BugError` when libp2p no longer has what is replaced."""
    stock: Any = TrioTCPStream
    if not hasattr(stock, "get_remote_address"):
        raise BugError("libp2p has no TrioTCPStream.get_remote_address any more")
    stock.get_remote_address = remote_address
