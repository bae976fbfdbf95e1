"""The fixed analysis of the lite family: what its latent is, with nothing learned in it.

A frame (50 a second at 24 kHz) is 80 channels of normalised log mel spectrum, one of log pitch and one of
voicing. The same analysis describes a reference clip, with its pitch relative to a fixed one instead of to
the speaker's own. Not for finding the pitch (see measure) nor for making sound (see dsp). Follows
specs/lite.md.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, ParamSpec

import numpy as np
import torch
import torchaudio.functional
from numpy.typing import NDArray
from torch import Tensor

from p2pvoice.sovits.audio import MEL_FLOOR, linear_spectrogram

SAMPLE_RATE: Final = 24_000
HOP: Final = 480
"""Samples of a frame: 50 frames a second, two to a code."""
WINDOW: Final = 1024
MEL: Final = 80
PITCH: Final = MEL
VOICING: Final = MEL + 1
"""Where pitch and voicing stand among the channels."""
CHANNELS: Final = MEL + 2
PITCH_RATE: Final = 100
"""Values a second of a pitch track: two to a frame."""

MEL_MEAN: Final = -6.4
MEL_SPREAD: Final = 2.4
"""Bring the log mel spectrum of loudness-normalised speech to about 0 and 1."""
CENTRE_HZ: Final = 160.0
"""The pitch that a reference's pitch channel is relative to."""
PITCH_SPREAD: Final = 0.25
"""Natural logarithms of pitch that one unit of the pitch channel means: about four semitones."""
PITCH_RANGE: Final = (50.0, 800.0)
"""Hertz; pitch outside is brought to the nearer end."""

Curve = NDArray[np.float32]
Arguments = ParamSpec("Arguments")


def table(make: Callable[Arguments, Tensor]) -> Callable[Arguments, Tensor]:
    """Compute a constant tensor once, fit for training even if speaking asked for it first.

    What is made in inference mode stays a tensor that no gradient may pass by.
    """

    @lru_cache
    @wraps(make)
    def made(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        with torch.inference_mode(False):
            return make(*args, **kwargs)

    return made


@table
def _filters() -> Tensor:
    """Mel filters on the Slaney scale, each of unit area: [MEL, WINDOW / 2 + 1]."""
    return torchaudio.functional.melscale_fbanks(
        WINDOW // 2 + 1, 0.0, SAMPLE_RATE / 2, MEL, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    ).T.contiguous()


def log_mel(samples: Tensor) -> Tensor:
    """Samples at 24 kHz [B, T * HOP] -> normalised log mel spectrum [B, MEL, T]."""
    magnitudes = linear_spectrogram(samples, WINDOW, HOP)
    mel = (_filters().to(samples.device) @ magnitudes).clamp(min=MEL_FLOOR).log()
    return (mel - MEL_MEAN) / MEL_SPREAD


def median_pitch(f0: Curve) -> float:
    """Median of the voiced values of a pitch track in hertz (0 where unvoiced); CENTRE_HZ without any."""
    voiced = f0[f0 > 0]
    return float(np.median(voiced)) if len(voiced) else CENTRE_HZ


def pitch_channels(f0: Curve, frames: int, centre: float) -> Curve:
    """A pitch track at 100 values a second -> pitch and voicing of ``frames`` frames, [2, frames].

    The pitch is logarithmic, relative to ``centre`` hertz, in units of PITCH_SPREAD, and runs on straight
    through what is unvoiced. Voicing is the voiced share of the frame: 0, 1/2 or 1.
    """
    track = np.zeros(2 * frames, np.float32)
    track[: len(f0)] = f0[: 2 * frames]
    voiced = track > 0
    known = np.flatnonzero(voiced)
    if len(known):
        height = np.log(np.clip(track[known], *PITCH_RANGE) / centre) / PITCH_SPREAD
        curve = np.interp(np.arange(2 * frames), known, height)
    else:
        curve = np.zeros(2 * frames)
    return np.stack([curve.reshape(-1, 2).mean(1), voiced.reshape(-1, 2).mean(1)]).astype(np.float32)


def analyse(samples: Curve, f0: Curve, centre: float = CENTRE_HZ) -> Tensor:
    """A clip at 24 kHz and its pitch track -> [CHANNELS, T]; ``centre`` is the speaker's median for a latent.

    What does not fill the last frame is dropped. Raises ValueError for less than four frames.
    """
    frames = len(samples) // HOP
    if frames < 4:
        raise ValueError("there is nothing to analyse in less than four frames")
    mel = log_mel(torch.from_numpy(samples[: frames * HOP])[None])[0]
    return torch.cat([mel, torch.from_numpy(pitch_channels(f0, frames, centre))])
