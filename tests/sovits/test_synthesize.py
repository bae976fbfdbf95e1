"""A voice speaks: imported from the tiny golden checkpoints, by the path that every voice takes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from p2pvoice.protocol.errors import (
    BadCheckpointError,
    NotFoundError,
    UnsupportedLanguageError,
    UsageError,
    VoiceNotLoadableError,
)
from p2pvoice.sovits import synthesize, voicefile
from p2pvoice.sovits.bases import Bases, install
from p2pvoice.sovits.synthesize import SpeakText, Voice
from p2pvoice.sovits.tensorfile import write_half
from p2pvoice.sovits.voicefile import REFERENCES_LIMIT

from . import bench

# Random weights seldom end a sentence by themselves: hot draws from all codes do, after a few dozen.
HOT = SpeakText("今日天氣好好", "yue", seed=3, top_k=65, temperature=10.0, pause=0.25)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return bench.voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def voice(made: tuple[Path, Path]) -> Voice:
    bundle, bases = made
    return Voice.load(bundle, Bases([bases]), device="cpu")


def whole(pieces: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(pieces))


@pytest.mark.parametrize(
    ("text", "lang"), [("今日天氣好好", "yue"), ("今天天气很好", "zh"), ("Good morning.", "en")]
)
def test_each_language_comes_out_as_sound(voice: Voice, text: str, lang: str) -> None:
    audio = whole(voice.speak(replace(HOT, text=text, lang=lang)))
    assert audio.dtype == np.float32
    assert voice.sample_rate == 32000
    # A code is 1280 samples, and no sentence has fewer than eleven.
    assert len(audio) >= 11 * 1280
    assert len(audio) % 1280 == 0
    assert np.isfinite(audio).all()
    assert 0.0 < np.abs(audio).max() <= 1.0


def test_a_seed_gives_the_same_speech_whatever_was_spoken_before(voice: Voice) -> None:
    first = whole(voice.speak(HOT))
    whole(voice.speak(replace(HOT, text="唔該", seed=99)))
    torch.rand(3)
    np.testing.assert_array_equal(whole(voice.speak(HOT)), first)
    other = whole(voice.speak(replace(HOT, seed=4)))
    assert len(other) != len(first) or not np.array_equal(other, first)


def test_without_a_seed_no_two_are_alike(voice: Voice) -> None:
    a, b = (whole(voice.speak(replace(HOT, seed=None))) for _ in range(2))
    assert len(a) != len(b) or not np.array_equal(a, b)


def test_sentences_come_one_by_one_with_silence_between(voice: Voice) -> None:
    request = replace(HOT, text="今日天氣好好。聽日會落雨。多謝晒你哋。", split="cut3")
    pieces = list(voice.speak(request))
    assert len(pieces) == 3
    silence = int(0.25 * voice.sample_rate)
    for piece in pieces[:-1]:
        assert not piece[-silence:].any()
        assert (len(piece) - silence) % 1280 == 0
    assert pieces[-1][-silence:].any()
    # Nothing after the pieces that were asked for is computed, and what came is the same.
    np.testing.assert_array_equal(next(islice(voice.speak(request), 1)), pieces[0])


def test_speed_changes_the_length(voice: Voice) -> None:
    normal, fast = (len(whole(voice.speak(replace(HOT, speed=speed)))) for speed in (1.0, 2.0))
    assert fast == (int(normal // 640 / 2) + 1) * 640


def test_a_caller_can_stop_within_a_sentence(voice: Voice) -> None:
    class Enough(Exception):
        pass

    heard: list[int] = []

    def listen(code: int) -> None:
        heard.append(code)
        if len(heard) == 5:
            raise Enough

    with pytest.raises(Enough):
        whole(voice.speak(HOT, on_code=listen))
    assert len(heard) == 5


def test_loud_sound_is_scaled_not_wrapped(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = whole(voice.speak(HOT))
    decode = voice.sovits.decode
    monkeypatch.setattr(voice.sovits, "decode", lambda *a, **k: decode(*a, **k) * 100.0)
    loud = whole(voice.speak(HOT))
    assert np.abs(loud).max() == pytest.approx(1.0)
    scale = np.abs(usual).max()
    np.testing.assert_allclose(loud, usual / scale, atol=1e-5)


def test_a_missing_bert_is_said_once(voice: Voice) -> None:
    voice.notices.clear()
    whole(voice.speak(HOT))
    assert voice.notices == []
    for _ in range(2):
        whole(voice.speak(replace(HOT, text="今天天气很好", lang="zh")))
    assert voice.notices == [synthesize.NO_BERT]


def test_bert_reaches_the_mandarin_parts_only(made: tuple[Path, Path], voice: Voice, tmp_path: Path) -> None:
    bundle, _ = made
    install("bert", bench.published_bert(tmp_path / "published"), tmp_path / "bases" / "bert")
    listening = Voice.load(bundle, Bases([tmp_path / "bases"]), device="cpu")
    assert listening.read("Hello.", "en").bert is None
    mixed = listening.read("你好 hello 世界。", "zh")
    assert mixed.bert is not None
    heard = mixed.bert[0].abs().sum(0) > 0
    assert heard.any()
    assert not heard.all()
    # Cooler than elsewhere: what the features change must decide draws.
    request = replace(HOT, text=bench.VOICED, lang="zh", temperature=1.0, repetition_penalty=1.0)
    ours, without = whole(listening.speak(request)), whole(voice.speak(request))
    assert len(ours) != len(without) or not np.array_equal(ours, without)
    assert listening.notices == []


def test_a_bert_of_another_width_is_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    install("bert", bench.published_bert(tmp_path / "published", 16), tmp_path / "bases" / "bert")
    with pytest.raises(VoiceNotLoadableError):
        Voice.load(made[0], Bases([tmp_path / "bases"]), device="cpu")


def test_a_listener_needs_no_content_encoder(made: tuple[Path, Path], voice: Voice) -> None:
    alone = Voice.load(made[0], Bases([]), device="cpu")
    np.testing.assert_array_equal(whole(alone.speak(HOT)), whole(voice.speak(HOT)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"reference": 1},
        {"reference": -1},
        {"text": "。。。"},
        {"text": ""},
        {"split": "cut9"},
    ],
)
def test_requests_that_make_no_sense(voice: Voice, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        whole(voice.speak(replace(HOT, **wrong)))  # type: ignore[arg-type]


def test_a_language_that_no_front_end_knows(voice: Voice) -> None:
    with pytest.raises(UnsupportedLanguageError):
        whole(voice.speak(replace(HOT, lang="fr")))


@pytest.mark.parametrize(
    ("field", "inside", "outside"),
    [
        ("speed", synthesize.SPEED_RANGE, (0.24, 4.01)),
        ("noise_scale", synthesize.NOISE_RANGE, (-0.01, 2.01)),
        ("pause", (0.0, synthesize.PAUSE_LIMIT), (-0.01, synthesize.PAUSE_LIMIT + 0.01)),
        ("seed", (0, synthesize.SEED_LIMIT - 1), (-1, synthesize.SEED_LIMIT)),
        ("top_k", (1, 1025), (0,)),
    ],
)
def test_requests_are_bounded(field: str, inside: tuple[float, ...], outside: tuple[float, ...]) -> None:
    for value in inside:
        assert getattr(replace(HOT, **{field: value}), field) == value  # type: ignore[arg-type]
    for value in outside:
        with pytest.raises(UsageError):
            replace(HOT, **{field: value})  # type: ignore[arg-type]


def test_a_folder_without_a_voice(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        Voice.load(tmp_path, Bases([]))


@pytest.mark.parametrize("version", ["v1", "v2Pro", "v2ProPlus"])
def test_every_version_speaks(version: str, tmp_path: Path) -> None:
    bundle, _ = bench.voice(tmp_path, version)
    # Without any base: all that the networks heard in the references came with the voice.
    spoken = Voice.load(bundle, Bases(), device="cpu")
    said = replace(HOT, text="今天天气很好", lang="zh")
    alone, other, both = (
        whole(spoken.speak(replace(said, reference=one, also=also)))
        for one, also in ((0, ()), (1, ()), (0, (1,)))
    )
    assert len(alone) >= 11 * 1280
    assert np.isfinite(alone).all()
    # The prompt, and so what is said, is that of the first reference; the timbre is not.
    assert len(both) == len(alone)
    assert not np.array_equal(both, alone)
    assert not np.array_equal(other[: len(alone)], alone[: len(other)])
    mean = (spoken.style([0]) + spoken.style([1])) / 2
    torch.testing.assert_close(spoken.style([0, 1]), mean)
    with pytest.raises(UsageError, match="no number 2"):
        list(spoken.speak(replace(said, also=(2,))))
    if version == "v1":
        with pytest.raises(UnsupportedLanguageError, match="version 1"):
            list(spoken.speak(replace(said, lang="yue")))


def test_the_number_of_averaged_references_is_bounded() -> None:
    assert len(replace(HOT, also=(0,) * REFERENCES_LIMIT).also) == REFERENCES_LIMIT
    with pytest.raises(UsageError, match="averaged"):
        replace(HOT, also=(0,) * (REFERENCES_LIMIT + 1))


@pytest.mark.parametrize("missing", [0, 1])
def test_a_pro_bundle_without_its_speaker_vectors_is_refused(missing: int, tmp_path: Path) -> None:
    bundle, _ = bench.voice(tmp_path, "v2Pro")
    voicefile.load_bundle(bundle)
    path = bundle / voicefile.spec_name(missing)
    file = voicefile.MappedFile(path)
    tensors = {
        name: t.clone() for name, t in voicefile.map_tensors(file, voicefile.file_header(file)).items()
    }
    for changed, word in (
        ({"spectrogram": tensors["spectrogram"]}, "exactly the tensors"),
        (tensors | {"more": torch.zeros(1)}, "exactly the tensors"),
        (tensors | {"speaker": torch.zeros(321)}, "speaker vector of"),
        (tensors | {"speaker": torch.zeros(1, 320)}, "speaker vector of"),
    ):
        path.unlink()
        write_half(path, changed, {})
        with pytest.raises(BadCheckpointError, match=word):
            voicefile.load_bundle(bundle)


def test_which_voices_name_a_speaker_network(tmp_path: Path) -> None:
    bundle, _ = bench.voice(tmp_path, "v2Pro")
    voice = voicefile.read_voice(bundle)
    for version, speaker, good in (
        ("v2Pro", "speaker", True), ("v2Pro", "b" + "a" * 58, True), ("v2Pro", "../x", False),
        ("v2Pro", None, False), ("v2", None, True), ("v2", "speaker", False),
    ):  # fmt: skip
        changed = msgspec.structs.replace(
            voice, version=version, bases=msgspec.structs.replace(voice.bases, speaker=speaker)
        )
        if good:
            data = voicefile.encode_voice(changed)
            assert voicefile.decode_voice(data) == changed
            assert (b'"speaker"' in data) == (speaker is not None)
        else:
            with pytest.raises(BadCheckpointError):
                voicefile.encode_voice(changed)
