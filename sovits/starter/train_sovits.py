"""Trains the bootstrap voice's SoVITS: codes and phones to a latent, the latent to audio.

The latent is not left to chance: its channels are the log mel spectrum and the pitch of the frame. So the
text encoder (prior) and the decoder can be taught apart, each from the truth, on a core of its own, and
then together through the path that speaks. The teacher's speech is a function of its codes but for noise,
so there is no posterior encoder, and the flow stays the identity. Resumes from its checkpoint. Follows
specs/bootstrap-voice.md.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from p2pvoice.sovits.layers import sequence_mask
from p2pvoice.sovits.sizes import SoVitsSettings
from p2pvoice.sovits.vits import SoVits

from . import units
from .corpus import Item
from .critics import Critics, critic_loss, fooling_losses
from .spectra import distance, log_mel, magnitude

Part = Literal["prior", "decoder", "both"]

SETTINGS: Final = SoVitsSettings(
    ssl_dim=units.WIDTH, codes=units.CODES, text_vocab=732,
    inter_channels=96, hidden_channels=128, filter_channels=384, heads=2, audio_layers=2, text_layers=3,
    mrte_channels=128, gin_channels=128, ref_bins=513, dropout=0.05, coupling_layers=1, wavenet_kernel=3,
    upsample_rates=(5, 4, 4, 4), upsample_kernels=(11, 8, 8, 8), upsample_initial=256,
    resblock_kernels=(3, 7), resblock_dilations=((1, 3), (1, 3, 5)),
    sample_rate=16_000, filter_length=1024, hop_length=320,
)  # fmt: skip
HOP: Final = SETTINGS.hop_length
MEL: Final = 80
MEL_MEAN, MEL_SPREAD = -5.3, 2.1
"""Of the corpus: they bring the spectrum's channels to about 0 and 1."""
PITCH: Final = SETTINGS.inter_channels - MEL
"""Channels of the pitch: its height, and bumps over its range, so that the decoder finds it without
effort."""
PITCH_RANGE: Final = 8.0
"""Semitones above and below the middle that the bumps cover."""
NOISE: Final = 0.2
"""Standard deviation that the prior declares for its latent; not learned."""
NOISE_SCALE: Final = 0.5
"""Share of it that training and speaking draw."""
SEGMENT: Final = 32
"""Latent frames that the decoder sees of an utterance."""
REFERENCE: Final = 100
"""Frames of the reference."""
CROP: Final = 60
"""Codes that are kept of an utterance where the decoder is trained."""
LONGEST: Final = 160
"""Codes of the longest utterance trained on."""
SAVE_SECONDS: Final = 150


class Trainee(nn.Module):
    """The network, prepared: the codebook built in, the flow an identity, the prior's deviation a
    constant."""

    def __init__(self) -> None:
        super().__init__()
        self.voice = SoVits(SETTINGS)
        self.voice.quantizer.embed.copy_(torch.from_numpy(units.codebook()))
        proj, half = self.voice.enc_p.proj, SETTINGS.inter_channels
        with torch.no_grad():
            proj.weight[half:] = 0
            proj.bias[half:] = float(np.log(NOISE))
            for name, weights in self.voice.flow.named_parameters():
                if ".post." in name:
                    weights.zero_()

    def parameters_of(self, part: Part) -> list[nn.Parameter]:
        """What is trained; the style encoder keeps its random weights, as there is one speaker."""
        prior, decoder = list(self.voice.enc_p.parameters()), list(self.voice.dec.parameters())
        return {"prior": prior, "decoder": decoder, "both": prior + decoder}[part]


@dataclass(frozen=True)
class Batch:
    """Padded tensors of a few utterances; ``latent`` [B, inter, T] is what the prior should say."""

    codes: Tensor
    code_lengths: Tensor
    phones: Tensor
    phone_lengths: Tensor
    reference: Tensor
    audio: Tensor
    latent: Tensor


def pad(rows: Sequence[np.ndarray], size: int = 0) -> Tensor:
    """Rows of unlike length as one tensor, zeros behind."""
    out = np.zeros((len(rows), max(size, *(len(row) for row in rows))), rows[0].dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out)


