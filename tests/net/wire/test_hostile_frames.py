"""Our connection against a peer that speaks Noise but no honest Yamux: libp2p's session, frames by hand."""

import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.exceptions import HandshakeFailure
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset

from p2pvoice.node import held
from p2pvoice.node.transport import noise as our_noise
from p2pvoice.node.transport import yamux
from p2pvoice.node.transport.frames import FIRST_WINDOW, FRAME_LIMIT
from p2pvoice.node.transport.stream import WINDOW_LIMIT
from p2pvoice.node.transport.yamux import YamuxConnection

from .peers import noise, read_all, sessions, sockets

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
async def attacked() -> AsyncIterator[tuple[YamuxConnection, Attacker]]:
    with trio.fail_after(20):
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


async def test_windows_grow_within_their_limits() -> None:
    async with attacked() as (connection, attacker):
        streams = []
        for number in range(1, 41, 2):
            await attacker.send(frame(WINDOW_UPDATE, SYN, number, 0))
            streams.append(await connection.accept_stream())
        for stream in streams:
            for _ in range(40):
                if stream.credit < 65_536:
                    break
                await attacker.send(data(stream.stream_id, bytes(65_536)))
                await stream.read(65_536)
        assert max(stream.window for stream in streams) == WINDOW_LIMIT
        assert sum(s.window - FIRST_WINDOW for s in streams) == connection._grown == yamux.GROWN_LIMIT


@pytest.mark.parametrize("over", [0, 1])
async def test_streams_at_once(over: int) -> None:
    async with attacked() as (connection, attacker):
        count = held.CONNECTION_STREAMS + over
        await attacker.send(*(frame(WINDOW_UPDATE, SYN, 2 * n + 1, 0) for n in range(count)))
        if over:
            await refused(connection, attacker)
        else:
            await alive(connection, attacker)
            assert connection.holds() == (0, count)


async def test_streams_opened_and_reset_before_anyone_accepts() -> None:
    """The queue of those that wait to be accepted has an end; beyond, streams are refused one by one."""
    async with attacked() as (connection, attacker):
        for n in range(1000):
            await attacker.send(
                frame(WINDOW_UPDATE, SYN, 2 * n + 1, 0), frame(WINDOW_UPDATE, RST, 2 * n + 1, 0)
            )
        await alive(connection, attacker)
        assert not connection.streams
        assert connection._arrivals.statistics().current_buffer_used == held.CONNECTION_STREAMS
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


async def test_tiny_frames_take_no_more_memory_than_their_bytes() -> None:
    async with attacked() as (connection, attacker):
        await attacker.send(data(1, b"x", SYN))
        for _ in range(20):
            await attacker.send(data(1, b"x") * 5000)
        await alive(connection, attacker)
        (stream,) = connection.streams.values()
        assert connection.holds() == (100_001, 1)
        assert len(stream._chunks) <= 4


async def test_pings_that_are_never_read() -> None:
    """The peer calls for answers and reads none: what is owed to it stays bounded, then all ends."""
    async with attacked() as (connection, attacker):
        flood = frame(PING, SYN, 0, 1) * 5000
        most = 0
        with contextlib.suppress(ConnectionClosedError):
            while not connection.is_closed:
                await attacker.send(flood)
                most = max(most, len(connection._queue))
        # One answer may pass the limit, and then comes GO_AWAY.
        assert most <= yamux.ANSWERS_LIMIT + 2 * 12
        await connection.event_closed.wait()


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


async def test_a_write_cancelled_in_the_socket_is_still_whole() -> None:
    """The socket is full when the cancellation comes: the frames under way leave, and the next ones open."""
    async with attacked() as (connection, attacker):
        await attacker.send(frame(WINDOW_UPDATE, SYN, 1, 64 << 20))
        stream = await connection.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, bytes(48 << 20))
            before = -1
            # The socket is full when the window stops shrinking while the writer holds its turn.
            while stream.send_window != before:
                before = stream.send_window
                for _ in range(200):
                    await trio.lowlevel.checkpoint()
            assert connection.session.turn.locked()
            nursery.cancel_scope.cancel()
            sent, got = FIRST_WINDOW + (64 << 20) - stream.send_window, 0
            with trio.CancelScope(shield=True):
                while got < sent:
                    got += (await attacker.next(DATA))[2]
        assert FIRST_WINDOW + (64 << 20) - stream.send_window == got
        await alive(connection, attacker)


async def test_a_peer_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async with attacked() as (connection, attacker):
        await attacker.send(frame(WINDOW_UPDATE, SYN, 1, 64 << 20))
        stream = await connection.accept_stream()
        send = connection.session.send

        async def impatient(messages: Any, *, within: float = 0.3) -> None:
            await send(messages, within=within)

        monkeypatch.setattr(connection.session, "send", impatient)
        with pytest.raises(MuxedStreamReset):
            await stream.write(bytes(48 << 20))
        await connection.event_closed.wait()
        assert attacker.socket.socket.fileno() != -1


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


async def test_a_message_that_was_tampered_with_ends_the_connection() -> None:
    for garbage in (b"\x00\x00", b"\x00\x05hello", struct.pack("!H", 65_535) + bytes(65_535)):
        async with attacked() as (connection, attacker):
            await attacker.socket.send_all(garbage)
            await connection.event_closed.wait()


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
    monkeypatch.setattr(yamux, "LINGERERS", 1)
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


async def test_our_own_streams_wait_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with attacked() as (connection, attacker), trio.open_nursery() as nursery:
        streams = [await connection.open_stream() for _ in range(yamux.OUTBOUND_STREAMS)]
        nursery.start_soon(connection.open_stream)
        await alive(connection, attacker)
        assert len(connection.streams) == yamux.OUTBOUND_STREAMS
        await attacker.send(frame(WINDOW_UPDATE, RST, streams[7].stream_id, 0))
        while streams[-1].stream_id + 2 not in connection.streams:
            await trio.lowlevel.checkpoint()
        with pytest.raises(MuxedStreamReset):
            await streams[7].write(b"x")


@pytest.mark.parametrize(
    "said", [b"", b"\x00", b"\x00\x20" + bytes(31)], ids=["mute", "half a length", "half"]
)
async def test_half_open_handshakes(said: bytes) -> None:
    dialed, accepted = await sockets()
    with trio.fail_after(10):
        await dialed.send_all(said)
        transport, peer = noise("own", within=0.2)
        with pytest.raises(HandshakeFailure, match="no handshake"):
            await transport.secure_inbound(RawConnection(TrioTCPStream(accepted), False))
        with pytest.raises(HandshakeFailure, match="no handshake"):
            await transport.secure_outbound(RawConnection(TrioTCPStream(dialed), True), peer)
    await dialed.aclose()
    await accepted.aclose()


async def test_messages_at_the_limit() -> None:
    """The largest Noise message either way, to and from libp2p's session."""
    with trio.fail_after(10):
        (stock, _, _), (ours, _, _) = await sessions("stock", "own")
        for size in (1, our_noise.MESSAGE, our_noise.MESSAGE + 1):
            for there, here in ((stock, ours), (ours, stock)):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(there.write, bytes(size))
                    assert await here.read(size) == bytes(size)
        await ours.close()
        await stock.close()


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
