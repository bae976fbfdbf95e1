"""The fundamental frequency of a voice: one value a hundredth of a second, 0 where nothing is voiced.

For describing voices, for training on their pitch, and for measures that need to know the period. Not for
music or for several voices at once. The difference function and its normalisation are those of de Cheveigné
and Kawahara, "YIN, a fundamental frequency estimator for speech and music" (2002); that the threshold is a
distribution and not a number, and that a Viterbi path chooses among the candidates, is Mauch and Dixon,
"pYIN" (2014). Follows specs/measurement.md.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from p2pvoice.protocol.errors import UsageError

FRAME_RATE = 100
"""Values a second; value i describes the middle of the i-th hundredth of a second."""
PITCH_RANGE = (50.0, 600.0)
"""Lowest and highest frequency that is looked for, in hertz."""
SECONDS_LIMIT = 3600.0
"""Longest recording that is tracked at once; checked before memory is taken."""
RATE_RANGE = (4000, 192_000)
"""Sample rates that are accepted, in hertz."""

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

_RATE = 16_000
_HOP = _RATE // FRAME_RATE
_WINDOW = 400
"""Samples over which the difference is summed: 25 ms."""
_LAGS = 328
"""Lags that are computed: a period of the lowest pitch, 320, and room to interpolate beside it."""
_SHORTEST = 24
"""Least lag that can be a period: that of 600 Hz is 26.7, and a dip needs neighbours."""
_CENTRAL_LAG = 100
"""The lag whose two windows lie evenly around the frame's middle; others are at most 7 ms off."""
_FFT = 1024
"""At least _WINDOW + _LAGS, so that no product wraps around into a lag that is used."""
_BLOCK = 2000
"""Frames that are worked on at once, which bounds memory to some 60 MB."""
_CANDIDATES = 8
"""Periods that are kept for each frame."""
_LOWPASS = 1100.0
"""Only what lies below is compared, in hertz: noise above it says nothing about the period."""
_FIR = 97
"""Taps of that low pass."""
_THRESHOLD_SHAPE = 28
"""b of the Beta(2, b) distribution of the threshold under which a dip counts: its mean is 2 / (2 + b)."""
_UNLIKELY = 1e-4
"""The least probability of a candidate, so that a path may still insist on it."""
_VOICED_DIP = 0.45
"""Aperiodicity at which a frame is as likely voiced as not."""
_VOICED_SLOPE = 12.0
"""How fast that likelihood changes with the aperiodicity."""
_SILENCE_DB = -38.0
"""Level, against the loud parts of the recording, at which a frame's being voiced becomes improbable."""
_LOUD_SHARE = 95
"""Percentile of the frames' levels that counts as loud."""
_SWITCH_COST = 2.5
"""What it costs to begin or to end voicing, in nats."""
_STEP_COST = 30.0
"""What an octave costs between two frames; speech moves less than a tenth of one."""
_FREE_STEP = 0.02
"""Octaves a frame that cost nothing."""
_USUAL_REACH = 0.5
"""Octaves around a speaker's median within which every pitch is as likely."""
_STRANGE_COST = 10.0
"""What each further octave costs, in nats a frame."""
_LEVEL_FLOOR = 1e-5
"""Full scale is 1; a frame quieter than this is digital silence."""
_SHORTEST_RUN = 3
"""Voiced runs of fewer frames are chance."""


def track(audio: Samples, rate: int) -> NDArray[np.float32]:
    """F0 of mono ``audio`` [n] -> [n * 100 // rate] in hertz, 0 where a frame is unvoiced.

    Raises UsageError for a rate or a length out of bounds, or for audio that is not one row of numbers.
    """
    return analyse(audio, rate)[0]