def pitch_channels(codes: np.ndarray) -> np.ndarray:
    """The pitch of each latent frame, which the codes tell exactly: [2 N, PITCH]."""
    curve = units.pitch_curve([units.entry_of(int(code))[1] for code in codes])
    semitones = 12 * np.log2(curve.reshape(-1, 2).mean(1) / units.CENTRE_HZ)
    centres = np.linspace(-PITCH_RANGE, PITCH_RANGE, PITCH - 1)
    width = centres[1] - centres[0]
    bumps = np.exp(-0.5 * ((semitones[:, None] - centres) / width) ** 2)
    return np.concatenate([semitones[:, None] / 4, bumps], 1).astype(np.float32)


def cropped(item: Item, rnd: random.Random) -> Item:
    """A piece of an utterance, all its phones beside."""
    start = rnd.randrange(max(1, len(item.codes) - CROP + 1))
    audio = item.audio[start * 2 * HOP : (start + CROP) * 2 * HOP]
    return replace(item, codes=item.codes[start : start + CROP], audio=audio)


def collate(items: Sequence[Item], reference: Item, rnd: random.Random, crop: bool) -> Batch:
    """A batch; ``reference`` lends its timbre."""
    if crop:
        items = [cropped(item, rnd) for item in items]
    start = rnd.randrange(max(1, len(reference.audio) - REFERENCE * HOP))
    clip = torch.from_numpy(reference.audio[start : start + REFERENCE * HOP].astype(np.float32) / 32768)
    longest = max(len(item.codes) for item in items)
    audio = pad([item.audio.astype(np.float32) / 32768 for item in items], longest * 2 * HOP)
    pitch = torch.zeros(len(items), longest * 2, PITCH)
    for row, item in enumerate(items):
        pitch[row, : 2 * len(item.codes)] = torch.from_numpy(pitch_channels(item.codes))
    mel = (log_mel(audio) - MEL_MEAN) / MEL_SPREAD
    return Batch(
        pad([item.codes.astype(np.int64) for item in items]),
        torch.tensor([len(item.codes) for item in items]),
        pad([item.phones.astype(np.int64) for item in items]),
        torch.tensor([len(item.phones) for item in items]),
        magnitude(clip[None], SETTINGS.filter_length, HOP),
        audio,
        torch.cat([mel, pitch.mT], 1),
    )


def batches(items: Sequence[Item], size: int, rnd: random.Random) -> Iterator[list[Item]]:
    """For ever batches of utterances of like length."""
    while True:
        order = rnd.sample(range(len(items)), len(items))
        pools: list[list[int]] = []
        for at in range(0, len(order), size * 16):
            chunk = sorted(order[at : at + size * 16], key=lambda i: len(items[i].codes))
            pools += [chunk[i : i + size] for i in range(0, len(chunk), size)]
        rnd.shuffle(pools)
        yield from ([items[i] for i in pool] for pool in pools if len(pool) == size)


