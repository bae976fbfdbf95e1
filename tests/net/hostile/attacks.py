"""The attacks: each a small generator of what a hostile peer does, over real sockets and real streams.

An attacker is a raw TCP client or a real host that breaks the rules below or above its streams. Whether the
victim holds is checked by the tests beside this file.
"""

import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.config import Wire
from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.kad import KAD_PROTOCOL
from p2pvoice.node.wire import STREAM_ERRORS, Channel
from p2pvoice.protocol.exchange_messages import EXCHANGE, Want
from p2pvoice.protocol.framing import encode_frame
from p2pvoice.protocol.messages import encode_message

MULTISTREAM = b"\x13/multistream/1.0.0\n"
NOISE = b"\x07/noise\n"
SYN, DATA, WINDOW_UPDATE = 1, 0, 1

#: What a client says that stops speaking at some point of the handshake.
HALF_HANDSHAKES = {
    "mute": b"",
    "multistream only": MULTISTREAM,
    "noise, then silence": MULTISTREAM + NOISE,
    "noise, then garbage": MULTISTREAM + NOISE + b"\x00\x30" + bytes(range(48)),
    "the longest noise message, of zeros": MULTISTREAM + NOISE + b"\xff\xff" + bytes(65_535),
    "a line of 2**62 bytes": b"\xff\xff\xff\xff\xff\xff\xff\xff\x3f" + bytes(100_000),
    "a line of 1 GiB": b"\x80\x80\x80\x80\x04" + bytes(100_000),
    "no number at all": b"\xff" * 100,
}


def info(host: P2PHost) -> PeerInfo:
    return PeerInfo(ID.from_string(host.id), host.host.get_transport_addrs())


@asynccontextmanager
async def attackers(count: int, address: str, wire: Wire | None = None) -> AsyncIterator[list[P2PHost]]:
    """Real hosts, each with an identity of its own, connected to the victim."""
    async with AsyncExitStack() as stack:
        hosts = []
        for _ in range(count):
            host = await stack.enter_async_context(
                open_host(generate(), listen=["/ip4/127.0.0.1/tcp/0"], wire=wire)
            )
            await host.connect(address)
            hosts.append(host)
        yield hosts


async def half_handshakes(port: int, count: int) -> AsyncIterator[trio.SocketStream]:
    """Sockets that begin to shake hands in each of the ways above, and hold."""
    beginnings = list(HALF_HANDSHAKES.values())
    for number in range(count):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        # Some are refused at once.
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(beginnings[number % len(beginnings)])
        yield stream


def muxed(attacker: P2PHost, victim: str) -> Any:
    """The attacker's Yamux connection to the victim."""
    (connection, *_) = attacker.host.get_network().get_connections(ID.from_string(victim))
    return connection.muxed_conn


async def raw_frames(connection: Any, frames: AsyncIterator[bytes]) -> int:
    """Write frames that no honest Yamux would write, until the victim closes; how many were taken."""
    taken = 0
    try:
        async for frame in frames:
            # libp2p's connection has a door for frames; at ours they go straight into the session.
            await getattr(connection, "_write_frame", connection.secured_conn.write)(frame)
            taken += 1
            if connection.event_shutting_down.is_set():
                break
    except STREAM_ERRORS:
        pass
    return taken


def header(kind: int, flags: int, stream: int, length: int, version: int = 0) -> bytes:
    return struct.pack("!BBHII", version, kind, flags, stream, length)


async def held_streams(count: int, first: int) -> AsyncIterator[bytes]:
    """Streams that are opened and never used."""
    for number in range(count):
        yield header(WINDOW_UPDATE, SYN, first + 2 * number, 0)


async def stuffed_streams(count: int, size: int, first: int) -> AsyncIterator[bytes]:
    """Streams, each filled to the edge of its window with what nobody will read."""
    for number in range(count):
        stream = first + 2 * number
        line = b"/p2pvoice/exchange/1.0.0\n"
        opening = MULTISTREAM + bytes([len(line)]) + line + b"\xff" * 8
        yield header(DATA, SYN, stream, len(opening)) + opening
        left = size - len(opening)
        while left > 0:
            piece = min(left, 60_000)
            yield header(DATA, 0, stream, piece) + bytes(piece)
            left -= piece


async def endless_pages(channel: Channel, page: Callable[[int], bytes]) -> None:
    """Answer each query with another page, for ever."""
    number = 0
    while await channel.receive(4096) is not None:
        await channel.send(page(number))
        number += 1


def huge_frame_then_trickle(announced: int) -> Callable[[Channel], Awaitable[None]]:
    """Announce a frame, then send a byte now and then."""

    async def answer(channel: Channel) -> None:
        await channel.receive(4096)
        await channel.stream.write(struct.pack(">I", announced))
        while True:
            await channel.stream.write(b"\0")
            await trio.sleep(0.2)

    return answer


async def hoard(attacker: P2PHost, victim: PeerInfo, want: Want) -> Channel:
    """Ask for chunks and never read one."""
    channel = await attacker.open_stream(victim, EXCHANGE)
    await channel.stream.write(encode_frame(encode_message(want)) * 4)
    return channel


async def sip(channel: Channel) -> None:
    """Read one byte at a time, as slowly as one may."""
    while True:
        await channel.stream.read(1)
        await trio.sleep(0.05)


async def dht_stream(attacker: P2PHost, victim: str) -> Any:
    """A DHT stream; nothing is said on it."""
    return await attacker.host.new_stream(ID.from_string(victim), [TProtocol(KAD_PROTOCOL)])


def answering(payload: bytes) -> Callable[[Channel], Awaitable[None]]:
    """Answers whatever is asked with these bytes."""

    async def answer(channel: Channel) -> None:
        await channel.receive(4096)
        await channel.send(payload)

    return answer
