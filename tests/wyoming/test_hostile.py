"""Bytes that no client of Home Assistant's sends: every limit at its value and one past it."""

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2pvoice.node.wyoming import session
from p2pvoice.node.wyoming.events import (
    DATA_LIMIT,
    EVENT_SECONDS,
    HEADER_LIMIT,
    PAYLOAD_LIMIT,
    SEND_SECONDS,
)
from p2pvoice.node.wyoming.server import CONNECTIONS_LIMIT
from p2pvoice.node.wyoming.session import IDLE_SECONDS, PING_LIMIT, TEXT_LIMIT, WAITING_LIMIT

from ..node.nodes import Daemon
from .house import Humming, event, served, wire


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """With a clock that stands still, trio's own time limits would never end a test."""

    def hung(*_: object) -> None:
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


async def answers(raw: bytes, voices: Humming | None = None) -> list[str]:
    """What comes back for some bytes and a describe behind them: types of events, until info or the end."""
    async with served(voices or Humming()) as (port, _), wire(port) as line:
        await line.send(raw + event("describe"))
        found = []
        while (one := await line.receive()) is not None:
            found.append(str(one["type"]) + (":" + one["data"]["code"] if one["type"] == "error" else ""))
            if one["type"] == "info":
                break
        else:
            assert found[-1].startswith("error:")
        return found


def header_of(size: int) -> bytes:
    frame = len(json.dumps({"type": "x", "padding": ""}))
    return json.dumps({"type": "x", "padding": "p" * (size - frame)}).encode() + b"\n"


def data_of(size: int) -> bytes:
    return event("x", {"padding": "p" * (size - len(json.dumps({"padding": ""})))})


@pytest.mark.parametrize(
    ("fits", "breaks"),
    [
        (header_of(HEADER_LIMIT), header_of(HEADER_LIMIT + 1)),
        (data_of(DATA_LIMIT), data_of(DATA_LIMIT + 1)),
        (event("x", payload=bytes(PAYLOAD_LIMIT)), event("x", payload=bytes(PAYLOAD_LIMIT + 1))),
    ],
    ids=["header", "data", "payload"],
)
async def test_each_length_has_a_limit(fits: bytes, breaks: bytes) -> None:
    assert await answers(fits) == ["info"]
    assert await answers(breaks) == ["error:usage"]


async def test_a_header_without_an_end_is_given_up_at_the_limit() -> None:
    async with served(Humming()) as (port, _), wire(port) as line:
        await line.send(b"[" * (HEADER_LIMIT + 1))
        assert await line.rest() == ["error"]


@pytest.mark.parametrize(
    "header",
    [
        {"data_length": -1},
        {"data_length": DATA_LIMIT + 1},
        {"data_length": 2**70},
        {"data_length": "10"},
        {"data_length": True},
        {"data_length": 1.5},
        {"payload_length": -1},
        {"payload_length": 2**40},
        {"data": []},
        {"data": "text"},
        {"type": None},
        {"type": 7},
    ],
)
async def test_a_length_that_lies_takes_no_memory(header: dict[str, Any]) -> None:
    assert await answers(event("ping", **header)) == ["error:usage"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\n",
        b"{}\n",
        b"null\n",
        b"[" * 60_000 + b"\n",
        b'{"type": "ping", "data_length": 4}\n[1,]',
        b'{"type": "ping", "data_length": 2}\n[]',
        b"\xff\xfe\n",
        b"9" * 5000 + b"\n",
        b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b'POST / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\n{"type":"describe"}\n',
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
    ],
)
async def test_what_is_no_event_ends_the_connection(raw: bytes) -> None:
    assert await answers(raw) == ["error:usage"]


@pytest.mark.parametrize(
    "kind", ["transcribe", "shutdown", "", "x" * 1000, "synthesize-chunk", "synthesize-stop"]
)
async def test_unknown_events_and_those_out_of_place_are_dropped(kind: str) -> None:
    voices = Humming()
    assert await answers(event(kind, {"text": "x"}, b"payload"), voices) == ["info"]
    assert voices.said == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"text": None},
        {"text": 7},
        {"text": "a", "voice": "x"},
        {"text": "a", "voice": []},
        {"text": "a\ud800"},
    ],
)
async def test_a_request_of_another_form_is_refused(data: dict[str, Any]) -> None:
    assert await answers(event("synthesize", data)) == ["error:usage"]


