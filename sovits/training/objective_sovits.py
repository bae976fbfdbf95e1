"""How SoVITS learns a voice: a variational autoencoder, judged by discriminators.

The posterior hears the true spectrogram, the prior reads codes and phones; their divergence draws them
together, and a slice of what the decoder makes of the posterior's draw is held against the true audio. With
a base that brings posterior and discriminators as its training part, all learn together; without, a new
posterior is first taught to serve the decoder as it is, and nothing judges. For v1, v2 and the Pro models:
all sizes come from the tensors. Follows specs/training.md.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from p2pvoice.sovits.audio import linear_spectrogram, log_mel
from p2pvoice.sovits.layers import sequence_mask
from p2pvoice.sovits.sizes import Config, Tensors
from p2pvoice.sovits.vits import FRAMES_PER_CODE

from . import losses
from .batches import Batch, Order, Vocabulary, choose_device, collate, unfit_for_sovits, usable
from .networks import POSTERIOR, build
from .parts import Only, belongs, sovits_parts, train_only

if TYPE_CHECKING:
    from .dataset import Example

SLOW_PARTS = ("enc_p.text_embedding", "enc_p.encoder_text", "enc_p.mrte")
"""What reads the text learns at a share of the rate: a minute of speech holds few of a language's sounds."""
BINS_PER_BAND = 8
"""A mel band for so many bins of the spectrum: the 128 of the published models for their 1025."""
HELD_OUT_FRAMES = 128
"""Frames from the middle of a held-out example that are decoded and compared."""


@dataclass(frozen=True)
class SovitsTraining:
    """How to train; the defaults are those of the published recipe."""

    batch: int = 4
    batch_seconds: float = 60.0
    """Longest batch, padding included: what bounds memory."""
    rate: float = 1e-4
    text_rate_share: float = 0.4
    epoch_decay: float = 0.999875
    betas: tuple[float, float] = (0.8, 0.99)
    eps: float = 1e-9
    slice_frames: int = 32
    mel_weight: float = 45.0
    kl_weight: float = 1.0
    feature_weight: float = 2.0
    new_posterior_steps: int = 300
    """First steps in which a posterior that the base did not bring is trained alone."""
    new_posterior_rate: float = 1e-3
    dropout: float | None = None
    """None: what the published configurations have, 0.1, and for the Pro models none."""
    half_on_cpu: bool = False
    """Compute in bfloat16 on the CPU; on CUDA half precision is always used."""
    seed: int = 0


