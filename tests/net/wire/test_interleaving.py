"""Our Noise and Yamux against libp2p's, in both roles, over TCP: what is sent arrives, in order and whole."""

import random
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError, MuxedStreamReset

from .peers import Kind, connected, read_all

PAIRS: list[tuple[Kind, Kind]] = [("own", "stock"), ("stock", "own"), ("own", "own")]

pairs = pytest.mark.parametrize(("dialer", "listener"), PAIRS)


@pairs
async def test_a_large_answer_and_half_closes(dialer: Kind, listener: Kind) -> None:
    question, answer = random.Random(1).randbytes(700_000), random.Random(2).randbytes(3_000_001)
    async with connected(dialer, listener) as (here, there):
        for asking, answering in ((here, there), (there, here)):

            async def serve(answering: Any = answering) -> None:
                stream = await answering.muxed.accept_stream()
                assert await read_all(stream) == question
                await stream.write(answer)
                await getattr(stream, "close_write", stream.close)()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                stream = await asking.muxed.open_stream()
                await stream.write(question)
                await getattr(stream, "close_write", stream.close)()
                assert await read_all(stream) == answer


#: Of each stream: who opens it, the sizes it sends each way, and how it ends.
scripts = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(st.sampled_from([0, 1, 11, 12, 65_506, 65_507, 65_508, 262_144, 400_001]), max_size=4),
        st.lists(st.sampled_from([0, 1, 13, 65_519, 262_145]), max_size=3),
        st.sampled_from(["close", "close", "reset"]),
    ),
    min_size=1,
    max_size=8,
)


@pairs
def test_random_interleavings(dialer: Kind, listener: Kind) -> None:
    # An example that hangs takes half a minute: it is reported, not shrunk.
    @settings(max_examples=15, deadline=None, phases=(Phase.generate,), suppress_health_check=[*HealthCheck])
    @given(scripts, st.integers(0, 2**32))
    def run(streams: Any, seed: int) -> None:
        trio.run(_interleave, dialer, listener, streams, seed)

    run()


async def _interleave(dialer: Kind, listener: Kind, script: Any, seed: int) -> None:
    """Every stream first says its number; then both sides send at once, in random pieces."""
    finished: list[int] = []

    def data(number: int, way: int, sizes: list[int]) -> list[bytes]:
        chance = random.Random(f"{seed} {number} {way}")
        return [chance.randbytes(size) for size in sizes]

    async def talk(stream: Any, number: int, way: int) -> None:
        _, there, back, end = script[number]
        mine, theirs = (there, back) if way == 0 else (back, there)
        expected = b"".join(data(number, 1 - way, theirs))

        async def send() -> None:
            for piece in data(number, way, mine):
                await stream.write(piece)
            if end == "close":
                await getattr(stream, "close_write", stream.close)()

        async def receive() -> None:
            got = bytearray()
            chance = random.Random(f"{seed} {number} {way} reads")
            while len(got) < len(expected):
                left = len(expected) - len(got)
                got += await stream.read(min(left, chance.choice([1, 1000, 65_536, 500_000])))
                assert expected.startswith(got)
            if end == "close":
                assert await read_all(stream) == b""
            finished.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(receive)
        if end == "reset":
            # The one who opened resets after both have everything: the other reads one byte that never comes.
            if way == 0:
                await stream.read(1)
                await stream.reset()
            else:
                await stream.write(b"!")
                # libp2p's forgets the stream at once and then reports the end instead.
                with pytest.raises((MuxedStreamReset, MuxedStreamEOF)):
                    await stream.read(1)
        else:
            await stream.close()

    async with connected(dialer, listener) as (here, there), trio.open_nursery() as nursery:

        async def accept(end: Any, count: int) -> None:
            for _ in range(count):
                stream = await end.muxed.accept_stream()
                number = (await stream.read(1))[0]
                nursery.start_soon(talk, stream, number, 1)

        async def open_one(end: Any, number: int) -> None:
            stream = await end.muxed.open_stream()
            await stream.write(bytes([number]))
            await talk(stream, number, 0)

        for end, other, which in ((here, there, True), (there, here, False)):
            numbers = [n for n, (first, *_) in enumerate(script) if first is which]
            nursery.start_soon(accept, other, len(numbers))
            for number in numbers:
                nursery.start_soon(open_one, end, number)
    assert sorted(finished) == sorted([*range(len(script))] * 2)


@pairs
async def test_many_streams_one_after_the_other_leave_nothing(dialer: Kind, listener: Kind) -> None:
    async with connected(dialer, listener) as (here, there), trio.open_nursery() as nursery:

        async def serve() -> None:
            for _ in range(500):
                stream = await there.muxed.accept_stream()
                await stream.write(await stream.read(100))
                await stream.close()

        nursery.start_soon(serve)
        for number in range(500):
            stream = await here.muxed.open_stream()
            await stream.write(b"%d" % number)
            assert await read_all(stream) == b"%d" % number
            await stream.close()
        while here.muxed.streams or there.muxed.streams:
            await trio.lowlevel.checkpoint()


@pairs
async def test_both_ends_see_the_end(dialer: Kind, listener: Kind) -> None:
    async with connected(dialer, listener) as (here, there):
        stream = await here.muxed.open_stream()
        await stream.write(b"x")
        other = await there.muxed.accept_stream()
        assert await other.read(1) == b"x"
        await here.muxed.close()
        await there.muxed.event_closed.wait()
        for one in (stream, other):
            with pytest.raises((MuxedStreamError, EOFError)):
                await one.read(1)
            with pytest.raises(MuxedStreamError):
                await one.write(b"y")
        with pytest.raises(MuxedStreamError):
            await there.muxed.open_stream()
