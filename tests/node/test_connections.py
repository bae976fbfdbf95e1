"""Callers that hoard, trickle, or do not read: the daemon answers the others, and cuts them off in time.

The clock is a mock that only these tests move; sockets, server and streams are the real ones.
"""

import resource
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from trio.testing import MockClock, wait_all_tasks_blocked

from p2pvoice.node.rpc import connections
from p2pvoice.node.rpc.connections import (
    BODY_RATE,
    BODY_SECONDS,
    CONNECTIONS_LIMIT,
    HEAD_SECONDS,
    SEND_SECONDS,
    Connection,
    Connections,
)
from p2pvoice.node.rpc.requests import json_body
from p2pvoice.node.rpc.server import GRACE_SECONDS, serve
from p2pvoice.protocol.errors import UsageError

from .faces import answer, ask, connect, request, served

#: Seconds of real time after which a test of this page has hung.
PATIENCE = 20


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """With a clock that stands still, trio's own time limits would never end a test."""

    def hung(*_: object) -> None:
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def mock_clock() -> MockClock:
    return MockClock()


class Small:
    """An application that reads JSON, refuses without reading, or says far more than anybody reads."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.left = 0
        routes = [
            Route("/read", self.read, methods=["GET", "POST"]),
            Route("/refuse", self.refuse, methods=["POST"]),
        ]
        self.app = Starlette(routes=[*routes, Route("/much", self.much)])

    async def read(self, request: Request) -> Response:
        try:
            found = await json_body(request)
        except UsageError as error:
            return JSONResponse({"error": error.message}, 400)
        except Exception as error:
            self.bodies.append(type(error).__name__)
            return JSONResponse({"error": "gone"}, 400)
        self.bodies.append("whole")
        return JSONResponse(found)

    async def refuse(self, request: Request) -> Response:
        # Late enough for the server's queue to be full of the body.
        await wait_all_tasks_blocked()
        return JSONResponse({"error": "no"}, 403)

    async def much(self, request: Request) -> Response:
        async def pieces() -> Any:
            try:
                while True:
                    yield bytes(1 << 20)
            finally:
                self.left += 1

        return StreamingResponse(pieces())


def body_head(length: int) -> bytes:
    return request("POST", "/read", "Content-Type: application/json", f"Content-Length: {length}")


async def all_closed(streams: list[trio.SocketStream]) -> bool:
    """Whether the server has ended every one of them."""
    for stream in streams:
        await answer(stream)
    return True


async def trickle(streams: list[trio.SocketStream], piece: bytes) -> None:
    """Send a little more on each of them that is still open."""
    for stream in streams:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(piece)


async def open_many(
    stack: AsyncExitStack, port: int, count: int, beginning: bytes
) -> list[trio.SocketStream]:
    made = []
    for _ in range(count):
        stream = await stack.enter_async_context(await connect(port))
        await stream.send_all(beginning)
        made.append(stream)
    return made


async def test_hundreds_of_trickled_heads_keep_nobody_out(mock_clock: MockClock) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 3 * CONNECTIONS_LIMIT
    async with served(Small().app) as port, AsyncExitStack() as stack:
        slow = await open_many(stack, port, CONNECTIONS_LIMIT + 44, b"GET /read HTTP/1.1\r\nX-Slow: ")
        await wait_all_tasks_blocked()
        assert (await ask(await connect(port), request("GET", "/read")))[0] == 200
        for _ in range(4):
            mock_clock.jump(HEAD_SECONDS / 5)
            await trickle(slow, b"a")
        await wait_all_tasks_blocked()
        assert (await ask(await connect(port), request("GET", "/read")))[0] == 200
        mock_clock.jump(HEAD_SECONDS / 5 + 0.01)
        assert await all_closed(slow)


async def test_hundreds_of_trickled_bodies_keep_nobody_out(mock_clock: MockClock) -> None:
    small = Small()
    async with served(small.app) as port, AsyncExitStack() as stack:
        slow = await open_many(stack, port, CONNECTIONS_LIMIT + 44, body_head(1000) + b"{")
        await wait_all_tasks_blocked()
        assert (await ask(await connect(port), request("GET", "/read")))[0] == 200
        for _ in range(3):
            mock_clock.jump(BODY_SECONDS / 4)
            await trickle(slow, b" ")
            await wait_all_tasks_blocked()
            assert (await ask(await connect(port), request("GET", "/read")))[0] == 200
        late = small.bodies.count("ClientDisconnect")
        assert late < 50
        mock_clock.jump(BODY_SECONDS / 4 + 0.1)
        assert await all_closed(slow)
    assert small.bodies.count("ClientDisconnect") >= CONNECTIONS_LIMIT - 1


async def test_a_body_may_take_its_time_up_to_the_limit(mock_clock: MockClock) -> None:
    small = Small()
    async with served(small.app) as port:
        async with await connect(port) as stream:
            await stream.send_all(body_head(2) + b"{")
            await wait_all_tasks_blocked()
            mock_clock.jump(BODY_SECONDS - 0.01)
            await wait_all_tasks_blocked()
            await stream.send_all(b"}")
            assert (await answer(stream))[0] == 200
        async with await connect(port) as stream:
            await stream.send_all(body_head(2) + b"{")
            await wait_all_tasks_blocked()
            mock_clock.jump(BODY_SECONDS + 0.01)
            assert (await answer(stream))[0] == 400
    assert small.bodies == ["whole", "ClientDisconnect"]


async def test_a_long_body_at_a_fair_pace_is_read_whole(mock_clock: MockClock) -> None:
    small = Small()
    pieces = 15
    async with served(small.app) as port, await connect(port) as stream:
        await stream.send_all(body_head(pieces * BODY_RATE + 2) + b"{")
        for _ in range(pieces):
            await stream.send_all(b" " * BODY_RATE)
            await wait_all_tasks_blocked()
            # Twice as slow as the pace: each pause costs half of what it takes.
            mock_clock.jump(2.0)
            await wait_all_tasks_blocked()
        await stream.send_all(b"}")
        assert (await answer(stream))[0] == 200
    assert small.bodies == ["whole"]


async def test_a_caller_that_does_not_read_is_cut_off(mock_clock: MockClock) -> None:
    small = Small()
    async with served(small.app) as port, await connect(port) as stream:
        await stream.send_all(request("GET", "/much"))
        await wait_all_tasks_blocked()
        mock_clock.jump(SEND_SECONDS - 0.01)
        await wait_all_tasks_blocked()
        assert small.left == 0
        assert (await ask(await connect(port), request("GET", "/read")))[0] == 200
        mock_clock.jump(0.02)
        await wait_all_tasks_blocked()
        assert small.left == 1


async def test_a_caller_that_does_not_read_cannot_keep_the_daemon_from_stopping(
    mock_clock: MockClock,
) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    stop, ended = trio.Event(), False

    async def run() -> None:
        nonlocal ended
        await serve(Small().app, listener, stop)
        ended = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        async with await connect(listener.socket.getsockname()[1]) as stream:
            await stream.send_all(request("GET", "/much"))
            await wait_all_tasks_blocked()
            stop.set()
            await wait_all_tasks_blocked()
            assert not ended
            mock_clock.jump(GRACE_SECONDS + 0.01)
            await wait_all_tasks_blocked()
            assert ended


async def test_a_refused_body_leaves_nothing_behind(mock_clock: MockClock) -> None:
    """The server queues a few pieces of a body; a refusal that reads none of them must not wait for ever."""
    async with served(Small().app) as port:
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(3):
            large = request("POST", "/refuse", "Content-Type: application/json", body=bytes(5_000_000))
            status, body = await ask(await connect(port), large)
            assert (status, body) in ((403, b'{"error":"no"}'), (0, b""))
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_caller_that_leaves_a_request_behind_is_forgotten(mock_clock: MockClock) -> None:
    """The second request waits for its turn, which never comes: the answer to the first finds nobody."""
    small = Small()
    async with served(small.app) as port:
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        async with await connect(port) as stream:
            await stream.send_all(2 * b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert small.left == 1
        assert trio.lowlevel.current_statistics().tasks_living == before


@pytest.mark.parametrize(
    "beginning",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        request("GET", "/read", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
    ],
)
async def test_only_http_1_1_is_spoken(mock_clock: MockClock, beginning: bytes) -> None:
    async with served(Small().app) as port, await connect(port) as stream:
        await stream.send_all(beginning)
        first = bytes(await stream.receive_some(4096))
        assert first.startswith(b"HTTP/1.1 ")
        assert not first.startswith(b"HTTP/1.1 101")


async def test_one_connection_too_many_costs_the_slowest_its_place(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_LIMIT", 2)
    async with served(Small().app) as port, AsyncExitStack() as stack:
        first, *_ = await open_many(stack, port, 1, b"GET ")
        await wait_all_tasks_blocked()
        mock_clock.jump(1.0)
        second, *_ = await open_many(stack, port, 1, b"GET ")
        await wait_all_tasks_blocked()
        mock_clock.jump(1.0)
        async with await connect(port) as third:
            assert (await answer(first))[0] == 0
            await third.send_all(request("GET", "/read"))
            assert (await answer(third))[0] == 200
        await second.send_all(b"/read HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await answer(second))[0] == 200


async def test_connections_are_counted(mock_clock: MockClock) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await connect(listener.socket.getsockname()[1]), await listener.accept() as stream:
        counted = Connections()
        with counted.admitted(Connection(stream)):
            assert len(counted) == 1
        assert len(counted) == 0
