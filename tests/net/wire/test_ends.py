"""How streams end and writes are held up, cut or cancelled, against a peer whose frames are made by hand."""

import contextlib
import random
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError, MuxedStreamReset

from p2pvoice.node.transport import noise as our_noise
from p2pvoice.node.transport import stream as streams
from p2pvoice.node.transport import table
from p2pvoice.node.transport.frames import FIRST_WINDOW

from .attacker import (
    DATA,
    FIN,
    GO_AWAY,
    RST,
    SYN,
    WINDOW_UPDATE,
    alive,
    attacked,
    data,
    frame,
)
from .peers import Kind, connected, read_all, sessions


async def test_resets_wake_reader_and_writer() -> None:
    async with attacked() as (connection, attacker), trio.open_nursery() as nursery:
        await attacker.send(frame(WINDOW_UPDATE, SYN, 1, 0))
        stream = await connection.accept_stream()

        async def read() -> None:
            with pytest.raises(MuxedStreamReset):
                await stream.read(1)

        async def write() -> None:
            with pytest.raises(MuxedStreamReset):
                await stream.write(bytes(FIRST_WINDOW + 1))

        nursery.start_soon(read)
        nursery.start_soon(write)
        while (await attacker.next(DATA))[1] != 1 or stream.send_window:
            pass
        await attacker.send(frame(WINDOW_UPDATE, RST, 1, 0))


async def test_a_cancelled_write_leaves_connection_and_stream_sound() -> None:
    """Cancelled while the window is shut: what was sent are whole frames, and the stream goes on."""
    async with attacked() as (connection, attacker):
        await attacker.send(frame(WINDOW_UPDATE, SYN, 1, 0))
        stream = await connection.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, bytes(FIRST_WINDOW + 100))
            got = 0
            while got < FIRST_WINDOW:
                got += (await attacker.next(DATA))[2]
            nursery.cancel_scope.cancel()
        await attacker.send(frame(WINDOW_UPDATE, 0, 1, 50))
        await stream.write(b"goes on")
        assert (await attacker.next(DATA))[3] == b"goes on"


async def full(connection: Any, stream: Any) -> None:
    """Wait until the socket takes no more of what is written."""
    before = -1
    # The window stops shrinking while the writer holds its turn.
    while stream.send_window != before:
        before = stream.send_window
        for _ in range(200):
            await trio.lowlevel.checkpoint()
    assert connection.session.turn.locked()


