"""The header of a safetensors file, read strictly.

For knowing the names, types, shapes and places of a file's tensors without touching its data, and for
refusing every file whose header is unusual. The safetensors library accepts duplicate names, unknown fields,
padding before the header, unaligned data and names such as ``../x``; this reader does not. It never sees
weights except in :func:`is_finite`. Follows specs/safetensors.md.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pvoice.protocol.errors import BadCheckpointError

HEADER_LIMIT = 1024 * 1024
"""Bytes of a header, its 8 length bytes included; real ones take 29 to 71 KB."""

TENSORS_LIMIT = 4096
"""Tensors of one file."""

RANK_LIMIT = 8
"""Dimensions of one tensor."""

NAME_LENGTH = 256
"""Characters of a tensor's name."""

METADATA_LIMIT = 64
"""Entries of a file's metadata."""

FILE_SIZE_LIMIT = 1 << 40
"""Bytes of a file that is looked at at all; keeps every offset within what a 64-bit integer holds."""

ITEM_SIZE: Mapping[str, int] = {"F16": 2, "BF16": 2, "F32": 4}
"""The element types a voice may use, with their bytes."""

LENGTH_SIZE = 8
"""Bytes of the little-endian length in front of the header."""

_NAME = re.compile(r"[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*")
_TENSOR_FIELDS = {"dtype", "shape", "data_offsets"}
# Translation tables for is_finite: a byte becomes 1 where it belongs to an all-ones exponent, else 0.
_F16_HIGH = bytes(int(byte & 0x7C == 0x7C) for byte in range(256))
_F32_HIGH = bytes(int(byte & 0x7F == 0x7F) for byte in range(256))
_F32_NEXT = bytes(byte >> 7 for byte in range(256))


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: ``start`` and ``end`` are byte offsets from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class SafetensorsHeader:
    """A checked header. ``header_size`` counts the length bytes, so the data begins there.

    ``tensors`` is in the order of the data, without holes or overlaps, up to ``file_size``.
    """

    tensors: Mapping[str, TensorInfo] = field(hash=False)
    metadata: Mapping[str, str] = field(hash=False)
    header_size: int
    file_size: int


def header_size(prefix: bytes, file_size: int) -> int:
    """How many bytes at the beginning of a file :func:`read_header` needs, from the first 8 of them."""
    if len(prefix) < LENGTH_SIZE or not LENGTH_SIZE < file_size <= FILE_SIZE_LIMIT:
        raise BadCheckpointError("the file is too short or too long to be safetensors")
    size = LENGTH_SIZE + int.from_bytes(prefix[:LENGTH_SIZE], "little")
    if size > HEADER_LIMIT:
        raise BadCheckpointError(f"the safetensors header takes more than {HEADER_LIMIT} bytes")
    if size > file_size:
        raise BadCheckpointError("the safetensors header reaches past the end of the file")
    if size % 8:
        raise BadCheckpointError("the data of the safetensors file is not aligned to 8 bytes")
    return size


def read_header(data: bytes, file_size: int) -> SafetensorsHeader:
    """Check the header of a file of ``file_size`` bytes whose beginning is ``data``.

    Bytes after the header are not looked at. Raises BadCheckpointError for anything unusual.
    """
    size = header_size(data, file_size)
    if len(data) < size:
        raise BadCheckpointError("the safetensors header is cut off")
    raw = data[LENGTH_SIZE:size]
    # The format's own writers pad with spaces behind the header, to the next multiple of 8.
    text = raw.rstrip(b" ")
    if not text.startswith(b"{") or not text.endswith(b"}") or len(raw) - len(text) > 7:
        raise BadCheckpointError("the safetensors header is not one JSON object")
    header = _parse(text)
    metadata = _check_metadata(header.pop("__metadata__", {}))
    if not 1 <= len(header) <= TENSORS_LIMIT:
        raise BadCheckpointError(f"{len(header)} tensors; 1 to {TENSORS_LIMIT} are allowed")
    found = [(name, _check_tensor(name, entry, size)) for name, entry in header.items()]
    found.sort(key=lambda item: item[1].start)
    position = size
    for name, tensor in found:
        if tensor.start != position:
            raise BadCheckpointError(f"there is a hole or an overlap before tensor {name!r}")
        position = tensor.end
    if position != file_size:
        raise BadCheckpointError("the tensors do not fill the file exactly")
    return SafetensorsHeader(dict(found), metadata, size, file_size)


def is_finite(dtype: str, raw: bytes) -> bool:
    """Whether little-endian elements hold neither NaN nor infinity. ``raw`` has whole elements only.

    Works byte plane by byte plane, in time linear in the data, whatever the data says.
    """
    width = ITEM_SIZE[dtype]
    if len(raw) % width:
        raise BadCheckpointError("the data does not hold a whole number of elements")
    high = raw[width - 1 :: width]
    if dtype == "F16":
        return b"\1" not in high.translate(_F16_HIGH)
    exponent_high = int.from_bytes(high.translate(_F32_HIGH), "little")
    exponent_low = int.from_bytes(raw[width - 2 :: width].translate(_F32_NEXT), "little")
    return exponent_high & exponent_low == 0


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique, parse_float=_no_number, parse_constant=_no_number
        )
    except BadCheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise BadCheckpointError("the safetensors header is not valid JSON") from error
    if not isinstance(header, dict):
        raise BadCheckpointError("the safetensors header is not one JSON object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise BadCheckpointError("the safetensors header names something twice")
    return result


def _no_number(text: str) -> Any:
    raise BadCheckpointError("the safetensors header has a number that is not an integer")


def _check_metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(entry, str) for entry in value.values()):
        raise BadCheckpointError("the safetensors metadata is not a map of texts")
    if len(value) > METADATA_LIMIT:
        raise BadCheckpointError(f"more than {METADATA_LIMIT} metadata entries")
    return value


def _check_tensor(name: str, entry: object, data_start: int) -> TensorInfo:
    if len(name) > NAME_LENGTH or not _NAME.fullmatch(name):
        raise BadCheckpointError(f"{name[:60]!r} is not a tensor name")
    if not isinstance(entry, dict) or set(entry) != _TENSOR_FIELDS:
        raise BadCheckpointError(f"tensor {name!r} does not have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_SIZE:
        raise BadCheckpointError(f"tensor {name!r} is of a type other than {', '.join(ITEM_SIZE)}")
    if not isinstance(shape, list) or len(shape) > RANK_LIMIT:
        raise BadCheckpointError(f"tensor {name!r} has more than {RANK_LIMIT} dimensions")
    size = ITEM_SIZE[dtype]
    for length in shape:
        # An empty tensor carries nothing, and thousands of them cost time.
        if type(length) is not int or not 0 < length <= FILE_SIZE_LIMIT:
            raise BadCheckpointError(f"tensor {name!r} has an impossible dimension")
        size *= length
        if size > FILE_SIZE_LIMIT:
            raise BadCheckpointError(f"tensor {name!r} is larger than any file may be")
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(offset) is int for offset in offsets)
    ):
        raise BadCheckpointError(f"tensor {name!r} has no proper data_offsets")
    start, end = offsets
    if not 0 <= start <= FILE_SIZE_LIMIT or end - start != size:
        raise BadCheckpointError(f"the data_offsets of tensor {name!r} do not fit its shape")
    if start % ITEM_SIZE[dtype]:
        raise BadCheckpointError(f"the data of tensor {name!r} is not aligned")
    return TensorInfo(dtype, tuple(shape), data_start + start, data_start + end)
