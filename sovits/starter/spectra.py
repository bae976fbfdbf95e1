"""The spectra that training compares: log mel at several resolutions, computed with torch and
differentiable.

What this module is not for: the reference spectrogram of inference (p2pvoice.sovits.audio). Follows
specs/bootstrap-voice.md.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

SAMPLE_RATE = 16_000
RESOLUTIONS = ((1024, 320, 80), (2048, 240, 80), (512, 80, 60), (256, 40, 30))
"""Window, hop and mel bands of each comparison."""
FLOOR = 1e-4


@lru_cache
def mel_filters(window: int, bands: int) -> Tensor:
    """Triangles evenly spaced on the mel scale, each of unit area: [bands, window / 2 + 1]."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127 * torch.log1p(hertz / 700)

    bins = torch.linspace(0, SAMPLE_RATE / 2, window // 2 + 1, dtype=torch.float64)
    top = mel(torch.tensor(SAMPLE_RATE / 2, dtype=torch.float64))
    edges = 700 * (torch.linspace(0, float(top), bands + 2, dtype=torch.float64) / 1127).expm1()
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return (torch.minimum(rising, falling).clamp(min=0) * (2 / (high - low))).float()


@lru_cache
def _window(size: int) -> Tensor:
    return torch.hann_window(size)


def magnitude(audio: Tensor, window: int, hop: int) -> Tensor:
    """[B, T] -> [B, window / 2 + 1, T / hop], padded as GPT-SoVITS pads its spectrograms."""
    margin = (window - hop) // 2
    padded = F.pad(audio[:, None], (margin, margin), mode="reflect")[:, 0]
    spectrum = torch.stft(padded, window, hop, window, _window(window), center=False, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt()


def log_mel(audio: Tensor, window: int = 1024, hop: int = 320, bands: int = 80) -> Tensor:
    """Log mel spectrogram [B, bands, T / hop]."""
    return (mel_filters(window, bands) @ magnitude(audio, window, hop) + FLOOR).log()


def distance(made: Tensor, true: Tensor) -> Tensor:
    """Mean absolute difference of the log mel spectra [B, T] at all resolutions."""
    parts = [F.l1_loss(log_mel(made, *r), log_mel(true, *r)) for r in RESOLUTIONS]
    return torch.stack(parts).mean()
