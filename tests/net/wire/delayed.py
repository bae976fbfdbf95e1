"""A slow line for tests and benchmarks: a TCP proxy on loopback that carries every byte late, in order.

Only the time is that of a long way: nothing is lost, and between neighbours TCP has the kernel's windows.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

PIECE = 64 * 1024
"""Bytes read at once."""

ON_THE_WAY = 512
"""Pieces on the way at once, each direction; more waits in the sender's socket."""


@asynccontextmanager
async def delayed(port: int, seconds: float) -> AsyncIterator[int]:
    """A port that leads to ``port``, ``seconds`` away each way; one connection."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def serve() -> None:
        one = await listener.accept()
        other = await trio.open_tcp_stream("127.0.0.1", port)
        async with trio.open_nursery() as both:
            both.start_soon(_carry, one, other, seconds)
            both.start_soon(_carry, other, one, seconds)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _carry(source: trio.SocketStream, target: trio.SocketStream, seconds: float) -> None:
    send, receive = trio.open_memory_channel[tuple[float, bytes]](ON_THE_WAY)

    async def take() -> None:
        data = b"?"
        while data:
            try:
                data = bytes(await source.receive_some(PIECE))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            await send.send((trio.current_time() + seconds, data))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        async for due, data in receive:
            await trio.sleep_until(due)
            try:
                if not data:
                    break
                await target.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
        await target.aclose()
        nursery.cancel_scope.cancel()
