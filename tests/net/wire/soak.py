"""Many streams on one connection, opened by both sides and ended in every way there is, some at a time.

What a stream does stands in its first five bytes: a letter and a size. What arrives is counted; at the end
our side of the connection must be as empty as it began.
"""

import contextlib
import random
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import trio
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError

from p2pvoice.node.transport.table import OUTBOUND_STREAMS
from p2pvoice.node.transport.yamux import YamuxConnection

from .peers import End, Kind, connected, finish_sending

HEAD = struct.Struct("!cI")
SIZES = (0, 1, 100, 65_507, 65_508, 300_000, 1_000_000)

AT_ONCE = {"own": 24, "stock": 6}
"""Streams under way at once, of each side, by the slower kind: libp2p's own gives a write up after 5 s."""

WAYS = {
    b"e": "echoed and ended by both",
    b"a": "answered after the opener's half close",
    b"r": "reset by the opener in the middle",
    b"R": "reset by the acceptor in the middle",
    b"d": "closed by the opener, who does not read the answer",
    b"c": "a write cancelled, then reset",
    b"n": "reset before anything is said",
}


async def soak(
    dialer: Kind, listener: Kind, count: int, seed: int = 0, look: Callable[[], None] | None = None
) -> Counter[str]:
    """``count`` streams from each side; how many ended in which way.

    ``look`` is called when all have ended and the connection still stands.
    """
    done: Counter[str] = Counter()
    async with connected(dialer, listener, within=60 + count) as (here, there):
        before = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            for end in (here, there):
                nursery.start_soon(_accept, end, nursery)
            async with trio.open_nursery() as openers:
                for number, (kind, end) in enumerate(((dialer, here), (listener, there))):
                    chance = random.Random(f"{seed} {number}")
                    places = trio.Semaphore(min(AT_ONCE[dialer], AT_ONCE[listener]))
                    openers.start_soon(_open_many, kind, end, count, chance, places, done)
            for end in (here, there):
                await _empty(end)
            await _still_talks(here, there)
            if look is not None:
                look()
            nursery.cancel_scope.cancel()
        assert trio.lowlevel.current_statistics().tasks_living == before
        for end in (here, there):
            await _empty(end)
    return done


async def _open_many(
    kind: Kind, end: End, count: int, chance: random.Random, places: trio.Semaphore, done: Counter[str]
) -> None:
    async def one(way: bytes, size: int) -> None:
        async with places:
            await _open(end, way, size)
        done[WAYS[way]] += 1

    # libp2p's own loses its connection to a cancelled write.
    ways = [way for way in WAYS if kind == "own" or way != b"c"]
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            async with places:
                pass
            way, size = chance.choice(ways), chance.choice(SIZES)
            # Nor does it tell a writer that nobody will read, which then waits as long as it ever does.
            nursery.start_soon(one, way, size if way != b"d" or kind == "own" else min(size, 100_000))


async def _open(end: End, way: bytes, size: int) -> None:
    stream = await end.muxed.open_stream()
    if way == b"n":
        await stream.reset()
        return
    await stream.write(HEAD.pack(way, size))
    if way == b"e":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, stream, size, True)
            assert await _count(stream) == size
        await stream.close()
    elif way == b"a":
        await finish_sending(stream)
        assert await _count(stream) == size
        await stream.close()
    elif way == b"d":
        await stream.close()
    elif way == b"c":
        with trio.move_on_after(0.001):
            await _write(stream, size, False)
        await stream.reset()
    else:
        with contextlib.suppress(MuxedStreamError, MuxedStreamEOF):
            await _write(stream, size, False)
            if way == b"R":
                await _count(stream)
        await stream.reset()


async def _accept(end: End, nursery: trio.Nursery) -> None:
    while True:
        nursery.start_soon(_handle, await end.muxed.accept_stream())


async def _handle(stream: Any) -> None:
    with contextlib.suppress(MuxedStreamError, MuxedStreamEOF):
        head = b""
        while len(head) < HEAD.size:
            head += await stream.read(HEAD.size - len(head))
        way, size = HEAD.unpack(head)
        if way == b"e":
            while data := await stream.read(50_000):
                await stream.write(data)
        elif way in b"ad":
            await _write(stream, size, True)
            await _count(stream)
        elif way == b"R":
            if size:
                await stream.read(size // 2 or 1)
            await stream.reset()
            return
        else:
            await _count(stream)
    with contextlib.suppress(MuxedStreamError):
        await stream.close()


async def _write(stream: Any, size: int, finish: bool) -> None:
    for at in range(0, size, 150_000):
        await stream.write(bytes(min(150_000, size - at)))
    if finish:
        await finish_sending(stream)


async def _count(stream: Any) -> int:
    size = 0
    with contextlib.suppress(MuxedStreamEOF):
        while data := await stream.read(100_000):
            size += len(data)
    return size


async def _empty(end: End) -> None:
    """Wait until no stream is left at an end of ours, and nothing of one."""
    connection = end.muxed
    if not isinstance(connection, YamuxConnection):
        return
    while connection.streams or len(connection.outgoing):
        await trio.lowlevel.checkpoint()
    assert connection.holds() == (0, 0)
    assert connection.growth.grown == 0
    assert connection.table._places.value == OUTBOUND_STREAMS
    assert not connection.table._placed
    assert not connection.table._lingering


async def _still_talks(here: End, there: End) -> None:
    for end in (here, there):
        stream = await end.muxed.open_stream()
        await stream.write(HEAD.pack(b"a", 1000))
        await finish_sending(stream)
        assert await _count(stream) == 1000
        await stream.close()
