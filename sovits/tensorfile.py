"""Writes safetensors files byte for byte reproducibly: the same tensors always give the same file.

For: the weights and spectrograms of a bundle. Two people who bring the same weights get the same file, and so
share chunks and providers. Not for: reading (see protocol.tensors). Follows specs/bundle.md.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from p2pvoice.protocol.errors import BadCheckpointError

from .identify import is_finite


def write_half(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> int:
    """Write ``tensors`` as fp16 in the order of their names; return the size of the file.

    fp16 is kept bit for bit, wider numbers are rounded; one that does not fit fp16 is refused, since
    speech would be made of infinities. The file is on the disk when this returns.
    """
    return _write(path, tensors, metadata, torch.float16)


def write_single(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> int:
    """The same in float32, for a network that fp16 would change too much."""
    return _write(path, tensors, metadata, torch.float32)


def _write(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], dtype: torch.dtype
) -> int:
    word = {torch.float16: "F16", torch.float32: "F32"}[dtype]
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name in sorted(tensors):
        size = tensors[name].numel() * dtype.itemsize
        header[name] = {"dtype": word, "shape": list(tensors[name].shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, ensure_ascii=True, sort_keys=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            stored = tensors[name].detach().to("cpu", dtype).contiguous()
            if not is_finite(stored):
                raise BadCheckpointError(
                    f"{name!a} has numbers too large for fp16", hint="export it again with fp16 weights"
                )
            file.write(stored.view(torch.uint8).numpy().data if stored.ndim else stored.numpy().tobytes())
        file.flush()
        os.fsync(file.fileno())
    return 8 + len(text) + at
