"""Sound leaves while it is made, and a caller that goes away stops the work."""

import base64
import http.client
import io
import json
import os
import signal
import socket
from typing import Any

import pytest
import soundfile
import trio

from p2pvoice.node.api import choosing, openai
from p2pvoice.node.api.answer import SpokenAnswer, Wanted
from p2pvoice.protocol.label import read_label

from ..node.faces import daemon_here
from ..node.nodes import Daemon, eventually, publish
from .caller import LONG, Caller

ENOUGH = 24 * 1024
"""Bytes of compressed sound that are more than any head, and less than a sentence or two."""

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("/v1/audio/speech", {"input": LONG, "lang": "en", "response_format": form, "voice": "alloy"})
        for form in ("mp3", "opus", "wav", "pcm")
    ),
    *(
        ("/tts", {"text": LONG, "text_lang": "en", "media_type": kind, "streaming_mode": True})
        for kind in ("ogg", "wav", "raw")
    ),
]


def first(found: http.client.HTTPResponse, size: int) -> bytes:
    """The first bytes of an answer, as soon as they are there."""
    data = b""
    while len(data) < size:
        piece = found.read1(size - len(data))
        assert piece, "the answer ended"
        data += piece
    return data


def decoded(data: bytes, path: str, body: dict[str, Any]) -> int:
    """Samples that the beginning of a file gives."""
    kind = body.get("response_format") or body["media_type"]
    if kind in ("pcm", "raw"):
        return len(data) // 2
    assert read_label(data) is not None
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        return sum(len(block) for block in file.blocks(4096))


def rests(api: Caller) -> bool:
    """Whether the worker has nothing to do, and not only between two sentences."""
    return all(api.worker["state"] == "idle" for _ in range(20))


@pytest.mark.parametrize(("path", "body"), REQUESTS)
def test_sound_is_heard_while_the_worker_speaks_and_hanging_up_stops_it(
    api: Caller, path: str, body: dict[str, Any]
) -> None:
    starts = api.worker["starts"]
    with api.asking("POST", path, body) as found:
        assert found.status == 200
        sound = first(found, ENOUGH)
        assert decoded(sound, path, body) > 4_000
        # Forty sentences: it has only begun.
        assert not rests(api)
    eventually(lambda: rests(api))
    # It was asked to stop, not killed.
    assert api.worker["starts"] in (starts, 1)


def test_hanging_up_before_the_first_sound_stops_it_as_well(api: Caller) -> None:
    facts = api.facts
    body = json.dumps({"input": LONG, "lang": "en", "response_format": "flac", "voice": "alloy"}).encode()
    head = (
        f"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1:{facts['port']}\r\n"
        f"Authorization: Bearer {facts['token']}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", facts["port"])) as connection:
        connection.sendall(head + body)
        eventually(lambda: api.worker["state"] == "busy")
    eventually(lambda: rests(api))


def test_others_are_answered_while_one_is_spoken_to(api: Caller) -> None:
    with api.asking("POST", *REQUESTS[0]) as found:
        first(found, 4_000)
        assert api.ask("GET", "/v1/models").status == 200
        assert not rests(api)
    eventually(lambda: rests(api))


def test_an_answer_that_breaks_off_is_seen_to(api: Caller) -> None:
    for path, body in (REQUESTS[0], REQUESTS[4]):
        with api.asking("POST", path, body) as found:
            first(found, 4_000)
            os.kill(api.worker["pid"], signal.SIGKILL)
            with pytest.raises(http.client.IncompleteRead):
                found.read()
    # As an event it says why.
    with api.asking("POST", REQUESTS[0][0], REQUESTS[0][1] | {"stream_format": "sse"}) as found:
        begun = first(found, 4_000)
        os.kill(api.worker["pid"], signal.SIGKILL)
        *_, last = (begun + found.read()).decode().strip().split("\n\n")
    event = json.loads(last.removeprefix("data: "))
    assert (event["type"], event["error"]["code"]) == ("error", "worker_died")
    # The next one gets a new worker.
    assert api.ask("POST", "/v1/audio/speech", {"input": "Yes.", "voice": "alloy"}).status == 200


def test_events_come_one_by_one(api: Caller) -> None:
    with api.asking("POST", REQUESTS[0][0], REQUESTS[0][1] | {"stream_format": "sse"}) as found:
        line = found.readline()
        event = json.loads(line.removeprefix(b"data: "))
        assert read_label(base64.b64decode(event["audio"])) is not None
        assert not rests(api)
    eventually(lambda: rests(api))


async def test_the_worker_does_not_wait_for_a_reader_that_does_not_read() -> None:
    """Speech is made to its end though not one piece of it can be sent, and nothing of it is lost."""
    async with daemon_here() as parts:

        def bring() -> None:
            here = Daemon(parts.home.root)
            *_, draft = here.client.import_bundled("Storyteller")
            publish(here, draft["draft"])

        await trio.to_thread.run_sync(bring)
        voice = await choosing.unnamed(parts, "")
        options = {"split": "cut5", "seed": 1}
        wanted = Wanted(voice, "One thing. Another thing. A third one.", "en", "wav", options)
        reading, sent, again = trio.Event(), bytearray(), bytearray()

        async def receive() -> Any:
            await trio.sleep_forever()

        async def send(message: Any) -> None:
            await reading.wait()
            sent.extend(message.get("body", b""))

        async def send_at_once(message: Any) -> None:
            again.extend(message.get("body", b""))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(SpokenAnswer(parts, wanted, openai.refusal), {}, receive, send)
            for state in ("busy", "idle"):
                await trio.to_thread.run_sync(eventually, lambda state=state: parts.engine.state == state)
            assert not sent
            reading.set()
        await SpokenAnswer(parts, wanted, openai.refusal)({}, receive, send_at_once)
        assert len(sent) == len(again)
        assert sent[-20_000:] == again[-20_000:]
