"""Integrated loudness by ITU-R BS.1770-4: K-weighting, 400 ms blocks, two gates; in LUFS.

One channel counts as one channel: the same sound on two loudspeakers would be 3 LU louder. Not for making a
recording louder or softer. Follows specs/measurement.md.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from p2pvoice.protocol.errors import UsageError

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

RATE = 48_000
"""The rate whose filters the recommendation prints."""
SECONDS_LIMIT = 3600.0
"""Longest recording that is measured at once; checked before memory is taken."""
ABSOLUTE_GATE = -70.0
"""Blocks below this many LUFS count for nothing."""
RELATIVE_GATE = -10.0
"""Nor do blocks so far below the mean of the others, in LU."""

# BS.1770-4, tables 1 and 2: the head as a sphere, then a high pass; numerators and denominators.
_HEAD = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
_OFFSET = -0.691
_STEP = RATE // 10
_BLOCK_STEPS = 4
_PIECE = 190
"""Steps that are filtered at once: 19 s, a power of two with what stands around them."""
_LEAD = 10
"""Steps of the past that are filtered with them: the filters have forgotten the rest."""


def integrated(audio: Samples, rate: int) -> float:
    """Mono ``audio`` [n] -> LUFS; minus infinity if nothing passes the gates, as for silence.

    Raises UsageError for what is no single channel, shorter than 0.4 s, or too long.
    """
    if np.ndim(audio) != 1 or not 4000 <= rate <= 192_000:
        raise UsageError(f"loudness is measured in one channel of 4 to 192 kHz, not at {rate} Hz")
    if len(audio) > SECONDS_LIMIT * rate:
        raise UsageError(f"the recording lasts more than {SECONDS_LIMIT:g} s", hint="cut it into pieces")
    if len(audio) < 0.4 * rate:
        raise UsageError("loudness needs at least 0.4 s")
    sound = np.nan_to_num(np.asarray(audio, np.float32))
    if rate != RATE:
        sound = np.asarray(soxr.resample(sound, rate, RATE, quality="HQ"), np.float32)
    steps = _step_powers(sound)
    blocks = np.convolve(steps, np.ones(_BLOCK_STEPS) / _BLOCK_STEPS, mode="valid")
    heard = blocks[_lufs(blocks) > ABSOLUTE_GATE]
    if not len(heard):
        return float("-inf")
    heard = heard[_lufs(heard) > _lufs(heard.mean()) + RELATIVE_GATE]
    return float(_lufs(heard.mean()))


def peak(audio: Samples) -> float:
    """The largest sample in decibels against full scale; minus infinity for silence."""
    highest = float(np.abs(audio).max(initial=0.0))
    return 20 * float(np.log10(highest)) if highest > 0 else float("-inf")


def _lufs(power: Array) -> Array:
    return np.asarray(_OFFSET + 10 * np.log10(np.maximum(power, 1e-20)))


def _step_powers(sound: Samples) -> Array:
    """Mean squares of the weighted sound in each whole tenth of a second."""
    count = len(sound) // _STEP
    powers = [np.zeros(0)]
    gains: dict[int, NDArray[np.complex128]] = {}
    for first in range(0, count, _PIECE):
        start, end = max(0, first - _LEAD) * _STEP, min(count, first + _PIECE) * _STEP
        size = 1 << (end - start + _LEAD * _STEP - 1).bit_length()
        if size not in gains:
            gains[size] = _gain(size)
        # A product of spectra: what wraps around falls into the padding and is cut off with it.
        weighted = np.fft.irfft(np.fft.rfft(sound[start:end].astype(np.float64), size) * gains[size], size)
        weighted = weighted[first * _STEP - start : end - start]
        powers.append(np.square(weighted).reshape(-1, _STEP).mean(axis=1))
    return np.concatenate(powers)


def _gain(size: int) -> NDArray[np.complex128]:
    """Both filters' response at the frequencies of a spectrum of ``size`` samples."""
    turn = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    gain = np.ones_like(turn)
    for above, below in (_HEAD, _HIGH_PASS):
        gain *= np.polyval(above[::-1], turn) / np.polyval(below[::-1], turn)
    return gain
