"""Our own Noise session and Yamux connection, on the wire format that libp2p speaks. Follows specs/wire.md.

The rest of the node names two things of it: :class:`~p2pvoice.node.transport.noise.OurNoise`, which shakes hands as
libp2p does and hands out our sessions, and :class:`~p2pvoice.node.transport.muxer.OurMuxer`, which puts our Yamux
connection on them.
"""
