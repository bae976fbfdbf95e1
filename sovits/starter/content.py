"""Trains the small content encoder that tells the bootstrap voice's codes from speech.

A HuBERT of a few layers, taught that its features, through the voice's own rule (ssl_proj, then the
nearest row of the codebook), give the codes the corpus is known to have. Only importing a reference clip
needs it. Resumes from its checkpoint. Follows specs/bootstrap-voice.md.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.sovits.hubert import Hubert, HubertSettings

from . import units
from .corpus import Item

WIDTH: Final = 128
"""Width of the features; the codebook, which is narrower, is padded with zeros to it."""
SETTINGS: Final = HubertSettings(
    conv_dims=(64, 64, 96, 96, 128, 128, 128), width=WIDTH, heads=4, layers=3, feed_forward=384,
    position_kernel=32, position_groups=8, dropout=0.05,
)  # fmt: skip
CROP: Final = 75
"""Codes of a training clip."""
ZEROS: Final = 9600
"""Zeros that importing appends to a reference clip; half of the training clips end with as many."""
SHARPNESS: Final = 8.0
"""Squared distances times this are the classifier's negative logits."""
STEP: Final = 640
SAVE_SECONDS: Final = 100


def padded_codebook() -> Tensor:
    """The codebook as wide as the features: [1024, WIDTH]."""
    return F.pad(torch.from_numpy(units.codebook()), (0, WIDTH - units.WIDTH))


class Content(nn.Module):
    """The encoder and the projection that belongs to the voice."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Hubert(SETTINGS)
        self.ssl_proj = nn.Conv1d(WIDTH, WIDTH, 2, stride=2)
        self.register_buffer("rows", padded_codebook()[: units.USED], persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Samples [B, n] -> logits [B, N, codes in use]."""
        x = self.ssl_proj(self.encoder(audio).float().mT).mT
        assert isinstance(self.rows, Tensor)
        far = x.square().sum(-1, keepdim=True) - 2 * x @ self.rows.mT + self.rows.square().sum(-1)
        return -SHARPNESS * far


def clip(item: Item, rnd: random.Random, whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Audio and codes of a piece of an utterance, sometimes with the importer's zeros behind."""
    start = 0 if whole else rnd.randrange(max(1, len(item.codes) - CROP + 1))
    codes = item.codes[start : start + CROP].astype(np.int64)
    audio = item.audio[start * STEP : (start + CROP) * STEP].astype(np.float32) / 32768
    if whole or rnd.random() < 0.5:
        audio = np.concatenate([audio, np.zeros(ZEROS, np.float32)])
        codes = np.concatenate([codes, np.full(ZEROS // STEP, units.silence_code())])
    return audio * rnd.uniform(0.7, 1.2), codes


def train(
    items: Sequence[Item], checkpoint: Path, minutes: float, *, references: Sequence[Item] = (),
    batch: int = 8, rate: float = 1e-3, seed: int = 0,
) -> None:  # fmt: skip
    """Train for ``minutes`` of wall time; the voice's ``references`` stand in every fourth batch."""
    torch.manual_seed(seed)
    rnd = random.Random(seed)
    model = Content()
    optimiser = torch.optim.AdamW(model.parameters(), rate, (0.9, 0.98), weight_decay=0.01)
    step, begun, saved_at = 0, time.monotonic(), time.monotonic()
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        step = saved["step"]
        rnd.seed(seed + step)
    sums: list[tuple[float, float, float]] = []
    names = np.array([units.NAMES.index(units.entry_of(code)[0]) for code in range(units.USED)])
    sound_of = torch.from_numpy(names)

    def save() -> None:
        part = checkpoint.with_suffix(".part")
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, part)
        part.replace(checkpoint)

    while (done := (time.monotonic() - begun) / (minutes * 60)) < 1:
        factor = min(1.0, (step + 1) / 200) * (1 if done < 0.5 else max(0.03, (1 - done) / 0.5))
        for group in optimiser.param_groups:
            group["lr"] = rate * factor
        chosen = [clip(item, rnd) for item in rnd.choices(items, k=batch)]
        if references and step % 4 == 0:
            chosen[0] = clip(rnd.choice(references), rnd, whole=True)
        longest = max(len(audio) for audio, _ in chosen)
        audio = torch.zeros(batch, longest + 80)
        target = torch.full((batch, (longest + 80) // STEP), -100)
        for row, (sound, codes) in enumerate(chosen):
            audio[row, : len(sound)] = torch.from_numpy(sound)
            target[row, : len(codes)] = torch.from_numpy(codes)
        audio += torch.randn_like(audio) * 10 ** rnd.uniform(-5, -3)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(audio)
        logits = logits.float()
        count = min(logits.shape[1], target.shape[1])
        logits, target = logits[:, :count], target[:, :count]
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            known = target >= 0
            guess = logits.argmax(-1)[known]
            right = (guess == target[known]).float().mean()
            sound_right = (sound_of[guess] == sound_of[target[known]]).float().mean()
        sums.append((float(loss.detach()), float(right), float(sound_right)))
        if step % 50 == 0:
            print("step {} loss {:.3f} code {:.3f} sound {:.3f}".format(step, *np.mean(sums, 0)), flush=True)
            sums = []
        if time.monotonic() - saved_at > SAVE_SECONDS:
            save()
            saved_at = time.monotonic()
    save()


def heard_codes(checkpoint: Path, item: Item) -> np.ndarray:
    """The codes that importing the clip of ``item`` will find, those of the silence behind it included."""
    audio = np.concatenate([item.audio.astype(np.float32) / 32768, np.zeros(ZEROS, np.float32)])
    with torch.inference_mode():
        logits = load_content(checkpoint)(torch.from_numpy(audio)[None])
    return logits[0].argmax(-1).numpy().astype(np.int16)


def load_content(checkpoint: Path) -> Content:
    """The encoder and its projection."""
    model = Content()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    return model.eval()
