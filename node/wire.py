"""One stream to one peer: whole frames in and out, every wait bounded, every byte counted.

The transport below never gives up a read by itself, so reads here carry their own time limits. With libp2p's
own Noise a cancelled write would also leave half a message on the connection; :class:`WholeWrites` mends that
where it is chosen, ours (transport/) needs no mending. This file knows no message of the protocol. Follows
specs/network.md, "Streams".
"""

import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NoReturn, cast

import trio
from libp2p.abc import INetStream, IRawConnection, ISecureConn
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519_key_pair
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.secure_session import SecureSession
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from p2pvoice.node.held import Held
from p2pvoice.node.transport.stream import YamuxStream
from p2pvoice.protocol.errors import ManifestError, NetworkError, PeerTimeoutError
from p2pvoice.protocol.framing import MESSAGE_LIMIT, PREFIX_SIZE, encode_frame, frame_length

READ_SIZE = 64 * 1024
"""Bytes asked of the stream at once; also about the most that one read adds to memory."""

STALL_TIMEOUT = 15.0
"""Seconds a read waits for the next byte before the peer counts as hung."""

SEND_TIMEOUT = 60.0
"""Seconds one message may take to leave. 1 MiB in this time is about 17 KiB/s: slower readers are cut."""

WRITE_BUDGET = 20.0
"""Seconds one write to the socket may block, cancelled or not, before its connection is closed."""

OVERRUN_LIMIT = 1024 * 1024
"""Bytes a sender may send beyond the receive window of a stream before its connection is closed."""

FRAME_LIMIT = 256 * 1024
"""Bytes of one Yamux frame, gathered before any of it is counted: the window every stream begins with."""

HELD_CHECK = 8
"""Reads between two looks at what a connection holds; two reads make one frame, mostly of 64 KiB."""

CLOSE_BUDGET = 2.0
"""Seconds spent on closing a stream politely."""

STREAM_ERRORS = (
    BaseLibp2pError,
    EOFError,
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.BusyResourceError,
)
"""What a libp2p stream may raise when the other side or the connection is gone."""