async def test_a_text_ends_at_its_limit() -> None:
    voices = Humming()
    found = await answers(event("synthesize", {"text": "a" * TEXT_LIMIT}), voices)
    assert "info" in found
    assert "error:usage" not in found
    assert await answers(event("synthesize", {"text": "a" * (TEXT_LIMIT + 1)}), voices) == ["error:usage"]
    # However it is escaped.
    fits = "\U0001d400" * TEXT_LIMIT
    assert len(json.dumps(fits)) < DATA_LIMIT
    assert "info" in await answers(event("synthesize", {"text": fits}))


async def test_a_text_that_comes_in_pieces_ends_at_the_same_limit() -> None:
    start, half = event("synthesize-start"), event("synthesize-chunk", {"text": "a" * (TEXT_LIMIT // 2)})
    assert await answers(start + half + half) == ["info"]
    assert await answers(start + half + half + event("synthesize-chunk", {"text": "a"})) == ["error:usage"]


async def test_a_stream_begins_once() -> None:
    assert await answers(event("synthesize-start") * 2) == ["error:usage"]


async def test_a_text_in_the_header_is_understood_too() -> None:
    voices = Humming()
    raw = json.dumps({"type": "synthesize", "data": {"text": "old"}}).encode() + b"\n"
    async with served(voices) as (port, _), wire(port) as line:
        await line.send(raw)
        found = [await line.receive() for _ in range(3)]
        assert [one["type"] for one in found if one] == ["audio-start", "audio-chunk", "audio-stop"]
    assert voices.said == ["old"]


async def test_only_so_many_requests_wait() -> None:
    voices = Humming()
    voices.endless = True
    async with served(voices) as (port, _), wire(port) as line:
        one = event("synthesize", {"text": "x"})
        await line.send(one)
        await voices.began.wait()
        await line.send(one * WAITING_LIMIT + event("describe"))
        while (found := await line.receive()) is not None and found["type"] != "info":
            assert found["type"] in ("audio-start", "audio-chunk")
        assert found is not None
        await line.send(one)
        assert (await line.rest())[-1] == "error"
        await voices.ended.wait()


async def test_a_ping_is_answered_with_so_much() -> None:
    async with served(Humming()) as (port, _), wire(port) as line:
        for text, back in (("p" * PING_LIMIT, PING_LIMIT), ("p" * (PING_LIMIT + 1), PING_LIMIT)):
            await line.send(event("ping", {"text": text}))
            found = await line.receive()
            assert found is not None
            assert len(found["data"]["text"]) == back
        await line.send(event("ping", {"text": {"a": 1}}))
        assert await line.receive() == {"type": "pong", "data_length": 14, "data": {"text": None}}


async def test_hanging_up_cancels_what_is_spoken() -> None:
    voices = Humming()
    voices.endless = True
    async with served(voices) as (port, _):
        async with wire(port) as line:
            await line.send(event("synthesize", {"text": "x"}))
            await voices.began.wait()
        with trio.fail_after(10):
            await voices.ended.wait()


async def test_one_connection_too_many_is_closed_and_the_others_stay() -> None:
    async with served(Humming()) as (port, door), AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(wire(port)) for _ in range(CONNECTIONS_LIMIT)]
        for line in lines:
            await line.send(event("ping", {"text": "here"}))
            assert await line.receive() is not None
        assert door.connections == CONNECTIONS_LIMIT
        async with wire(port) as late:
            assert await late.rest() == []
        await lines[0].send(event("ping", {"text": "here"}))
        assert await lines[0].receive() is not None
        await lines[0].stream.aclose()
        await until(door, CONNECTIONS_LIMIT - 1)
        async with wire(port) as next_one:
            await next_one.send(event("describe"))
            assert await next_one.receive() is not None


async def test_who_is_not_on_the_list_is_told_nothing() -> None:
    async with served(Humming(), networks=["192.0.2.0/24"]) as (port, _), wire(port) as line:
        await line.send(event("describe"))
        assert await line.rest() == []
    async with served(Humming(), networks=["192.0.2.0/24", "127.0.0.1/32"]) as (port, _), wire(port) as line:
        await line.send(event("describe"))
        assert await line.receive() is not None


def test_nothing_of_the_rpc_is_behind_it(home: Daemon) -> None:
    port = int(home.client.status()["wyoming"]["listen"].rpartition(":")[2])
    for raw in (
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v1/shutdown HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
            link.sendall(raw)
            said = b""
            try:
                while piece := link.recv(65536):
                    said += piece
            except ConnectionResetError:
                pass
        assert b"peer_id" not in said
        assert b"HTTP" not in said
    assert home.client.status()["pid"]


@pytest.fixture
def mock_clock() -> MockClock:
    return MockClock()


async def until(door: Any, connections: int) -> None:
    """Wait, in real time, until so many connections are open."""
    while door.connections != connections:
        await trio.lowlevel.checkpoint()


async def test_silence_ends_a_connection(mock_clock: MockClock) -> None:
    async with served(Humming()) as (port, door), wire(port) as line:
        await until(door, 1)
        await wait_all_tasks_blocked(0.05)
        mock_clock.jump(IDLE_SECONDS - 0.5)
        await line.send(event("describe"))
        assert await line.receive() is not None
        await wait_all_tasks_blocked(0.05)
        mock_clock.jump(IDLE_SECONDS - 0.5)
        await wait_all_tasks_blocked(0.05)
        assert door.connections == 1
        mock_clock.jump(1.0)
        assert await line.rest() == []


async def test_who_listens_is_not_silent(mock_clock: MockClock) -> None:
    voices = Humming()
    voices.endless = True
    async with served(voices) as (port, door), wire(port) as line:
        await line.send(event("synthesize", {"text": "x"}))
        await voices.began.wait()
        for _ in range(3):
            # A jump wakes those alone who sleep already.
            await wait_all_tasks_blocked(0.05)
            mock_clock.jump(IDLE_SECONDS + 1)
            found = await line.receive()
            assert found is not None
        assert door.connections == 1


async def test_a_stream_without_text_is_silence(mock_clock: MockClock) -> None:
    async with served(Humming()) as (port, door), wire(port) as line:
        await line.send(event("synthesize-start"))
        await until(door, 1)
        await wait_all_tasks_blocked(0.05)
        mock_clock.jump(IDLE_SECONDS + 1)
        assert await line.rest() == []


@pytest.mark.parametrize(
    "begun", [b"{", b'{"type": "x", "data_length": 9}\n{', b'{"type": "x", "payload_length": 9}\n1']
)
async def test_an_event_must_end(mock_clock: MockClock, begun: bytes) -> None:
    async with served(Humming()) as (port, door), wire(port) as line:
        await line.send(begun)
        await until(door, 1)
        await wait_all_tasks_blocked(0.05)
        mock_clock.jump(EVENT_SECONDS - 0.5)
        await wait_all_tasks_blocked(0.05)
        assert door.connections == 1
        mock_clock.jump(1.0)
        assert await line.rest() == []


async def test_who_does_not_read_is_cut_off(mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CHUNK", 1 << 20)

    class Loud(Humming):
        async def speak(self, voice: str, text: str, language: str, listener: Any) -> None:
            await super().speak(voice, "x" * (8 << 20), language, listener)

    voices = Loud()
    async with served(voices) as (port, door), wire(port) as line:
        await line.send(event("synthesize", {"text": "x"}))
        await voices.began.wait()
        await wait_all_tasks_blocked(0.2)
        mock_clock.jump(SEND_SECONDS - 0.5)
        await wait_all_tasks_blocked(0.05)
        assert door.connections == 1
        mock_clock.jump(1.0)
        await until(door, 0)
