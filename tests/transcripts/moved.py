"""Stands for an hour of somebody's training: the packaged voice's files in upstream's form, its GPT moved.

A page that needs a second voice of the same shape runs it as `python3 "$PAGES/moved.py"` and imports what it
writes into the working folder: sovits.pth, gpt.ckpt, clip.flac.
"""

import shutil
from pathlib import Path

import torch

from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.packaged import packaged_voice


def main() -> None:
    voice = packaged_voice()
    shutil.copyfile(voice.sovits, "sovits.pth")
    shutil.copyfile(voice.clip, "clip.flac")
    gpt = read_checkpoint(voice.gpt)
    generator = torch.Generator().manual_seed(1)
    weight = {}
    for name, tensor in gpt.tensors.items():
        noise = torch.randn(tensor.shape, generator=generator) * tensor.float().std(correction=0) * 0.2
        weight[name] = (tensor.float() + noise).half() if name.startswith("model.h.") else tensor.clone()
    torch.save({"weight": weight, "config": gpt.config, "info": "moved"}, Path("gpt.ckpt"))


if __name__ == "__main__":
    main()
