"""Devices change the sound and keep its length; a voice that is one recording is as stable as that."""

import importlib.util
import json

import numpy as np
import pytest

from p2pvoice.protocol.errors import UnsupportedLanguageError, UsageError
from p2pvoice.sovits import audio as clips
from p2pvoice.sovits.measure import devices, snr, stability

from .sounds import BUNDLED, speech_like

RATE = 24_000
SOUND = speech_like(seconds=2.0, rate=RATE, seed=2)[0]
ALL = devices.all_devices()


@pytest.mark.parametrize("name", list(ALL))
def test_every_device_changes_the_sound_and_nothing_else(name: str) -> None:
    made = ALL[name](SOUND, RATE, 5)
    assert made.shape == SOUND.shape
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert not np.allclose(made, SOUND, atol=1e-3)
    assert np.sqrt(np.mean(made**2)) == pytest.approx(np.sqrt(np.mean(SOUND**2)), rel=0.15)
    assert np.array_equal(made, ALL[name](SOUND, RATE, 5))


def test_the_seed_decides_what_is_random() -> None:
    for name in ("noise 20 dB", "living room"):
        assert not np.array_equal(ALL[name](SOUND, RATE, 1), ALL[name](SOUND, RATE, 2))
    assert np.array_equal(ALL["phone"](SOUND, RATE, 1), ALL["phone"](SOUND, RATE, 2))


def test_devices_do_what_their_names_say() -> None:
    for decibels in (20, 10):
        noise = ALL[f"noise {decibels} dB"](SOUND, RATE, 1) - SOUND
        assert 10 * np.log10(np.mean(SOUND**2) / np.mean(noise**2)) == pytest.approx(decibels, abs=0.1)
    white = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.05
    spectrum = np.abs(np.fft.rfft(devices.telephone(white, RATE, 0))) ** 2
    at = np.fft.rfftfreq(RATE, 1 / RATE)
    inside, below, above = (
        spectrum[(at > low) & (at < high)].mean() for low, high in ((600, 2500), (20, 120), (8000, 12_000))
    )
    assert 10 * np.log10(inside / below) > 20
    assert 10 * np.log10(inside / above) > 20
    for name in ("mu-law 8 kHz", "GSM 06.10"):
        assert snr.bandwidth(ALL[name](SOUND, RATE, 0), RATE) < 4300


@pytest.mark.skipif(importlib.util.find_spec("resemblyzer") is None, reason="resemblyzer is not installed")
def test_a_report() -> None:
    samples, rate = clips.read_clip(BUNDLED)
    heard: list[int] = []

    def speak(text: str, lang: str, seed: int) -> tuple[np.ndarray, int]:
        if lang == "ja":
            raise UnsupportedLanguageError("no Japanese")
        return (samples, rate) if lang == "en" else (speech_like(2.0, rate, seed)[0], rate)

    some = {name: ALL[name] for name in ("noise 10 dB", "telephone band")}
    found = stability.report(
        speak,
        ["en", "zh", "ja"],
        [(samples, rate)],
        sentences={"en": ["a"], "zh": ["b", "c"], "ja": ["d"]},
        devices=some,
        tell=lambda done, count: heard.append(done),
    )
    assert heard == [0, 1, 2, 3, 4]
    assert found["languages"]["en"]["mean"] == 1
    assert found["languages"]["zh"]["mean"] < stability.PROMISE
    assert found["left_out"] == {"ja": "no Japanese"}
    assert found["plain"]["count"] == 3
    assert found["all"]["count"] == 9
    assert found["plain"]["kept"] == pytest.approx(1 / 3, abs=0.01)
    noise = found["devices"]["noise 10 dB"]
    assert noise["p5"] <= noise["mean"] < noise["recording"] < 1
    assert [row["field"] for row in found["measured"]] == [
        "stability.plain.mean", "stability.plain.p5", "stability.devices.mean", "stability.devices.p5",
    ]  # fmt: skip
    assert json.loads(json.dumps(found)) == found


def test_no_sentences_no_report() -> None:
    with pytest.raises(UsageError, match="no sentences"):
        stability.report(lambda text, lang, seed: (SOUND, RATE), ["xx"])
