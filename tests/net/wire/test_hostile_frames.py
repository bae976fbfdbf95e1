"""Our connection against frames that no honest Yamux sends, or not so many of them."""

import contextlib

import pytest
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamError, MuxedStreamReset

from p2pvoice.node import held
from p2pvoice.node.transport import outgoing, table
from p2pvoice.node.transport.frames import FRAME_LIMIT

from .attacker import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    alive,
    attacked,
    data,
    frame,
    refused,
)
from .peers import connected, read_all


@pytest.mark.parametrize("over", [0, 1])
async def test_streams_at_once(over: int) -> None:
    """One too many is refused and costs nothing else; when it ends, the next has its place."""
    async with attacked() as (connection, attacker):
        count = held.CONNECTION_STREAMS
        for n in range(count + over):
            await attacker.send(frame(WINDOW_UPDATE, SYN, 2 * n + 1, 0))
            await connection.accept_stream() if n < count else None
        if over:
            while not (got := await attacker.next(WINDOW_UPDATE))[0] & RST:
                pass
            assert got[1] == 2 * count + 1
        await alive(connection, attacker)
        assert connection.holds() == (0, count)
        await attacker.send(frame(WINDOW_UPDATE, RST, 1, 0), frame(WINDOW_UPDATE, SYN, 9999, 0))
        await alive(connection, attacker)
        assert 9999 in connection.streams
        assert connection.holds() == (0, count)


@pytest.mark.parametrize("over", [0, 1])
async def test_a_flood_of_streams(over: int) -> None:
    """Refused again and again, with none that is taken between, the peer is no honest one."""
    async with attacked() as (connection, attacker):
        count = held.CONNECTION_STREAMS + table.REFUSALS + over
        await attacker.send(*(frame(WINDOW_UPDATE, SYN, 2 * n + 1, 0) for n in range(count)))
        if over:
            await refused(connection, attacker)
        else:
            await alive(connection, attacker)
            assert connection.holds() == (0, held.CONNECTION_STREAMS)


async def test_streams_opened_and_reset_before_anyone_accepts() -> None:
    """The queue of those that wait to be accepted has an end; beyond, streams are refused one by one."""
    async with attacked() as (connection, attacker):
        for n in range(held.CONNECTION_STREAMS + table.REFUSALS):
            await attacker.send(
                frame(WINDOW_UPDATE, SYN, 2 * n + 1, 0), frame(WINDOW_UPDATE, RST, 2 * n + 1, 0)
            )
        await alive(connection, attacker)
        assert not connection.streams
        assert connection.table._arrivals.statistics().current_buffer_used == held.CONNECTION_STREAMS
        with pytest.raises(MuxedStreamReset):
            await (await connection.accept_stream()).read(1)


@pytest.mark.parametrize(
    "bad",
    [
        frame(WINDOW_UPDATE, SYN, 0, 0),
        frame(WINDOW_UPDATE, SYN, 2, 0),
        frame(WINDOW_UPDATE, SYN, 1, 0) * 2,
        frame(DATA, SYN, 1, FRAME_LIMIT + 1),
        frame(DATA, 0, 77, FRAME_LIMIT + 1),
        frame(DATA, SYN, 1, 2**32 - 1),
        frame(4, 0, 1, 0),
        frame(PING, SYN, 0, 0, version=1),
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(range(7, 200)),
    ],
    ids=[
        "stream 0",
        "our number",
        "twice",
        "long",
        "long, unknown",
        "longest",
        "type",
        "version",
        "http",
        "junk",
    ],
)
async def test_frames_that_end_the_connection(bad: bytes) -> None:
    async with attacked() as (connection, attacker):
        await attacker.send(bad)
        await refused(connection, attacker)


async def test_data_for_streams_that_are_not_there_is_dropped() -> None:
    async with attacked() as (connection, attacker):
        for number in (5, 6, 2**32 - 1):
            await attacker.send(data(number, bytes(100_000)), frame(WINDOW_UPDATE, FIN, number, 7))
            await attacker.send(frame(WINDOW_UPDATE, RST, number, 0), data(number, b"x", RST))
        await alive(connection, attacker)
        assert connection.holds() == (0, 0)
        assert not connection.streams


async def test_fin_with_data_and_data_after_fin() -> None:
    async with attacked() as (connection, attacker):
        await attacker.send(data(1, b"all of it", SYN | FIN))
        stream = await connection.accept_stream()
        await attacker.send(data(1, b"too late"))
        flags, number, _, _ = await attacker.next(WINDOW_UPDATE)
        while not flags & RST:
            flags, number, _, _ = await attacker.next(WINDOW_UPDATE)
        assert number == 1
        assert await read_all(stream) == b"all of it"
        with pytest.raises(MuxedStreamClosed):
            await stream.write(b"x")
        await alive(connection, attacker)
        assert not connection.streams
        assert connection.holds() == (0, 0)


