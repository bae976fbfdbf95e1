"""OpenAI's API: its own client library, curl, every format, names of voices, errors and limits."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy
import openai
import pytest

from p2pvoice.node.api.asked import API_BODY
from p2pvoice.node.rpc.voices import TEXT_LIMIT

from .caller import FLAC, MP3, OPUS, SEED, TEXT, WAV, Caller, heard

SPEECH = "/v1/audio/speech"


def client_of(api: Caller, **changes: Any) -> openai.OpenAI:
    facts = api.facts
    # No proxy of this machine's between the two, and no second try that hides a failure.
    settings = {
        "base_url": facts["openai"],
        "api_key": facts["token"],
        "http_client": openai.DefaultHttpxClient(trust_env=False),
        "max_retries": 0,
    }
    return openai.OpenAI(**{**settings, **changes})


def speak(api: Caller, body: object = None, **fields: Any) -> Any:
    return api.ask("POST", SPEECH, body or {"input": TEXT, "voice": "storyteller", **fields})


@pytest.mark.parametrize(
    ("form", "kind", "media"),
    [
        ("mp3", MP3, "audio/mpeg"),
        ("opus", OPUS, "audio/ogg"),
        ("flac", FLAC, "audio/flac"),
        ("wav", WAV, "audio/wav"),
    ],
)
def test_every_format_is_decoded_and_labelled(api: Caller, form: str, kind: str, media: str) -> None:
    spoken = speak(api, response_format=form, seed=SEED)
    assert (spoken.status, spoken.headers["content-type"]) == (200, media)
    assert spoken.headers["x-aigc-label"] == "1"
    assert spoken.headers["x-release-id"] == api.daemon.client.voices()[0]["release"]
    assert spoken.headers["x-author"] == api.daemon.client.status()["author"]
    # Only what needs its own length waits until it is whole.
    assert spoken.chunked == (form != "flac")
    exact = heard(speak(api, response_format="flac", seed=SEED).body, kind=FLAC)
    # MP3 begins and ends with a frame or two of silence.
    assert heard(spoken.body, kind=kind, rate=24_000) == pytest.approx(exact, abs=0.15)


def test_pcm_is_what_its_clients_take_it_for(api: Caller) -> None:
    spoken = speak(api, response_format="pcm", seed=SEED)
    assert (spoken.headers["content-type"], spoken.headers["x-aigc-label"]) == ("audio/pcm", "1")
    samples = numpy.frombuffer(spoken.body, "<i2")
    exact = heard(speak(api, response_format="flac", seed=SEED).body, kind=FLAC, rate=24_000)
    assert len(samples) / 24_000 == pytest.approx(exact, abs=0.01)
    assert numpy.abs(samples).max() > 500


def test_mp3_is_what_is_sent_when_nothing_is_said(api: Caller) -> None:
    heard(speak(api).body, kind=MP3, rate=24_000)


def test_the_client_library(api: Caller, tmp_path: Path) -> None:
    with client_of(api) as client:
        assert [model.id for model in client.models.list()] == ["p2pvoice"]
        assert client.models.retrieve("p2pvoice").owned_by == "p2pvoice"
        whole = client.audio.speech.create(
            model="gpt-4o-mini-tts", voice="alloy", input=TEXT, instructions="Whisper.", speed=1.25
        )
        assert whole.response.headers["x-aigc-label"] == "1"
        seconds = heard(whole.content, kind=MP3)
        with client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="storyteller", input=TEXT, response_format="opus", extra_body={"lang": "en"}
        ) as stream:
            stream.stream_to_file(tmp_path / "said.opus")
        heard((tmp_path / "said.opus").read_bytes(), kind=OPUS)
        slow = client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, speed=0.5)
        assert heard(slow.content, kind=MP3) > 1.5 * seconds
    with client_of(api, api_key="any", base_url=api.facts["capability_url"] + "/v1") as client:
        heard(client.audio.speech.create(model="x", voice="alloy", input=TEXT).content, kind=MP3)


def test_errors_in_the_client_library(api: Caller) -> None:
    with client_of(api) as client:
        create = client.audio.speech.create
        with pytest.raises(openai.NotFoundError, match="storyteller") as missing:
            create(model="tts-1", voice="nobody", input=TEXT)
        assert missing.value.body == {
            "message": "no voice 'nobody' is installed here (voices: storyteller)",
            "type": "invalid_request_error",
            "param": None,
            "code": "not_found",
        }
        for wrong in ({"response_format": "aac"}, {"speed": 4.5}, {"input": " "}, {"stream_format": "x"}):
            with pytest.raises(openai.BadRequestError):
                create(**{"model": "tts-1", "voice": "alloy", "input": TEXT, **wrong})  # type: ignore[arg-type]
        with pytest.raises(openai.UnprocessableEntityError, match="language"):
            # What only the worker can know is an error with its status, too.
            create(model="tts-1", voice="alloy", input=TEXT, extra_body={"lang": "xx"})
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("tts-9")
    with client_of(api, api_key="0" * 64) as client, pytest.raises(openai.AuthenticationError, match="token"):
        client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)


def test_server_sent_events(api: Caller) -> None:
    for form, kind in (("mp3", MP3), ("flac", FLAC)):
        spoken = speak(api, stream_format="sse", response_format=form)
        assert spoken.headers["content-type"] == "text/event-stream"
        events = [json.loads(line.removeprefix("data: ")) for line in spoken.body.decode().split("\n\n")[:-1]]
        *pieces, last = events
        assert {one["type"] for one in pieces} == {"speech.audio.delta"}
        heard(b"".join(base64.b64decode(one["audio"]) for one in pieces), kind=kind)
        usage = {"input_tokens": len(TEXT), "output_tokens": 0, "total_tokens": len(TEXT)}
        assert last == {"type": "speech.audio.done", "usage": usage}
    assert speak(api, stream_format="sse", lang="xx").status == 422


def test_who_is_meant(api: Caller, two: Caller) -> None:
    (row,) = api.daemon.client.voices()
    names = [
        "storyteller", "Storyteller", {"id": "storyteller"}, "nova", "ALLOY", row["release"],
        row["release"][:20], f"{row['author']}/storyteller", None,
    ]  # fmt: skip
    for name in names:
        spoken = speak(api, {"input": "Yes.", "voice": name})
        assert (name, spoken.headers["x-release-id"]) == (name, row["release"])
    for nobody in ("x", "../storyteller", "storyteller.wav", "/etc/passwd", {"id": "x"}):
        assert speak(api, {"input": "Yes.", "voice": nobody}).status == 404
    for wrong in ("", 7, ["storyteller"], True, "\ud800", "x" * 257):
        assert speak(api, {"input": "Yes.", "voice": wrong}).status == 400
    releases = {row["slug"]: row["release"] for row in two.daemon.client.voices()}
    listed = two.ask("GET", "/v1/audio/voices").json["voices"]
    assert [(one["id"], one["name"]) for one in listed] == [
        ("night-reader", "Night reader"),
        ("storyteller", "Storyteller"),
    ]
    for slug, release in releases.items():
        assert speak(two, voice=slug).headers["x-release-id"] == release
    unclear = speak(two, voice="alloy")
    assert (unclear.status, unclear.json["error"]["code"]) == (404, "not_found")
    assert "night-reader, storyteller" in unclear.json["error"]["message"]
    assert speak(two, {"input": "Yes."}).status == 400
    two.daemon.client.open_api(voice="night-reader")
    try:
        for body in ({"input": "Yes."}, {"input": "Yes.", "voice": "shimmer"}):
            assert speak(two, body).headers["x-release-id"] == releases["night-reader"]
    finally:
        two.daemon.client.open_api(voice="")


def test_what_is_read_of_a_request(api: Caller) -> None:
    assert speak(api, input="x" * (TEXT_LIMIT + 1)).status == 400
    # At the limit it is spoken; whoever does not want to hear it hangs up.
    with api.asking("POST", SPEECH, {"input": "." * (TEXT_LIMIT - 6) + "Hello.", "lang": "en"}) as answer:
        assert answer.status == 200
    wrong = (b"", b"[]", b"{", b"\xff", b'{"input": 7}', b'{"input": "\\ud800"}', b"null", b"[" * 100_000)
    for body in wrong:
        assert api.ask("POST", SPEECH, body).status == 400
    padded = json.dumps({"input": "Yes.", "more": ""}).encode()
    for size, status in ((API_BODY, 200), (API_BODY + 1, 400)):
        body = padded[:-2] + b"x" * (size - len(padded)) + padded[-2:]
        assert api.ask("POST", SPEECH, body).status == status
    # A body whose length nobody told is counted while it comes.
    endless = api.raw(
        f"POST {SPEECH} HTTP/1.1\r\nHost: 127.0.0.1:{api.facts['port']}\r\n"
        f"Authorization: Bearer {api.facts['token']}\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
        + b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 4 + b"0\r\n\r\n"
    )  # fmt: skip
    assert endless.startswith(b"HTTP/1.1 400")
    for path in ("/v1/audio/speech/", "/v1/audio", "/v1", "/v1/audio/transcriptions", "/v1/status"):
        assert api.ask("POST", path, {}).status == 404
    assert api.ask("GET", SPEECH).status == 405
    assert api.ask("DELETE", "/v1/models").json["error"]["type"] == "invalid_request_error"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(api: Caller, tmp_path: Path) -> None:
    facts = api.facts
    said = tmp_path / "said.mp3"
    body = json.dumps({"model": "tts-1", "voice": "alloy", "input": TEXT})
    command = ["curl", "-sS", "--fail", "--noproxy", "*", "-H", "Content-Type: application/json", "-d", body]
    bearer = ["-H", f"Authorization: Bearer {facts['token']}", facts["openai"] + "/audio/speech"]
    for where in (bearer, [facts["capability_url"] + SPEECH]):
        subprocess.run([*command, "-o", str(said), *where], check=True, timeout=120)
        heard(said.read_bytes(), kind=MP3)
    refused = subprocess.run([*command, facts["openai"] + "/audio/speech"], capture_output=True, check=False)
    assert refused.returncode == 22
    # A body as curl marks it when nobody says otherwise.
    plain = ["curl", "-s", "--noproxy", "*", "-d", body, *bearer]
    form = subprocess.run(plain, capture_output=True, check=True)
    assert "is not read here" in json.loads(form.stdout)["error"]["message"]