class Channel:
    """A stream with frames (specs/framing.md) and time limits.

    Used by one reading and one writing task at most. After any error the stream is useless and must be
    left through ``async with``, which resets it.
    """

    def __init__(self, stream: INetStream, count: Callable[[int, int], None] | None = None) -> None:
        self.stream = stream
        self.peer = str(stream.muxed_conn.peer_id)
        self.received = 0
        self.sent = 0
        self._count = count
        self._buffer = bytearray()
        self._failed = False
        muxed = getattr(stream, "muxed_stream", None)
        #: Our own stream below libp2p's, if it is one: libp2p's takes a lock for each read and write.
        self._direct = muxed if isinstance(muxed, YamuxStream) else None

    async def __aenter__(self) -> "Channel":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(reset=error is not None or self._failed)

    async def close(self, *, reset: bool = False) -> None:
        """Close or reset the stream within ``CLOSE_BUDGET``, even when the task is being cancelled."""
        with trio.move_on_after(CLOSE_BUDGET) as scope:
            scope.shield = True
            # A stream that is gone already is what closing wants.
            with contextlib.suppress(*STREAM_ERRORS):
                await (self.stream.reset() if reset else self.stream.close())

    async def finish_sending(self) -> None:
        """Tell the peer that no more frames come; reading goes on."""
        try:
            await cast(NetStream, self.stream).close_write()
        except STREAM_ERRORS as error:
            raise NetworkError(f"peer {self.peer} closed the connection") from error

    async def send(self, payload: bytes, tail: bytes = b"", *, within: float = SEND_TIMEOUT) -> None:
        """Send one frame, and ``tail`` bare behind it.

        Raises :class:`PeerTimeoutError` when the peer does not take it in ``within`` seconds.
        """
        await self.send_bare(encode_frame(payload, MESSAGE_LIMIT), tail, within=within)

    async def send_frames(self, payloads: Sequence[bytes], *, within: float = SEND_TIMEOUT) -> None:
        """Send several frames in one go. Raises as :meth:`send` does."""
        frames = b"".join(encode_frame(one, MESSAGE_LIMIT) for one in payloads)
        await self.send_bare(frames, within=within)

    async def send_bare(self, data: bytes, tail: bytes = b"", *, within: float = SEND_TIMEOUT) -> None:
        """Send bytes that belong behind a frame. Raises as :meth:`send` does."""
        try:
            with trio.fail_after(within):
                if self._direct is not None:
                    await self._direct.write(data, tail)
                else:
                    await self.stream.write(data + tail if tail else data)
        except trio.TooSlowError as error:
            self._failed = True
            raise PeerTimeoutError(f"peer {self.peer} took no data for {within:g} s") from error
        except STREAM_ERRORS as error:
            self._failed = True
            raise NetworkError(f"peer {self.peer} closed the connection") from error
        size = len(data) + len(tail)
        self.sent += size
        if self._count is not None:
            self._count(0, size)

    async def receive(self, limit: int, *, stall: float = STALL_TIMEOUT) -> bytes | None:
        """The next frame, or ``None`` when the peer ended the stream between frames.

        The announced length is checked against ``limit`` before anything is kept. Raises
        :class:`ManifestError` for a longer frame, :class:`PeerTimeoutError` when no byte arrives for
        ``stall`` seconds and :class:`NetworkError` when the stream breaks.
        """
        if self._direct is not None:
            # What is behind the prefix is not taken yet: it would have to be moved again.
            first = await self._read(PREFIX_SIZE, stall)
            if first is None:
                return None
            self._buffer += first
        if not await self._fill(PREFIX_SIZE, stall):
            return None
        prefix = bytes(self._buffer[:PREFIX_SIZE])
        try:
            size = frame_length(prefix, limit)
        except ManifestError:
            self._failed = True
            raise
        del self._buffer[:PREFIX_SIZE]
        return await self.receive_exactly(size, stall=stall)

    async def receive_exactly(self, size: int, *, stall: float = STALL_TIMEOUT) -> bytes:
        """The next ``size`` bytes, which come bare. The caller has checked ``size`` against a limit."""
        if self._direct is not None and not self._buffer:
            return await self._read_whole(self._direct, size, stall)
        pieces, missing = [bytes(self._buffer[:size])], size - len(self._buffer)
        del self._buffer[:size]
        while missing > 0:
            # Never more than what is missing: nothing of it has to be moved again.
            piece = await self._read(missing, stall)
            if piece is None:
                self._failed = True
                raise NetworkError(f"peer {self.peer} closed the connection in the middle")
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _fill(self, size: int, stall: float) -> bool:
        """Buffer at least ``size`` bytes; ``False`` at a clean end before the first of them."""
        while len(self._buffer) < size:
            # Never ask for more than is missing plus one read, so that the buffer stays bounded.
            wanted = READ_SIZE if self._direct is None else size - len(self._buffer)
            data = await self._read(wanted, stall)
            if data is None:
                if not self._buffer:
                    return False
                self._failed = True
                raise NetworkError(f"peer {self.peer} closed the connection in the middle")
            self._buffer += data
        return True

    async def _read_whole(self, stream: YamuxStream, size: int, stall: float) -> bytes:
        try:
            data = await stream.read_whole(size, stall)
        except trio.TooSlowError as error:
            self._failed = True
            raise PeerTimeoutError(f"peer {self.peer} sent nothing for {stall:g} s") from error
        except MuxedStreamEOF as error:
            self._failed = True
            raise NetworkError(f"peer {self.peer} closed the connection in the middle") from error
        except STREAM_ERRORS as error:
            self._failed = True
            raise NetworkError(f"peer {self.peer} closed the connection") from error
        self.received += size
        if self._count is not None:
            self._count(size, 0)
        return data

    async def _read(self, size: int, stall: float) -> bytes | None:
        """What comes next, ``size`` bytes at most; ``None`` at the end of the stream."""
        try:
            if self._direct is not None:
                data = await self._direct.read(size, stall)
            else:
                with trio.fail_after(stall):
                    data = await self.stream.read(size)
        except trio.TooSlowError as error:
            self._failed = True
            raise PeerTimeoutError(f"peer {self.peer} sent nothing for {stall:g} s") from error
        except (StreamEOF, MuxedStreamEOF):
            return None
        except STREAM_ERRORS as error:
            self._failed = True
            raise NetworkError(f"peer {self.peer} closed the connection") from error
        if not data:
            self._failed = True
            raise NetworkError(f"peer {self.peer} closed the connection")
        self.received += len(data)
        if self._count is not None:
            self._count(len(data), 0)
        return data


