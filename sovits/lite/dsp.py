"""A harmonic-plus-noise synthesiser that gradients pass through: envelopes and a pitch curve become samples.

A band-limited pulse train of unit power is filtered by the harmonic envelope with minimum phase, white noise
by the noise envelope with zero phase; both in the spectrum of half-overlapping frames, which are then added.
Frames are 10 ms (a latent frame has two). What overlap-add gives is a sum over frames, so speech can be made
in pieces whose tails are added. Not for choosing the envelopes: see model. Follows specs/lite.md.

Sources: the pulse train is Dirichlet's kernel (closed form of a sum of cosines); minimum phase by folding the
real cepstrum (Oppenheim and Schafer, Discrete-Time Signal Processing, "Cepstrum analysis").
"""

import math
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from .analysis import HOP, PITCH_RANGE, SAMPLE_RATE, table

STEP: Final = HOP // 2
"""Samples from one frame of the synthesiser to the next."""
FRAME: Final = 2 * STEP
"""Samples under the window of a frame."""
TRANSFORM: Final = 1024
"""Samples of a frame with the room that filters need: 22 ms of decay, 10 ms before for zero phase."""
BANDS: Final = 80
"""Values of one envelope, evenly spaced on the mel scale from 0 Hz to the top."""
TOP_HZ: Final = 11_700.0
"""No harmonic is higher."""
LOG_RANGE: Final = (-14.0, 6.0)
"""Bounds of a log envelope: beyond them is silence or nonsense."""
NEAR: Final = 2e-3
"""Where the closed form divides by less than this, its limit is used."""
LEAD: Final = STEP
"""Samples before a noise frame that its zero-phase filter may fill: one step, so both kinds share a sum."""
PIECES: Final = -(-TRANSFORM // STEP)
BEFORE: Final = LEAD + STEP // 2
"""Samples of an overlap-add that lie before time zero."""


@table
def _bands() -> Tensor:
    """Linear interpolation from bands to bins: [BANDS, TRANSFORM / 2 + 1]."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127 * torch.log1p(hertz / 700)

    hertz = torch.linspace(0, SAMPLE_RATE / 2, TRANSFORM // 2 + 1, dtype=torch.float64)
    place = mel(hertz) / mel(hertz[-1]) * (BANDS - 1)
    distance = (place[None] - torch.arange(BANDS, dtype=torch.float64)[:, None]).abs()
    return (1 - distance).clamp(min=0).float()


@table
def _fold() -> Tensor:
    """Weights that turn a real cepstrum into that of the minimum-phase signal of the same magnitude."""
    weights = torch.zeros(TRANSFORM)
    weights[0] = weights[TRANSFORM // 2] = 1
    weights[1 : TRANSFORM // 2] = 2
    return weights


@table
def _window() -> Tensor:
    return torch.hann_window(FRAME)


def _on(table: Tensor, like: Tensor) -> Tensor:
    return table.to(like.device)


class _RealTransform(torch.autograd.Function):
    """The Fourier transform of real rows, whose gradient costs a real transform too (torch's own costs a
    complex one of the whole length, which was the dearest part of a training step)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.size = x.shape[-1]
        return torch.fft.rfft(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Of a real row the inner bins stand for two; irfft would count them twice and divide by the size.
        inner = gradient / 2
        inner[..., 0] = gradient[..., 0]
        inner[..., -1] = gradient[..., -1]
        return torch.fft.irfft(inner, ctx.size, norm="forward")


def transform(rows: Tensor) -> Tensor:
    """Real rows of an even length [..., n] -> their spectra [..., n / 2 + 1]."""
    spectra: Tensor = _RealTransform.apply(rows)
    return spectra


def to_samples(curve: Tensor) -> Tensor:
    """Values at the middles of the synthesiser's frames [B, K] -> straight lines between, [B, K * STEP]."""
    return F.interpolate(curve[:, None], scale_factor=STEP, mode="linear", align_corners=False)[:, 0]


def to_hertz(log_f0: Tensor) -> Tensor:
    """Log pitch in hertz [B, K] -> the pitch of every sample, [B, K * STEP]."""
    low, high = (math.log(hertz) for hertz in PITCH_RANGE)
    return to_samples(log_f0.clamp(low, high)).exp()


def turns_of(hertz: Tensor) -> Tensor:
    """The pitch of every sample [B, S] -> turns since the beginning, after each sample; in float64."""
    return torch.cumsum(hertz.double() / SAMPLE_RATE, 1)


def pulse_train(log_f0: Tensor, voicing: Tensor, phase: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Log pitch in hertz and voicing (0 to 1), both [B, K] -> pulses [B, K * STEP], and the phase after.

    All cosines below TOP_HZ with one phase, of unit power together whatever the pitch. ``phase`` [B], in
    turns, is where the train begins; handing back the second result continues it without a seam, if the
    curves do.
    """
    return pulses(to_hertz(log_f0), to_samples(voicing), phase)


def pulses(hertz: Tensor, gate: Tensor, phase: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same from the pitch and the voicing of every sample, both [B, S]."""
    turns = turns_of(hertz)
    if phase is not None:
        turns = turns + phase.to(turns)[:, None]
    angle = (turns.frac() * (2 * math.pi)).float()
    count = torch.floor(TOP_HZ / hertz)
    below = 2 * torch.sin(angle / 2)
    near = below.abs() < NEAR
    ratio = 2 * torch.sin((count + 0.5) * angle) / torch.where(near, torch.ones_like(below), below)
    train = (torch.where(near, 2 * count + 1, ratio) - 1) / 2
    return train * torch.rsqrt(count / 2) * gate, turns[:, -1].frac()


def minimum_phase(log_magnitude: Tensor) -> Tensor:
    """Log magnitudes [..., TRANSFORM / 2 + 1] -> the complex spectrum of the causal filter that has them."""
    cepstrum = torch.fft.irfft(log_magnitude, TRANSFORM)
    folded = transform(cepstrum * _on(_fold(), cepstrum))
    return torch.polar(folded.real.exp(), folded.imag)


def _spectra(samples: Tensor, lead: int) -> Tensor:
    """Samples [B, K * STEP] -> spectra of windowed frames [B, K, bins], each ``lead`` samples late."""
    frames = F.pad(samples, (STEP // 2, STEP // 2)).unfold(1, FRAME, STEP) * _on(_window(), samples)
    return transform(F.pad(frames, (lead, TRANSFORM - FRAME - lead)))


def overlap_add(harmonic: Tensor | None, noise: Tensor) -> Tensor:
    """Spectra of frames, both [B, K, bins] -> samples with what lies before and behind them.

    [B, (K + PIECES) * STEP]; time zero is sample BEFORE. The overlap-adds of two stretches of frames, put in
    their places, add up to that of both together.
    """
    # A noise frame was made LEAD late, so it belongs to the sum's frame before its own.
    spectra = F.pad(noise, (0, 0, 0, 1))
    if harmonic is not None:
        spectra = spectra + F.pad(harmonic, (0, 0, 1, 0))
    batch, rows, _ = spectra.shape
    pieces = F.pad(torch.fft.irfft(spectra, TRANSFORM), (0, PIECES * STEP - TRANSFORM))
    pieces = pieces.view(batch, rows, PIECES, STEP)
    total = sum(F.pad(pieces[:, :, i], (0, 0, i, PIECES - 1 - i)) for i in range(PIECES))
    return total.reshape(batch, -1)


def filtered(envelope: Tensor, pulses: Tensor) -> Tensor:
    """A harmonic log envelope [B, K, BANDS] over pulses [B, K * STEP] -> spectra of frames [B, K, bins]."""
    return _spectra(pulses, 0) * minimum_phase((envelope @ _on(_bands(), envelope)).clamp(*LOG_RANGE))


def coloured(envelope: Tensor, white: Tensor) -> Tensor:
    """A noise log envelope [B, K, BANDS] over white noise [B, K * STEP] -> spectra of frames [B, K, bins]."""
    return _spectra(white, LEAD) * (envelope @ _on(_bands(), envelope)).clamp(*LOG_RANGE).exp()


def synthesise(harmonic: Tensor, noise: Tensor, pulses: Tensor, white: Tensor) -> Tensor:
    """Log envelopes [B, K, BANDS], pulses and white noise [B, K * STEP] -> samples [B, K * STEP].

    Everything is computed in float32.
    """
    made = overlap_add(filtered(harmonic.float(), pulses.float()), coloured(noise.float(), white.float()))
    return made[:, BEFORE : BEFORE + pulses.shape[1]]
