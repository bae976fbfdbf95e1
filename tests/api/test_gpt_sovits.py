"""GPT-SoVITS's api_v2: both ways to ask, all parameters, whose voice it is, and paths that stay closed."""

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import numpy
import pytest

from p2pvoice.node.api.asked import PATH_LIMIT
from p2pvoice.node.api.gpt_sovits import FIELDS_LIMIT
from p2pvoice.node.rpc.voices import TEXT_LIMIT

from .caller import FLAC, SEED, TEXT, VORBIS, WAV, Answer, Caller, heard

ALL: dict[str, Any] = {
    "text": TEXT, "text_lang": "en", "ref_audio_path": "clip.wav", "aux_ref_audio_paths": [],
    "prompt_text": "What the clip says.", "prompt_lang": "en", "top_k": 15, "top_p": 1, "temperature": 1,
    "text_split_method": "cut5", "batch_size": 1, "batch_threshold": 0.75, "split_bucket": True,
    "speed_factor": 1.0, "fragment_interval": 0.3, "seed": SEED, "media_type": "wav", "streaming_mode": False,
    "parallel_infer": True, "repetition_penalty": 1.35, "sample_steps": 32, "super_sampling": False,
    "overlap_length": 2, "min_chunk_length": 16,
}  # fmt: skip
"""A request with every parameter."""


def post(api: Caller, **changes: Any) -> Answer:
    return api.ask("POST", "/tts", ALL | changes)


def get(api: Caller, **changes: Any) -> Answer:
    values = {name: str(value) for name, value in (ALL | changes).items() if value != []}
    return api.ask("GET", "/tts?" + urlencode(values))


def releases(api: Caller) -> dict[str, str]:
    return {row["slug"]: row["release"] for row in api.daemon.client.voices()}


@pytest.fixture
def unset(two: Caller) -> Iterator[Caller]:
    """A node with two voices of which none was set, also afterwards."""
    yield two
    two.daemon.client.renew_api_token()


def test_both_ways_to_ask_give_the_same(api: Caller) -> None:
    posted, got = post(api), get(api)
    for spoken in (posted, got):
        assert (spoken.status, spoken.headers["content-type"]) == (200, "audio/wav")
        assert spoken.headers["content-length"] == str(len(spoken.body))
        heard(spoken.body, kind=WAV, rate=24_000)
    # The same seed: only the label's own id and time differ.
    assert posted.body[-2_000:] == got.body[-2_000:]
    assert heard(post(api, seed=SEED + 1).body, kind=WAV) > 0
    assert heard(post(api, speed_factor=0.5).body, kind=WAV) > 1.5 * heard(posted.body, kind=WAV)


def test_media_types(api: Caller) -> None:
    heard(post(api, media_type="ogg").body, kind=VORBIS, rate=24_000)
    raw = post(api, media_type="raw")
    assert (raw.headers["content-type"], raw.headers["x-aigc-label"]) == ("audio/raw", "1")
    whole = post(api).body
    assert whole.endswith(raw.body)
    assert len(raw.body) / 48_000 == pytest.approx(heard(whole, kind=WAV), abs=0.01)
    for other in ("aac", "mp3", "", "WAV", "x" * 16):
        refused = post(api, media_type=other)
        assert (refused.status, refused.json) == (400, {"message": f"media_type: {other} is not supported"})
    heard(api.ask("POST", "/", ALL | {"media_type": "flac"}).body, kind=FLAC)


@pytest.mark.parametrize("mode", [True, 1, 2, 3, "true", "True", "1", "3"])
def test_streaming_modes(api: Caller, mode: object) -> None:
    streamed = post(api, streaming_mode=mode)
    assert streamed.chunked
    assert streamed.body[40:44] != b"data"
    assert streamed.body[4:8] == b"\xff" * 4
    heard(streamed.body, kind=WAV, rate=24_000)


def test_what_is_whole_and_what_is_not(api: Caller) -> None:
    for mode in (False, 0, None, "false", "0", ""):
        assert not post(api, streaming_mode=mode).chunked
    assert post(api, return_fragment=True).chunked
    assert get(api, streaming_mode="true").chunked
    for mode in (4, -1, "7"):
        refused = post(api, streaming_mode=mode)
        assert (refused.status, "0, 1, 2, 3(int)" in refused.json["message"]) == (400, True)
    assert post(api, streaming_mode="maybe").status == 422
    assert post(api, streaming_mode=[]).status == 422


def test_silence_between_sentences(api: Caller) -> None:
    text = "One thing. Another thing."
    spoken = [
        heard(post(api, text=text, fragment_interval=pause, text_split_method="cut5").body, kind=WAV)
        for pause in (0, 2.0)
    ]
    assert spoken[1] - spoken[0] == pytest.approx(2.0, abs=0.01)
    assert heard(post(api, text=text, fragment_interval=2.0, text_split_method="cut0").body, kind=WAV) < 4
    assert post(api, fragment_interval=10.5).status == 400


def test_what_may_be_missing(api: Caller) -> None:
    heard(api.ask("POST", "/tts", {"text": TEXT}).body, kind=WAV)
    heard(api.ask("GET", "/tts?text=Hello").body, kind=WAV)
    heard(post(api, **{name: None for name in ALL if name != "text"}).body, kind=WAV)
    odd = {"target": [1], "unknown": {"a": 1}, "batch_size": "many", "ref_audio_path": "", "seed": -1}
    heard(post(api, **odd).body, kind=WAV)
    # xiaozhi's settings are texts before it makes numbers of them; other programs send them so.
    heard(post(api, top_k="5", top_p="0.9", speed_factor="1.0", seed="-1").body, kind=WAV)


