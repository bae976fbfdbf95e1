"""What the starter's training and a user's fine-tuning of a lite voice have in common: batches and losses.

The latent is a fixed analysis, so the text encoder (codes and phones to latent) and the decoder (latent to
samples) are each taught by the truth, and then together. Not for optimisers, schedules and files: see
starter/train_lite.py and training/objective_lite.py. Follows specs/lite.md, "Training".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torchaudio.functional
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from p2pvoice.sovits.layers import sequence_mask

from . import analysis, dsp
from .model import DEVIATION, LiteVoice

CODE_RATE: Final = 25
RESOLUTIONS: Final = ((2048, 512, 100), (1024, 256, 80), (512, 128, 64), (256, 64, 40))
"""Window, hop and mel bands of each comparison of two signals."""
LINEAR_FROM: Final = 512
"""From this window on, the plain spectrum is compared too: mel bands hide the harmonics."""
LINEAR_WEIGHT: Final = 0.3
MEL_FLOOR: Final = 5e-5
LINEAR_FLOOR: Final = 2e-5
REPULSION: Final = 0.9
"""Share of the distance between two noise draws that is taken off: 1 is the energy distance."""
SOUND_WEIGHT: Final = 45.0
SILENT: Final = (math.log(analysis.MEL_FLOOR) - analysis.MEL_MEAN) / analysis.MEL_SPREAD
"""What the mel channels of padding hold: digital silence."""


@dataclass(frozen=True)
class Utterance:
    """A piece of speech: codes [N], all phones of its sentence [L], samples [N * 960] within -1 and 1, the
    pitch track in hertz at 100 a second (0 = unvoiced) and the speaker's median pitch."""

    codes: NDArray[np.int64]
    phones: NDArray[np.int64]
    audio: NDArray[np.float32]
    f0: NDArray[np.float32]
    median: float

    def piece(self, start: int, codes: int) -> "Utterance":
        """``codes`` codes from ``start`` on, under all phones."""
        end = start + codes
        samples, values = 2 * analysis.HOP, 4
        return Utterance(
            self.codes[start:end], self.phones, self.audio[start * samples : end * samples],
            self.f0[start * values : end * values], self.median,
        )  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """Padded utterances: what the networks hear (codes, phones, references) and what they should say."""

    codes: Tensor
    code_lengths: Tensor
    phones: Tensor
    phone_lengths: Tensor
    reference: Tensor
    reference_mask: Tensor
    audio: Tensor
    latent: Tensor
    log_f0: Tensor
    voicing: Tensor
    median: Tensor
    """The speakers' median pitch in units of a reference's pitch channel, [B]."""

    def to(self, device: torch.device) -> "Batch":
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


def padded(rows: Sequence[NDArray], size: int = 0) -> Tensor:
    """Rows of unlike length as one tensor, zeros behind."""
    out = np.zeros((len(rows), max(size, *(len(row) for row in rows))), rows[0].dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out)


def collate(utterances: Sequence[Utterance], references: Sequence[Tensor]) -> Batch:
    """Utterances and as many references [CHANNELS, T] of their speakers -> a batch."""
    longest = max(len(u.codes) for u in utterances)
    audio = padded([u.audio for u in utterances], longest * 2 * analysis.HOP)
    mel = analysis.log_mel(audio)
    pitch = torch.zeros(len(utterances), 2, 2 * longest)
    log_f0 = torch.full((len(utterances), 4 * longest), math.log(analysis.CENTRE_HZ))
    for row, u in enumerate(utterances):
        frames = 2 * len(u.codes)
        channels = torch.from_numpy(analysis.pitch_channels(u.f0, frames, u.median))
        pitch[row, :, :frames] = channels
        mel[row, :, frames:] = SILENT
        log_f0[row, : 2 * frames] = torch.from_numpy(_straight(u.f0, 2 * frames))
    frames = max(reference.shape[1] for reference in references)
    return Batch(
        padded([u.codes for u in utterances]),
        torch.tensor([len(u.codes) for u in utterances]),
        padded([u.phones for u in utterances]),
        torch.tensor([len(u.phones) for u in utterances]),
        torch.stack([F.pad(reference, (0, frames - reference.shape[1])) for reference in references]),
        sequence_mask(torch.tensor([reference.shape[1] for reference in references]), frames),
        audio,
        torch.cat([mel, pitch], 1),
        log_f0,
        (padded([u.f0 for u in utterances], 4 * longest)[:, : 4 * longest] > 0).float(),
        torch.tensor([math.log(u.median / analysis.CENTRE_HZ) / analysis.PITCH_SPREAD for u in utterances]),
    )


