"""One Yamux stream: what of it waits to be read, what may still be sent, and how it ends.

The connection (yamux.py) calls the methods under "what came", which never wait. Follows specs/wire.md.
"""

import math
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

import trio
from libp2p.abc import IMuxedStream
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.exceptions import (
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)

from p2pvoice.node.transport.frames import (
    BODY,
    DATA,
    FIN,
    FIRST_WINDOW,
    HEADER,
    RST,
    WINDOW_UPDATE,
)
from p2pvoice.node.transport.windows import BULK, ReceiveWindow

if TYPE_CHECKING:
    from p2pvoice.node.transport.yamux import YamuxConnection

TURN = 4 * BODY
"""Bytes one stream sends before the next gets its turn; one frame when others wait."""

WINDOW_BUDGET = 20.0
"""Seconds a write waits at a window that is shut, until the reader counts as gone."""

KEPT_WHOLE = 32 * 1024
"""Pieces from this size on are kept as part of the message they came in; smaller ones are gathered, so that
what waits never takes more than about twice its bytes."""

CALM = 64
"""Reads or writes in a row that need not wait, until the other tasks get their turn all the same."""

LARGEST_WINDOW = 2**32 - 1
"""Bytes that a peer can grant at most; what it grants beyond is not counted."""


class YamuxStream(IMuxedStream):
    """One reading and one writing task at most. Made by the connection."""

    def __init__(self, stream_id: int, conn: "YamuxConnection", is_initiator: bool) -> None:
        self.stream_id = stream_id
        self.conn = conn
        self.muxed_conn = conn
        self.is_initiator = is_initiator
        self.send_window = FIRST_WINDOW
        """Bytes that the peer still takes."""
        self.window = ReceiveWindow(conn.growth, trio.current_time())
        """What the peer may still send."""
        self.send_closed = False
        self.ended = False
        """The peer sent FIN, or the connection is gone: nothing more will come."""
        self.deaf = False
        """Closed for reading here: what comes is dropped."""
        self.was_reset = False
        self._chunks: deque[memoryview | bytearray] = deque()
        self._waiting = 0
        self._wanted = 1
        """Bytes that must wait for the reader to be woken."""
        self._last = 0.0
        """When bytes came last, while the reader waits for some."""
        self._in_a_row = 0
        self._readable = trio.Event()
        self._writable = trio.Event()
        self._writing = trio.Lock()

    @property
    def closed(self) -> bool:
        """Nothing moves any more, in either direction."""
        return self.was_reset or (self.send_closed and self.ended)

    async def write(self, data: bytes, tail: bytes = b"") -> None:
        """Send ``data`` and ``tail``, waiting for the peer's window as often as needed.

        When cancelled, some of it may have been sent; stream and connection stay sound. Raises
        ``MuxedStreamClosed`` after :meth:`close_write`, ``MuxedStreamReset`` when stream or connection died
        and ``MuxedStreamError`` when the window stayed shut for ``WINDOW_BUDGET`` seconds.
        """
        left = [memoryview(one) for one in (data, tail) if one]
        turn = self.conn.outgoing.turn
        await self._let_others()
        await acquire(self._writing)
        try:
            while True:
                self._check_writable()
                missing = sum(map(len, left))
                if not missing:
                    return
                if self.send_window <= 0:
                    await self._wait_for_window()
                    continue
                await trio.lowlevel.checkpoint_if_cancelled()
                await acquire(turn)
                try:
                    # Stream and window may have changed while others had their turn.
                    self._check_writable()
                    others = turn.statistics().tasks_waiting
                    size = min(self.send_window, missing, BODY if others else TURN)
                    if size > 0:
                        self.send_window -= size
                        await self._send(left, size)
                finally:
                    turn.release()
        finally:
            self._writing.release()

    async def _let_others(self) -> None:
        """A chance to be cancelled; now and then, for others to run."""
        self._in_a_row += 1
        if self._in_a_row < CALM:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._in_a_row = 0
            await trio.lowlevel.checkpoint()

    async def _wait_for_window(self) -> None:
        self._writable = trio.Event()
        with trio.move_on_after(WINDOW_BUDGET) as scope:
            await self._writable.wait()
        if scope.cancelled_caught:
            raise MuxedStreamError(f"the peer read nothing for {WINDOW_BUDGET:g} s")

    async def _send(self, left: list[memoryview], size: int) -> None:
        """Send the first ``size`` bytes of ``left``, and take them from there."""
        messages = []
        while size:
            length = min(size, BODY)
            size -= length
            parts: list[bytes | memoryview] = [HEADER.pack(0, DATA, 0, self.stream_id, length)]
            while length:
                part, left[0] = left[0][:length], left[0][length:]
                if not left[0]:
                    del left[0]
                parts.append(part)
                length -= len(part)
            messages.append(b"".join(parts))
        try:
            await self.conn.outgoing.send(messages)
        except ConnectionClosedError as error:
            raise MuxedStreamReset("the connection is gone") from error

    def _check_writable(self) -> None:
        if self.was_reset:
            raise MuxedStreamReset("the stream was reset")
        if self.send_closed:
            raise MuxedStreamClosed("the stream is closed for sending")

    async def read(self, n: int | None = -1, stall: float = math.inf) -> bytes:
        """Up to ``n`` bytes (all that wait, if None or negative), one at least.

        Raises ``MuxedStreamEOF`` when the peer finished, ``MuxedStreamReset`` when stream or connection died,
        ``trio.TooSlowError`` when nothing came for ``stall`` seconds.
        """
        if n == 0:
            return b""
        await self._let_others()
        while not self._chunks:
            self._check_readable()
            await self._wait_for(1, stall)
        return b"".join(self._take(self._waiting if n is None or n < 0 else min(n, self._waiting)))

    async def read_whole(self, n: int, stall: float) -> bytes:
        """Just ``n`` bytes, for which the reader is woken once, or once for half a window.

        Raises as :meth:`read` does, ``MuxedStreamEOF`` also when it ends in the middle, and
        ``trio.TooSlowError`` when nothing came for ``stall`` seconds. Then what came is lost.
        """
        await self._let_others()
        pieces: list[memoryview | bytearray] = []
        while True:
            size = min(n, self._waiting)
            pieces += self._take(size)
            n -= size
            if not n:
                return b"".join(pieces)
            self._check_readable()
            # A window that has not grown yet is to grow soon, and only what is read makes it.
            enough = BULK if self.window.size == FIRST_WINDOW else self.window.size // 2
            await self._wait_for(min(n, enough), stall)

    async def _wait_for(self, size: int, stall: float) -> None:
        """Wait until ``size`` bytes wait, or none will come any more."""
        self._wanted, self._readable, self._last = size, trio.Event(), trio.current_time()
        self._in_a_row = 0
        try:
            while not self._readable.is_set():
                due = self._last + stall
                if due <= trio.current_time():
                    raise trio.TooSlowError
                with trio.move_on_at(due):
                    await self._readable.wait()
        finally:
            self._wanted = 1

    def _check_readable(self) -> None:
        if self.was_reset:
            raise MuxedStreamReset("the stream was reset")
        if self.ended or self.deaf:
            raise MuxedStreamEOF("the peer finished")

    def _take(self, size: int) -> list[memoryview | bytearray]:
        """The first ``size`` bytes of what waits; credit is given for them."""
        if not size:
            return []
        pieces = self._cut(size)
        self._waiting -= size
        self.conn.waiting -= size
        if not self.ended and not self.was_reset:
            grant = self.window.read(size, trio.current_time(), self.conn.trip.seconds)
            if grant:
                self.conn.outgoing.put(WINDOW_UPDATE, 0, self.stream_id, grant)
        return pieces

    def _cut(self, size: int) -> list[memoryview | bytearray]:
        pieces: list[memoryview | bytearray] = []
        while size:
            head = self._chunks[0]
            if len(head) <= size:
                pieces.append(self._chunks.popleft())
                size -= len(head)
            elif isinstance(head, bytearray):
                pieces.append(head[:size])
                del head[:size]
                size = 0
            else:
                pieces.append(head[:size])
                self._chunks[0] = head[size:]
                size = 0
        return pieces

    async def close_write(self) -> None:
        """Tell the peer that nothing more comes. Never waits; a write under way ends with an error."""
        if not self.send_closed:
            self.send_closed = True
            self.conn.outgoing.put(WINDOW_UPDATE, FIN, self.stream_id)
            self._writable.set()
            self.conn.table.settle(self)

    async def close(self) -> None:
        """Finish sending and drop what comes. The peer has ``LINGER`` seconds to finish too."""
        self.deaf = True
        self._drop()
        self._readable.set()
        await self.close_write()
        self.conn.table.linger(self, trio.current_time())
        self.spare()

    async def reset(self) -> None:
        """End both directions at once; what waits is dropped. Never waits."""
        self.abandon()

    def abandon(self) -> None:
        """As :meth:`reset`."""
        if not self.closed:
            self.conn.outgoing.put(WINDOW_UPDATE, RST, self.stream_id)
        self._drop()
        self.on_reset()

    def spare(self) -> None:
        """Closed here, it gives no credit any more: a peer that has used it all is told, not kept waiting."""
        if self.deaf and not self.closed and not self.window.credit:
            self.abandon()

    def set_deadline(self, ttl: int) -> None:
        """Deadlines are trio's cancel scopes."""
        raise NotImplementedError("use a cancel scope")

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.conn.get_remote_address()

    async def __aenter__(self) -> "YamuxStream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What came.

    def on_piece(self, piece: memoryview) -> None:
        """Some bytes of a frame."""
        if self.deaf or self.ended or self.was_reset:
            return
        if len(piece) >= KEPT_WHOLE:
            self._chunks.append(piece)
        elif self._chunks and isinstance(self._chunks[-1], bytearray) and len(self._chunks[-1]) < KEPT_WHOLE:
            self._chunks[-1] += piece
        else:
            self._chunks.append(bytearray(piece))
        self._waiting += len(piece)
        self.conn.waiting += len(piece)
        if self._waiting >= self._wanted:
            self._readable.set()
        else:
            self._last = trio.current_time()

    def on_window(self, increment: int) -> None:
        """The peer takes more."""
        self.send_window = min(self.send_window + increment, LARGEST_WINDOW)
        self._writable.set()

    def on_fin(self) -> None:
        """The peer finished. What waits can still be read."""
        self.ended = True
        self._readable.set()
        self.conn.table.settle(self)

    def on_reset(self) -> None:
        """The stream is dead. What waits can still be read: an answer often comes right before a reset."""
        self.was_reset = self.ended = self.send_closed = True
        self._readable.set()
        self._writable.set()
        self.conn.table.settle(self)

    def on_more_after_fin(self) -> None:
        """The peer sent on after its FIN, and was told off: what came before stays readable, sending ends."""
        self.send_closed = True
        self._writable.set()
        self.conn.table.settle(self)

    def on_lost(self) -> None:
        """The connection is gone. What waits can still be read; then comes the end, or the loss is told."""
        self.send_closed = True
        if not self.ended:
            self.was_reset = True
        self._readable.set()
        self._writable.set()

    def _drop(self) -> None:
        self.conn.waiting -= self._waiting
        self._chunks.clear()
        self._waiting = 0


async def acquire(lock: trio.Lock) -> None:
    """Take a lock, waiting only when somebody has it. It is handed on in the order of asking all the same."""
    try:
        lock.acquire_nowait()
    except trio.WouldBlock:
        await lock.acquire()
