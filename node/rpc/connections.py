"""The callers that are connected: how many, how long each may keep the daemon waiting, and who goes first.

A connection is a stream that counts what comes in and bounds how long an answer may stay unread; beside that
it knows whether its caller is still sending a request. When there are too many, the one that lags most while
sending makes room, so that callers that trickle never keep an honest one out. Not for what a request may
say; that is guard.py's. Follows specs/rpc.md, "Limits".
"""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Connections that are open at the same time.
CONNECTIONS_LIMIT = 256

#: Seconds from connecting, or from the last answer, until a request's head must be there.
HEAD_SECONDS = 5.0

#: Seconds that a caller may keep us waiting for its body, all pauses together.
BODY_SECONDS = 30.0

#: Bytes of a body that earn one second of those back.
BODY_RATE = 64 * 1024

#: Seconds that one piece of an answer may stay unread.
SEND_SECONDS = 60.0

#: Bytes of such a piece.
SEND_PIECE = 64 * 1024


class Connection:
    """One caller's stream, as the HTTP server uses it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.socket = stream.socket
        self._stream = stream
        self._hurry = float("inf")
        self._scope: trio.CancelScope | None = None
        self._begin()

    def _begin(self) -> None:
        self.sending = True
        self._since, self._received = trio.current_time(), 0

    @property
    def arrears(self) -> float:
        """Seconds by which a sender lags behind the pace that is asked for."""
        return trio.current_time() - self._since - self._received / BODY_RATE

    # -- the stream ----------------------------------------------------------------------------------

    async def receive_some(self, limit: int) -> bytes:
        """Bytes of the caller's; none when it is gone."""
        data = bytes(await self._stream.receive_some(limit))
        self._received += len(data)
        return data

    async def send_all(self, data: bytes) -> None:
        """Send an answer. A caller that does not read it in time is cut off: BrokenResourceError."""
        for start in range(0, len(data), SEND_PIECE):
            deadline = min(trio.current_time() + SEND_SECONDS, self._hurry)
            with trio.CancelScope(deadline=deadline) as self._scope:
                await self._stream.send_all(data[start : start + SEND_PIECE])
            if self._scope.cancelled_caught:
                self.cut()
                raise trio.BrokenResourceError("the caller does not read its answer")

    def hurry(self, deadline: float) -> None:
        """Give up sending at ``deadline``: the server shields what it sends from being cancelled."""
        self._hurry = deadline
        if self._scope is not None:
            self._scope.deadline = min(self._scope.deadline, deadline)

    def cut(self) -> None:
        """Close without a word; whoever waits for the stream is told."""
        self._stream.socket.close()

    async def send_eof(self) -> None:
        """Tell the caller that nothing more comes."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()

    # -- the requests on it --------------------------------------------------------------------------

    def watched(self, app: ASGIApp) -> ASGIApp:
        """The application, seeing a caller that sends its body too slowly as one that hung up."""

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            self._begin()
            self.sending = _has_body(scope)
            budget = BODY_SECONDS

            async def receive_in_time() -> Message:
                nonlocal budget
                if not self.sending:
                    return await receive()
                start = trio.current_time()
                with trio.move_on_after(budget):
                    message = await receive()
                    budget -= trio.current_time() - start
                    budget = min(BODY_SECONDS, budget + len(message.get("body", b"")) / BODY_RATE)
                    self.sending = message["type"] == "http.request" and message.get("more_body", False)
                    return message
                budget = 0.0
                return {"type": "http.disconnect"}

            async def send_and_drain(message: Message) -> None:
                last = message["type"] == "http.response.body" and not message.get("more_body", False)
                if not (last and self.sending):
                    await send(message)
                    return
                # The server's own queue is full of a body that nobody will read: it would wait for ever.
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_drain, receive)
                    await send(message)
                    nursery.cancel_scope.cancel()

            try:
                await app(scope, receive_in_time, send_and_drain)
            finally:
                self._begin()

        return run


class Connections:
    """All open connections of one socket."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def admitted(self, connection: Connection) -> Iterator[None]:
        """Count a connection while it lasts; one too many costs the slowest sender its place.

        When nobody is sending, everybody is being answered: then there is no place for the new one.
        """
        if len(self._open) >= CONNECTIONS_LIMIT:
            senders = [one for one in self._open if one.sending]
            max(senders, key=lambda one: one.arrears, default=connection).cut()
        self._open.add(connection)
        try:
            yield
        finally:
            self._open.discard(connection)

    def hurry(self, deadline: float) -> None:
        """Give up at ``deadline`` on whoever does not read."""
        for connection in self._open:
            connection.hurry(deadline)


def _has_body(scope: MutableMapping[str, Any]) -> bool:
    names = {name for name, _ in scope.get("headers", ())}
    return b"content-length" in names or b"transfer-encoding" in names


async def _drain(receive: Receive) -> None:
    while (await receive())["type"] == "http.request":
        pass
