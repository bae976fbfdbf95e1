"""The mel spectrograms that published measuring networks were trained on: power, Slaney's scale and areas.

For embed and dnsmos. Not for training or speaking, whose spectra are in p2pvoice.sovits.audio and
p2pvoice.sovits.lite. The scale is that of Slaney's Auditory Toolbox (1998): linear below 1 kHz, logarithmic
above, each triangle of unit area. Follows specs/measurement.md.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

_LINEAR_STEP = 200 / 3
_BREAK = 1000.0
_LOG_STEP = np.log(6.4) / 27


def _to_mel(hertz: Array) -> Array:
    above = _BREAK / _LINEAR_STEP + np.log(np.maximum(hertz, _BREAK) / _BREAK) / _LOG_STEP
    return np.where(hertz < _BREAK, hertz / _LINEAR_STEP, above)


def _to_hertz(mel: Array) -> Array:
    at = _BREAK / _LINEAR_STEP
    return np.where(mel < at, mel * _LINEAR_STEP, _BREAK * np.exp(_LOG_STEP * (np.maximum(mel, at) - at)))


@cache
def filters(rate: int, window: int, bands: int) -> Array:
    """Triangles from 0 Hz to half the rate, [bands, window // 2 + 1]."""
    bins = np.arange(window // 2 + 1) * (rate / window)
    edges = _to_hertz(np.linspace(0.0, float(_to_mel(np.float64(rate / 2))), bands + 2))
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    return np.asarray(np.maximum(triangles, 0.0) * 2 / (high - low))


def mel_power(samples: Samples, rate: int, window: int, hop: int, bands: int) -> Array:
    """Samples [n] -> powers [1 + n // hop, bands]; frame i is centred on sample i * hop, zeros outside."""
    padded = np.pad(np.asarray(samples, np.float64), window // 2)
    if len(padded) < window:
        padded = np.pad(padded, (0, window - len(padded)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    return np.asarray(power @ filters(rate, window, bands).T)
