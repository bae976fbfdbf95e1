"""What kind of link a connection is: direct, on the LAN, or through a relay.

Not for what may be dialed (dialing.py). Follows specs/reach.md, "Kind of link".
"""

from typing import Any

from p2pvoice.node.interfaces import is_local, split

DIRECT, LAN, RELAYED = "direct", "lan", "relayed"


def kind_of(connection: Any) -> str:
    """The kind of an open libp2p connection; "" when that is not known."""
    return kind_of_muxed(connection.muxed_conn)


def kind_of_muxed(muxed: Any) -> str:
    """The same of the muxed connection that a stream names: by the address of its other end."""
    for address in map(str, muxed.get_transport_addresses()):
        if "/p2p-circuit" in address:
            return RELAYED
        apart = split(address)
        if apart is not None:
            return LAN if is_local(apart[0]) or apart[0].is_loopback else DIRECT
    return ""
