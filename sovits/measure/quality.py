"""How regular a voice is: harmonics-to-noise ratio, jitter, shimmer, cepstral peak prominence.

The measures that phoniatrics uses for hoarseness and breathiness, over running speech, whose values are worse
than those of the sustained vowels that most published norms are about. Not a diagnosis. Definitions:

- HNR: r / (1 - r) in decibels, where r is how alike two neighbouring periods are (Boersma, "Accurate
  short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound", 1993;
  by cross-correlation, which a moving pitch disturbs less than the autocorrelation of a long window).
- Jitter and shimmer, local: the mean difference of consecutive periods (or of their amplitudes) over their
  mean.
- CPPS: Hillenbrand and Houde (1996): how far the cepstrum's peak stands above its trend, smoothed before.

Follows specs/measurement.md.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import soxr
from numpy.typing import NDArray

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.measure import pitch
from p2pvoice.sovits.measure.levels import RATE, Samples, at_16k

Array = NDArray[np.float64]

LEAST_VOICED = 0.5
"""Seconds of voice without which nothing is said."""
FRAMES_LIMIT = 3000
"""Most voiced frames that are looked at, evenly spread: half a minute of voice tells enough."""

_HOP = RATE // pitch.FRAME_RATE
_HNR_FROM = (50.0, 100.0, 200.0)
"""Pitches are compared in groups, each over one and a half periods of its lowest: in more it would move."""
_FINER = 4
"""Periods are compared at so many times the rate: the best lag lies between samples."""
_LARGEST_PERIOD_RATIO = 1.3
"""Consecutive periods that differ by more are an error of their marks, not of the voice."""
_LARGEST_PEAK_RATIO = 1.6
_CEPSTRUM_RATE = 10_000
"""What lies above 5 kHz is mostly noise, in any voice."""
_CEPSTRUM_WINDOW = 1024
_CEPSTRUM_FFT = 1024
_CEPSTRUM_PITCH = (60.0, 330.0)
"""Where the cepstrum's peak is looked for, in hertz."""
_TREND_FROM = 0.001
"""Quefrency in seconds from which its trend is fitted."""
_CEPSTRUM_FRAMES = 5
"""Cepstra that are averaged, spaced by 10 ms."""
_CEPSTRUM_BINS = 5
"""Quefrencies that are averaged: half a millisecond."""
_H1_WINDOW, _H1_FFT = 800, 4096
_BATCH = 1000


@dataclass(frozen=True)
class Regularity:
    """Means over the voiced part; ratios in decibels, jitter and shimmer as shares (0.01 is one per cent)."""

    hnr: float
    jitter: float
    shimmer: float
    cpps: float
    h1_h2: float
    """How far the first harmonic stands above the second: the softer the folds close, the more."""
    voiced_seconds: float

    @property
    def hoarseness(self) -> float:
        """From 0 to 1: a rough index of our own, 0.5 where listeners begin to agree on "slightly hoarse"."""
        weak, irregular, noisy = (11 - self.cpps) / 2, (self.jitter - 0.02) / 0.006, (10 - self.hnr) / 3
        return _share(0.5 * weak + 0.3 * irregular + 0.3 * noisy)

    @property
    def breathiness(self) -> float:
        """From 0 to 1, of our own as well: a weak cepstral peak under a strong first harmonic."""
        return _share(0.5 * (11.5 - self.cpps) / 1.5 + 0.5 * (self.h1_h2 - 8) / 3)


def regularity(audio: Samples, rate: int, f0: NDArray[np.float32] | None = None) -> Regularity:
    """Measure mono ``audio`` [n]; ``f0`` is pitch.track's of the same recording if it is at hand.

    Raises UsageError when there is less than half a second of voice.
    """
    sound = at_16k(audio, rate).astype(np.float64)
    curve = pitch.track(audio, rate) if f0 is None else f0
    voiced = np.flatnonzero(curve > 0)
    if len(voiced) < LEAST_VOICED * pitch.FRAME_RATE:
        raise UsageError("there is too little voice to judge its quality", hint="give at least 3 seconds")
    chosen = voiced[np.linspace(0, len(voiced) - 1, min(len(voiced), FRAMES_LIMIT)).astype(int)]
    jitter, shimmer = _perturbation(sound, curve)
    return Regularity(
        _harmonics_to_noise(sound, chosen, curve[chosen]),
        jitter,
        shimmer,
        _cepstral_peak(sound, chosen),
        _first_over_second(sound, chosen, curve[chosen]),
        len(voiced) / pitch.FRAME_RATE,
    )


def _frames(sound: Array, at: NDArray[np.int64], size: int, rate: int = RATE) -> Array:
    """Frames [len(at), size] around the middles of hundredths of a second, zeros outside the sound."""
    padded = np.pad(sound, size)
    starts = (2 * at + 1) * rate // (2 * pitch.FRAME_RATE) + size - size // 2
    return np.lib.stride_tricks.sliding_window_view(padded, size)[np.clip(starts, 0, len(padded) - size)]


