"""``python -m p2pvoice.sovits.bench.bulk FOLDER --mib N [--tuned]``: a base of any size, to be moved.

Writes a HuBERT as others publish one: the smallest network of its kind with as many layers as fill the size.
Its numbers are made up, in half precision, and look like weights: noise that no compressor saves much of.
``--tuned`` gives the same network after a small step of training. Not for speaking. Follows
specs/exchange.md, "Figures".
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from p2pvoice.sovits.hubert import Hubert, HubertSettings

LAYER_BYTES = 16 << 20
"""About what one layer takes."""

SPREAD, STEP = 0.02, 0.0005
"""Deviation of the weights, and of what tuning adds to them."""


def settings(size: int) -> HubertSettings:
    """The network whose weights take about ``size`` bytes in half precision."""
    layers = max(1, size // LAYER_BYTES)
    small = HubertSettings(conv_dims=(32,) * 7, layers=layers, feed_forward=8, position_kernel=16)
    with torch.device("meta"):
        rest = size - 2 * sum(one.numel() for one in Hubert(small).state_dict().values())
    # One more row of the feed-forward part is a column of its second half, too.
    rows = max(1, rest // (2 * 2 * small.width * layers))
    return HubertSettings(conv_dims=small.conv_dims, layers=layers, feed_forward=8 + rows, position_kernel=16)


def write(folder: Path, size: int, tuned: bool) -> None:
    """Write ``config.json`` and ``model.safetensors``; the same numbers each time."""
    wanted = settings(size)
    with torch.device("meta"):
        shapes = {name: tuple(one.shape) for name, one in Hubert(wanted).state_dict().items()}
    rng, step = np.random.default_rng(1), np.random.default_rng(2)
    tensors = {}
    for name, shape in shapes.items():
        numbers = rng.standard_normal(shape, np.float32) * np.float32(SPREAD)
        if tuned:
            numbers += step.standard_normal(shape, np.float32) * np.float32(STEP)
        tensors[name] = torch.from_numpy(numbers.astype(np.float16))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(wanted.to_config()))
    save_file(tensors, folder / "model.safetensors")


def main() -> None:
    """Write what was asked for."""
    parser = argparse.ArgumentParser(prog="p2pvoice-bench-bulk")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mib", type=int, required=True)
    parser.add_argument("--tuned", action="store_true")
    options = parser.parse_args()
    write(options.folder, options.mib << 20, options.tuned)


if __name__ == "__main__":
    main()
