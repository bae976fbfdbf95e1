"""Kaldi's filter bank: speech at 16 kHz becomes 80 log energies, 100 times a second.

For the speaker-verification network, which was trained on these numbers and no others: no dither, no scaling
to 16 bit, no mean subtracted. Not for the mel spectrograms of voices: see audio. Follows
specs/reference-audio.md.
"""

from functools import cache
from typing import Final

import torch
from torch import Tensor

SAMPLE_RATE: Final = 16_000
"""Hertz of the speech that goes in."""
BANDS: Final = 80
WINDOW, SHIFT, TRANSFORM = 400, 160, 512
"""Samples of a frame, from one frame to the next, and of the padded Fourier transform."""
LOWEST: Final = 20.0
"""Hertz at which the first band begins; the last one ends at half the sample rate."""
PREEMPHASIS: Final = 0.97
WINDOW_POWER: Final = 0.85
"""Kaldi's own window ("povey") is a symmetric Hann window to this power."""
FLOOR: Final = float(torch.finfo(torch.float32).eps)
"""Energies below this count as this, so that silence has a logarithm."""


@cache
def _window() -> Tensor:
    return torch.hann_window(WINDOW, periodic=False).pow(WINDOW_POWER)


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


@cache
def _bands() -> Tensor:
    """Triangles of equal width on the mel scale, [BANDS, TRANSFORM / 2 + 1]; the last bin has no weight."""
    edge = _mel(torch.tensor([LOWEST, SAMPLE_RATE / 2]))
    width = (edge[1] - edge[0]) / (BANDS + 1)
    left = edge[0] + width * torch.arange(BANDS)[:, None]
    bins = _mel(torch.arange(TRANSFORM // 2) * (SAMPLE_RATE / TRANSFORM))[None]
    rising, falling = (bins - left) / width, (left + 2 * width - bins) / width
    return torch.nn.functional.pad(torch.minimum(rising, falling).clamp(min=0.0), (0, 1))


def filter_bank(samples: Tensor) -> Tensor:
    """Speech [N] -> log energies [T, BANDS]; only frames that lie wholly in the speech count.

    ValueError for less than one frame.
    """
    if samples.ndim != 1 or len(samples) < WINDOW:
        raise ValueError(f"the filter bank wants one channel of at least {WINDOW} samples")
    frames = samples.unfold(0, WINDOW, SHIFT)  # [T, WINDOW]
    frames = frames - frames.mean(1, keepdim=True)
    # The first sample of a frame has no predecessor and is its own.
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = (frames - PREEMPHASIS * before) * _window().to(frames.device)
    power = torch.fft.rfft(frames, n=TRANSFORM).abs().square()  # [T, TRANSFORM / 2 + 1]
    return (power @ _bands().T.to(power.device)).clamp(min=FLOOR).log()
