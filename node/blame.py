"""What a peer is blamed for in a conversation: its faults inside a block are written into the peer book.

Not for rewards, nor for what a fault costs (peers.py). Follows specs/network.md, "Peers".
"""

from collections.abc import Iterator
from contextlib import contextmanager

from p2pvoice.node.host import P2PHost
from p2pvoice.node.peers import Fault
from p2pvoice.protocol.errors import ManifestError, PeerTimeoutError, RefusedError, SignatureError


def fault_of(error: RefusedError) -> Fault:
    """What a peer has done that sent something refused for this reason."""
    return Fault.BAD_SIGNATURE if isinstance(error, SignatureError) else Fault.BROKE_PROTOCOL


@contextmanager
def blamed(host: P2PHost, peer: str) -> Iterator[None]:
    """Note a bad signature, a broken protocol, or a silence while connected; all are raised again."""
    try:
        yield
    except (SignatureError, ManifestError) as error:
        host.peers.drop(peer, fault_of(error), error.message)
        raise
    except PeerTimeoutError as error:
        if peer in host.connected():
            host.peers.drop(peer, Fault.HUNG, error.message)
        raise
