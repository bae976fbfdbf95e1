"""The discriminators of late SoVITS training: a few periods and two spectral resolutions, all small.

Not shipped and not needed to speak. Least-squares losses and feature matching. Follows specs/bootstrap-
voice.md.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.1
PERIODS = (2, 3, 5, 7)
SPECTRA = ((512, 128), (1024, 256))

Verdict = tuple[Tensor, list[Tensor]]


class PeriodCritic(nn.Module):
    """Looks at every n-th sample as a picture n wide."""

    def __init__(self, period: int, widths: Sequence[int] = (1, 16, 32, 64, 128)) -> None:
        super().__init__()
        self.period = period
        pairs = itertools.pairwise(widths)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, (5, 1), (3, 1), padding=(2, 0)) for a, b in pairs)
        self.last = nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, audio: Tensor) -> Verdict:
        x = F.pad(audio[:, None], (0, -audio.shape[-1] % self.period), mode="reflect")
        x, seen = x.unflatten(-1, (-1, self.period)), []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), LEAK)
            seen.append(x)
        return self.last(x).flatten(1), seen


class SpectrumCritic(nn.Module):
    """Looks at a log spectrogram."""

    def __init__(self, window: int, hop: int, width: int = 16) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        shapes = ((1, (2, 1)), (width, (2, 1)), (width, (2, 2)), (width, (2, 2)))
        self.layers = nn.ModuleList(
            nn.Conv2d(a, width, (5, 3), stride, padding=(2, 1)) for a, stride in shapes
        )
        self.last = nn.Conv2d(width, 1, 3, padding=1)
        self.register_buffer("hann", torch.hann_window(window), persistent=False)

    def forward(self, audio: Tensor) -> Verdict:
        assert isinstance(self.hann, Tensor)
        spectrum = torch.stft(
            audio.float(), self.window, self.hop, self.window, self.hann, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        x, seen = (power + 1e-6).log()[:, None] / 4, []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), LEAK)
            seen.append(x)
        return self.last(x).flatten(1), seen


class Critics(nn.ModuleList):
    """All of them."""

    def __init__(self) -> None:
        super().__init__([*(PeriodCritic(p) for p in PERIODS), *(SpectrumCritic(*s) for s in SPECTRA)])

    def forward(self, audio: Tensor) -> list[Verdict]:
        return [critic(audio) for critic in self]


def critic_loss(critics: Critics, true: Tensor, made: Tensor) -> Tensor:
    """What the critics minimise: true audio is 1, made audio is 0."""
    with torch.autocast("cpu", torch.bfloat16):
        verdicts = list(zip(critics(true), critics(made), strict=True))
    terms = [((1 - a.float()) ** 2).mean() + (b.float() ** 2).mean() for (a, _), (b, _) in verdicts]
    return torch.stack(terms).sum()


def fooling_losses(critics: Critics, true: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """What the decoder minimises: being told apart, and differing in what the critics look at."""
    critics.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            wanted = critics(true)
        verdicts = critics(made)
    critics.requires_grad_(True)
    fooled = torch.stack([((1 - b.float()) ** 2).mean() for b, _ in verdicts]).sum()
    matched = torch.stack([
        F.l1_loss(b.float(), a.float())
        for (_, seen), (_, felt) in zip(wanted, verdicts, strict=True)
        for a, b in zip(seen, felt, strict=True)
    ]).sum()  # fmt: skip
    return fooled, matched
