"""Our own Noise session and Yamux connection, on the wire format of libp2p. Follows specs/wire.md.

The rest of the node names two things of it: ``OurNoise`` (noise.py), which shakes hands as libp2p does and
hands out our sessions, and ``OurMuxer`` (muxer.py), which puts our Yamux connection on them.
"""
