"""A workbench of small real parts: clips, encoders and a voice imported from the tiny golden checkpoints."""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch
from safetensors.torch import save_file

from p2pvoice.sovits.bases import Bases, install
from p2pvoice.sovits.bert import Bert, BertSettings
from p2pvoice.sovits.convert import Recording, import_voice
from p2pvoice.sovits.hubert import Hubert, HubertSettings
from p2pvoice.sovits.speaker import SpeakerNetwork, SpeakerSettings

from . import numbers

VOICED = "你好，世界！今天天气很好。"
"""Characters that the small vocabulary knows."""


def clip(path: Path, seconds: float = 3.5, rate: int = 22050, channels: int = 1) -> Path:
    """A clip of gliding tones and some noise."""
    time = np.arange(round(seconds * rate)) / rate
    glide = np.sin(2 * np.pi * (180.0 * time + 40.0 * time**2))
    samples = 0.4 * glide + 0.02 * np.random.default_rng(1).standard_normal(len(time))
    soundfile.write(path, np.stack([samples] * channels, axis=1), rate)
    return path


def published_hubert(folder: Path, width: int = 48) -> Path:
    """A fresh encoder in the layout of the published one; ``width`` fits the tiny golden voices."""
    folder.mkdir(parents=True)
    torch.manual_seed(5)
    settings = HubertSettings(
        conv_dims=(16,) * 7,
        width=width,
        heads=4,
        layers=1,
        feed_forward=32,
        position_kernel=16,
        position_groups=4,
    )
    tensors = {k: v.contiguous() for k, v in Hubert(settings).state_dict().items()}
    save_file(tensors | {"masked_spec_embed": torch.zeros(width)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(settings.to_config()))
    return folder


def published_bert(folder: Path, width: int = 1024, *, pickled: bool = False) -> Path:
    """A fresh BERT in the layout of the published one, with its unused layers and whole-number buffers."""
    folder.mkdir(parents=True)
    torch.manual_seed(6)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(VOICED + ",.!?")]
    settings = BertSettings(
        vocab=len(tokens), width=width, heads=4, layers=3, feed_forward=32, positions=128, epsilon=1e-12
    )
    tensors = {f"bert.{k}": v.contiguous() for k, v in Bert(settings).state_dict().items()}
    tensors["bert.embeddings.position_ids"] = torch.arange(128)[None]
    tensors["cls.predictions.bias"] = torch.zeros(len(tokens))
    if pickled:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "bert", "num_attention_heads": 4, "num_hidden_layers": 3, "hidden_size": width}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    return folder


SMALL_SPEAKER = SpeakerSettings(channels=4, groups=2, width=4, outputs=4, blocks=(1, 1, 1, 1), squeeze=2)
"""Its vector has the 320 numbers that the tiny golden Pro voices want."""


def published_speaker(folder: Path) -> Path:
    """A fresh speaker network in the layout of the published one: one checkpoint and nothing beside it."""
    folder.mkdir(parents=True)
    torch.manual_seed(8)
    tensors = SpeakerNetwork(SMALL_SPEAKER).state_dict()
    torch.save(tensors | {"seg_1.weight": torch.zeros(8, 640)}, folder / "pretrained_small.ckpt")
    return folder


def install_speaker(bases: Path) -> Path:
    """Such a network, installed."""
    return install("", published_speaker(bases / ".published"), bases / "sv")


def voice(folder: Path, version: str = "v2") -> tuple[Path, Path]:
    """A voice imported from the tiny golden checkpoints -> its bundle and the folder of its bases."""
    bases = folder / "bases"
    install("hubert", published_hubert(folder / "hubert"), bases / "hubert")
    install_speaker(bases)
    good = numbers.beside("checkpoints/good")
    import_voice(
        good / f"tiny_{version}.pth",
        good / ("tiny_v1.ckpt" if version == "v1" else "tiny_v2.ckpt"),
        clip(folder / "clip.wav"),
        "今天天气很好" if version == "v1" else "今日天氣好好",
        "zh" if version == "v1" else "yue",
        folder / "bundle",
        Bases([bases]),
        more=[Recording(clip(folder / "more.wav", 4.0, 16_000), "今天天气很好", "zh")] * (version != "v2"),
    )
    return folder / "bundle", bases