def _straight(f0: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Log pitch with straight lines through what is unvoiced, [size]."""
    known = np.flatnonzero(f0[:size] > 0)
    if not len(known):
        return np.full(size, math.log(analysis.CENTRE_HZ), np.float32)
    height = np.log(np.clip(f0[known], *analysis.PITCH_RANGE))
    return np.interp(np.arange(size), known, height).astype(np.float32)


def reference_of(u: Utterance) -> Tensor:
    """The analysis of an utterance as a reference clip's: its pitch is not relative to the speaker's."""
    return analysis.analyse(u.audio, u.f0)


# Losses -------------------------------------------------------------------------------------------


@analysis.table
def _mel_filters(window: int, bands: int) -> Tensor:
    """[window / 2 + 1, bands]."""
    return torchaudio.functional.melscale_fbanks(
        window // 2 + 1, 0.0, analysis.SAMPLE_RATE / 2, bands, analysis.SAMPLE_RATE, mel_scale="htk"
    )


@analysis.table
def _window(size: int) -> Tensor:
    return torch.hann_window(size)


def spectra(samples: Tensor) -> list[tuple[Tensor, float]]:
    """Samples [B, n] -> log spectra at all resolutions, each with its weight."""
    found = []
    for window, hop, bands in RESOLUTIONS:
        frames = F.pad(samples, (window // 2, window // 2)).unfold(1, window, hop)
        spectrum = dsp.transform(frames * _window(window).to(samples.device))  # [B, T, bins]
        power = spectrum.real.square() + spectrum.imag.square()
        # Of unit gain for a sine, whatever the window, so that the floors mean the same everywhere.
        plain = (power * (4 / window) ** 2 + 1e-10).sqrt()
        mel = plain @ _mel_filters(window, bands).to(samples.device)
        found.append(((mel + MEL_FLOOR).log(), 1.0))
        if window >= LINEAR_FROM:
            found.append(((plain + LINEAR_FLOOR).log(), LINEAR_WEIGHT))
    return found


Spectra = list[tuple[Tensor, float]]


def distance(a: Spectra, b: Spectra) -> Tensor:
    """Weighted mean absolute difference of two signals' log spectra."""
    total = sum(weight for _, weight in a)
    return sum(weight * F.l1_loss(x, y) for (x, weight), (y, _) in zip(a, b, strict=True)) / total


@dataclass(frozen=True)
class Cut:
    """Where the decoder looks: ``starts`` [B] in frames, ``frames`` of each."""

    starts: list[int]
    frames: int

    def of(self, curve: Tensor, rate: int = 1) -> Tensor:
        """The piece of [B, ..., T * rate] that each row is looked at."""
        size = self.frames * rate
        rows = [curve[i, ..., at * rate : at * rate + size] for i, at in enumerate(self.starts)]
        return torch.stack(rows)


def median_loss(style: Tensor, batch: Batch) -> Tensor:
    """How far the style's idea of the speaker's median pitch is off: without it, that channel may drift."""
    return F.l1_loss(style[:, -1, 0].float(), batch.median)


def prior_losses(mean: Tensor, batch: Batch) -> dict[str, Tensor]:
    """How far the text encoder's mean [B, inter, T] is from the latent: spectrum, pitch, voicing."""
    mask = sequence_mask(batch.code_lengths * 2, batch.latent.shape[-1])
    off = (mean.float() - batch.latent).abs() * mask
    frames = mask.sum()
    # Where nothing is voiced, the pitch only has to lead on to the next place that is.
    heard = 0.1 * mask[:, 0] + batch.latent[:, analysis.VOICING]
    return {
        "frame": off[:, : analysis.MEL].sum() / frames / analysis.MEL,
        "pitch": (off[:, analysis.PITCH] * heard).sum() / heard.sum(),
        "voicing": off[:, analysis.VOICING].sum() / frames,
    }


def decoder_losses(
    voice: LiteVoice,
    latent: Tensor,
    style: Tensor,
    batch: Batch,
    cut: Cut,
    generator: torch.Generator,
    autocast: torch.autocast,
) -> dict[str, Tensor]:
    """How far what the decoder makes of a latent [B, inter, T] is from the truth where ``cut`` looks.

    The true pitch drives the pulses; the decoder's own is compared with it. ``sound`` is an energy distance
    over two draws of the noise: it stands in for an adversary on what is noise.
    """
    device = latent.device
    seen = cut.of(latent.float())
    seen = seen + torch.randn(seen.shape, generator=generator).to(device) * DEVIATION
    with autocast:
        driven = voice.dec.controls(seen, style)
    true = cut.of(batch.audio, analysis.HOP)
    log_f0, voicing = cut.of(batch.log_f0, 2), cut.of(batch.voicing, 2)
    turns = torch.rand(len(true), generator=generator).to(device)
    pulses, _ = dsp.pulse_train(log_f0, voicing, turns)
    harmonic = dsp.filtered(driven.harmonic, pulses)
    draws = []
    for _ in range(2):
        white = torch.randn(true.shape, generator=generator).to(device)
        made = dsp.overlap_add(harmonic, dsp.coloured(driven.noise, white))
        draws.append(spectra(made[:, dsp.BEFORE : dsp.BEFORE + true.shape[1]]))
    wanted = spectra(true)
    off = (distance(draws[0], wanted) + distance(draws[1], wanted)) / 2
    apart = distance(*draws)
    error = (driven.log_f0 - log_f0).abs() * voicing
    return {
        "sound": off - REPULSION / 2 * apart,
        "off": off.detach(),
        "f0": error.sum() / voicing.sum().clamp(min=1),
        "voiced": F.binary_cross_entropy_with_logits(driven.voicing, voicing),
    }


WEIGHTS: Final[Mapping[str, float]] = {
    "frame": 20.0, "pitch": 10.0, "voicing": 5.0, "median": 2.0,
    "sound": SOUND_WEIGHT, "off": 0.0, "f0": 10.0, "voiced": 2.0,
}  # fmt: skip


def weighted(losses: Mapping[str, Tensor], weights: Mapping[str, float] = WEIGHTS) -> Tensor:
    """The sum that is minimised."""
    return sum((weights[name] * value for name, value in losses.items()), torch.zeros(()))