def _harmonics_to_noise(sound: Array, at: NDArray[np.int64], hertz: NDArray[np.float32]) -> float:
    rate = RATE * _FINER
    fine = np.asarray(soxr.resample(sound, RATE, rate, quality="HQ"), np.float64)
    ratios = []
    for least, most in pairwise((*_HNR_FROM, np.inf)):
        here = np.flatnonzero((hertz >= least) & (hertz < most))
        size, lags = round(1.5 * rate / least), round(1.15 * rate / least)
        for part in np.array_split(here, len(here) // _BATCH + 1):
            frames = _frames(fine, at[part], size + lags, rate)
            # The best lag within a tenth of the period that the tracker found.
            reach = np.round(rate / hertz[part].astype(np.float64)[:, None] * np.linspace(0.9, 1.1, 201))
            found = np.take_along_axis(_likeness(frames, size), reach.astype(int), axis=1)
            ratios.append(found.max(axis=1, initial=0.0))
    r = np.clip(np.concatenate(ratios), 1e-4, 1 - 1e-4)
    return float(np.mean(10 * np.log10(r / (1 - r))))


def _likeness(frames: Array, size: int) -> Array:
    """Normalised products of the first ``size`` samples with as many at each lag: [frames, lags]."""
    length = frames.shape[1]
    fft = 1 << (length - 1).bit_length()
    frames = frames - frames.mean(axis=1, keepdims=True)
    head = np.fft.rfft(frames[:, :size], fft).conj()
    products = np.fft.irfft(head * np.fft.rfft(frames, fft), fft)[:, : length - size]
    sums = np.cumsum(np.pad(np.square(frames), ((0, 0), (1, 0))), axis=1)
    energies = sums[:, size:length] - sums[:, : length - size]
    return np.asarray(products / np.sqrt(np.maximum(energies * energies[:, :1], 1e-20)))


def _perturbation(sound: Array, curve: NDArray[np.float32]) -> tuple[float, float]:
    """Local jitter and shimmer over every voiced stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], curve > 0, [False]]).astype(np.int8)))
    period_steps, period_total, peak_steps, peak_total = [], [], [], []
    marked = 0
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first < 5 or marked > FRAMES_LIMIT:
            continue
        marked += last - first
        times, peaks = _marks(sound, curve, int(first), int(last))
        periods = np.diff(times)
        if len(periods) < 3:
            continue
        ratio = periods[1:] / periods[:-1]
        good = (ratio < _LARGEST_PERIOD_RATIO) & (ratio > 1 / _LARGEST_PERIOD_RATIO)
        period_steps += [*np.abs(np.diff(periods))[good]]
        period_total += [*periods]
        change = peaks[1:] / np.maximum(peaks[:-1], 1e-9)
        good = (change < _LARGEST_PEAK_RATIO) & (change > 1 / _LARGEST_PEAK_RATIO)
        peak_steps += [*np.abs(np.diff(peaks))[good]]
        peak_total += [*peaks]
    if not period_steps or not peak_steps:
        raise UsageError("there is no steady voice to judge its regularity", hint="give at least 3 seconds")
    return float(np.mean(period_steps) / np.mean(period_total)), float(
        np.mean(peak_steps) / np.mean(peak_total)
    )


def _marks(sound: Array, curve: NDArray[np.float32], first: int, last: int) -> tuple[Array, Array]:
    """Times in samples of one mark a period, and the amplitude around each, within frames first to last.

    Each mark is where the next period resembles the last one most: the maximum of their correlation, so that
    noise moves it less than it moves the highest sample.
    """
    begin, end = first * _HOP, min(last * _HOP, len(sound))
    middle = (first + last) // 2
    period = RATE / float(curve[middle])
    near = slice(int(middle * _HOP), min(int(middle * _HOP + period) + 1, len(sound)))
    start = float(near.start + int(np.argmax(np.abs(sound[near]))))
    forward = _walk(sound, curve, start, end, 1)
    backward = _walk(sound, curve, start, begin, -1)
    times = np.array([*backward[::-1], start, *forward])
    peaks = []
    for time in times:
        # A fifth of a period on either side: one sample alone would be at the mercy of the noise.
        span = max(2, round(0.2 * RATE / max(curve[min(int(time) // _HOP, len(curve) - 1)], 50.0)))
        low = max(0, round(time) - span)
        piece = sound[low : round(time) + span + 1]
        weights = np.hanning(len(piece) + 2)[1:-1]
        peaks.append(np.sqrt(np.sum(weights * piece * piece) / weights.sum()))
    return times, np.array(peaks)


def _walk(sound: Array, curve: NDArray[np.float32], start: float, limit: int, way: int) -> list[float]:
    times, now = [], start
    while True:
        hertz = float(curve[min(max(int(now) // _HOP, 0), len(curve) - 1)])
        if hertz <= 0:
            break
        period = RATE / hertz
        half, centre = int(period / 2) + 1, round(now)
        least, most = int(period * 0.8), int(period * 1.25) + 1
        low, high = centre - half, centre + half
        reach = (low + least, high + most) if way > 0 else (low - most, high - least)
        if low < 0 or reach[0] < 0 or reach[1] > len(sound) or high > len(sound):
            break
        piece = sound[low:high]
        others = np.lib.stride_tricks.sliding_window_view(sound[reach[0] : reach[1]], high - low)
        norm = np.sqrt(np.einsum("ij,ij->i", others, others) * np.dot(piece, piece)) + 1e-12
        alike = others @ piece / norm
        at = int(np.argmax(alike))
        if alike[at] < 0.5:
            break
        finer = _top(alike, at) if 0 < at < len(alike) - 1 else float(at)
        # The correlation's lag is counted from the whole sample that the mark was rounded to.
        lag = least + finer if way > 0 else finer - most
        now = now + lag
        if (now >= limit) if way > 0 else (now <= limit):
            break
        times.append(now)
    return times


def _top(values: Array, at: int) -> float:
    """Place of the top of the parabola through a maximum and its neighbours."""
    low, mid, high = values[at - 1 : at + 2]
    bend = low - 2 * mid + high
    return at + (0.0 if bend >= 0 else 0.5 * (low - high) / bend)


def _first_over_second(sound: Array, at: NDArray[np.int64], hertz: NDArray[np.float32]) -> float:
    """H1 - H2 (Klatt and Klatt 1990), not corrected for formants: the median over frames, in decibels."""
    window = np.hanning(_H1_WINDOW + 2)[1:-1]
    found = []
    for start in range(0, len(at), _BATCH):
        part = slice(start, start + _BATCH)
        spectrum = np.abs(np.fft.rfft(_frames(sound, at[part], _H1_WINDOW) * window, _H1_FFT))
        bins = hertz[part].astype(np.float64) * _H1_FFT / RATE
        near = np.arange(-4, 5)
        first, second = (
            np.take_along_axis(spectrum, np.round(k * bins).astype(int)[:, None] + near, axis=1).max(axis=1)
            for k in (1, 2)
        )
        found.append(20 * np.log10((first + 1e-9) / (second + 1e-9)))
    return float(np.median(np.concatenate(found)))


def _share(logit: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


def _cepstral_peak(sound: Array, at: NDArray[np.int64]) -> float:
    """CPPS in decibels, the mean over voiced frames."""
    narrow = np.asarray(soxr.resample(sound, RATE, _CEPSTRUM_RATE, quality="HQ"), np.float64)
    emphasised = np.append(narrow[:1], narrow[1:] - 0.97 * narrow[:-1])
    window = np.hanning(_CEPSTRUM_WINDOW + 2)[1:-1]
    half = _CEPSTRUM_FFT // 2
    quefrencies = np.arange(half) / _CEPSTRUM_RATE
    trend = quefrencies >= _TREND_FROM
    low, high = (int(_CEPSTRUM_RATE / hertz) for hertz in _CEPSTRUM_PITCH[::-1])
    beside = _CEPSTRUM_BINS // 2
    found = []
    for start in range(0, len(at), _BATCH):
        part = at[start : start + _BATCH]
        total = np.zeros((len(part), half + 2 * beside))
        for shift in range(-(_CEPSTRUM_FRAMES // 2), _CEPSTRUM_FRAMES // 2 + 1):
            frames = _frames(emphasised, part + shift, _CEPSTRUM_WINDOW, _CEPSTRUM_RATE) * window
            spectrum = 20 * np.log10(np.abs(np.fft.rfft(frames, _CEPSTRUM_FFT)) + 1e-9)
            cepstrum = np.fft.irfft(spectrum, _CEPSTRUM_FFT)
            total += np.square(np.roll(cepstrum, beside, axis=1)[:, : half + 2 * beside])
        sums = np.cumsum(np.pad(total, ((0, 0), (1, 0))), axis=1)
        smooth = (sums[:, _CEPSTRUM_BINS:] - sums[:, :-_CEPSTRUM_BINS]) / (_CEPSTRUM_BINS * _CEPSTRUM_FRAMES)
        decibels = 10 * np.log10(smooth + 1e-12)
        slope, offset = np.polyfit(quefrencies[trend], decibels[:, trend].T, 1)
        line = slope[:, None] * quefrencies + offset[:, None]
        found.append((decibels - line)[:, low : high + 1].max(axis=1))
    return float(np.mean(np.concatenate(found)))
