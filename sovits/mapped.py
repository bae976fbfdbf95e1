"""A file mapped into memory, from which tensors are taken without a second copy.

For: checkpoints and safetensors files of at most ``FILE_LIMIT`` bytes. The mapping is private, so nothing
that a tensor's user does reaches the file. Not for: deciding what lies where; that is the business of
``torch_zip`` and of ``protocol.tensors``. Follows specs/checkpoints.md.

A mapped file must not be cut short while its tensors live (the operating system answers that with a
signal, not with an exception): the daemon hands over its own copy of an upload, and files of the store never
change once they are whole.
"""

import mmap
import os
from math import prod
from pathlib import Path

import torch

from p2pvoice.protocol.errors import BadCheckpointError, NotFoundError

#: The largest weight file that is opened at all (the largest published one, a v3 base, has 770 MB).
FILE_LIMIT = 2 << 30


class MappedFile:
    """The bytes of one file, read on demand by the operating system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                if self.size == 0:
                    raise BadCheckpointError(f"{path.name!a} is empty", hint="download or export it again")
                if self.size > FILE_LIMIT:
                    raise BadCheckpointError(
                        f"{path.name!a} has {self.size} bytes; a weight file has at most {FILE_LIMIT}",
                        hint="give the exported inference file, not a training archive",
                    )
                self._map = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_COPY)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no file {str(path)!a}", hint="check the path") from error
        except (IsADirectoryError, PermissionError) as error:
            raise BadCheckpointError(
                f"{str(path)!a} cannot be read: {error.strerror}", hint="give a readable file"
            ) from error
        self.view = memoryview(self._map)

    def bytes(self, start: int, size: int) -> bytes:
        """A copy of ``size`` bytes at ``start``; the caller has checked that they exist."""
        return self._map[start : start + size]

    def tensor(self, start: int, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        """A contiguous tensor over the mapping. A copy is made only where the file is not aligned."""
        count = prod(shape)
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        if start % dtype.itemsize:
            data = bytearray(self.bytes(start, count * dtype.itemsize))
            return torch.frombuffer(data, dtype=dtype, count=count).reshape(shape)
        return torch.frombuffer(self._map, dtype=dtype, count=count, offset=start).reshape(shape)
