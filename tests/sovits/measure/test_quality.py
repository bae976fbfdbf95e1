"""Regularity of a voice against pulses whose irregularity is known, and against Praat's figures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits import audio as clips
from p2pvoice.sovits.measure import formants, pitch, quality, rate

from .sounds import BUNDLED, pulsed, resonate, speech_like

RATE = 16_000
PRAAT = json.loads((Path(__file__).parent / "vectors" / "quality.json").read_text("utf-8"))["rows"]


@pytest.mark.parametrize("row", PRAAT, ids=lambda row: str(row.get("pulsed", "bundled")))
def test_hnr_jitter_and_shimmer_agree_with_praat(row: dict[str, Any]) -> None:
    sound = pulsed(**row["pulsed"])[0] if "pulsed" in row else clips.read_clip(BUNDLED)[0]
    found = quality.regularity(sound, RATE)
    # Above 25 dB it is the interpolation that decides, and no voice gets there.
    assert min(found.hnr, 25) == pytest.approx(min(row["hnr"], 25), abs=2.1)
    assert found.jitter == pytest.approx(row["jitter"], abs=0.0015)
    assert found.shimmer == pytest.approx(row["shimmer"], abs=0.01)


@pytest.mark.parametrize("snr", [20.0, 10.0, 5.0])
def test_hnr_is_the_noise_that_was_added(snr: float) -> None:
    assert quality.regularity(pulsed(140, 1.5, 8, snr=snr)[0], RATE).hnr == pytest.approx(snr, abs=1.0)


def test_jitter_and_shimmer_are_those_of_the_pulses() -> None:
    # Each period rings on into the next, which blurs what the pulses were.
    sound, jitter, shimmer = pulsed(130, 1.5, 9, jitter=0.012, shimmer=0.05)
    found = quality.regularity(sound, RATE)
    assert found.jitter == pytest.approx(jitter, rel=0.2)
    assert found.shimmer == pytest.approx(shimmer, rel=0.35)
    steady = quality.regularity(pulsed(130, 1.5, 10)[0], RATE)
    assert steady.jitter < 0.001
    assert steady.shimmer < 0.01


def test_the_cepstral_peak_falls_with_noise_and_hoarseness_rises() -> None:
    found = [quality.regularity(pulsed(140, 1.5, 11, snr=snr)[0], RATE) for snr in (30.0, 15.0, 5.0)]
    peaks = [one.cpps for one in found]
    assert peaks[0] > peaks[1] + 2 > peaks[2] + 4
    assert found[0].hoarseness < 0.2 < 0.5 < found[2].hoarseness


def test_the_first_harmonic_over_the_second() -> None:
    time = np.arange(RATE) / RATE
    sound = np.cos(2 * np.pi * 200 * time) + 10 ** (-9 / 20) * np.cos(2 * np.pi * 400 * time + 1)
    found = quality.regularity((0.1 * sound).astype(np.float32), RATE)
    assert found.h1_h2 == pytest.approx(9, abs=0.1)


def test_silence_has_no_quality() -> None:
    with pytest.raises(UsageError, match="too little voice"):
        quality.regularity(np.zeros(RATE, np.float32), RATE)


def test_syllables_are_counted_in_texts_and_heard_in_speech() -> None:
    assert rate.syllables_of("今天天气很好。", "zh") == 6
    assert rate.syllables_of("呢度有12個人", "yue") == 7
    assert rate.syllables_of("The morning light was clear.", "en") == 6
    assert rate.syllables_of("schöne Grüße", "de") == 4
    sound, _, voiced = speech_like(seconds=6.0, rate=RATE, seed=4)
    true = int((np.diff(voiced.astype(int)) == 1).sum())
    heard = rate.rate_of(sound, RATE)
    assert not heard.read
    assert heard.syllables == pytest.approx(true, rel=0.2)
    text = "We walked along the river in the morning, and the light was clear."
    read = rate.rate_of(*clips.read_clip(BUNDLED), text=text, lang="en")
    assert (read.read, read.syllables) == (True, 16)
    assert 4 < read.a_second < 7


@pytest.mark.parametrize("length", [14.0, 17.5])
def test_the_tract_is_as_long_as_the_tube(length: float) -> None:
    """A pulse train through the resonances of a uniform tube."""
    apart = 100 * formants.SPEED_OF_SOUND / (2 * length)
    tube = np.tile(apart * (np.arange(4) + 0.5), (150, 1))
    source = pulsed(120, 1.2, 12)[0] * 0
    source[:: round(RATE / 120)] = 1.0
    sound = resonate(source, RATE, tube, np.array([70.0, 90.0, 120.0, 160.0])).astype(np.float32)
    found = formants.formants(sound, RATE, pitch.track(sound, RATE))
    assert formants.tract_length(formants.spacing(found)) == pytest.approx(length, rel=0.05)


def test_too_few_vowels_tell_no_length() -> None:
    with pytest.raises(UsageError, match="too few vowels"):
        formants.spacing(np.full((formants.LEAST_FRAMES - 1, 4), 1000.0))