def analyse(audio: Samples, rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """As :func:`track`, and the aperiodicity of each frame: 0 for a perfect period, about 1 for noise."""
    _check(audio, rate)
    count = len(audio) * FRAME_RATE // rate
    if count == 0:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    sound = np.asarray(audio, np.float32)
    if rate != _RATE:
        sound = np.asarray(soxr.resample(sound, rate, _RATE, quality="HQ"), np.float32)
    sound = np.nan_to_num(sound)
    filtered = _filter(sound)
    # The frame's first sample, so that both windows of the central lag lie evenly around its middle.
    before = (_WINDOW + _CENTRAL_LAG) // 2 - _HOP // 2
    padded = np.pad(filtered, (before, _WINDOW + _LAGS + _HOP))
    parts = [_candidates(padded, first, min(count, first + _BLOCK)) for first in range(0, count, _BLOCK)]
    periods, chances, dips, levels = (np.concatenate(column) for column in zip(*parts, strict=True))
    voiced = _voicing(dips, levels)
    pitches = np.log2(_RATE / periods)
    likely, unvoiced = np.log(chances) + np.log(voiced), np.log1p(-voiced[:, 0])
    rows = np.arange(count)
    path = _best_path(pitches, likely, unvoiced)
    if (path < _CANDIDATES).any():
        # Once more, now that it is known where this speaker's pitch lies.
        usual = np.median(pitches[rows, path % _CANDIDATES][path < _CANDIDATES])
        strange = np.maximum(np.abs(pitches - usual) - _USUAL_REACH, 0.0)
        path = _best_path(pitches, likely - _STRANGE_COST * strange, unvoiced)
    is_voiced, chosen = path < _CANDIDATES, path % _CANDIDATES
    f0 = np.where(is_voiced, 2.0 ** pitches[rows, chosen], 0.0)
    aperiodicity = np.where(is_voiced, dips[rows, chosen], dips[:, 0])
    return _without_short_runs(f0).astype(np.float32), np.clip(aperiodicity, 0, 1).astype(np.float32)


def _check(audio: Samples, rate: int) -> None:
    if np.ndim(audio) != 1:
        raise UsageError(f"pitch is tracked in one channel, not in an array of {np.ndim(audio)} dimensions")
    if not RATE_RANGE[0] <= rate <= RATE_RANGE[1]:
        raise UsageError(f"cannot track pitch at {rate} Hz", hint="resample the recording to 16000 Hz")
    if len(audio) > SECONDS_LIMIT * rate:
        raise UsageError(f"the recording lasts more than {SECONDS_LIMIT:g} s", hint="cut it into pieces")


def _filter(sound: Samples) -> Samples:
    """Without what lies far below and above the pitch and its lowest harmonics."""
    taps = np.arange(_FIR) - _FIR // 2
    low = np.sinc(2 * _LOWPASS / _RATE * taps) * np.hanning(_FIR + 2)[1:-1]
    smooth = np.convolve(sound, (low / low.sum()).astype(np.float32))[_FIR // 2 :][: len(sound)]
    # A running mean, taken twice, is what drifts: taking it away leaves no offset and no rumble.
    return np.asarray(smooth - _running_mean(_running_mean(smooth.astype(np.float64))), np.float32)


def _running_mean(values: Array) -> Array:
    half = _RATE // 80
    sums = np.cumsum(np.concatenate([[0.0], np.pad(values, half, mode="edge")]))
    return (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)


def _differences(padded: Samples, first: int, last: int) -> tuple[Array, Array]:
    """Normalised differences d' [frames, _LAGS] of some frames, and the frames' levels in decibels.

    d(lag) = sum over the window of (x[t] - x[t + lag])^2, by energies and one product of spectra; d' divides
    it by its own mean up to that lag, so that it begins at 1 and lag 0 is no dip.
    """
    starts = np.arange(first, last) * _HOP
    reach = _WINDOW + _LAGS
    rows = np.lib.stride_tricks.sliding_window_view(padded, reach)[starts].astype(np.float64)
    head = np.fft.rfft(rows[:, :_WINDOW], _FFT)
    products = np.fft.irfft(head.conj() * np.fft.rfft(rows, _FFT), _FFT)[:, :_LAGS]
    sums = np.cumsum(np.pad(rows * rows, ((0, 0), (1, 0))), axis=1)
    energies = sums[:, _WINDOW : _WINDOW + _LAGS] - sums[:, :_LAGS]
    floor = _WINDOW * _LEVEL_FLOOR**2
    difference = np.maximum(energies[:, :1] + energies - 2 * products, 0.0) + floor
    mean = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, _LAGS)
    normalised = np.ones_like(difference)
    normalised[:, 1:] = difference[:, 1:] / mean
    levels = 10 * np.log10(sums[:, reach] / reach + _LEVEL_FLOOR**2)
    return normalised, levels


def _candidates(padded: Samples, first: int, last: int) -> tuple[Array, Array, Array, Array]:
    """Periods in samples, their probabilities and dips, each [frames, _CANDIDATES]; and levels [frames]."""
    normalised, levels = _differences(padded, first, last)
    middle, left, right = normalised[:, 1:-1], normalised[:, :-2], normalised[:, 2:]
    is_dip = (middle <= left) & (middle < right)
    is_dip[:, : _SHORTEST - 1] = False
    dips = np.where(is_dip, middle, np.inf)
    # A noise lifts every dip alike, so the threshold is measured from the deepest one.
    deepest = np.minimum(dips.min(axis=1, keepdims=True), 1.0)
    depth = np.where(is_dip, (dips - deepest) / (1.0 - deepest + 1e-3), np.inf)
    earlier = np.minimum.accumulate(np.pad(depth, ((0, 0), (1, 0)), constant_values=np.inf), axis=1)[:, :-1]
    # The share of all thresholds for which this is the first dip that lies below.
    chance = np.where(is_dip, _share_below(earlier) - _share_below(depth), 0.0)
    chance = np.maximum(chance, np.where(is_dip, _UNLIKELY, 0.0))
    best = np.argpartition(-chance, _CANDIDATES, axis=1)[:, :_CANDIDATES]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(chance, best, 1), axis=1), 1)

    def of_best(values: Array) -> Array:
        return np.take_along_axis(values, best, axis=1)

    # The bottom of the parabola through a dip and its two neighbours lies between samples.
    low, mid, high = of_best(left), of_best(middle), of_best(right)
    bend = np.maximum(low - 2 * mid + high, 1e-12)
    shift = np.clip((low - high) / (2 * bend), -0.5, 0.5)
    periods = np.clip(best + 1 + shift, _RATE / PITCH_RANGE[1], _RATE / PITCH_RANGE[0])
    chances = np.maximum(of_best(chance), _UNLIKELY**2)
    real = of_best(is_dip)
    bottoms = np.where(real, np.clip(mid - (low - high) * shift / 4, 0.0, 1.0), 1.0)
    return periods, chances, bottoms, levels


