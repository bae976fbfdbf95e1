"""Puts our Yamux connection on our Noise sessions; libp2p's choice of a muxer stays as it is.

Follows specs/wire.md, "Where it is plugged in".
"""

from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.peer.id import ID
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX

from p2pvoice.node.transport.noise import NoiseSession
from p2pvoice.node.transport.yamux import YamuxConnection
from p2pvoice.protocol.errors import BugError


class OurMuxer(MuxerMultistream):
    """In the place of ``upgrader.muxer_multistream``; offers what it is given, and that is Yamux only."""

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """Agree on Yamux and build the connection. Raises what libp2p raises when they do not agree."""
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        if protocol != YAMUX or not isinstance(conn, NoiseSession):
            raise BugError(f"{protocol} over {type(conn).__name__} is not ours")
        return self._annotate_connection(YamuxConnection(conn, peer_id), conn, protocol)
