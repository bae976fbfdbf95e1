"""Weight files read a slice at a time, so that comparing and merging two voices takes the memory of neither.

For: going through tensors in step, bytes or numbers. Not for: loading a voice (see voicefile), which needs
all of it. The header is checked as strictly as everywhere; the numbers of a slice must be finite. Follows
specs/merging.md, "Limits".
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import torch
from torch import Tensor

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.protocol.tensors import ITEM_SIZE, LENGTH_SIZE, TensorInfo, header_size, is_finite, read_header

from .mapped import FILE_LIMIT

SLICE: Final = 1 << 18
"""Elements that are held of one tensor at a time."""

DTYPES: Final = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


class WeightFile:
    """An open safetensors file. Raises BadCheckpointError when its header is not as it must be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            if self.size > FILE_LIMIT:
                raise BadCheckpointError(f"{path.name!a} has more than {FILE_LIMIT} bytes")
            length = header_size(self.read(0, min(LENGTH_SIZE, self.size)), self.size)
            #: The header as it lies in the file, its length included.
            self.head = self.read(0, length)
            self.header = read_header(self.head, self.size)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Every tensor by its name, in the order of the data."""
        return dict(self.header.tensors)

    def read(self, start: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``start`` on; BadCheckpointError when the file ends before."""
        data = bytearray()
        while len(data) < count:
            piece = os.pread(self._file.fileno(), count - len(data), start + len(data))
            if not piece:
                raise BadCheckpointError(f"{self.path.name!a} is cut off")
            data += piece
        return bytes(data)

    def slices(self, name: str) -> Iterator[bytes]:
        """The bytes of a tensor, ``SLICE`` elements at a time. BadCheckpointError for NaN or infinity."""
        info = self.header.tensors[name]
        step = SLICE * ITEM_SIZE[info.dtype]
        for start in range(info.start, info.end, step):
            data = self.read(start, min(step, info.end - start))
            if not is_finite(info.dtype, data):
                raise BadCheckpointError(f"{self.path.name!a}: {name!a} holds NaN or infinity")
            yield data


def numbers(data: bytes, dtype: str) -> Tensor:
    """The elements of a slice, in the file's own type."""
    return torch.frombuffer(bytearray(data), dtype=DTYPES[dtype])


def raw(tensor: Tensor) -> bytes:
    """The bytes of elements; little-endian, as the format wants and all supported machines have it."""
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()
