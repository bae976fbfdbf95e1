"""A file that ``torch.save`` wrote, in either of its containers: its content and the tensors it describes.

For: weight files of voices and published bases. The content is walked, never unpickled. Not for: what the
content means (see checkpoint and bases). Follows specs/checkpoints.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch

from p2pvoice.protocol.errors import BadCheckpointError

from . import legacy
from .mapped import MappedFile
from .pickle_walk import TensorSpec, walk
from .torch_zip import Entry, open_zip

#: All tensors together may describe this many times the bytes that the file has (tied weights share theirs).
SHARING_LIMIT = 2


@dataclass(frozen=True)
class TorchFile:
    """An opened file. ``top`` is its content as inert values."""

    file: MappedFile
    top: object
    storages: Mapping[str, Entry]

    def tensors(self, wanted: Mapping[str, TensorSpec]) -> dict[str, torch.Tensor]:
        """The numbers of ``wanted``, lying in the mapped file; BadCheckpointError for what is not there."""
        found: dict[str, torch.Tensor] = {}
        described = 0
        for name, spec in wanted.items():
            described += prod(spec.shape) * spec.storage.itemsize
            if described > SHARING_LIMIT * self.file.size:
                raise _bad("its tensors describe far more numbers than the file has")
            entry = self.storages.get(spec.storage.key)
            if entry is None or entry.size != spec.storage.count * spec.storage.itemsize:
                raise _bad(f"the numbers of {name[:80]!a} are not all there")
            dtype = getattr(torch, spec.storage.dtype)
            whole = self.file.tensor(entry.start, dtype, (spec.storage.count,))
            found[name] = whole.as_strided(spec.shape, spec.stride, spec.offset)
        return found


def is_legacy(head: bytes) -> bool:
    """Whether a file that begins so is in the form that torch wrote before 1.6."""
    return head.startswith(legacy.START)


def open_torch(file: MappedFile) -> TorchFile:
    """Open a file whose first bytes have been judged. Raises BadCheckpointError or UnsafeFileError."""
    if is_legacy(file.bytes(0, min(len(legacy.START), file.size))):
        return TorchFile(file, *legacy.open_legacy(file))
    archive = open_zip(file)
    return TorchFile(file, walk(archive.pickle), archive.storages)


def _bad(reason: str) -> BadCheckpointError:
    return BadCheckpointError(f"this file cannot be used: {reason}", hint="download or export it again")
