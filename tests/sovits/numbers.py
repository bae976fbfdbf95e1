"""Comparing with golden numbers: where they lie, and how near is near enough."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

FACTOR = 4.0
"""Ours may be off by this many times what float32 itself was measured to be off."""
LEAST = 5e-6
"""Relative error always allowed: another order of float32 sums. Processors differ by it, and so do runs on
one: 2.3e-6 has been seen where most runs are within 2e-6."""
UNMEASURED = 1e-5
"""Relative error allowed where nobody measured float32's own."""


def folder() -> Path:
    """Where the arrays lie: $P2PVOICE_GOLDEN, else the copies beside the tests."""
    named = os.environ.get("P2PVOICE_GOLDEN")
    return Path(named) if named else Path(__file__).parent.parent / "golden"


def beside(name: str) -> Path:
    """A file or folder that belongs to all golden data: beside or in the named folder, else the copy here."""
    places = (folder().parent / name, folder() / name) if os.environ.get("P2PVOICE_GOLDEN") else ()
    copy = Path(__file__).parent.parent / "golden" / name
    return next((place for place in places if place.exists()), copy)


def keys(name: str, part: str = "keys") -> dict[str, list[int]]:
    """The published tensors of a model with their shapes."""
    return json.loads(beside(f"keys/keys_{name}.json").read_text())[part]


def arrays(name: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The arrays of one golden file; those that go in are tensors on ``device``, the others NumPy's."""
    with np.load(folder() / f"{name}.npz") as file:
        return {
            k: torch.from_numpy(file[k]).to(device) if k.startswith("in_") else file[k] for k in file.files
        }


def allowed(file: str, stage: str) -> float:
    """The relative error that a stage may have."""
    measured = json.loads(beside("tolerances.json").read_text()).get(f"{file}/public", {}).get(stage)
    return UNMEASURED if measured is None else max(LEAST, FACTOR * measured["max_abs"] / measured["std"])


def relative_error(ours: Any, theirs: np.ndarray) -> float:
    """max |a - b| / std(b); the shapes must be equal."""
    a = ours.detach().cpu().numpy() if isinstance(ours, torch.Tensor) else np.asarray(ours)
    assert a.shape == theirs.shape
    return float(np.abs(a - theirs).max() / theirs.std())
