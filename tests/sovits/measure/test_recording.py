"""Loudness by the standards' own tones, noise that was added, bandwidth that was taken away."""

import numpy as np
import pytest

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits import audio as clips
from p2pvoice.sovits.measure import levels, loudness, snr

from .sounds import BUNDLED, speech_like

ONE_CHANNEL = -3.01
"""The EBU's tones stand in two channels, which together are 3.01 LU louder than one."""


def tone(decibels: float, seconds: float, rate: int = 48_000, hertz: float = 1000.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (10 ** (decibels / 20) * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def test_the_reference_tone_of_bs_1770() -> None:
    """A 997 Hz sine at full scale in one channel reads -3.01 LKFS."""
    assert loudness.integrated(tone(0, 3, hertz=997), 48_000) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        (((-23, 4),), -23.0),
        (((-33, 4),), -33.0),
        (((-36, 2), (-23, 12), (-36, 2)), -23.0),
        (((-72, 2), (-36, 2), (-23, 12), (-36, 2), (-72, 2)), -23.0),
        (((-26, 20), (-20, 20.1), (-26, 20)), -23.0),
    ],
)
def test_the_tones_of_ebu_tech_3341(steps: tuple[tuple[float, float], ...], wanted: float) -> None:
    """Its test cases 1 to 5, within its 0.1 LU; the first four at a fifth of their length."""
    sound = np.concatenate([tone(decibels, seconds) for decibels, seconds in steps])
    assert loudness.integrated(sound, 48_000) == pytest.approx(wanted + ONE_CHANNEL, abs=0.1)


def test_speech_at_another_rate() -> None:
    """pyloudnorm 0.2.0 reads -23.24 LUFS at the clip's own 16 kHz, with filters of its own design."""
    samples, rate = clips.read_clip(BUNDLED)
    assert loudness.integrated(samples, rate) == pytest.approx(-23.24, abs=0.05)
    assert loudness.peak(samples) == pytest.approx(-7.49, abs=0.01)


def test_silence_passes_no_gate_and_bounds_hold() -> None:
    assert loudness.integrated(np.zeros(48_000, np.float32), 48_000) == -np.inf
    assert loudness.peak(np.zeros(10, np.float32)) == -np.inf
    with pytest.raises(UsageError, match=r"0\.4 s"):
        loudness.integrated(np.zeros(19_199, np.float32), 48_000)
    longest = np.broadcast_to(np.float32(0), (round(loudness.SECONDS_LIMIT) * 4000 + 1,))
    with pytest.raises(UsageError, match="3600"):
        loudness.integrated(longest, 4000)


@pytest.mark.parametrize("source", ["bundled", "made"])
def test_known_noise_is_found(source: str) -> None:
    if source == "bundled":
        sound = clips.read_clip(BUNDLED)[0]
        spoken = levels.is_speech(levels.levels(sound))
    else:
        # Without a pause now and then, nothing tells a noise from the voice.
        sound, _, spoken = speech_like(seconds=4.0, rate=16_000, seed=6)
        sound, spoken = np.pad(sound, (0, 16_000)), np.pad(spoken, (0, 100))
    power = np.mean(sound[: len(spoken) * 160].reshape(-1, 160)[spoken] ** 2)
    random = np.random.default_rng(7)
    for true, within in ((35, 2), (25, 2), (15, 2), (8, 3)):
        noise = random.standard_normal(len(sound)) * np.sqrt(power * 10 ** (-true / 10))
        found = snr.signal_to_noise((sound + noise).astype(np.float32), 16_000)
        assert found == pytest.approx(true, abs=within), true


def test_the_tenth_of_white_noise_lies_where_the_constant_says() -> None:
    bands = snr._band_powers(np.random.default_rng(8).standard_normal(20 * 16_000).astype(np.float32))
    smooth = np.stack([np.convolve(band, np.ones(8) / 8, mode="valid") for band in bands.T], axis=1)
    assert np.mean(np.percentile(smooth, 10, axis=0) / bands.mean(axis=0)) == pytest.approx(
        snr._BELOW_MEAN, abs=0.01
    )
    assert bands.sum(axis=1).mean() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("narrow", [8_000, 22_050])
def test_bandwidth_is_that_of_the_narrowest_rate(narrow: int) -> None:
    noise = np.random.default_rng(9).standard_normal(2 * narrow).astype(np.float32) * 0.1
    wide = clips.resample_soxr(noise, narrow, 48_000)
    assert snr.bandwidth(wide, 48_000) == pytest.approx(narrow / 2, rel=0.06)


def test_a_second_is_needed() -> None:
    for measure in (snr.signal_to_noise, snr.bandwidth):
        with pytest.raises(UsageError, match="1 s"):
            measure(np.zeros(15_999, np.float32), 16_000)
        if measure is snr.bandwidth:
            assert measure(np.zeros(16_000, np.float32), 16_000) == 0
