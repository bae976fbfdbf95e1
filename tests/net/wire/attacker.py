"""A peer that speaks Noise but no honest Yamux, for tests: libp2p's session, and frames by hand."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from p2pvoice.node.transport.yamux import YamuxConnection

from .peers import sessions

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8


def frame(kind: int, flags: int, stream: int, length: int, body: bytes = b"", version: int = 0) -> bytes:
    return struct.pack("!BBHII", version, kind, flags, stream, length) + body


def data(stream: int, body: bytes, flags: int = 0) -> bytes:
    return frame(DATA, flags, stream, len(body), body)


class Attacker:
    """The peer that dialed: writes any bytes, and notes the frames it gets."""

    def __init__(self, session: Any, socket: trio.SocketStream) -> None:
        self.session = session
        self.socket = socket

    async def send(self, *frames: bytes) -> None:
        await self.session.write(b"".join(frames))

    async def next(self, kind: int) -> tuple[int, int, int, bytes]:
        """Flags, stream, length and body of the next frame of the kind; others are skipped."""
        while True:
            _, got, flags, stream, length = struct.unpack("!BBHII", await self.exactly(12))
            body = await self.exactly(length) if got == DATA else b""
            if got == kind:
                return flags, stream, length, body

    async def exactly(self, size: int) -> bytes:
        data = await self.session.read(size) if size else b""
        assert len(data) == size
        return bytes(data)


@asynccontextmanager
async def attacked(within: float = 20) -> AsyncIterator[tuple[YamuxConnection, Attacker]]:
    with trio.fail_after(within):
        (session, _, socket), (ours, peer, _) = await sessions("stock", "own")
        connection = YamuxConnection(ours, peer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.start)
            await connection.event_started.wait()
            yield connection, Attacker(session, socket)
            await connection.close()
            nursery.cancel_scope.cancel()


async def refused(connection: YamuxConnection, attacker: Attacker) -> None:
    """The connection ends, and says that the protocol was broken."""
    assert (await attacker.next(GO_AWAY))[2] == 1
    await connection.event_closed.wait()


async def alive(connection: YamuxConnection, attacker: Attacker) -> None:
    """The connection still answers, in order: what was sent before has been handled."""
    await attacker.send(frame(PING, SYN, 0, 0xABCDEF))
    while True:
        flags, _, value, _ = await attacker.next(PING)
        if flags & ACK:
            assert value == 0xABCDEF
            break
    assert connection.is_established