async def test_frames_cut_anywhere_and_many_in_one_message() -> None:
    async with attacked() as (connection, attacker):
        body = bytes(range(256)) * 3
        whole = data(1, body[:5], SYN) + data(1, body[5:700]) + data(1, body[700:], FIN)
        for at in range(len(whole)):
            await attacker.session.write(whole[at : at + 1])
        assert await read_all(await connection.accept_stream()) == body


async def test_pings_that_are_never_read() -> None:
    """The peer calls for answers and reads none: what is owed to it stays bounded, then all ends."""
    async with attacked() as (connection, attacker):
        flood = frame(PING, SYN, 0, 1) * 5000
        most = 0
        with contextlib.suppress(ConnectionClosedError):
            while not connection.is_closed:
                await attacker.send(flood)
                most = max(most, len(connection.outgoing))
        # One answer may pass the limit, and then comes GO_AWAY.
        assert most <= outgoing.ANSWERS_LIMIT + 2 * 12
        await connection.event_closed.wait()


async def test_pings_that_are_read() -> None:
    """Each is answered, in order, and answers to pings that nobody sent are nothing."""
    async with attacked() as (connection, attacker):
        numbers = [0, 1, 2**32 - 1, *range(7, 3000)]
        await attacker.send(frame(PING, ACK, 0, 12345) * 3000)
        await attacker.send(*(frame(PING, SYN, 0, number) for number in numbers))
        answers = []
        while len(answers) < len(numbers):
            flags, stream, value, _ = await attacker.next(PING)
            if flags & ACK:
                assert stream == 0
                answers.append(value)
        assert answers == numbers
        assert connection.rtt() == 0
        assert not len(connection.outgoing)


async def test_empty_frames() -> None:
    """As many as the peer likes: nothing is kept for them, and the stream is none the worse."""
    async with attacked() as (connection, attacker):
        await attacker.send(frame(DATA, SYN, 1, 0))
        for _ in range(20):
            await attacker.send(data(1, b"") * 5000 + data(3, b"") * 5000 + frame(WINDOW_UPDATE, 0, 1, 0))
        await attacker.send(data(1, b"after"), frame(DATA, FIN, 1, 0))
        stream = await connection.accept_stream()
        await alive(connection, attacker)
        assert connection.holds() == (5, 1)
        assert await read_all(stream) == b"after"


async def test_credit_beyond_what_a_number_holds() -> None:
    async with attacked() as (connection, attacker):
        await attacker.send(frame(WINDOW_UPDATE, SYN, 1, 2**32 - 1))
        await attacker.send(frame(WINDOW_UPDATE, 0, 1, 2**32 - 1) * 10)
        stream = await connection.accept_stream()
        await alive(connection, attacker)
        assert stream.send_window == 2**32 - 1
        await stream.write(b"on it goes")
        assert (await attacker.next(DATA))[3] == b"on it goes"


@pytest.mark.parametrize("code", [0, 1, 2, 77])
async def test_the_peer_goes_away(code: int) -> None:
    """Whatever it says why, the connection ends, and no stream can be opened any more."""
    async with attacked() as (connection, attacker):
        await attacker.send(frame(GO_AWAY, 0, 0, code), frame(WINDOW_UPDATE, SYN, 1, 0))
        await connection.event_closed.wait()
        with pytest.raises(MuxedStreamError):
            await connection.open_stream()
        assert not connection.streams


async def test_a_number_that_was_used_before() -> None:
    """The stream that had it is over for both, so it is a new stream, with a window of its own."""
    async with attacked() as (connection, attacker):
        for word in (b"one", b"two"):
            await attacker.send(data(1, word, SYN | FIN))
            stream = await connection.accept_stream()
            assert await read_all(stream) == word
            await stream.close()
        await alive(connection, attacker)
        assert not connection.streams


async def test_numbers_of_both_sides_and_their_end() -> None:
    async with connected("own", "own") as (here, there):
        assert [(await here.muxed.open_stream()).stream_id for _ in range(3)] == [1, 3, 5]
        assert [(await there.muxed.open_stream()).stream_id for _ in range(3)] == [2, 4, 6]
        here.muxed.table._next = table.LAST_NUMBER
        assert (await here.muxed.open_stream()).stream_id == table.LAST_NUMBER
        for _ in range(table.OUTBOUND_STREAMS):
            with pytest.raises(MuxedStreamError, match="number"):
                await here.muxed.open_stream()
