"""Files of a training: written whole or not at all, read back without running anything in them.

For: checkpoints and best weights, which are our own and lie on the user's disk. Not for releases (see
tensorfile) nor for anybody else's checkpoints (see checkpoint). Follows specs/training.md.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from p2pvoice.protocol.errors import CorruptError, DiskFullError, NotFoundError

BYTES_LIMIT = 4 << 30
"""Largest file that is read: a full-size v2 training's checkpoint has 1.1 GB."""


def write_saved(path: Path, state: Mapping[str, Any]) -> None:
    """Replace ``path`` in one go: a kill leaves the old file or the new one. Raises DiskFullError."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(f"the disk is full: {path.name} was not written") from error
        raise


def read_saved(path: Path, format: int) -> dict[str, Any]:
    """Read a file that `write_saved` wrote, onto the CPU: tensors and plain values, never code.

    Raises NotFoundError, or CorruptError when it is too large, damaged, or of another format.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no {path.name} in {path.parent}", hint="start the training first")
    hint = f"rm {path}, to train from the start"
    if path.stat().st_size > BYTES_LIMIT:
        raise CorruptError(f"{path.name} is larger than {BYTES_LIMIT >> 30} GB", hint=hint)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged zip and a forbidden pickle each have errors of their own.
        raise CorruptError(f"{path.name} cannot be read", hint=hint) from error
    if not isinstance(state, dict) or state.get("format") != format:
        raise CorruptError(f"{path.name} is of another version", hint=hint)
    return state
