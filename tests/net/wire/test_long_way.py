"""Our connections where the way is long: over a slow line, and through another connection, as with relays."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.stream.net_stream import NetStream, StreamState
from libp2p.stream_muxer.exceptions import MuxedStreamError
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.relay_wire import Circuit
from p2pvoice.node.transport.frames import FIRST_WINDOW
from p2pvoice.node.transport.windows import WINDOW_LIMIT

from .delayed import delayed
from .peers import End, Kind, connected, finish_sending, read_all, running, secured

MIB = 1 << 20
KINDS: list[Kind] = ["own", "stock"]


@asynccontextmanager
async def far_apart(dialer: Kind, listener: Kind, seconds: float) -> AsyncIterator[tuple[End, End]]:
    """Both ends of a connection whose ends are ``seconds`` apart, each way."""
    (there,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with delayed(there.socket.getsockname()[1], seconds) as port:
        ends = [await trio.open_tcp_stream("127.0.0.1", port), await there.accept()]
        raws = [RawConnection(TrioTCPStream(end), not number) for number, end in enumerate(ends)]
        made = await secured(dialer, listener, *raws)
        async with running((dialer, *made[0], ends[0]), (listener, *made[1], ends[1])) as both:
            yield both


@pytest.mark.parametrize("sender", KINDS)
async def test_windows_grow_with_the_way(sender: Kind) -> None:
    """40 ms each way: the window of the stream that is read grows until it no longer holds the sender up."""
    with trio.fail_after(60):
        async with far_apart("own", sender, 0.04) as (here, there):
            stream = await here.muxed.open_stream()
            await stream.write(b"?")
            other = await there.muxed.accept_stream()
            while not here.muxed.rtt():
                await trio.lowlevel.checkpoint()
            assert 0.08 <= here.muxed.rtt() < 1
            assert await other.read(1) == b"?"
            sent = random.Random(1).randbytes(24 * MIB)

            async def send() -> None:
                await other.write(sent)
                await finish_sending(other)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                assert await read_all(stream) == sent
            # libp2p's own may not send fast enough for the last steps.
            assert stream.window.size >= (4 if sender == "own" else 2) * FIRST_WINDOW
            assert stream.window.size <= WINDOW_LIMIT


@asynccontextmanager
async def through(outer: Kind, inner: Kind) -> AsyncIterator[tuple[End, End]]:
    """Both ends of a connection that runs over one stream of another connection, as through a relay."""
    async with connected(outer, outer, within=120) as (here, there):
        stream = await here.muxed.open_stream()
        await stream.write(b"!")
        other = await there.muxed.accept_stream()
        assert await other.read(1) == b"!"
        raws = []
        for number, one in enumerate((stream, other)):
            net = NetStream(one, None, None)
            await net.set_state(StreamState.OPEN)
            raws.append(Circuit(net, not number, Multiaddr("/p2p-circuit")))
        made = await secured(inner, inner, *raws)
        async with running((inner, *made[0], None), (inner, *made[1], None)) as ends:
            yield ends


@pytest.mark.parametrize("outer", KINDS)
@pytest.mark.parametrize("inner", KINDS)
async def test_a_connection_within_a_connection(outer: Kind, inner: Kind) -> None:
    sent = [random.Random(way).randbytes(3 * MIB + way) for way in range(2)]
    async with through(outer, inner) as (here, there):

        async def talk(stream: Any, way: int) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, stream, 1 - way)
                await stream.write(sent[way])
                await finish_sending(stream)

        async def read(stream: Any, way: int) -> None:
            assert await read_all(stream) == sent[way]

        async with trio.open_nursery() as nursery:
            stream = await here.muxed.open_stream()
            nursery.start_soon(talk, stream, 0)
            nursery.start_soon(talk, await there.muxed.accept_stream(), 1)
        await here.muxed.close()
        await there.muxed.event_closed.wait()
        with pytest.raises(MuxedStreamError):
            await there.muxed.open_stream()


async def test_a_cancelled_write_within_a_connection() -> None:
    """Cancelled while both windows are shut: neither connection notices."""
    async with through("own", "own") as (here, there):
        stream = await here.muxed.open_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, b"x" * 4 * MIB)
            other = await there.muxed.accept_stream()
            while stream.send_window:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
        await stream.close_write()
        assert set(await read_all(other)) == {ord("x")}
        stream = await there.muxed.open_stream()
        await stream.write(b"hello")
        assert await (await here.muxed.accept_stream()).read(5) == b"hello"
