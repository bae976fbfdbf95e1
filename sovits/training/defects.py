"""What a recording's signal tells of its faults: clipping, noise, music, a missing upper band, two pitches.

Each measurement is a number with a unit; what is too much is decided in clips. They are plain signal
processing, so they work without any model and miss what only a model hears (two speakers of one pitch, say).
Not for describing a voice: see measure. Follows specs/training-data.md.
"""

from typing import Final

import numpy as np

from p2pvoice.sovits.audio import Samples, resample_soxr
from p2pvoice.sovits.measure import pitch

RATE: Final = 16_000
"""Hertz that recordings are looked at in, except for what only the original rate shows."""
FRAME, HOP = 512, 160
"""Samples of one short spectrum (32 ms) and the step to the next (10 ms)."""
LONG_FRAME, LONG_HOP = 2048, 512
"""The same for tones that stand still: 128 ms every 32 ms."""
MUTED_DB: Final = -58.0
"""Frames this far below the loud ones were muted by a program and say nothing of the room."""
LOWEST_PITCH: Final = 60.0
"""Hertz below which a pitch is more likely the tracker's mistake than a speaker's."""
LEVELS: Final = 40
"""Levels up to the peak that samples are sorted into to see where they pile up."""
PILED_UP: Final = 1.5
"""How many times more samples than in the two levels below are a pile."""
FEWEST: Final = 20
"""Samples of two levels below which their number is chance."""
GROUPS_APART: Final = 4.5
"""How many times their own spread two groups of pitches stand apart. Halves of one even range are 3.5 apart,
of one normal distribution 2.6."""


def decibels(power: np.ndarray | float) -> np.ndarray:
    """Ten times the logarithm, with a floor at -120."""
    return 10 * np.log10(np.maximum(power, 1e-12))


def frame_powers(samples: Samples) -> np.ndarray:
    """Mean square of each 32-ms frame of 16 kHz samples, [T]."""
    if len(samples) < FRAME:
        samples = np.pad(samples, (0, FRAME - len(samples)))
    total = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    starts = np.arange(0, len(samples) - FRAME + 1, HOP)
    return (total[starts + FRAME] - total[starts]) / FRAME


def speech_level(samples: Samples) -> float:
    """Level of the louder frames in dB against full scale."""
    return float(decibels(np.percentile(frame_powers(samples), 90)))


def active_seconds(samples: Samples) -> float:
    """Seconds that are within 30 dB of the loud frames of 16 kHz samples."""
    powers = decibels(frame_powers(samples))
    return float(np.count_nonzero(powers > np.percentile(powers, 95) - 30.0)) * HOP / RATE


