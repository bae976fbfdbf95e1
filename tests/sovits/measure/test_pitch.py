"""The pitch tracker against curves that are known, traps for octave errors, noise, and the bundled voice."""

import numpy as np
import pytest

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits import audio as clips
from p2pvoice.sovits.measure import pitch

from .sounds import BUNDLED, add_noise, harmonics, speech_like

RATE = 16_000


def errors(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Semitones between two curves where the first is voiced."""
    at = found > 0
    return np.abs(12 * np.log2(found[at] / true[at]))


def glide(low: float, high: float, seconds: float = 1.5, rate: int = RATE) -> np.ndarray:
    return low * (high / low) ** (np.arange(round(seconds * rate)) / (seconds * rate))


def middle(curve: np.ndarray, rate: int = RATE) -> np.ndarray:
    """A curve of every sample, at the middle of every hundredth of a second."""
    return curve[rate // 200 :: rate // 100]


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 48_000])
def test_a_glide_is_followed_closely_at_any_rate(rate: int) -> None:
    curve = glide(90, 350, rate=rate)
    found = pitch.track(harmonics(curve, rate, 1 / np.arange(1, 12)), rate)
    assert len(found) == 150
    assert found.dtype == np.float32
    true = np.interp((np.arange(150) + 0.5) / 100, np.arange(len(curve)) / rate, curve)
    assert np.mean(found > 0) > 0.97
    assert np.median(errors(found, true)) < 0.02
    assert errors(found, true)[3:-3].max() < 0.25


@pytest.mark.parametrize("hertz", [55.0, 80.0, 230.0, 410.0, 590.0])
def test_steady_tones_over_the_whole_range(hertz: float) -> None:
    found = pitch.track(harmonics(np.full(RATE, hertz), RATE, 1 / np.arange(1, 8)), RATE)
    assert np.mean(found > 0) > 0.95
    assert np.median(errors(found, np.full(100, hertz))) < 0.02


@pytest.mark.parametrize(
    ("name", "amplitudes"),
    [
        ("missing fundamental", [0, 1, 0.8, 0.6, 0.5, 0.4, 0.3]),
        ("only the third to fifth harmonic", [0, 0, 1, 1, 1]),
        ("strong second harmonic", [0.4, 1, 0.25, 0.3, 0.15]),
        ("strong fundamental", [1, 0.05, 0.02]),
        ("odd harmonics only", [1, 0, 0.6, 0, 0.4]),
    ],
)
def test_traps_for_octave_errors(name: str, amplitudes: list[float]) -> None:
    curve = glide(110, 220)
    found = pitch.track(harmonics(curve, RATE, np.array(amplitudes)), RATE)
    assert np.mean(found > 0) > 0.95
    assert np.mean(errors(found, middle(curve)) > 1) < 0.02


def test_a_speaker_whose_pitch_moves_is_followed_through_noise() -> None:
    sound, curve, voiced = speech_like(seconds=4.0, rate=RATE, seed=1)
    random = np.random.default_rng(2)
    for snr, gross, missed in ((30, 0.02, 0.05), (10, 0.02, 0.10), (3, 0.03, 0.25)):
        found = pitch.track(add_noise(sound, snr, random), RATE)
        at = voiced & (found > 0)
        wrong = np.abs(12 * np.log2(found[at] / curve[at])) > 1
        assert np.mean(wrong) <= gross, snr
        assert np.mean(found[voiced] == 0) <= missed, snr
        # The frame in which a syllable begins or ends belongs to both.
        inside = ~(np.convolve(voiced, np.ones(5), mode="same") > 0)
        assert np.mean(found[inside] > 0) <= 0.03, snr


def test_noise_silence_and_an_offset_are_unvoiced() -> None:
    random = np.random.default_rng(3)
    assert np.mean(pitch.track(random.standard_normal(2 * RATE).astype(np.float32) * 0.1, RATE) > 0) < 0.02
    assert not pitch.track(np.zeros(RATE, np.float32), RATE).any()
    assert not pitch.track(np.full(RATE, 0.5, np.float32), RATE).any()


def test_loudness_and_an_offset_change_nothing() -> None:
    sound, _, _ = speech_like(seconds=1.0, rate=RATE, seed=5)
    found = pitch.track(sound, RATE)
    assert np.allclose(pitch.track(sound * 0.05 + 0.2, RATE), found, rtol=0.01, atol=1)


def test_long_recordings_are_worked_on_in_blocks_without_a_seam() -> None:
    curve = np.full(21 * RATE, 150.0)
    found = pitch.track(harmonics(curve, RATE, np.array([1, 0.5, 0.3])), RATE)
    assert len(found) == 2100
    assert np.abs(found[5:-5] - 150).max() < 0.5


def test_the_bundled_voice() -> None:
    """Against Praat 6.1.38's autocorrelation method (Boersma 1993), run once on the same clip."""
    samples, rate = clips.read_clip(BUNDLED)
    found = pitch.track(samples, rate)
    voiced = found[found > 0]
    assert np.median(voiced) == pytest.approx(PRAAT_MEDIAN, rel=0.02)
    assert np.percentile(voiced, [10, 90]) == pytest.approx(PRAAT_TENTHS, rel=0.05)


PRAAT_MEDIAN = 193.0
PRAAT_TENTHS = (173.8, 217.9)


@pytest.mark.parametrize("count", [0, 1, 159, 160, 161])
def test_very_short_recordings(count: int) -> None:
    assert len(pitch.track(np.ones(count, np.float32), RATE)) == count // 160


def test_bounds() -> None:
    with pytest.raises(UsageError, match="one channel"):
        pitch.track(np.zeros((2, 100), np.float32), RATE)
    for rate in (3999, 192_001):
        with pytest.raises(UsageError, match="Hz"):
            pitch.track(np.zeros(100, np.float32), rate)
    low = pitch.RATE_RANGE[0]
    longest = np.broadcast_to(np.float32(0), (round(pitch.SECONDS_LIMIT) * low + 1,))
    with pytest.raises(UsageError, match="3600"):
        pitch.track(longest, low)