def test_errors_are_upstreams(api: Caller) -> None:
    for nothing in ("", " ", None):
        refused = post(api, text=nothing)
        assert (refused.status, refused.json) == (400, {"message": "text is required"})
    assert post(api, text_lang="fr").json == {"message": "text_lang: fr is not supported"}
    assert post(api, text_split_method="cut9").json == {"message": "text_split_method:cut9 is not supported"}
    failed = post(api, text="……")
    assert (failed.status, failed.json["message"]) == (400, "tts failed")
    assert "no words" in failed.json["Exception"]
    for field, value in (
        ("top_k", "x"), ("top_k", 1.5), ("top_k", True), ("top_p", []), ("text", 7), ("seed", "0x1"),
        ("seed", "1_0"), ("speed_factor", "nan"), ("speed_factor", "١"), ("text_lang", {}), ("media_type", 1),
        ("ref_audio_path", 3), ("temperature", "1" * 50),
    ):  # fmt: skip
        refused = post(api, **{field: value})
        assert (field, refused.status) == (field, 422)
        assert refused.json["detail"][0]["loc"] == ["body", field]
    assert get(api, top_k="x").json["detail"][0]["loc"] == ["query", "top_k"]
    for field, value in (
        ("top_k", 0), ("top_k", 1025), ("top_p", 1.1), ("temperature", -0.1), ("speed_factor", 4.1),
        ("speed_factor", 1e300), ("seed", 2**63), ("repetition_penalty", 0),
    ):  # fmt: skip
        refused = post(api, **{field: value})
        assert (field, refused.status, "must lie between" in refused.json["message"]) == (field, 400, True)


def test_limits(api: Caller) -> None:
    assert post(api, text="x" * (TEXT_LIMIT + 1)).status == 400
    assert post(api, ref_audio_path="x" * (PATH_LIMIT + 1)).status == 400
    assert post(api, ref_audio_path="x" * PATH_LIMIT).status == 200
    many = "&".join(f"a{number}=1" for number in range(FIELDS_LIMIT - 1))
    assert api.ask("GET", f"/tts?text=Yes&{many}").status == 200
    assert api.ask("GET", f"/tts?text=Yes&{many}&b=1").status == 400
    assert api.ask("GET", "/tts?text=" + quote("好" * 4_000)).status == 400
    for body in (b"[]", b"{", b"", b"[" * 100_000):
        assert api.ask("POST", "/tts", body).status == 400
    assert api.ask("HEAD", "/tts?text=Yes").status == 400


def test_whose_voice_it_is(unset: Caller) -> None:
    voices = releases(unset)
    both = {"text": "Yes.", "text_lang": "en"}

    def who(**changes: Any) -> str | None:
        found = unset.ask("POST", "/", both | changes)
        return found.headers["x-release-id"] or str(found.status)

    def choose(path: str, name: str) -> int:
        field = "refer_audio_path" if path == "set_refer_audio" else "weights_path"
        return unset.ask("GET", f"/{path}?{field}={quote(name)}").status

    assert who() == "400"
    assert who(ref_audio_path="clip.wav") == "400"
    assert who(ref_audio_path="./参考音频/storyteller.wav") == voices["storyteller"]
    assert who(ref_audio_path="D:\\voices\\night-reader.WAV") == voices["night-reader"]
    assert who(ref_audio_path=voices["night-reader"]) == voices["night-reader"]
    ways = ("set_gpt_weights", "set_sovits_weights", "set_refer_audio")
    for path, (slug, ending) in zip(
        itertools.cycle(ways),
        itertools.product(voices, ("", ".ckpt", ".pth", ".wav")),
        strict=False,
    ):
        assert choose(path, f"GPT_weights_v2/{slug}{ending}") == 200
        assert who() == who(ref_audio_path="clip.wav") == voices[slug]
    assert who(ref_audio_path="night-reader.wav", target_voice="Storyteller") == voices["storyteller"]
    # What is no voice changes nothing.
    before = who()
    for path in ways:
        for nobody in ("other.ckpt", "", "storyteller/", "storyteller.txt", "..", "/"):
            assert choose(path, nobody) == 400
    assert who() == before
    refused = unset.ask("GET", "/set_gpt_weights?weights_path=other.ckpt").json
    assert refused["message"] == "change gpt weight failed"
    assert "night-reader, storyteller" in refused["Exception"]
    assert unset.ask("GET", "/set_gpt_weights").json == {"message": "gpt weight path is required"}
    # The choice belongs to the token.
    unset.daemon.client.renew_api_token()
    assert who() == "400"


def test_nobody_controls_a_node(api: Caller) -> None:
    for method, path, body in (
        ("GET", "/control?command=exit", None),
        ("GET", "/control", None),
        ("POST", "/control", {"command": "restart"}),
    ):
        assert api.ask(method, path, body).status == 403
    assert api.daemon.client.status()["pid"]


def test_two_voices_at_once_do_not_mix(two: Caller) -> None:
    """Two requests at the same time: upstream's one voice would be heard in both."""
    voices = releases(two)
    bodies = [json.dumps(ALL | {"ref_audio_path": f"{slug}.wav", "media_type": "raw"}) for slug in voices]
    alone = [two.ask("POST", "/tts", body.encode()) for body in bodies]
    with (
        two.asking("POST", "/tts", bodies[0].encode()) as first,
        two.asking("POST", "/tts", bodies[1].encode()) as second,
    ):
        together = [first.read(), second.read()]
        assert [one.headers["x-release-id"] for one in (first, second)] == list(voices.values())
    for before, now in zip(alone, together, strict=True):
        assert numpy.array_equal(numpy.frombuffer(before.body, "<i2"), numpy.frombuffer(now, "<i2"))