class SovitsObjective:
    """Follows `loop.Objective`. ``left_out`` says by name why an example is not learned from."""

    name = "sovits"

    def __init__(
        self,
        tensors: Tensors,
        config: Config,
        training_part: Tensors | None,
        examples: Sequence["Example"],
        held_out: Sequence["Example"],
        settings: SovitsTraining | None = None,
        device: torch.device | str | None = None,
        only: Only = "all",
        speakers: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """``tensors`` and ``config`` as the release has them; ``training_part``: ``enc_q.*`` and ``disc.*``.

        ``speakers`` holds, for a Pro model, each example's speaker vector by the example's name. Raises
        BadCheckpointError for tensors that are no such model, UsageError when no example can be used.
        """
        self.how, self.only, self.device = settings or SovitsTraining(), only, choose_device(device)
        self.published, self.speakers = dict(tensors), speakers
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(self.how.seed)
            self.networks = build(tensors, config, training_part, self.how.dropout, self.device)
        self.voice, self.judges = self.networks.voice, self.networks.judges
        s = self.voice.settings
        self.layers = sovits_parts(s, only)
        self._build_optimisers()
        known = Vocabulary(s.text_vocab, s.codes)
        unfit = partial(unfit_for_sovits, rate=s.sample_rate, known=known)
        self.examples, self.left_out = usable(examples, unfit)
        self.aside = [example for example in held_out if unfit(example) is None]
        seconds = [len(example.audio) / s.sample_rate for example in self.examples]
        self.order = Order(seconds, self.how.batch, self.how.batch_seconds, self.how.seed)
        self.chance = torch.Generator().manual_seed(self.how.seed)
        self.step = 0

    def _build_optimisers(self) -> None:
        how = self.how
        groups: dict[str, list[Tensor]] = {"parts": [], "text": [], "posterior": []}
        for name, parameter in self.voice.named_parameters():
            if belongs(name, [POSTERIOR]):
                groups["posterior"].append(parameter)
            elif belongs(name, self.layers):
                groups["text" if belongs(name, SLOW_PARTS) else "parts"].append(parameter)
        shares = {"parts": 1.0, "text": how.text_rate_share, "posterior": 1.0}
        self.optimiser = torch.optim.AdamW(
            [{"params": groups[kind], "share": share} for kind, share in shares.items() if groups[kind]],
            how.rate, how.betas, how.eps,
        )  # fmt: skip
        self.judges_optimiser = self.judges and torch.optim.AdamW(
            [{"params": list(self.judges.parameters()), "share": 1.0}], how.rate, how.betas, how.eps
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.device.type == "cuda")

    def train_step(self) -> dict[str, float]:
        """One batch: first the discriminators, if there are any, then the voice."""
        chosen = [self.examples[i] for i in next(self.order)]
        alone = self.networks.new_posterior and self.step < self.how.new_posterior_steps
        self._prepare(alone)
        s, slice_frames = self.voice.settings, self.how.slice_frames
        batch = collate(chosen, s.hop_length, self.device, -(-slice_frames // FRAMES_PER_CODE))
        spec = self._spectra(batch)
        with self._half():
            made, kl, starts = self._make(batch, spec, [e.name for e in chosen])
        true = _slices(batch.audio[:, None], starts * s.hop_length, slice_frames * s.hop_length)
        wanted = _slices(self._mel(spec), starts, slice_frames)
        terms = {"mel": F.l1_loss(self._mel_of(made[:, 0].float()), wanted), "kl": kl}
        total = self.how.mel_weight * terms["mel"] + self.how.kl_weight * terms["kl"]
        if self.judges and not alone:
            terms |= self._judge(true, made)
            total = total + terms["adversarial"] + self.how.feature_weight * terms["feature"]
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        return {name: float(term.detach()) for name, term in terms.items()}

    def _prepare(self, alone: bool) -> None:
        """Set what is trained in this step, and how fast."""
        whole = self.only == "all"
        train_only(self.voice, [POSTERIOR] if alone else [*self.layers, *([POSTERIOR] if whole else [])])
        self.voice.train(whole and not alone)
        self.optimiser.zero_grad(set_to_none=True)
        rate = self.how.new_posterior_rate if alone else self.how.rate
        for optimiser in filter(None, (self.optimiser, self.judges_optimiser)):
            for group in optimiser.param_groups:
                group["lr"] = rate * group["share"] * self.how.epoch_decay**self.order.epoch

    def _make(self, batch: Batch, spec: Tensor, names: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """-> slices made of the posterior's draw [B, 1, n], the divergence, where they start [B]."""
        voice, frames = self.voice, batch.code_lengths * FRAMES_PER_CODE
        mask = sequence_mask(frames, spec.shape[-1])
        style = voice.style(spec * mask, mask, self._speaker(names))
        drawn, _, log_deviation_q = voice.enc_q(spec, mask, style)
        mean_p, log_deviation_p, _ = voice.prior(
            batch.codes, batch.phones, style, batch.code_lengths, batch.phone_lengths
        )
        turned = voice.flow(drawn, mask, style)
        kl = losses.kl_divergence(turned, log_deviation_q, mean_p, log_deviation_p, mask)
        room = (frames - self.how.slice_frames + 1).clamp(min=1)
        starts = (torch.rand(len(frames), generator=self.chance).to(room.device) * room).long()
        return voice.dec(_slices(drawn, starts, self.how.slice_frames), style), kl, starts

    def _judge(self, true: Tensor, made: Tensor) -> dict[str, Tensor]:
        """Let the discriminators learn to tell ``made`` from ``true``, then say how far they still can."""
        assert self.judges is not None
        assert self.judges_optimiser is not None
        self.judges.requires_grad_(True)
        self.judges_optimiser.zero_grad(set_to_none=True)
        with self._half():
            verdicts = self.judges(true), self.judges(made.detach())
        discriminator = losses.discriminator_loss(*verdicts)
        self.scaler.scale(discriminator).backward()
        self.scaler.step(self.judges_optimiser)
        self.judges.requires_grad_(False)
        with self._half():
            with torch.no_grad():
                of_true = self.judges(true)
            of_made = self.judges(made)
        return {
            "adversarial": losses.adversarial_loss(of_made),
            "feature": losses.feature_matching(of_true, of_made),
            "discriminator": discriminator,
        }

    @torch.no_grad()
    def held_out(self) -> float:
        """Mean distance of log mel bands, true against spoken: codes, phones and own style, without noise."""
        self.voice.eval()
        s, sums, frames = self.voice.settings, 0.0, 0
        for example in self.aside:
            batch = collate([example], s.hop_length, self.device)
            spec = self._spectra(batch)
            style = self.voice.style(spec, speaker=self._speaker([example.name]))
            mean, _, mask = self.voice.prior(batch.codes, batch.phones, style)
            latent = self.voice.flow(mean, mask, style, reverse=True)
            size = min(HELD_OUT_FRAMES, latent.shape[-1])
            start = (latent.shape[-1] - size) // 2
            made = self._mel_of(self.voice.dec(latent[..., start : start + size], style)[:, 0])
            sums += size * float(F.l1_loss(made, self._mel(spec)[..., start : start + size]))
            frames += size
        return sums / frames if frames else float("nan")

    def epoch_steps(self) -> int:
        return len(self.order.batches)

    def weights(self) -> dict[str, Tensor]:
        """The release's tensors: the trained parts as they are now, all others the very ones given."""
        now = self.voice.state_dict()
        return {
            name: now[name].to("cpu", copy=True) if belongs(name, self.layers) else tensor
            for name, tensor in self.published.items()
            if not belongs(name, [POSTERIOR])
        }

    def state_dict(self) -> dict[str, Any]:
        state = {
            "step": self.step,
            "only": self.only,
            "voice": self.voice.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "order": self.order.state_dict(),
            "chance": self.chance.get_state(),
        }
        if self.judges and self.judges_optimiser:
            state["judges"] = self.judges.state_dict()
            state["judges_optimiser"] = self.judges_optimiser.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["only"] != self.only or ("judges" in state) != (self.judges is not None):
            raise ValueError("the checkpoint trains other parts")
        self.voice.load_state_dict(state["voice"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.judges and self.judges_optimiser:
            self.judges.load_state_dict(state["judges"])
            self.judges_optimiser.load_state_dict(state["judges_optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.order.load_state_dict(state["order"])
        self.chance.set_state(state["chance"])
        self.step = state["step"]

    def _speaker(self, names: Sequence[str]) -> Tensor | None:
        if self.speakers is None:
            return None
        rows = np.stack([np.asarray(self.speakers[name], np.float32).reshape(-1) for name in names])
        return torch.from_numpy(rows).to(self.device)

    def _spectra(self, batch: Batch) -> Tensor:
        """[B, bins, T]: each clip's own, as if it were alone, and zeros behind."""
        s = self.voice.settings
        rows, frames = batch.audio, (batch.code_lengths * FRAMES_PER_CODE).tolist()
        out = rows.new_zeros(len(rows), s.spec_bins, rows.shape[1] // s.hop_length)
        for row, audio, size in zip(out, rows, frames, strict=True):
            clip = audio[None, : size * s.hop_length]
            row[:, :size] = linear_spectrogram(clip, s.filter_length, s.hop_length)[0]
        return out

    def _mel(self, spec: Tensor) -> Tensor:
        s = self.voice.settings
        return log_mel(spec, s.sample_rate, max(1, s.spec_bins // BINS_PER_BAND))

    def _mel_of(self, audio: Tensor) -> Tensor:
        s = self.voice.settings
        return self._mel(linear_spectrogram(audio, s.filter_length, s.hop_length))

    def _half(self) -> AbstractContextManager[Any]:
        if self.device.type == "cuda":
            return torch.autocast("cuda", torch.float16)
        return torch.autocast("cpu", torch.bfloat16) if self.how.half_on_cpu else nullcontext()


def _slices(x: Tensor, starts: Tensor, size: int) -> Tensor:
    """[B, C, T] -> [B, C, size], each row from its own start."""
    return torch.stack([row[:, at : at + size] for row, at in zip(x, starts.tolist(), strict=True)])
