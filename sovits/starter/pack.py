"""Packs trained checkpoints into what ships: two weight files, a reference clip and the content encoder.

The weight files are written as GPT-SoVITS exports its own, so the starter is imported by the very path any
user's voice takes. The same checkpoints always give the same tensors. Follows specs/starter.md.
"""

import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import torch
from torch import Tensor

from p2pvoice.sovits import bases
from p2pvoice.sovits.declared import LITE
from p2pvoice.sovits.lite.units import SHARPENED

from . import train_content, train_gpt, train_lite
from .corpus import SAMPLE_RATE, Item

NAME: Final = "starter"
REFERENCE_SECONDS: Final = (4.0, 9.0)
"""Least and most that a reference clip lasts."""


@dataclass(frozen=True)
class Trained:
    """The three checkpoints of a starter."""

    acoustic: Path
    gpt: Path
    content: Path


def gpt_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The s1 tensors; BERT features are multiplied by zero, since the starter was trained without."""
    weights = train_gpt.load_gpt(checkpoint).published_state()
    weights["model.bert_proj.weight"] = torch.zeros_like(weights["model.bert_proj.weight"])
    weights["model.ar_predict_layer.weight"] = weights["model.ar_predict_layer.weight"] / SHARPENED
    return weights


def gpt_config() -> dict[str, dict[str, Any]]:
    """What the s1 file says beside its tensors."""
    return replace(train_gpt.SETTINGS, dropout=0.0).to_config()


def reference(items: list[Item], speaker: str, language: str) -> Item:
    """The clip that ships: the first of its speaker and language that is long enough to know him by."""
    low, high = REFERENCE_SECONDS
    for item in items:
        if (item.speaker, item.language) == (speaker, language) and (
            low <= len(item.audio) / SAMPLE_RATE <= high
        ):
            return item
    raise ValueError(f"the corpus has no clip of {low:g} to {high:g} s by {speaker} in {language}")


def _save(path: Path, weights: dict[str, Tensor], config: dict[str, Any], info: str) -> None:
    halves = {name: tensor.detach().half().contiguous().clone() for name, tensor in weights.items()}
    torch.save(OrderedDict(weight=halves, config=config, info=info), path)


def pack(trained: Trained, clip: Item, out: Path) -> None:
    """Write ``out``/starter and ``out``/bases/starter."""
    folder = out / NAME
    folder.mkdir(parents=True, exist_ok=True)
    encoder = train_content.load(trained.content)
    tensors = {name: tensor.half() for name, tensor in encoder.state_dict().items()}
    place = bases.write("content", tensors, encoder.settings.to_config(), out / "bases" / NAME)
    voice = train_lite.load_voice(trained.acoustic)
    config = voice.settings.to_config()
    config["model"]["version"] = LITE
    named = {**config, "version": LITE, "content_module": bases.content_id(place), "name": NAME}
    steps = [torch.load(path, weights_only=True)["step"] for path in (trained.acoustic, trained.gpt)]
    _save(folder / f"{NAME}.pth", dict(voice.state_dict()), named, f"{steps[0]}iteration")
    _save(folder / f"{NAME}.ckpt", gpt_weights(trained.gpt), gpt_config(), f"GPT-s{steps[1]}")
    samples = clip.audio.astype(np.float32) / 32768
    soundfile.write(folder / "reference.flac", samples, SAMPLE_RATE, subtype="PCM_16")
    said = {"clip": "reference.flac", "text": clip.text, "lang": clip.language}
    (folder / "reference.json").write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n", "utf-8")
