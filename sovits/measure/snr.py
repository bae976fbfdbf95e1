"""How far speech lies above the noise of its recording, without a clean copy of it; and how wide it is.

The noise is taken as steady: in every band of the spectrum its power is what the quietest tenth of the time
shows, raised by what such a tenth of pure noise lies below its mean (after Martin, "Noise power spectral
density estimation based on optimal smoothing and minimum statistics", 2001). Bands, because between words
and between harmonics some band is always quiet. Not for music or babble, which are not steady. Follows
specs/measurement.md.
"""

import numpy as np
from numpy.typing import NDArray

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.measure.levels import FRAME_RATE, RATE, Samples, at_16k, is_speech, levels

Array = NDArray[np.float64]

RANGE = (-5.0, 60.0)
"""Ratios outside are not told apart, in decibels."""
SHORTEST = 1.0
"""Seconds without which nothing is known of the noise."""

_WINDOW, _HOP = 512, RATE // FRAME_RATE
_BANDS = 32
_SMOOTH = 8
"""Frames that one power is averaged over."""
_SHARE = 10
"""Percentile of the powers that stands for the noise."""
_BELOW_MEAN = 0.742
"""The same percentile of white noise, as a share of its mean; measured, and held by a test."""
_BATCH = 4000
_POWER_FLOOR = 1e-14


def signal_to_noise(audio: Samples, rate: int) -> float:
    """Mono ``audio`` [n] -> decibels between the mean power while speaking and that of the noise.

    Raises UsageError for less than a second, or without any speech.
    """
    sound = at_16k(audio, rate)
    if len(sound) < SHORTEST * RATE:
        raise UsageError("the noise of a recording needs at least 1 s to be told from speech")
    bands = _band_powers(sound)
    kernel = np.ones(_SMOOTH) / _SMOOTH
    smooth = np.stack([np.convolve(band, kernel, mode="valid") for band in bands.T], axis=1)
    noise = float(np.percentile(smooth, _SHARE, axis=0).sum()) / _BELOW_MEAN
    spoken = is_speech(levels(sound))
    if not spoken.any():
        raise UsageError("there is no speech in the recording")
    total = float(bands.sum(axis=1)[: len(spoken)][spoken[: len(bands)]].mean())
    speech = max(total - noise, _POWER_FLOOR)
    return float(np.clip(10 * np.log10(speech / max(noise, _POWER_FLOOR)), *RANGE))


def bandwidth(audio: Samples, rate: int) -> float:
    """The frequency in hertz above which a recording holds nothing, whatever rate it is stored at.

    It is where the spectrum of the speech falls for good below a thousandth of a thousandth of its peak.
    """
    if np.ndim(audio) != 1 or rate < 4000 or len(audio) < SHORTEST * rate:
        raise UsageError("the bandwidth of a recording needs at least 1 s of one channel")
    window = 1 << int(np.ceil(np.log2(rate * 0.03)))
    sound = np.nan_to_num(np.asarray(audio[: int(rate * 120)], np.float64))
    frames = np.lib.stride_tricks.sliding_window_view(sound, window)[:: window // 2]
    power = np.zeros(window // 2 + 1)
    for start in range(0, len(frames), _BATCH):
        power += np.square(
            np.abs(np.fft.rfft(frames[start : start + _BATCH] * np.hanning(window), axis=1))
        ).sum(0)
    smooth = np.convolve(power, np.ones(3) / 3, mode="same")
    above = np.flatnonzero(smooth > smooth.max() * 1e-6)
    return float((above[-1] if len(above) else 0) * rate / window)


def _band_powers(sound: Samples) -> Array:
    """Powers [frames, _BANDS] of equal widths up to 8 kHz; their sum over bands is a mean square."""
    padded = np.pad(sound, _WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[_HOP // 2 :: _HOP]
    hann = np.hanning(_WINDOW + 1)[:-1]
    scale = 2 / (_WINDOW * np.sum(hann**2))
    parts = []
    for start in range(0, len(frames), _BATCH):
        power = np.square(np.abs(np.fft.rfft(frames[start : start + _BATCH] * hann, axis=1))) * scale
        parts.append(power[:, 1:].reshape(len(power), _BANDS, -1).sum(axis=2))
    return np.concatenate(parts)