def train(
    items: Sequence[Item],
    checkpoint: Path,
    minutes: float,
    part: Part,
    *,
    batch: int = 8,
    rate: float = 1e-3,
    settle: float = 0.4,
    truth: float = 0.25,
    critics_on: bool = False,
    seed: int = 0,
) -> None:
    """Train ``part`` for ``minutes`` of wall time; the rate falls during the last ``settle`` of it.

    In ``both`` the decoder still sees the true latent for the share ``truth`` of a batch.
    """
    torch.manual_seed(seed)
    rnd = random.Random(seed)
    items = [item for item in items if SEGMENT // 2 < len(item.codes) <= LONGEST]
    model, critics = Trainee(), Critics()
    voice = model.voice
    trained = model.parameters_of(part)
    optimiser = torch.optim.AdamW(trained, rate, (0.8, 0.99), weight_decay=0.01)
    judge_optimiser = torch.optim.AdamW(critics.parameters(), rate / 2, (0.8, 0.99))
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        if saved["part"] == part:
            optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["cpu_seconds"]
        rnd.seed(seed + step)
        torch.manual_seed(seed + step)
        if critics_on and saved.get("critics"):
            critics.load_state_dict(saved["critics"])
            judge_optimiser.load_state_dict(saved["judge_optimiser"])
    begun, cpu, first, saved_at = time.monotonic(), time.process_time(), step, time.monotonic()
    sums: dict[str, list[float]] = {}
    half = SETTINGS.inter_channels

    def save() -> None:
        state = {
            "model": model.state_dict(), "part": part, "optimiser": optimiser.state_dict(), "step": step,
            "cpu_seconds": spent + time.process_time() - cpu,
            "critics": critics.state_dict() if critics_on else None,
            "judge_optimiser": judge_optimiser.state_dict() if critics_on else None,
        }  # fmt: skip
        growing = checkpoint.with_suffix(".part")
        torch.save(state, growing)
        growing.replace(checkpoint)

    for chosen in batches(items, batch, rnd):
        done = (time.monotonic() - begun) / (minutes * 60)
        if done >= 1:
            break
        factor = min(1.0, (step - first + 1) / 100) * (
            1 if done < 1 - settle else max(0.03, (1 - done) / settle)
        )
        for group in optimiser.param_groups:
            group["lr"] = rate * factor
        for group in judge_optimiser.param_groups:
            group["lr"] = rate / 2 * factor
        data = collate(chosen, rnd.choice(items), rnd, crop=part != "prior")
        with torch.no_grad():
            style = voice.style(data.reference).expand(len(chosen), -1, -1)
        mask = sequence_mask(data.code_lengths * 2, data.latent.shape[-1])
        losses: dict[str, Tensor] = {}
        loss = torch.zeros(())
        latent = data.latent
        if part != "decoder":
            mean, _, _ = voice.prior(data.codes, data.phones, style, data.code_lengths, data.phone_lengths)
            off = (mean - latent).abs()
            losses["frame"] = (off[:, :MEL].mean(1, keepdim=True) * mask).sum() / mask.sum()
            losses["pitch"] = (off[:, MEL:].mean(1, keepdim=True) * mask).sum() / mask.sum()
            loss = loss + 20 * losses["frame"] + 20 * losses["pitch"]
            own = max(0, round(len(chosen) * (1 - truth)))
            latent = torch.cat([mean[:own], latent[own:]])
        if part != "prior":
            starts = [rnd.randrange(0, 2 * int(n) - SEGMENT + 1) for n in data.code_lengths]
            cut = torch.stack([latent[i, :, at : at + SEGMENT] for i, at in enumerate(starts)])
            with torch.autocast("cpu", torch.bfloat16):
                made = voice.dec(cut + torch.randn_like(cut) * (NOISE * NOISE_SCALE), style)[:, 0]
            made = made.float()
            true = torch.stack(
                [data.audio[i, at * HOP : (at + SEGMENT) * HOP] for i, at in enumerate(starts)]
            )
            losses["mel"] = distance(made, true)
            loss = loss + 45 * losses["mel"]
            if critics_on:
                judged = critic_loss(critics, true, made.detach())
                judge_optimiser.zero_grad()
                judged.backward()
                nn.utils.clip_grad_norm_(critics.parameters(), 5.0)
                judge_optimiser.step()
                fooled, matched = fooling_losses(critics, true, made)
                loss = loss + fooled + 2 * matched
                losses |= {"critic": judged, "fooled": fooled, "matched": matched}
        optimiser.zero_grad()
        loss.backward()
        if part != "decoder":
            voice.enc_p.proj.weight.grad[half:] = 0
            voice.enc_p.proj.bias.grad[half:] = 0
        norm = nn.utils.clip_grad_norm_(trained, 100.0 if part != "prior" else 5.0)
        if torch.isfinite(norm):
            optimiser.step()
        with torch.no_grad():  # Weight decay must not move the prior's deviation either.
            voice.enc_p.proj.bias[half:] = float(np.log(NOISE))
        step += 1
        for name, value in losses.items():
            sums.setdefault(name, []).append(float(value.detach()))
        if step % 50 == 0:
            told = " ".join(f"{name} {sum(v) / len(v):.3f}" for name, v in sums.items())
            used = spent + time.process_time() - cpu
            print(f"step {step} cpu {used:.0f} rate {rate * factor:.1e} {told} norm {norm:.1f}", flush=True)
            sums = {}
        if time.monotonic() - saved_at > SAVE_SECONDS:
            save()
            saved_at = time.monotonic()
    save()


def merge(prior: Path, decoder: Path, into: Path) -> None:
    """One checkpoint with the prior of one run and the decoder of another, to go on with both."""
    first, second = (torch.load(path, weights_only=True) for path in (prior, decoder))
    weights = {**first["model"], **{k: v for k, v in second["model"].items() if ".dec." in f".{k}"}}
    spent = first["cpu_seconds"] + second["cpu_seconds"]
    state = {"model": weights, "part": "", "optimiser": None, "step": second["step"], "cpu_seconds": spent}
    torch.save(state, into)


def load_voice(checkpoint: Path) -> SoVits:
    """The network of a training checkpoint, ready to speak."""
    model = Trainee()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    return model.voice.eval()


__all__ = ["SETTINGS", "Trainee", "collate", "load_voice", "merge", "pad", "pitch_channels", "train"]