async def test_a_peer_that_takes_nothing_is_cut_off(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    async with attacked(within=120) as (connection, attacker), trio.open_nursery() as nursery:
        await attacker.send(frame(WINDOW_UPDATE, SYN, 1, 64 << 20))
        stream = await connection.accept_stream()

        async def write() -> None:
            with pytest.raises(MuxedStreamReset):
                await stream.write(bytes(48 << 20))

        nursery.start_soon(write)
        await full(connection, stream)
        mock_clock.jump(our_noise.WRITE_BUDGET - 1)
        await full(connection, stream)
        assert not connection.is_closed
        mock_clock.jump(1)
        await connection.event_closed.wait()
        assert attacker.socket.socket.fileno() != -1


@pytest.mark.parametrize("over", [0, 1])
async def test_a_peer_that_takes_little_has_longer(autojump_clock: trio.testing.MockClock, over: int) -> None:
    """A slow line is no fault. Three times the budget is for a whole write, here of 64 KiB each 15 s."""
    (_, _, socket), (session, _, _) = await sessions("own", "own")
    taken = []

    class Line:
        async def write(self, data: bytes) -> None:
            await trio.sleep(15)
            taken.append(len(data))

        async def close(self) -> None:
            await socket.aclose()

    session._socket, session._raw = None, Line()
    async with session.turn:
        if over:
            with pytest.raises(ConnectionClosedError, match="in time"):
                await session.send([bytes(our_noise.MESSAGE)] * 5)
        else:
            await session.send([bytes(our_noise.MESSAGE)] * 3)
            assert taken == [our_noise.MESSAGE + our_noise.TAG + 2] * 3
            await socket.aclose()


#: Who reads: libp2p's own as a writer waits for five seconds only, so only ours is tried as one.
readers: Any = pytest.mark.parametrize("reader", ["own", "stock"])


@readers
async def test_a_reader_that_pauses_loses_nothing(mock_clock: trio.testing.MockClock, reader: Kind) -> None:
    mock_clock.rate = 1
    sent = random.Random(1).randbytes(2_000_000)
    async with connected("own", reader, within=120) as (here, there), trio.open_nursery() as nursery:
        stream = await here.muxed.open_stream()

        async def write() -> None:
            await stream.write(sent)
            await stream.close_write()

        nursery.start_soon(write)
        other = await there.muxed.accept_stream()
        while stream.send_window:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(streams.WINDOW_BUDGET - 1)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        assert await read_all(other) == sent


@readers
async def test_a_reader_that_pauses_too_long(mock_clock: trio.testing.MockClock, reader: Kind) -> None:
    """The writer gives its stream up; another stream of the connection is none the worse."""
    mock_clock.rate = 1
    async with connected("own", reader, within=120) as (here, there), trio.open_nursery() as nursery:
        stream = await here.muxed.open_stream()

        async def write() -> None:
            with pytest.raises(MuxedStreamError, match="read nothing"):
                await stream.write(bytes(2_000_000))
            await stream.reset()

        nursery.start_soon(write)
        await there.muxed.accept_stream()
        while stream.send_window:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(streams.WINDOW_BUDGET)
        while here.muxed.streams:
            await trio.lowlevel.checkpoint()
        stream = await here.muxed.open_stream()
        await stream.write(b"hello")
        other = await there.muxed.accept_stream()
        assert await other.read(5) == b"hello"


async def test_a_stream_that_the_peer_never_finishes(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    async with attacked(within=1000) as (connection, attacker):
        await attacker.send(data(1, b"x", SYN), data(3, b"x", SYN | FIN))
        for _ in range(2):
            await (await connection.accept_stream()).close()
        await alive(connection, attacker)
        assert list(connection.streams) == [1]
        mock_clock.jump(table.LINGER)
        while not (got := await attacker.next(WINDOW_UPDATE))[0] & RST:
            pass
        assert got[1] == 1
        await alive(connection, attacker)
        assert not connection.streams


async def test_a_fault_of_ours_costs_this_connection_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What runs the connection is left in peace: libp2p ends a host with the first task that fails."""
    async with attacked() as (connection, attacker):

        def fail(length: int) -> None:
            raise RuntimeError("a fault of ours")

        await attacker.send(data(1, b"x", SYN))
        stream = await connection.accept_stream()
        monkeypatch.setattr(stream.window, "announced", fail)
        await attacker.send(data(1, b"y"))
        await connection.event_closed.wait()
    assert "a fault of ours" in caplog.text


async def test_writers_take_turns() -> None:
    """One stream sends without end; another's few bytes do not wait for it to finish."""
    async with attacked() as (connection, attacker), trio.open_nursery() as nursery:
        await attacker.send(*(frame(WINDOW_UPDATE, SYN, number, 256 << 20) for number in (1, 3)))
        big, small = await connection.accept_stream(), await connection.accept_stream()

        async def endless() -> None:
            with contextlib.suppress(MuxedStreamReset):
                await big.write(bytes(32 << 20))

        nursery.start_soon(endless)
        seen = 0
        while seen < 1 << 20:
            seen += (await attacker.next(DATA))[2]
        nursery.start_soon(small.write, b"small")
        while (got := await attacker.next(DATA))[1] != 3:
            seen += got[2]
        assert got[3] == b"small"
        assert seen < 24 << 20
        nursery.cancel_scope.cancel()
        await attacker.socket.aclose()


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("left", [0, 1])
async def test_who_sends_to_a_closed_stream_is_told(early: bool, left: int) -> None:
    """At the end of its window, whether it had used that up before the stream was closed or did so after."""
    async with attacked() as (connection, attacker):
        await attacker.send(frame(WINDOW_UPDATE, SYN, 1, 0))
        stream = await connection.accept_stream()
        if not early:
            await stream.close()
        await attacker.send(data(1, bytes(FIRST_WINDOW - left)))
        await alive(connection, attacker)
        if early:
            await stream.close()
        await alive(connection, attacker)
        assert list(connection.streams) == [1] * left
        assert connection.holds() == (0, left)


async def test_our_own_streams_wait_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with attacked() as (connection, attacker), trio.open_nursery() as nursery:
        streams = [await connection.open_stream() for _ in range(table.OUTBOUND_STREAMS)]
        nursery.start_soon(connection.open_stream)
        await alive(connection, attacker)
        assert len(connection.streams) == table.OUTBOUND_STREAMS
        await attacker.send(frame(WINDOW_UPDATE, RST, streams[7].stream_id, 0))
        while streams[-1].stream_id + 2 not in connection.streams:
            await trio.lowlevel.checkpoint()
        with pytest.raises(MuxedStreamReset):
            await streams[7].write(b"x")


async def test_what_waits_when_the_peer_goes_away_can_be_read() -> None:
    async with attacked() as (connection, attacker):
        await attacker.send(data(1, b"done", SYN | FIN), data(3, b"cut", SYN), frame(GO_AWAY, 0, 0, 0))
        done, cut = await connection.accept_stream(), await connection.accept_stream()
        await connection.event_closed.wait()
        assert await read_all(done) == b"done"
        assert await cut.read(10) == b"cut"
        with pytest.raises(MuxedStreamReset):
            await cut.read(10)


async def test_a_closed_stream_drops_what_comes_and_is_reset_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "LINGERERS", 1)
    async with attacked() as (connection, attacker):
        for number in (1, 3):
            await attacker.send(data(number, bytes(1000), SYN))
            stream = await connection.accept_stream()
            await stream.close()
            await attacker.send(data(number, bytes(1000)))
            with pytest.raises(MuxedStreamEOF):
                await stream.read(1)
        await alive(connection, attacker)
        assert connection.holds() == (0, 1)
        assert list(connection.streams) == [3]


async def test_a_write_cancelled_in_the_socket_is_still_whole() -> None:
    """The socket is full when the cancellation comes: the frames under way leave, and the next ones open."""
    async with attacked() as (connection, attacker):
        await attacker.send(frame(WINDOW_UPDATE, SYN, 1, 64 << 20))
        stream = await connection.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, bytes(48 << 20))
            await full(connection, stream)
            nursery.cancel_scope.cancel()
            sent, got = FIRST_WINDOW + (64 << 20) - stream.send_window, 0
            with trio.CancelScope(shield=True):
                while got < sent:
                    got += (await attacker.next(DATA))[2]
        assert FIRST_WINDOW + (64 << 20) - stream.send_window == got
        await alive(connection, attacker)
