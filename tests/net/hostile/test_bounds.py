"""The limits of what a connection may make us hold, at the limit and one past it."""

import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from libp2p.exceptions import ParseError
from libp2p.io.exceptions import MessageTooLarge
from libp2p.utils.varint import encode_uvarint

from p2pvoice.node import held, unbounded, wire
from p2pvoice.node.config import Wire
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.protocol.errors import BugError

from . import attacks

Make = Callable[..., Any]
PING, ACK = 2, 2


class Bytes:
    """A reader over bytes that came whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.was_reset = False

    async def read(self, n: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        piece, self._data = self._data[:n], self._data[n:]
        return piece

    async def reset(self) -> None:
        self.was_reset = True


async def test_line_of_multistream_select() -> None:
    longest = b"x" * (unbounded.SELECT_LIMIT - 1) + b"\n"
    reader = Bytes(encode_uvarint(len(longest)) + longest)
    assert await unbounded.read_line(reader) == longest[:-1]
    with pytest.raises(ParseError, match="limit is 1024"):
        await unbounded.read_line(Bytes(encode_uvarint(len(longest) + 1) + b"x" + longest))
    for broken in (encode_uvarint(0), encode_uvarint(2) + b"xy"):
        with pytest.raises(ParseError):
            await unbounded.read_line(Bytes(broken))


async def test_identify_message() -> None:
    longest = bytes(unbounded.IDENTIFY_LIMIT)
    assert await unbounded.read_identify(Bytes(encode_uvarint(len(longest)) + longest)) == longest
    reader = Bytes(encode_uvarint(len(longest) + 1) + longest + b"x")
    with pytest.raises(MessageTooLarge):
        await unbounded.read_identify(reader)
    assert reader.was_reset


def test_libp2p_without_what_is_bounded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(unbounded.yamux, "MAX_WINDOW_SIZE")
    with pytest.raises(BugError, match="MAX_WINDOW_SIZE"):
        unbounded.install()


async def pings(count: int) -> AsyncIterator[bytes]:
    """Frames that change nothing, so that the victim looks again at what it holds."""
    for number in range(count):
        yield struct.pack("!BBHII", 0, PING, ACK, 0, number)


@pytest.mark.parametrize("over", [0, 1])
async def test_streams_of_one_connection(network: Make, monkeypatch: pytest.MonkeyPatch, over: int) -> None:
    """Of libp2p's Yamux; ours is in tests/net/wire. What the host itself opens has ended before the count."""
    async with (
        network(1, wire="stock") as (node,),
        attacks.attackers(1, node.addresses()[0], "stock") as (host,),
    ):
        with trio.fail_after(20):
            while not node.connected():
                await trio.lowlevel.checkpoint()
            connection, seen = attacks.muxed(host, node.id), attacks.muxed(node, host.id)
            while held.measure(seen)[1]:
                await trio.lowlevel.checkpoint()
            monkeypatch.setattr(held, "CONNECTION_STREAMS", 20)
            before = seen.secured_conn._reads
            await attacks.raw_frames(connection, attacks.held_streams(20 + over, 1001))
            await attacks.raw_frames(connection, pings(2 * wire.HELD_CHECK))
            if over:
                await connection.event_closed.wait()
            else:
                frames = 20 + 2 * wire.HELD_CHECK
                while seen.secured_conn._reads < before + frames or held.measure(seen)[1] < 20:
                    await trio.lowlevel.checkpoint()
                assert not connection.event_shutting_down.is_set()


@pytest.mark.parametrize("kind", ["own", "stock"])
@pytest.mark.parametrize("over", [0, 1])
async def test_frame_of_one_window(network: Make, publish: Make, shelf: Make, over: int, kind: Wire) -> None:
    async def frame() -> AsyncIterator[bytes]:
        # In one piece: libp2p's own frames, of identify, would otherwise come between.
        start = attacks.header(attacks.DATA, attacks.SYN, 1001, wire.FRAME_LIMIT + over)
        yield start + bytes(wire.FRAME_LIMIT)

    async with network(1, wire=kind) as (node,), attacks.attackers(1, node.addresses()[0]) as (host,):
        ExchangeServer(node, shelf(publish())).attach()
        connection = attacks.muxed(host, node.id)
        with trio.fail_after(20):
            await attacks.raw_frames(connection, frame())
            if over:
                await connection.event_closed.wait()
            else:
                async with await host.open_stream(node.id, "/ipfs/ping/1.0.0") as channel:
                    await channel.stream.write(bytes(32))
                    assert await channel.stream.read(32) == bytes(32)
