"""Helpers of the tests of Wyoming: bytes on a connection, and voices without a daemon behind them."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from p2pvoice.node.config import WyomingConfig
from p2pvoice.node.wyoming.place import place
from p2pvoice.node.wyoming.server import WyomingDoor
from p2pvoice.protocol.label import Label

#: Seconds of real time after which a test of one connection has hung.
PATIENCE = 20.0


class Humming:
    """Voices that say a few samples for each character, or go on until they are cancelled."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.endless = False
        self.ended = trio.Event()
        self.began = trio.Event()

    async def info(self) -> dict[str, Any]:
        return {"tts": []}

    async def choose(self, wanted: Mapping[str, Any]) -> tuple[str, str]:
        return str(wanted.get("name", "")), "en"

    async def speak(self, voice: str, text: str, language: str, listener: Any) -> None:
        self.said.append(text)
        await listener.begin(8000, Label("id", "p2pvoice/test"))
        self.began.set()
        try:
            while True:
                await listener.take(b"\1\0" * len(text))
                if not self.endless:
                    return
                await trio.sleep(0.01)
        finally:
            self.ended.set()


@asynccontextmanager
async def served(voices: Humming, **settings: Any) -> AsyncIterator[tuple[int, WyomingDoor]]:
    """The port over some voices: its number, and what knows its connections."""
    where = place(WyomingConfig(**({"listen": "127.0.0.1:0"} | settings)))
    assert where is not None
    door = WyomingDoor(where)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.serve, voices, listener)
        yield listener.socket.getsockname()[1], door
        nursery.cancel_scope.cancel()


def event(kind: str, data: Mapping[str, Any] | None = None, payload: bytes = b"", **header: Any) -> bytes:
    """The bytes of an event; ``header`` overrides what its header says."""
    body = json.dumps(data).encode() if data is not None else b""
    said: dict[str, Any] = {"type": kind}
    if body:
        said["data_length"] = len(body)
    if payload:
        said["payload_length"] = len(payload)
    return json.dumps(said | header).encode() + b"\n" + body + payload


class Wire:
    """One raw connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, raw: bytes) -> None:
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(raw)

    async def receive(self) -> dict[str, Any] | None:
        """The next event with its payload's length, or None at the end."""
        line = await self._until(lambda: self._buffer.find(b"\n") + 1)
        if line is None:
            return None
        found: dict[str, Any] = json.loads(line)
        data = await self._until(lambda: found.get("data_length", 0), found.get("data_length", 0))
        found["data"] = json.loads(data) if data else {}
        await self._until(lambda: found.get("payload_length", 0), found.get("payload_length", 0))
        return found

    async def rest(self) -> list[str]:
        """The types of all that still comes, until the end."""
        found = []
        while (one := await self.receive()) is not None:
            found.append(str(one["type"]))
        return found

    async def _until(self, enough: Any, size: int | None = None) -> bytes | None:
        while not (end := enough()) or len(self._buffer) < end:
            if size == 0:
                return b""
            try:
                piece = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                return None
            if not piece:
                return None
            self._buffer += piece
        taken = bytes(self._buffer[:end])
        del self._buffer[:end]
        return taken


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A raw connection to a loopback port."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield Wire(stream)
