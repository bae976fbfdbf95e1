"""The requests of programs that people use, byte for byte as those programs send them."""

import json
from pathlib import Path
from typing import Any

import pytest

from .caller import MP3, VORBIS, WAV, Answer, Caller, heard
from .conftest import PAGE

RECORDED = Path(__file__).parent / "recorded"


def replay(api: Caller, name: str, number: int, **changes: Any) -> Answer:
    """Send one recorded request; ``changes`` are fields of its body that somebody else's settings change."""
    kept = json.loads((RECORDED / f"{name}.json").read_text("utf-8"))
    request = kept["requests"][number]
    facts = api.facts
    capability = kept["base"] == "capability"
    path = (facts["capability_url"].removeprefix(facts["url"]) if capability else "") + request["path"]
    body = request.get("body")
    if changes:
        body = json.dumps(json.loads(body) | changes)
    how: dict[str, Any] = {"token": ""} if capability else {}
    data = None if body is None else body.encode()
    return api.ask(request["method"], path, data, fields=request["headers"], **how)


def test_every_recorded_file_is_replayed() -> None:
    text = Path(__file__).read_text()
    for path in RECORDED.iterdir():
        assert f'"{path.stem}"' in text


def test_open_webui(api: Caller, tmp_path: Path) -> None:
    assert replay(api, "open_webui", 0).json == {"models": [{"id": "p2pvoice"}]}
    (voice,) = replay(api, "open_webui", 1).json["voices"]
    assert (voice["id"], voice["name"]) == ("storyteller", "Storyteller")
    spoken = replay(api, "open_webui", 2)
    assert spoken.status == 200
    # It keeps the body under this ending, whatever it is, and serves it again from there.
    cached = tmp_path / "0a1b.mp3"
    cached.write_bytes(spoken.body)
    heard(cached.read_bytes(), kind=MP3, rate=24_000)
    failed = replay(api, "open_webui", 2, voice="nobody")
    assert (failed.status, failed.json["error"]["message"]) == (
        404,
        "no voice 'nobody' is installed here (voices: storyteller)",
    )


def test_xiaozhi(api: Caller) -> None:
    spoken = replay(api, "xiaozhi", 0)
    assert (spoken.status, spoken.headers["content-type"]) == (200, "audio/wav")
    assert not spoken.chunked
    seconds = heard(spoken.body, kind=WAV)
    streamed = replay(api, "xiaozhi", 0, streaming_mode=True)
    assert streamed.chunked
    assert heard(streamed.body, kind=WAV) > seconds / 4


def test_sillytavern_gpt_sovits(api: Caller) -> None:
    speakers = replay(api, "sillytavern_gpt_sovits_v2", 0)
    assert speakers.json == [{"name": "Storyteller", "voice_id": "storyteller"}]
    preflight = replay(api, "sillytavern_gpt_sovits_v2", 1)
    assert preflight.status == 204
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "content-type" in preflight.headers["access-control-allow-headers"]
    spoken = replay(api, "sillytavern_gpt_sovits_v2", 2)
    assert (spoken.status, spoken.headers["content-type"]) == (200, "audio/ogg")
    assert spoken.chunked
    heard(spoken.body, kind=VORBIS)
    for answer in (speakers, preflight, spoken):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["vary"] == "Origin"


def test_sillytavern_gpt_sovits_of_a_page_that_is_not_listed(two: Caller) -> None:
    two.daemon.client.open_api(origins=["http://192.168.1.7:8000"])
    try:
        for number in range(3):
            answer = replay(two, "sillytavern_gpt_sovits_v2", number)
            assert answer.status in (401, 403)
            assert "access-control-allow-origin" not in answer.headers
    finally:
        two.daemon.client.open_api(origins=[PAGE])


@pytest.mark.parametrize(("media_type", "kind"), [("auto", MP3), ("wav", WAV), ("ogg", VORBIS), ("mp3", MP3)])
def test_sillytavern_adapter(api: Caller, media_type: str, kind: str) -> None:
    assert replay(api, "sillytavern_adapter", 0).json[0]["voice_id"] == "storyteller"
    heard(replay(api, "sillytavern_adapter", 1, media_type=media_type).body, kind=kind)
    assert replay(api, "sillytavern_adapter", 1, media_type="silk").status == 400
    missing = replay(api, "sillytavern_adapter", 1, target_voice="nobody")
    assert (missing.status, missing.json["message"][:17]) == (400, "no voice 'nobody'")


def test_sillytavern_openai_compatible(api: Caller) -> None:
    spoken = replay(api, "sillytavern_openai", 0)
    assert (spoken.status, spoken.headers["content-type"]) == (200, "audio/mpeg")
    heard(spoken.body, kind=MP3)
