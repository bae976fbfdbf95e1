"""Sounds whose pitch, voicing, noise and roughness are known, because they are made here."""

from pathlib import Path

import numpy as np

BUNDLED = Path(__file__).parent / "clip.wav"
VOWELS = np.array(
    [[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410]]
)
"""Formants of five English vowels of men, in hertz (Peterson and Barney 1952)."""


def harmonics(curve: np.ndarray, rate: int, amplitudes: np.ndarray, level: float = 0.1) -> np.ndarray:
    """A sum of cosines over an F0 curve [n] in hertz; root mean square ``level``."""
    phase = 2 * np.pi * np.cumsum(curve) / rate
    sound = np.zeros(len(curve))
    for number, amplitude in enumerate(amplitudes, 1):
        sound += amplitude * np.cos(number * phase + number) * (number * curve < 0.45 * rate)
    return (sound * level / np.sqrt(np.mean(sound**2))).astype(np.float32)


def add_noise(sound: np.ndarray, snr: float, random: np.random.Generator) -> np.ndarray:
    """White noise ``snr`` decibels below the sound's mean power."""
    power = np.mean(sound.astype(np.float64) ** 2) * 10 ** (-snr / 10)
    return (sound + random.standard_normal(len(sound)) * np.sqrt(power)).astype(np.float32)


def resonate(source: np.ndarray, rate: int, formants: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Two-pole resonances in a row, one row of ``formants`` [frames, k] a hundredth of a second."""
    out = source.astype(np.float64)
    hop = rate // 100
    for k in range(formants.shape[1]):
        radius = np.exp(-np.pi * widths[k] / rate)
        y1 = y2 = 0.0
        result = np.empty(len(out))
        for start in range(0, len(out), hop):
            frequency = formants[min(start // hop, len(formants) - 1), k]
            a1, a2 = 2 * radius * np.cos(2 * np.pi * frequency / rate), -radius * radius
            for at in range(start, min(start + hop, len(out))):
                y1, y2 = out[at] * (1 - a1 - a2) + a1 * y1 + a2 * y2, y1
                result[at] = y1
        out = result
    return out


def speech_like(
    seconds: float, rate: int, seed: int, median: float = 130.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Syllables of vowels with a moving pitch, fricatives and pauses between them.

    -> samples [n], F0 [100 a second] and whether each frame lies within a syllable.
    """
    random = np.random.default_rng(seed)
    frames, hop = round(seconds * 100), rate // 100
    time = np.arange(frames) / 100
    curve = median * 2 ** (0.25 * np.sin(2 * np.pi * 0.7 * time + random.uniform(0, 6)) - 0.15 * (time % 2))
    voiced = np.zeros(frames, bool)
    hiss = np.zeros(frames)
    formants = np.zeros((frames, 3))
    vowels = VOWELS
    at, now = 5, vowels[0]
    while at < frames - 30:
        length, gap = int(random.integers(14, 24)), int(random.integers(6, 14))
        voiced[at : at + length] = True
        target = vowels[random.integers(len(vowels))]
        space = formants[at : at + length + gap]
        share = np.clip(np.arange(len(space)) / 10, 0, 1)[:, None]
        space[:] = now + (target - now) * share
        now = target
        if random.random() < 0.5:
            hiss[at + length + 1 : at + length + gap - 1] = 0.02
        at += length + gap
    formants[formants[:, 0] == 0] = now
    every = np.interp((np.arange(frames * hop) - hop / 2) / hop, np.arange(frames), curve)
    ramp = np.convolve(np.repeat(voiced.astype(float), hop), np.hanning(2 * hop + 1) / hop, "same")
    phase = 2 * np.pi * np.cumsum(every) / rate
    source = np.zeros(len(every))
    for number in range(1, 40):
        source += np.cos(number * phase) / number * (number * every < 0.45 * rate)
    spoken = resonate(source * ramp, rate, formants, np.array([80.0, 100.0, 140.0]))
    spoken *= 0.1 / np.sqrt(np.mean(spoken[np.repeat(voiced, hop)] ** 2))
    noise = np.diff(random.standard_normal(len(every) + 1)) * np.repeat(hiss, hop)
    return (spoken + noise).astype(np.float32), curve, voiced


def pulsed(
    f0: float, seconds: float, seed: int, jitter: float = 0.0, shimmer: float = 0.0, snr: float | None = None
) -> tuple[np.ndarray, float, float]:
    """A vowel at 16 kHz from pulses whose times and heights stray; root mean square 0.1.

    -> samples, and the local jitter and shimmer that its pulses have.
    """
    rate, random = 16_000, np.random.default_rng(seed)
    count = round(seconds * rate)
    steps = rate / f0 * (1 + jitter * random.standard_normal(round(seconds * f0) + 10))
    times = 20 + np.cumsum(steps)
    times = times[times < count - 60]
    heights = 1 + shimmer * random.standard_normal(len(times))
    source = np.zeros(count)
    near = np.arange(-20, 21)
    window = np.hanning(43)[1:-1]
    for time, height in zip(times, heights, strict=True):
        whole = int(time)
        inside = (whole + near >= 0) & (whole + near < count)
        source[(whole + near)[inside]] += height * (np.sinc((near - (time - whole)) * 0.95) * window)[inside]
    vowel = np.tile([700.0, 1200.0, 2500.0], (round(seconds * 100) + 1, 1))
    sound = resonate(source, rate, vowel, np.array([90.0, 110.0, 150.0]))
    sound *= 0.1 / np.sqrt(np.mean(sound**2))
    if snr is not None:
        sound = add_noise(sound.astype(np.float32), snr, random)
    periods = np.diff(times)
    local = [float(np.abs(np.diff(values)).mean() / values.mean()) for values in (periods, heights)]
    return sound.astype(np.float32), local[0], local[1]