def clipped_share(samples: Samples) -> float:
    """Share of samples, at the original rate, that a limit has cut off, or 0.

    The higher a level, the fewer samples of a voice lie there. Where they pile up below the top, something
    cut the tops, and the share from there on is returned. This also shows clipping that happened before a
    change of level, of rate or of format, after which the tops are round again and differ.
    """
    size = np.abs(samples)
    # A few samples may overshoot the limit after lossy coding.
    peak = float(np.quantile(size, 0.9999)) if len(size) else 0.0
    if peak < 1e-4:
        return 0.0
    counts, _ = np.histogram(np.minimum(size / peak, 1.0), bins=LEVELS, range=(0.0, 1.0))
    for level in range(LEVELS * 6 // 10, LEVELS):
        if counts[level : level + 2].sum() > PILED_UP * max(counts[level - 2 : level].sum(), FEWEST):
            return float(counts[level:].sum() / len(size))
    return 0.0


def snr(samples: Samples) -> float:
    """Loud frames against the softest, in dB, of 16 kHz samples.

    The softest twentieth of the frames that were not muted is the noise: speech has gaps and closures in
    every second. The figure saturates near 60 dB, and is too low for a recording without a single gap.
    """
    powers = decibels(frame_powers(samples))
    heard = powers[powers > np.percentile(powers, 95) + MUTED_DB]
    if len(heard) < 10:
        return 60.0
    noise = 10 ** (float(np.percentile(heard, 5)) / 10)
    loud = 10 ** (float(np.percentile(heard, 85)) / 10)
    return float(np.clip(decibels(max(loud - noise, 1e-12)) - decibels(noise), -20.0, 60.0))


def bandwidth(samples: Samples, rate: int) -> float:
    """The frequency in Hz above which the recording is empty, whatever its sample rate says."""
    size = 1024
    if len(samples) < 4 * size:
        return rate / 2
    spectrum = _spectrogram(samples[: rate * 60], size, size // 2) ** 2
    loud = spectrum[:, spectrum.sum(0) >= np.quantile(spectrum.sum(0), 0.5)]
    mean = decibels(loud.mean(1) / max(float(loud.max()), 1e-12))
    return float(np.flatnonzero(mean > mean.max() - 65.0)[-1] + 1) * rate / size


def steady_tones(samples: Samples) -> float:
    """Share of the softest quarter of 16 kHz samples in which two tones or more stand still, for 0.35 s each.

    Harmonics of speech glide with its pitch and end with it; the notes of an accompaniment, and hum, stay
    where they are and go on between the words.
    """
    magnitudes = _spectrogram(samples, LONG_FRAME, LONG_HOP)
    first, last = 120 * LONG_FRAME // RATE, 4000 * LONG_FRAME // RATE
    power = decibels(magnitudes[first:last] ** 2)  # [bins, T]
    frames = power.shape[1]
    steps = round(0.35 * RATE / LONG_HOP)
    if frames < 2 * steps:
        return 0.0
    around = np.stack([np.roll(power, shift, axis=0) for shift in (-6, -5, -4, 4, 5, 6)])
    peak = (power > np.roll(power, 1, 0)) & (power >= np.roll(power, -1, 0))
    audible = power > np.percentile(power.max(0), 90) - 55.0
    peak &= (power > np.median(around, axis=0) + 9.0) & audible
    # One bin of play to either side, for a tone that lies between two.
    wide = peak | np.roll(peak, 1, 0)
    run = np.zeros(power.shape[0], np.int32)
    steady = np.zeros(frames, np.int32)
    for t in range(frames):
        run = np.where(wide[:, t], run + 1, 0)
        held = np.flatnonzero(run >= steps)
        if len(held):
            distinct = 1 + int(np.count_nonzero(np.diff(held) > 2))
            steady[t - steps + 1 : t + 1] = np.maximum(steady[t - steps + 1 : t + 1], distinct)
    loudness = power.max(axis=0)
    soft = loudness <= np.percentile(loudness, 25)
    return float(np.mean(steady[soft] >= 2))


def two_pitches(samples: Samples, window_seconds: float = 1.5) -> float:
    """Semitones between the two groups that the pitch of a recording falls into; 0 when it is one group.

    Looks at the median of each window: one speaker's medians lie close together, whatever the melody.
    """
    track = pitch.track(samples, RATE)
    step = round(window_seconds * pitch.FRAME_RATE)
    medians = []
    for start in range(0, len(track) - step // 2, step):
        voiced = track[start : start + step]
        voiced = voiced[voiced > LOWEST_PITCH]
        if len(voiced) >= step // 5:
            medians.append(12 * np.log2(np.median(voiced)))
    if len(medians) < 4:
        return 0.0
    ordered = np.sort(np.array(medians))
    best, gap = np.inf, 0.0
    least = max(2, round(0.15 * len(ordered)))
    for middle in range(least, len(ordered) - least + 1):
        low, high = ordered[:middle], ordered[middle:]
        spread = ((low - low.mean()) ** 2).sum() + ((high - high.mean()) ** 2).sum()
        if spread < best:
            best, gap = spread, float(high.mean() - low.mean())
    inner = float(np.sqrt(best / len(ordered)))
    # Two groups are two only if they are much further apart than they are wide.
    return gap if gap > GROUPS_APART * inner else 0.0


def contour(samples: Samples) -> np.ndarray:
    """Level of each tenth of a second, of mean 0 and length 1: alike for two copies of one recording."""
    powers = decibels(frame_powers(samples))[:: RATE // 10 // HOP]
    centred = np.maximum(powers, powers.max() - 50.0)
    centred = centred - centred.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-9)


def to_rate(samples: Samples, rate: int) -> Samples:
    """Samples at ``RATE``."""
    return resample_soxr(samples, rate, RATE)


def _spectrogram(samples: Samples, size: int, hop: int) -> np.ndarray:
    """Magnitudes [bins, T] under a Hann window."""
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    return np.abs(np.fft.rfft(frames * np.hanning(size).astype(np.float32))).T
