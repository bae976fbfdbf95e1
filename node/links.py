"""What kind of link a connection is: direct, on the LAN, or through a relay.

Not for what may be dialed (dialing.py). Follows specs/reach.md, "Kind of link".
"""

from typing import Any

from libp2p.connection_types import ConnectionType

from p2pvoice.node.interfaces import is_local, parse_ip

DIRECT, LAN, RELAYED = "direct", "lan", "relayed"


def kind_of(connection: Any) -> str:
    """The kind of an open libp2p connection; "" when that is not known."""
    return kind_of_muxed(connection.muxed_conn)


def kind_of_muxed(muxed: Any) -> str:
    """The same of the muxed connection that a stream names: by the address of its other end."""
    if muxed.get_connection_type() == ConnectionType.RELAYED:
        return RELAYED
    end = muxed.get_remote_address()
    address = parse_ip(end[0]) if end else None
    if address is None:
        return ""
    return LAN if is_local(address) or address.is_loopback else DIRECT
