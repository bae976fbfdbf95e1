"""Trains the content encoder: frame cross-entropy against the sounds the corpus is known to have.

Everything that makes recordings differ and is not speech is varied on the fly, on the mel spectrum: noise,
equalisers, band limits, echo, masks, and the lengths of vocal tracts and of words. Reads the corpus again as
it grows and resumes from its checkpoint. Follows specs/starter.md.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.sovits.lite import content, units

from . import corpus

CROP: Final = 75
"""Codes of a training clip: 3 s."""
SILENCE_WEIGHT: Final = 0.4
SAVE_SECONDS: Final = 120.0
HELD: Final = 40
"""Utterances of each shard of unseen speakers that measure."""
IGNORED: Final = -100


@dataclass(frozen=True)
class Heard:
    """What is kept of an utterance: its spectrum [bands, 4 * codes] and the sound of each code."""

    name: str
    mel: Tensor
    sounds: Tensor


def heard(item: corpus.Item) -> Heard:
    """The spectrum and the labels of an utterance."""
    audio = torch.from_numpy(item.audio.astype(np.float32) / 32768)
    mel = content.log_mel(audio[None])[0].half()
    label = torch.from_numpy(units.SOUND_OF[item.codes.astype(np.int64)])
    return Heard(f"{item.speaker.split('-')[0]}-{item.language}", mel, label)


def augmented(mel: Tensor, rnd: random.Random) -> Tensor:
    """A spectrum [bands, frames] as another room, microphone and throat might give it."""
    bands, frames = mel.shape
    if rnd.random() < 0.6:  # another length of the vocal tract, in warped frequency
        place = torch.arange(bands) * rnd.uniform(0.9, 1.1)
        low = place.floor().long().clamp(0, bands - 1)
        share = (place - low)[:, None].clamp(0, 1)
        mel = mel[low] * (1 - share) + mel[(low + 1).clamp(max=bands - 1)] * share
    if rnd.random() < 0.7:  # an equaliser
        knots = torch.randn(1, 1, rnd.randint(3, 8)) * rnd.uniform(0.2, 0.9)
        mel = mel + F.interpolate(knots, bands, mode="linear", align_corners=True)[0, 0, :, None]
    if rnd.random() < 0.25:  # echo: energy that dies away
        decay, tail = rnd.uniform(0.5, 0.85), mel.exp()
        level = rnd.uniform(0.05, 0.3)
        echo = sum(level * decay**k * F.pad(tail, (k, 0))[:, :frames] for k in range(2, 14, 2))
        mel = (tail + echo).clamp(min=content.FLOOR).log()
    if rnd.random() < 0.6:  # noise of some colour
        loud = mel.mean().item() + rnd.uniform(-3.0, 1.2)
        colour = torch.linspace(rnd.uniform(-1.5, 1.5), rnd.uniform(-1.5, 1.5), bands)[:, None]
        noise = (loud + colour + 0.5 * torch.randn(bands, frames)).exp()
        mel = (mel.exp().square() + noise.square()).sqrt().log()
    if rnd.random() < 0.25:  # a narrow band
        mel = mel.clone()
        mel[rnd.randint(45, bands - 1) :] = mel.min()
        mel[: rnd.randint(0, 6)] = mel.min()
    if rnd.random() < 0.5:
        mel = mel.clone()
        for _ in range(2):
            size, first = rnd.randint(1, 10), rnd.randrange(bands - 10)
            mel[first : first + size] = mel.mean()
            size, first = rnd.randint(1, 8), rnd.randrange(max(1, frames - 8))
            mel[:, first : first + size] = mel.mean()
    return mel


def _clip(item: Heard, rnd: random.Random) -> tuple[Tensor, Tensor]:
    """A piece of an utterance, sometimes faster or slower: spectrum [bands, 4 CROP], labels [2 CROP]."""
    pace = rnd.uniform(0.9, 1.12) if rnd.random() < 0.5 else 1.0
    codes = min(len(item.sounds), int(CROP * pace))
    first = rnd.randrange(len(item.sounds) - codes + 1)
    mel = item.mel[:, 4 * first : 4 * (first + codes)].float()
    label = item.sounds[first : first + codes].repeat_interleave(2)
    if pace != 1.0:
        size = int(mel.shape[1] / pace) // 4 * 4
        mel = F.interpolate(mel[None], size, mode="linear", align_corners=False)[0]
        place = ((torch.arange(size // 2) + 0.5) * len(label) / (size // 2)).long()
        label = label[place]
    mel, label = augmented(mel, rnd)[:, : 4 * CROP], label[: 2 * CROP]
    missing = 4 * CROP - mel.shape[1]
    return F.pad(mel, (0, missing), value=float(mel.min())), F.pad(label, (0, missing // 2), value=IGNORED)


@torch.inference_mode()
def accuracy(encoder: content.ContentEncoder, items: Sequence[Heard]) -> dict[str, float]:
    """Share of frames that are not silent whose sound is told: for each kind of item and for all."""
    right: dict[str, list[int]] = {}
    for item in items:
        told = encoder(item.mel.float()[None])[0].argmax(-1)
        true = item.sounds.repeat_interleave(2)
        loud = true != 0
        counts = right.setdefault(item.name, [0, 0])
        counts[0] += int((told == true)[loud].sum())
        counts[1] += int(loud.sum())
    shares = {name: a / max(1, b) for name, (a, b) in sorted(right.items())}
    every = [sum(x) for x in zip(*right.values(), strict=True)]
    return {**shares, "all": every[0] / max(1, every[1])}


def load(checkpoint: Path) -> content.ContentEncoder:
    """The encoder of a training checkpoint, ready to hear."""
    encoder = content.ContentEncoder()
    encoder.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    return encoder.eval()


def train(
    folder: Path, unseen: Path, checkpoint: Path, minutes: float, *, batch: int = 16, rate: float = 1.5e-3,
    settle: float = 0.4, seed: int = 0, tell: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Train on the shards of ``folder`` for ``minutes`` of wall time; ``unseen`` measures."""
    torch.manual_seed(seed)
    rnd = random.Random(seed)
    encoder = content.ContentEncoder()
    average = content.ContentEncoder()
    average.load_state_dict(encoder.state_dict())
    optimiser = torch.optim.AdamW(encoder.parameters(), rate, (0.9, 0.98), weight_decay=0.02)
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        encoder.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["cpu_seconds"]
        rnd.seed(seed + step)
    weight = torch.ones(len(units.NAMES))
    weight[0] = SILENCE_WEIGHT
    known: dict[Path, list[Heard]] = {}
    tests: dict[Path, list[Heard]] = {}
    begun, cpu, first = time.monotonic(), time.process_time(), step
    looked = saved_at = -1e9
    sums: list[tuple[float, float]] = []

    def save() -> None:
        state = {
            "model": encoder.state_dict(), "average": average.state_dict(), "step": step,
            "optimiser": optimiser.state_dict(), "cpu_seconds": spent + time.process_time() - cpu,
        }  # fmt: skip
        part = checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(checkpoint)

    while (done := (time.monotonic() - begun) / (minutes * 60)) < 1:
        if time.monotonic() - looked > SAVE_SECONDS:
            for path in corpus.shards(folder):
                if path not in known:
                    known[path] = [heard(item) for item in corpus.read_shard(path)]
            for path in corpus.shards(unseen):
                if path not in tests:
                    tests[path] = [heard(item) for item in list(corpus.read_shard(path))[:HELD]]
            # Languages and teachers stand in the batches in equal parts, however much there is of each.
            kinds: dict[str, list[Heard]] = {}
            for items in known.values():
                for item in items:
                    kinds.setdefault(item.name, []).append(item)
            looked = time.monotonic()
        factor = min(1.0, (step - first + 1) / (200 if first == 0 else 30)) * min(
            1.0, max(0.03, (1 - done) / settle)
        )
        for group in optimiser.param_groups:
            group["lr"] = rate * factor
        names = sorted(kinds)
        clips = [_clip(rnd.choice(kinds[rnd.choice(names)]), rnd) for _ in range(batch)]
        mel, label = (torch.stack(x) for x in zip(*clips, strict=True))
        with torch.autocast("cpu", torch.bfloat16):
            logits = encoder(mel)
        loss = F.cross_entropy(
            logits.float().flatten(0, 1), label.flatten(), weight, ignore_index=IGNORED, label_smoothing=0.05
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        step += 1
        keep = min(0.995, step / (step + 20))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), encoder.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)
        right = (logits.argmax(-1) == label)[label > 0].float().mean()
        sums.append((float(loss.detach()), float(right)))
        if step % 50 == 0:
            told = "loss {:.3f} right {:.3f}".format(*np.mean(sums, 0))
            if step % 200 == 0:
                average.eval()
                shares = accuracy(average, [item for items in tests.values() for item in items])
                told += " | unseen " + " ".join(f"{name} {share:.3f}" for name, share in shares.items())
            used = spent + time.process_time() - cpu
            tell(f"step {step} cpu {used:.0f} rate {rate * factor:.1e} {told}")
            sums = []
        if time.monotonic() - saved_at > SAVE_SECONDS:
            save()
            saved_at = time.monotonic()
    save()
