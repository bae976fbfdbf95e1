"""How loud the hundredths of a second of a recording are, and which of them are speech.

What snr, rate and describe share. Speech is what lies well above the recording's own floor, so that a quiet
recording has speech and a loud hum has none. Follows specs/measurement.md.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from p2pvoice.protocol.errors import UsageError

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

RATE = 16_000
"""The rate that speech is measured at, in hertz."""
FRAME_RATE = 100
"""Levels a second; level i is that of the i-th hundredth of a second and its surroundings."""
SECONDS_LIMIT = 1200.0
"""Longest recording that is measured at once; checked before memory is taken."""

_REACH = 400
"""Samples that one level is taken over: 25 ms."""
_UNDER_LOUD_DB = 30.0
"""Speech is at most so far below the loud parts, but for pauses."""
_OVER_FLOOR_DB = 6.0
"""Speech is at least so far above the floor."""
_SILENCE_DB = -100.0


def at_16k(audio: Samples, rate: int) -> Samples:
    """Mono ``audio`` [n] at 16 kHz. Raises UsageError for what is no single channel, or too long."""
    if np.ndim(audio) != 1 or not 4000 <= rate <= 192_000:
        raise UsageError(f"speech is measured in one channel of 4 to 192 kHz, not at {rate} Hz")
    if len(audio) > SECONDS_LIMIT * rate:
        raise UsageError(f"the recording lasts more than {SECONDS_LIMIT:g} s", hint="cut it into pieces")
    sound = np.nan_to_num(np.asarray(audio, np.float32))
    if rate == RATE or not len(sound):
        return sound
    return np.asarray(soxr.resample(sound, rate, RATE, quality="HQ"), np.float32)


def levels(sound: Samples) -> Array:
    """16 kHz samples [n] -> decibels against full scale [n // 160]."""
    hop = RATE // FRAME_RATE
    count = len(sound) // hop
    edge = (_REACH - hop) // 2
    sums = np.cumsum(np.pad(np.square(sound, dtype=np.float64), (edge + 1, _REACH)))
    starts = np.arange(count) * hop
    power = (sums[starts + _REACH] - sums[starts]) / _REACH
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (_SILENCE_DB / 10))))


def is_speech(decibels: Array) -> NDArray[np.bool_]:
    """Which levels are speech: near the loud ones and clear of the floor; short gaps are filled."""
    if not len(decibels):
        return np.zeros(0, bool)
    loud, floor = np.percentile(decibels, [95, 5])
    least = max(loud - _UNDER_LOUD_DB, min(floor + _OVER_FLOOR_DB, loud - 3.0), _SILENCE_DB + 20)
    spoken = decibels > least
    # A stop consonant is silent for some 80 ms, and still part of its word.
    near = np.convolve(spoken, np.ones(9), mode="full")[4 : 4 + len(spoken)] > 0
    kept = np.convolve(~near, np.ones(9), mode="full")[4 : 4 + len(spoken)] == 0
    return np.asarray(spoken | kept)
