"""What a peer may send and what waits for the reader: windows of streams, and the bounds of a connection."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.io.exceptions import ConnectionClosedError

from p2pvoice.node import held
from p2pvoice.node.transport import windows
from p2pvoice.node.transport.frames import FIRST_WINDOW, WireViolation
from p2pvoice.node.transport.windows import WINDOW_LIMIT, Growth, ReceiveWindow

from .attacker import FIN, SYN, WINDOW_UPDATE, alive, attacked, data, frame, refused
from .peers import read_all


@pytest.mark.parametrize("over", [0, 1])
async def test_the_window_of_a_stream(over: int) -> None:
    async with attacked() as (connection, attacker):
        await attacker.send(data(1, bytes(FIRST_WINDOW), SYN))
        if over:
            await attacker.send(data(1, b"x"))
            await refused(connection, attacker)
        else:
            await alive(connection, attacker)
            assert connection.holds() == (FIRST_WINDOW, 1)


async def test_what_was_read_is_given_back_and_not_a_byte_more() -> None:
    async with attacked() as (connection, attacker):
        await attacker.send(data(1, bytes(FIRST_WINDOW), SYN))
        stream = await connection.accept_stream()
        got = 0
        while got < FIRST_WINDOW // 2:
            got += len(await stream.read(FIRST_WINDOW // 2 - got))
        (await attacker.next(WINDOW_UPDATE))  # the ACK
        _, number, granted, _ = await attacker.next(WINDOW_UPDATE)
        assert number == 1
        assert granted >= got
        for _ in range(granted // 1024):
            await attacker.send(data(1, bytes(1024)))
        await alive(connection, attacker)
        await attacker.send(data(1, bytes(granted % 1024 + 1)))
        await refused(connection, attacker)


def test_a_stream_of_more_than_short_messages_has_a_large_window_at_once() -> None:
    growth = Growth()
    window = ReceiveWindow(growth, 0.0)
    window.announced(FIRST_WINDOW)
    assert window.read(windows.BULK - 1, 0.0, 0.0) == 0
    assert window.read(1, 0.0, 0.0) == windows.BULK + windows.BULK_WINDOW - FIRST_WINDOW
    assert window.size == windows.BULK_WINDOW
    assert growth.grown == windows.BULK_WINDOW - FIRST_WINDOW


def test_where_nothing_is_left_to_grow_by_credit_is_given_by_halves() -> None:
    growth = Growth()
    growth.take(windows.GROWN_LIMIT)
    window = ReceiveWindow(growth, 0.0)
    window.announced(FIRST_WINDOW)
    assert window.read(FIRST_WINDOW // 2 - 1, 0.0, 0.0) == 0
    assert window.read(1, 0.0, 0.0) == FIRST_WINDOW // 2
    assert window.size == FIRST_WINDOW


@pytest.mark.parametrize(
    ("rounds", "grown"), [(windows.GROWTH_ROUNDS, True), (windows.GROWTH_ROUNDS + 0.01, False)]
)
def test_a_window_grows_when_it_is_read_fast_enough(rounds: float, grown: bool) -> None:
    """Half of it in half the round trips for all of it, and so on from there."""
    window, rtt, size, now = ReceiveWindow(Growth(), 0.0), 0.1, windows.BULK_WINDOW, 0.01
    window.announced(windows.BULK)
    window.read(windows.BULK, now, rtt)
    for _ in range(3):
        window.announced(size // 2)
        assert window.read(size // 2 - 1, now, rtt) == 0
        now += rounds / 2 * rtt
        most = min(size, WINDOW_LIMIT - size)
        assert window.read(1, now, rtt) == size // 2 + grown * most
        size += grown * most
        assert window.size == size
    assert size == (WINDOW_LIMIT if grown else windows.BULK_WINDOW)


@given(
    st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 300_000), st.integers(0, 50)), max_size=200)
)
def test_windows_promise_no_more_than_they_have(steps: list[tuple[int, int, int]]) -> None:
    """Three windows of one connection, each step one of them: the sums hold, and so do the limits."""
    growth = Growth()
    all_windows = [ReceiveWindow(growth, 0.0) for _ in range(3)]
    waiting, now = [0, 0, 0], 0.0
    for number, (came, read, milliseconds) in enumerate(steps):
        which, now = number % 3, now + milliseconds / 1000
        window = all_windows[which]
        if came > window.credit:
            with pytest.raises(WireViolation):
                window.announced(came)
            came = window.credit
        window.announced(came)
        waiting[which] += came
        read = min(read, waiting[which])
        waiting[which] -= read
        before = window.credit
        grant = window.read(read, now, 0.04)
        assert window.credit == before + grant
        assert window.credit >= 0
        assert window.credit + waiting[which] <= window.size <= WINDOW_LIMIT
        # What was read and not given back is less than half a window, so that nobody waits for ever.
        assert window.credit + waiting[which] > window.size // 2
    assert growth.grown == sum(window.size - FIRST_WINDOW for window in all_windows) <= windows.GROWN_LIMIT
    for window in all_windows:
        window.close()
    assert growth.grown == 0


async def test_windows_of_a_connection_grow_within_their_limit_together() -> None:
    async with attacked() as (connection, attacker):
        connection.trip.seconds = 10.0
        streams = []
        for number in (1, 3, 5):
            await attacker.send(frame(WINDOW_UPDATE, SYN, number, 0))
            streams.append(await connection.accept_stream())
        for stream in streams:
            # Enough for the first to grow to its limit.
            for _ in range(70):
                await attacker.send(data(stream.stream_id, bytes(65_536)))
                await stream.read(65_536)
        assert max(stream.window.size for stream in streams) == WINDOW_LIMIT
        assert sum(stream.window.size - FIRST_WINDOW for stream in streams) == windows.GROWN_LIMIT
        assert connection.growth.grown == windows.GROWN_LIMIT
        for stream in streams:
            await stream.reset()
        assert connection.growth.grown == 0


async def test_a_slow_reader_loses_nothing() -> None:
    """A stream that nobody reads is stopped by its window, and neither loses bytes nor holds up another."""
    async with attacked() as (connection, attacker):
        await attacker.send(data(1, bytes(FIRST_WINDOW - 1) + b"!", SYN), data(3, b"quick", SYN | FIN))
        slow, quick = await connection.accept_stream(), await connection.accept_stream()
        assert await read_all(quick) == b"quick"
        await attacker.send(frame(WINDOW_UPDATE, FIN, 1, 0))
        await alive(connection, attacker)
        assert await read_all(slow) == bytes(FIRST_WINDOW - 1) + b"!"
        assert connection.holds()[0] == 0


@pytest.mark.parametrize("over", [0, 1])
async def test_what_one_connection_holds(monkeypatch: pytest.MonkeyPatch, over: int) -> None:
    monkeypatch.setattr(held, "CONNECTION_BYTES", 4 * FIRST_WINDOW)
    async with attacked() as (connection, attacker):
        connection.guard(held.Held())
        with contextlib.suppress(ConnectionClosedError):
            for number in range(4 + over):
                await attacker.send(data(2 * number + 1, bytes(FIRST_WINDOW), SYN))
        if over:
            await connection.event_closed.wait()
        else:
            await alive(connection, attacker)
            assert connection.holds() == (4 * FIRST_WINDOW, 4)


async def test_what_connections_hold_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two within their own limit and together beyond that of all: the one that holds most closes."""
    monkeypatch.setattr(held, "TOTAL_BYTES", 4 * FIRST_WINDOW)
    count = held.Held()
    async with attacked() as (small, modest), attacked() as (large, greedy):
        for connection in (small, large):
            connection.guard(count)
        await modest.send(data(1, bytes(FIRST_WINDOW), SYN))
        await alive(small, modest)
        with contextlib.suppress(ConnectionClosedError):
            for number in range(4):
                await greedy.send(data(2 * number + 1, bytes(FIRST_WINDOW), SYN))
        await large.event_closed.wait()
        await alive(small, modest)
        assert small.holds() == (FIRST_WINDOW, 1)


async def test_tiny_frames_take_no_more_memory_than_their_bytes() -> None:
    async with attacked() as (connection, attacker):
        await attacker.send(data(1, b"x", SYN))
        for _ in range(20):
            await attacker.send(data(1, b"x") * 5000)
        await alive(connection, attacker)
        (stream,) = connection.streams.values()
        assert connection.holds() == (100_001, 1)
        assert len(stream._chunks) <= 4
