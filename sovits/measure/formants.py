"""The resonances of a voice and the length of vocal tract that they imply.

Linear prediction (Markel and Gray, "Linear Prediction of Speech", 1976): the poles of the filter that best
predicts each frame are its formants. A tube closed at one end resonates at odd multiples of c / 4L, so their
spacing c / 2L tells its length (Fitch 1997; Reby and McComb 2003). Follows specs/measurement.md.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.measure import pitch
from p2pvoice.sovits.measure.levels import RATE, Samples, at_16k

Array = NDArray[np.float64]

SPEED_OF_SOUND = 350.0
"""In warm, damp air, in metres a second."""
FRAMES_LIMIT = 1500
"""Most voiced frames that are looked at, evenly spread."""
LEAST_FRAMES = 30

_RATE = 11_000
"""Formants are looked for below half of it."""
_ORDER = 11
_WINDOW = 330
"""30 ms."""
_WIDEST = 450.0
"""Poles with a wider band, in hertz, only shape the spectrum's slope."""
_RANGE = (180.0, 5200.0)
_COUNT = 4
"""Formants of a frame: enough poles within bounds, or the frame is left out."""


def formants(audio: Samples, rate: int, f0: NDArray[np.float32]) -> Array:
    """The first four formants in hertz of the voiced frames that show them, [frames, 4]."""
    sound = np.asarray(soxr.resample(at_16k(audio, rate), RATE, _RATE, quality="HQ"), np.float64)
    voiced = np.flatnonzero(f0 > 0)
    if not len(voiced) or len(sound) < _WINDOW:
        return np.zeros((0, _COUNT))
    at = voiced[np.linspace(0, len(voiced) - 1, min(len(voiced), FRAMES_LIMIT)).astype(int)]
    emphasised = np.append(sound[:1], sound[1:] - 0.97 * sound[:-1])
    starts = (2 * at + 1) * _RATE // (2 * pitch.FRAME_RATE) - _WINDOW // 2
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, _WINDOW)
    frames = windows[np.clip(starts, 0, len(windows) - 1)] * np.hamming(_WINDOW)
    poles = _poles(_predictors(frames))
    hertz = np.angle(poles) * _RATE / (2 * np.pi)
    width = -np.log(np.maximum(np.abs(poles), 1e-6)) * _RATE / np.pi
    fit = (hertz > _RANGE[0]) & (hertz < _RANGE[1]) & (width < _WIDEST)
    ordered = np.sort(np.where(fit, hertz, np.inf), axis=1)[:, :_COUNT]
    return np.asarray(ordered[np.isfinite(ordered).all(axis=1)])


def spacing(found: Array) -> float:
    """Hertz between formants of a uniform tube with these, by their medians; the upper ones vary less.

    Raises UsageError when too few frames show four formants.
    """
    if len(found) < LEAST_FRAMES:
        raise UsageError("too few vowels show their resonances", hint="give at least 10 seconds of speech")
    middle = np.median(found, axis=0)
    odd = (2 * np.arange(1, _COUNT + 1) - 1) / 2
    weights = np.array([0.0, 0.5, 1.0, 1.0])
    return float(np.sum(weights * middle / odd) / weights.sum())


def tract_length(hertz: float) -> float:
    """Centimetres of a tube whose resonances lie so far apart."""
    return 100 * SPEED_OF_SOUND / (2 * hertz)


def _predictors(frames: Array) -> Array:
    """Coefficients [frames, order] by the autocorrelation method."""
    power = np.square(np.abs(np.fft.rfft(frames, 1024)))
    r = np.fft.irfft(power, 1024)[:, : _ORDER + 1]
    r[:, 0] = r[:, 0] * (1 + 1e-6) + 1e-9
    lags = np.abs(np.arange(_ORDER)[:, None] - np.arange(_ORDER))
    return np.asarray(np.linalg.solve(r[:, lags], r[:, 1:, None])[:, :, 0])


def _poles(predictors: Array) -> NDArray[np.complex128]:
    """The roots of each predictor, as eigenvalues of its companion matrix: [frames, order]."""
    companion = np.zeros((len(predictors), _ORDER, _ORDER))
    companion[:, 0] = predictors
    companion[:, np.arange(1, _ORDER), np.arange(_ORDER - 1)] = 1.0
    return np.asarray(np.linalg.eigvals(companion), np.complex128)
