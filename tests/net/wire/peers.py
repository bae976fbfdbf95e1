"""Two ends of one TCP connection on loopback, each with libp2p's own classes or with ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519_key_pair
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID, Yamux

from p2pvoice.node.transport.muxer import OurMuxer
from p2pvoice.node.transport.noise import OurNoise

Kind = Literal["stock", "own"]


@dataclass
class End:
    """One end: its connection, of either kind, and the session and socket below."""

    muxed: Any
    session: Any
    socket: trio.SocketStream


def noise(kind: Kind, **options: Any) -> tuple[Any, ID]:
    """A Noise transport of the kind, and its peer id."""
    keys = create_new_key_pair()
    if kind == "own":
        transport: Any = OurNoise(keys, **options)
    else:
        transport = Transport(keys, noise_privkey=create_x25519_key_pair().private_key)
    return transport, ID.from_pubkey(keys.public_key)


def muxer(kind: Kind) -> MuxerMultistream:
    options: Any = {PROTOCOL_ID: Yamux}
    return OurMuxer(options) if kind == "own" else MuxerMultistream(options)


async def sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    """A connected pair over real TCP."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    dialed = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    accepted = await listener.accept()
    await listener.aclose()
    return dialed, accepted


async def sessions(dialer: Kind, listener: Kind) -> list[tuple[Any, ID, trio.SocketStream]]:
    """Noise sessions at both ends of a TCP connection: session, the other's peer id, socket."""
    ends = await sockets()
    raws = RawConnection(TrioTCPStream(ends[0]), True), RawConnection(TrioTCPStream(ends[1]), False)
    made = await secured(dialer, listener, *raws)
    return [(*made[0], ends[0]), (*made[1], ends[1])]


async def secured(dialer: Kind, listener: Kind, one: Any, other: Any) -> list[tuple[Any, ID]]:
    """Noise sessions at both ends of what stands for a socket: session, the other's peer id."""
    (ours, us), (theirs, them) = noise(dialer), noise(listener)
    made: dict[int, Any] = {}

    async def dial() -> None:
        made[0] = await ours.secure_outbound(one, them)

    async def answer() -> None:
        made[1] = await theirs.secure_inbound(other)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        nursery.start_soon(answer)
    return [(made[0], them), (made[1], us)]


@asynccontextmanager
async def connected(dialer: Kind, listener: Kind, within: float = 30) -> AsyncIterator[tuple[End, End]]:
    """Both ends of a running connection."""
    with trio.fail_after(within):
        first, second = await sessions(dialer, listener)
        async with running((dialer, *first), (listener, *second)) as ends:
            yield ends


@asynccontextmanager
async def running(*made: tuple[Kind, Any, ID, Any]) -> AsyncIterator[tuple[End, End]]:
    """Both ends of a connection on two sessions."""
    ends: dict[int, End] = {}

    async def upgrade(number: int, kind: Kind, session: Any, peer: ID, socket: Any) -> None:
        ends[number] = End(await muxer(kind).new_conn(session, peer), session, socket)

    async with trio.open_nursery() as nursery:
        for number, one in enumerate(made):
            nursery.start_soon(upgrade, number, *one)
    async with trio.open_nursery() as nursery:
        for end in ends.values():
            nursery.start_soon(end.muxed.start)
        for end in ends.values():
            await end.muxed.event_started.wait()
        yield ends[0], ends[1]
        for end in ends.values():
            await end.muxed.close()
        nursery.cancel_scope.cancel()


async def finish_sending(stream: Any) -> None:
    """Half a close: libp2p's own ``close`` is one, ours is a whole one."""
    await getattr(stream, "close_write", stream.close)()


async def read_all(stream: Any) -> bytes:
    """Everything until the peer's end of the stream."""
    from libp2p.stream_muxer.exceptions import MuxedStreamEOF

    out = bytearray()
    try:
        while True:
            out += await stream.read(100_000)
    except MuxedStreamEOF:
        return bytes(out)
