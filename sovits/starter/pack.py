"""Packs trained checkpoints into what ships: upstream-format files, a reference clip and the content
encoder.

The two weight files are written as GPT-SoVITS exports them, so the bundled voice is imported by the very
path any user's voice takes. The same checkpoints always give the same tensors. Follows specs/bootstrap-
voice.md.
"""

import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn import functional as F

from p2pvoice.sovits import bases

from . import content, train_gpt, train_sovits, units
from .corpus import Item

NAME: Final = "bootstrap"
SHIPPED: Final = replace(train_sovits.SETTINGS, ssl_dim=content.WIDTH, dropout=0.0)
"""The codebook is padded to the width of the content encoder's features."""
GPT_SHIPPED: Final = replace(train_gpt.SETTINGS, dropout=0.0)
SHARPENED: Final = 0.6
"""Temperature that is folded into the GPT's last layer, because the published defaults draw at 1.0."""


def sovits_weights(trained: Path, encoder: Path) -> dict[str, Tensor]:
    """The s2 tensors: those of the training, widened, and the content encoder's projection."""
    weights = {k: v for k, v in train_sovits.load_voice(trained).state_dict().items()}
    extra = content.WIDTH - units.WIDTH
    weights["enc_p.ssl_proj.weight"] = F.pad(weights["enc_p.ssl_proj.weight"], (0, 0, 0, extra))
    book = "quantizer.vq.layers.0._codebook."
    weights[book + "embed"] = content.padded_codebook()
    weights[book + "embed_avg"] = torch.zeros(units.CODES, content.WIDTH)
    projection = content.load_content(encoder).ssl_proj
    weights["ssl_proj.weight"], weights["ssl_proj.bias"] = (
        projection.weight.detach(),
        projection.bias.detach(),
    )
    return weights


def gpt_weights(trained: Path) -> dict[str, Tensor]:
    """The s1 tensors; BERT features are multiplied by zero, since the voice was trained without."""
    weights = train_gpt.load_gpt(trained).published_state()
    weights["model.bert_proj.weight"] = torch.zeros_like(weights["model.bert_proj.weight"])
    weights["model.ar_predict_layer.weight"] = weights["model.ar_predict_layer.weight"] / SHARPENED
    return weights


def _save(path: Path, weights: dict[str, Tensor], config: dict[str, Any], info: str) -> None:
    halves = {name: tensor.detach().half().contiguous().clone() for name, tensor in weights.items()}
    torch.save(OrderedDict(weight=halves, config=config, info=info), path)


def pack(sovits: Path, gpt: Path, encoder: Path, reference: Item, out: Path) -> None:
    """Write ``out``/bootstrap and ``out``/bases/bootstrap from three training checkpoints."""
    folder = out / NAME
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.half() for k, v in content.load_content(encoder).encoder.state_dict().items()}
    kept = {key: content.SETTINGS.to_config()[key] for key in bases.KEPT_KEYS["hubert"]}
    place = bases.write("hubert", tensors, kept, out / "bases" / NAME)
    config = SHIPPED.to_config()
    config["model"]["version"] = "v2"
    named = {**config, "version": "v2", "content_module": bases.content_id(place), "name": NAME}
    steps = [torch.load(path, weights_only=True)["step"] for path in (sovits, gpt)]
    _save(folder / f"{NAME}.pth", sovits_weights(sovits, encoder), named, f"{steps[0]}iteration")
    _save(folder / f"{NAME}.ckpt", gpt_weights(gpt), GPT_SHIPPED.to_config(), f"GPT-s{steps[1]}")
    samples = reference.audio.astype(np.float32) / 32768
    soundfile.write(folder / "reference.wav", samples, 16_000, subtype="PCM_16")
    said = {"clip": "reference.wav", "text": reference.text, "lang": reference.language}
    (folder / "reference.json").write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n", "utf-8")