class WholeWrites(SecureSession):
    """A Noise session that never cuts a write in half nor reads on from a sender that overruns us.

    libp2p cancels its own DHT queries after a few seconds. Were such a cancellation to land inside a
    write, half a Noise message would stay on the wire and every stream of the connection would die with
    it. A write therefore runs shielded; if it blocks longer than ``WRITE_BUDGET`` the connection itself
    is closed, which is honest to both sides.

    libp2p's Yamux only logs when a sender ignores its receive window, opens as many streams as the peer
    asks for, and gathers frames of up to 16 MiB. ``guard`` makes the session look, while it reads, at what
    its peer makes us hold, and close the connection of one that goes too far (held.py).
    """

    _muxed: Any = None
    _held: Held | None = None
    _reads = 0

    def guard(self, muxed: Any, held: Held) -> None:
        """Watch the Yamux connection that runs over this session, counted with the others in ``held``."""
        self._muxed, self._held = muxed, held

    async def read(self, n: int | None = None) -> bytes:
        self._reads += 1
        if n is not None and n > FRAME_LIMIT:
            await self._give_up(f"a frame of {n} bytes")
        if self._held is not None and self._reads % HELD_CHECK == 0:
            if self._overrun():
                await self._give_up("the peer ignored the receive window")
            for other, reason in self._held.note(self, self._muxed):
                if other is self:
                    await self._give_up(reason)
                await other.close()
        return await super().read(n)

    async def _give_up(self, reason: str) -> NoReturn:
        await self.close()
        raise ConnectionClosedError(reason, transport="tcp")

    def _overrun(self) -> bool:
        # libp2p sets an overrun window back to zero, so only what is buffered tells.
        streams = self._muxed.streams
        return any(
            number in streams and len(data) > streams[number].target_recv_window + OVERRUN_LIMIT
            for number, data in self._muxed.stream_buffers.items()
        )

    async def write(self, data: bytes) -> None:
        with trio.move_on_after(WRITE_BUDGET) as scope:
            scope.shield = True
            await super().write(data)
            return
        await self.close()
        raise ConnectionClosedError("the peer took no data in time", transport="tcp")


class Noise(NoiseTransport):
    """The stock Noise handshake, handing out sessions with :class:`WholeWrites`."""

    def __init__(self, key_pair: KeyPair) -> None:
        super().__init__(key_pair, noise_privkey=create_x25519_key_pair().private_key)

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        return _whole(await super().secure_inbound(conn))

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        return _whole(await super().secure_outbound(conn, peer_id))


def _whole(session: ISecureConn) -> ISecureConn:
    if not isinstance(session, SecureSession):
        raise TypeError(f"expected a Noise session, got {type(session).__name__}")
    return WholeWrites(
        local_peer=session.local_peer,
        local_private_key=session.local_private_key,
        remote_peer=session.remote_peer,
        remote_permanent_pubkey=session.remote_permanent_pubkey,
        is_initiator=session.is_initiator,
        conn=session.conn,
    )
