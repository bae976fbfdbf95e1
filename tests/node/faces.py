"""Helpers of the tests that speak HTTP byte by byte: a daemon in the test's own process, and raw requests."""

import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node.config import Config
from p2pvoice.node.daemon import run
from p2pvoice.node.parts import Parts
from p2pvoice.node.paths import Home
from p2pvoice.node.rpc.server import serve

from .nodes import LOOPBACK


@asynccontextmanager
async def daemon_here() -> AsyncIterator[Parts]:
    """A whole daemon in this process, on a home of its own."""
    root = Path(tempfile.mkdtemp(prefix="p2pv-"))
    home = Home(root / "home")
    home.prepare()
    found: list[Parts] = []
    ready = trio.Event()

    def note(parts: Parts) -> None:
        found.append(parts)
        ready.set()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(run, home, Config(listen=(LOOPBACK,)), ready=note))
            await ready.wait()
            try:
                yield found[0]
            finally:
                found[0].stop.set()
    finally:
        shutil.rmtree(root, ignore_errors=True)


@asynccontextmanager
async def served(app: Any, listener: trio.SocketListener | None = None) -> AsyncIterator[int]:
    """An application behind our server on a loopback port; yields the port."""
    if listener is None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, app, listener, stop)
        try:
            yield listener.socket.getsockname()[1]
        finally:
            stop.set()


async def connect(port: int) -> trio.SocketStream:
    """A connection to a loopback port."""
    made = trio.socket.socket()
    await made.connect(("127.0.0.1", port))
    return trio.SocketStream(made)


async def connect_unix(path: Path) -> trio.SocketStream:
    """A connection to a unix socket."""
    made = trio.socket.socket(trio.socket.AF_UNIX)
    await made.connect(str(path))
    return trio.SocketStream(made)


def request(
    method: str = "GET", path: str = "/v1/status", *fields: str, host: str = "localhost", body: bytes = b""
) -> bytes:
    """The bytes of a request after which the connection ends; a field is a whole line."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields]
    if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in fields):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


async def answer(stream: trio.SocketStream) -> tuple[int, bytes]:
    """Read until the connection ends; the status of the answer (0 for none at all) and its body."""
    data = b""
    try:
        while piece := await stream.receive_some(65536):
            data += piece
    except trio.BrokenResourceError:
        pass
    head, _, body = data.partition(b"\r\n\r\n")
    return (int(head.split(b" ", 2)[1]) if head else 0), body


async def ask(stream: trio.SocketStream, raw: bytes) -> tuple[int, bytes]:
    """Send the bytes of a request and read its answer."""
    async with stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(raw)
        return await answer(stream)


def code_of(body: bytes) -> str:
    """The code of an error's body."""
    return str(json.loads(body)["error"]["code"])
