"""Weights that anybody can rebuild: every number follows from its tensor's key, shape and nothing else.

The golden numbers were made with these weights. The rules are those of the golden data's own page: raw bits
of a Philox generator keyed by the tensor's name, brought to mean 0 and variance 1, then scaled by the
tensor's role.
"""

import hashlib
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch

Shape = Sequence[int]

# Without this the post-norm stacks would collapse to one vector and no longer depend on their input.
QUIET = (".out_proj.weight", ".linear2.weight", ".output_dense.weight")
AROUND_ONE = {"weight_g", "original0", "alpha", "running_var", "gamma"}
TABLES = {"embed", "embed_avg", "masked_spec_embed"}


def unit(key: str, shape: Shape) -> np.ndarray:
    """Uniform numbers of mean 0 and variance 1."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "little")
    raw = np.random.Philox(key=seed).random_raw(prod(shape)).reshape(shape)
    return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53 * 2.0 - 1.0) * 3.0**0.5


def fill(key: str, shape: Shape) -> np.ndarray:
    """The float32 weights of one tensor; the first rule that fits its name decides."""
    leaf = key.rpartition(".")[2]
    u = unit(key, shape)
    if leaf in ("inited", "cluster_size"):
        value = np.ones(shape)
    elif leaf in TABLES or "embeddings.weight" in key or "text_embedding.weight" in key:
        value = 4.0 * u if key.startswith("model.ar_") else u
    elif leaf in ("emb_rel_k", "emb_rel_v"):
        value = u / shape[-1] ** 0.5
    elif leaf in AROUND_ONE:
        value = 1.0 + 0.1 * u
    elif leaf in ("bias", "beta", "running_mean") or leaf.endswith("_bias"):
        value = 0.1 * u
    elif leaf == "weight" and len(shape) == 1:
        value = (0.25 if "prelu" in key else 1.0) + 0.1 * u
    elif len(shape) >= 2:
        gain = 2.0 if leaf == "in_proj_weight" else 0.1 if key.endswith(QUIET) else 1.0
        value = gain * u / prod(shape[1:]) ** 0.5
    else:
        value = 1.0 + 0.1 * u
    return value.astype(np.float32)


def filled(shapes: Mapping[str, Shape], prefix: str = "") -> dict[str, torch.Tensor]:
    """Weights for all of ``shapes``; ``prefix`` stands before each key when its numbers are made."""
    return {key: torch.from_numpy(fill(prefix + key, shape)) for key, shape in shapes.items()}