def _share_below(depth: Array) -> Array:
    """The distribution function of Beta(2, b) for a whole b, in closed form."""
    x = np.clip(depth, 0.0, 1.0)
    b = _THRESHOLD_SHAPE
    return 1.0 - (1.0 - x) ** b * (1.0 + b * x)


def _voicing(dips: Array, levels: Array) -> Array:
    """The probability that each candidate is a voice's period, [frames, _CANDIDATES]."""
    loud = np.percentile(levels, _LOUD_SHARE)
    periodic = _VOICED_SLOPE * (_VOICED_DIP - dips)
    audible = 0.5 * (levels - loud - _SILENCE_DB)
    both = 1.0 / ((1.0 + np.exp(-periodic)) * (1.0 + np.exp(-np.clip(audible, -60, 60)))[:, None])
    return np.clip(both, 1e-6, 1 - 1e-6)


def _best_path(pitches: Array, voiced: Array, unvoiced: Array) -> NDArray[np.int64]:
    """The cheapest sequence of candidates [frames]; _CANDIDATES stands for unvoiced.

    ``pitches`` are octaves and ``voiced`` logarithms of probabilities, [frames, _CANDIDATES] both.
    """
    frames = len(pitches)
    scores = np.concatenate([voiced, unvoiced[:, None]], axis=1)
    moves = np.full((frames, _CANDIDATES + 1, _CANDIDATES + 1), -_SWITCH_COST)
    jumps = np.abs(pitches[1:, :, None] - pitches[:-1, None, :])
    moves[1:, :_CANDIDATES, :_CANDIDATES] = -_STEP_COST * np.maximum(jumps - _FREE_STEP, 0.0)
    moves[:, _CANDIDATES, _CANDIDATES] = 0.0
    came = np.zeros((frames, _CANDIDATES + 1), np.int64)
    total = scores[0]
    for frame in range(1, frames):
        reached = moves[frame] + total  # [to, from]
        came[frame] = reached.argmax(axis=1)
        total = reached.max(axis=1) + scores[frame]
    path = np.empty(frames, np.int64)
    path[-1] = int(total.argmax())
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = came[frame, path[frame]]
    return path


def _without_short_runs(f0: Array) -> Array:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], f0 > 0, [False]]).astype(np.int8)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < _SHORTEST_RUN:
            f0[start:end] = 0.0
    return f0
