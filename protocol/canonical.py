"""Canonical MessagePack: one value, one spelling.

For everything that is hashed or signed. Maps have text keys sorted by their UTF-8 bytes, integers and lengths
take their shortest form, and there are no floats and no extension types. ``decode`` refuses bytes that
``encode`` would not have written, so a hash names a value and not merely one of its spellings.
Not for the RPC, which speaks JSON. Follows the encoding section of specs/manifest.md.
"""

from typing import Any

import msgpack  # type: ignore[import-untyped]

from p2pvoice.protocol.errors import ManifestError

DEPTH_LIMIT = 16
"""Containers inside containers; a manifest needs five."""

ITEM_LIMIT = 100_000
"""Values in one document, containers and map keys included."""

INT_LIMIT = 2**63
"""Integers lie in [-INT_LIMIT, INT_LIMIT), so that every language can hold them."""

# First byte -> how many bytes of length follow it, big-endian.
_HEAD_WIDTH = {
    0xC4: 1, 0xC5: 2, 0xC6: 4,  # bin
    0xD9: 1, 0xDA: 2, 0xDB: 4,  # str
    0xDC: 2, 0xDD: 4,  # array
    0xDE: 2, 0xDF: 4,  # map
}  # fmt: skip
# First byte -> how many bytes the integer itself takes.
_INT_WIDTH = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}


def encode(value: object) -> bytes:
    """The canonical bytes of a value. Raises ManifestError when the value has no canonical form."""
    packed: bytes = msgpack.packb(_sorted(value, DEPTH_LIMIT), use_bin_type=True)
    return packed


def decode(data: bytes, *, limit: int, max_depth: int = DEPTH_LIMIT, max_items: int = ITEM_LIMIT) -> Any:
    """The value whose canonical bytes these are.

    ``limit`` bounds the bytes, ``max_depth`` and ``max_items`` the structure; all three are checked before
    any value is built. Raises ManifestError for anything else than canonical bytes within the limits.
    """
    if len(data) > limit:
        raise ManifestError(f"{len(data)} bytes where at most {limit} are allowed")
    _check_structure(data, max_depth, max_items)
    try:
        value = msgpack.unpackb(
            data, raw=False, strict_map_key=True, use_list=True, max_ext_len=0, object_pairs_hook=_unique
        )
    except ManifestError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise ManifestError("not valid MessagePack") from error
    if encode(value) != data:
        raise ManifestError("not in canonical form")
    return value


def _sorted(value: object, depth: int) -> object:
    """The value with every map sorted, after checking that it holds nothing without a canonical form."""
    if value is None or isinstance(value, bool | bytes):
        return value
    if isinstance(value, int):
        if not -INT_LIMIT <= value < INT_LIMIT:
            raise ManifestError("an integer is out of range")
        return value
    if isinstance(value, str):
        _utf8(value)
        return value
    if depth == 0:
        raise ManifestError(f"nested deeper than {DEPTH_LIMIT}")
    if isinstance(value, list | tuple):
        return [_sorted(item, depth - 1) for item in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ManifestError("a map key is not text")
        return {key: _sorted(value[key], depth - 1) for key in sorted(value, key=_utf8)}
    raise ManifestError(f"a value of type {type(value).__name__} has no canonical form")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ManifestError("text with a lone surrogate has no UTF-8 form") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ManifestError("a map has the same key twice")
    return result


def _check_structure(data: bytes, max_depth: int, max_items: int) -> None:
    """Walk the type bytes only, so that depth and counts are known before the decoder takes any memory."""
    size = len(data)
    position = 0
    items = 0
    # One entry per open container: how many values it still expects.
    open_containers = [1]
    while open_containers:
        if open_containers[-1] == 0:
            open_containers.pop()
            continue
        open_containers[-1] -= 1
        items += 1
        if items > max_items:
            raise ManifestError(f"more than {max_items} values")
        if position >= size:
            raise ManifestError("the data ends in the middle of a value")
        head = data[position]
        position += 1
        children = -1
        skip = 0
        if head <= 0x7F or head >= 0xE0 or head in (0xC0, 0xC2, 0xC3):
            pass  # small integers, nil, false and true are one byte
        elif head <= 0x8F:
            children = 2 * (head & 0x0F)
        elif head <= 0x9F:
            children = head & 0x0F
        elif head <= 0xBF:
            skip = head & 0x1F
        elif head in _INT_WIDTH:
            skip = _INT_WIDTH[head]
        elif head in _HEAD_WIDTH:
            width = _HEAD_WIDTH[head]
            if position + width > size:
                raise ManifestError("the data ends in the middle of a value")
            length = int.from_bytes(data[position : position + width])
            position += width
            if head in (0xDE, 0xDF):
                children = 2 * length
            elif head in (0xDC, 0xDD):
                children = length
            else:
                skip = length
        else:
            raise ManifestError("floats and extension types are not allowed")
        position += skip
        if position > size:
            raise ManifestError("the data ends in the middle of a value")
        if children >= 0:
            if len(open_containers) > max_depth:
                raise ManifestError(f"nested deeper than {max_depth}")
            open_containers.append(children)
    if position != size:
        raise ManifestError("bytes after the end of the value")
