"""The published networks, run by our own code, give the published packages' numbers.

The packages of the extra ``measure`` are optional: what needs them is skipped where they are not installed,
and what is said then is tested always.
"""

import importlib.util
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.sovits import audio as clips
from p2pvoice.sovits.measure import asr, describe, dnsmos, embed, extra, mel

from .sounds import BUNDLED, speech_like

VECTORS = json.loads((Path(__file__).parent / "vectors" / "networks.json").read_text("utf-8"))


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    samples, rate = clips.read_clip(BUNDLED)
    assert rate == 16_000
    return samples


@needs("resemblyzer")
def test_the_embedding_equals_the_packages(clip: np.ndarray) -> None:
    made = embed.SpeakerEncoder.load().embed(clip)
    assert np.abs(made - np.array(VECTORS["embedding"])).max() < 1e-3


@needs("resemblyzer")
@pytest.mark.slow
def test_the_embedding_equals_the_packages_at_any_length(
    clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its voice activity detector asks a module that setuptools no longer has for its own version.
    stub = types.ModuleType("pkg_resources")
    stub.get_distribution = lambda name: types.SimpleNamespace(version="0")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pkg_resources", stub)
    package = pytest.importorskip("resemblyzer")
    theirs, ours = package.VoiceEncoder("cpu", verbose=False), embed.SpeakerEncoder.load()
    long = np.tile(clip, 3)
    for count in (8_000, 25_599, 25_600, 25_601, 44_000, 45_000, 160_000):
        assert np.abs(theirs.embed_utterance(long[:count]) - ours.embed(long[:count])).max() < 1e-3, count
    # Its pauses are found by another detector than ours; the voice stays the same.
    soft = clip * 10 ** (-30 / 20) / np.sqrt(np.mean(clip**2))
    cut = theirs.embed_utterance(package.preprocess_wav(soft, 16_000))
    assert embed.similarity(cut, embed.speaker_embedding(clip, 16_000)) > 0.99


@needs("resemblyzer")
def test_one_voice_is_nearer_to_itself_than_to_another(clip: np.ndarray) -> None:
    first, second = (embed.speaker_embedding(half, 16_000) for half in np.split(clip, 2))
    other = embed.speaker_embedding(speech_like(3.0, 16_000, seed=1)[0], 16_000)
    assert first.shape == (embed.SIZE,)
    assert np.linalg.norm(first) == pytest.approx(1)
    assert embed.similarity(first, second) > 0.8 > 0.7 > embed.similarity(first, other)
    both = embed.speakers_embedding([(half, 16_000) for half in np.split(clip, 2)])
    assert embed.similarity(both, first) > embed.similarity(first, second)


@needs("resemblyzer")
def test_rate_loudness_and_pauses_change_little(clip: np.ndarray) -> None:
    plain = embed.speaker_embedding(clip, 16_000)
    quiet = np.concatenate([np.zeros(16_000, np.float32), clip * 0.05, np.zeros(32_000, np.float32)])
    assert embed.similarity(plain, embed.speaker_embedding(quiet, 16_000)) > 0.98
    assert (
        embed.similarity(plain, embed.speaker_embedding(clips.resample_soxr(clip, 16_000, 44_100), 44_100))
        > 0.99
    )


@pytest.mark.parametrize(
    "audio", [np.zeros(0, np.float32), np.zeros(32_000, np.float32), np.ones(3_000, np.float32)]
)
def test_nothing_is_no_speaker(audio: np.ndarray) -> None:
    with pytest.raises(UsageError, match="too little speech"):
        embed.speech_of(audio, 16_000)


@pytest.mark.parametrize("rate", [4000])
def test_long_recordings_are_refused_before_they_are_copied(rate: int) -> None:
    for module, measure in ((embed, embed.speech_of), (dnsmos, dnsmos.ovrl), (asr, asr._prepared)):
        longest = np.broadcast_to(np.float32(0), (round(module.SECONDS_LIMIT * rate) + 1,))
        with pytest.raises(UsageError, match="1200"):
            measure(longest, rate)


@needs("speechmos")
@needs("onnxruntime")
def test_dnsmos_equals_the_packages(clip: np.ndarray) -> None:
    said = dnsmos.ovrl(clip, 16_000)
    assert said == pytest.approx(VECTORS["dnsmos"], abs=2e-3)


def test_dnsmos_hears_at_most_so_many_windows() -> None:
    assert dnsmos._starts(round(9.5 * 16_000)) == [0]
    assert dnsmos._starts(11 * 16_000) == [0, 16_000]
    many = dnsmos._starts(600 * 16_000)
    assert len(many) == dnsmos.WINDOWS
    assert many[-1] + dnsmos._SAMPLES == 600 * 16_000


def test_mel_filters_are_triangles_of_unit_area() -> None:
    made = mel.filters(16_000, 4096, 40)
    assert made.min() >= 0
    assert made.sum(axis=1) * 16_000 / 4096 == pytest.approx(np.ones(40), abs=0.01)
    # Below 1 kHz Slaney's scale is linear: 3 mel a 200 Hz.
    peaks = made.argmax(axis=1) * 16_000 / 4096
    assert np.ptp(np.diff(peaks[:10])) <= 2 * 16_000 / 4096


def test_what_is_missing_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        extra.package_file("no_such_package_here", "weights", "this")
    assert raised.value.hint == "pip install 'p2pvoice[measure]'"
    with pytest.raises(NotFoundError, match=r"model\.bin"):
        asr.Ear(tmp_path)


@needs("faster_whisper")
def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    for name in asr.FILES:
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(UsageError, match="cannot be loaded"):
        asr.Ear(tmp_path)


@pytest.mark.parametrize("package", ["faster_whisper", "onnxruntime"])
def test_a_package_that_is_not_there_is_asked_for(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for name in asr.FILES:
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(UsageError) as raised:
        asr.Ear(tmp_path) if package == "faster_whisper" else dnsmos._sessions.__wrapped__()
    assert raised.value.hint == extra.INSTALL


@needs("faster_whisper")
@pytest.mark.slow
@pytest.mark.skipif("P2PVOICE_ASR" not in os.environ, reason="P2PVOICE_ASR names no recogniser's folder")
def test_a_recogniser_hears_the_bundled_clip(clip: np.ndarray) -> None:
    ear = asr.Ear(Path(os.environ["P2PVOICE_ASR"]))
    said = "We walked along the river in the morning, and the light was clear."
    assert (
        asr.error_rate(said, ear.hear(clips.resample_soxr(clip, 16_000, 24_000), 24_000, "en"), "en")[0] < 0.2
    )
    assert next(iter(ear.languages(clip, 16_000))) == "en"
    found = describe.describe([describe.Clip(clip, 16_000, said)], ear=ear, networks=False)
    assert found["language"].value == "en"
    assert float(found["wer"].value) < 20
