"""The arithmetic of a delta: ordered keys, folded differences, groups by exponent, planes of bytes and bits.

Everything works on whole arrays of numpy and is exact for every bit pattern, NaN and -0 included. Not for the
form in which a delta travels: see delta.py. Follows specs/delta.md.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bits: TypeAlias = NDArray[Any]
"""Bit patterns of floating-point numbers, or differences of them: uint16 or uint32."""

FEWEST = 1024
"""Numbers of a group, at least: with fewer the tables of a frame cost more than they save."""

ESCAPE = 255
"""The byte that stands for a value in the list."""

ESCAPES_SHARE = 256
"""A shift leaves at most one number in so many to the list."""


@dataclass(frozen=True)
class Format:
    """A floating-point format: the width of its patterns in bytes, and where the exponent stands."""

    code: int
    name: str
    size: int
    mantissa: int
    exponent: int

    @property
    def dtype(self) -> "np.dtype[Any]":
        return np.dtype(f"<u{self.size}")


F16, BF16, F32 = Format(1, "f16", 2, 10, 5), Format(2, "bf16", 2, 7, 8), Format(3, "f32", 4, 23, 8)
FORMATS = {one.code: one for one in (F16, BF16, F32)}


def keys(patterns: Bits, form: Format) -> Bits:
    """Patterns as whole numbers in the order of the numbers they stand for; its own inverse."""
    bits = form.size * 8
    low = patterns.dtype.type((1 << (bits - 1)) - 1)
    rising: Bits = patterns ^ (patterns >> patterns.dtype.type(bits - 1)) * low
    return rising


def fold(new: Bits, base: Bits, form: Format) -> Bits:
    """What tells ``new`` from ``base``, both patterns: small where they are near each other."""
    difference = keys(new, form) - keys(base, form)
    sign = difference >> difference.dtype.type(form.size * 8 - 1)
    # Twice a number and all bits inverted where it is negative: 0, -1, 1, -2 become 0, 1, 2, 3.
    ones = difference.dtype.type(2 ** (form.size * 8) - 1)
    folded: Bits = (difference << difference.dtype.type(1)) ^ sign * ones
    return folded


def unfold(folded: Bits, base: Bits, form: Format) -> Bits:
    """The patterns of which :func:`fold` told the difference."""
    one = folded.dtype.type(1)
    difference = (folded >> one) ^ ((folded & one) * folded.dtype.type(2 ** (form.size * 8) - 1))
    return keys(keys(base, form) + difference, form)


def groups(base: Bits, form: Format) -> list[NDArray[np.intp]]:
    """Where the numbers of each group stand."""
    count = 1 << form.exponent
    shift = base.dtype.type(form.mantissa)
    exponents = (base >> shift & base.dtype.type(count - 1)).astype(np.uint8)
    ends: list[int] = []
    filling = 0
    histogram = np.bincount(exponents, minlength=count)
    for exponent in np.flatnonzero(histogram):
        filling += int(histogram[exponent])
        if filling >= FEWEST:
            ends.append(int(exponent))
            filling = 0
    if not ends or filling:
        ends[-1:] = [count - 1]
    found, first = [], 0
    # A pass over bytes for each group is several times faster than one sort.
    for end in ends:
        found.append(np.flatnonzero((exponents >= np.uint8(first)) & (exponents <= np.uint8(end))))
        first = end + 1
    return found


def choose_shift(folded: Bits) -> int:
    """The shift of one group: the smallest that leaves few numbers to the list."""
    allowed = len(folded) // ESCAPES_SHARE
    # The number that so many are larger than decides; the rest need not be sorted.
    place = len(folded) - 1 - allowed
    edge = int(np.partition(folded, place)[place])
    return max(0, edge.bit_length() - 8) + (1 if _top(edge) == ESCAPE else 0)


def _top(value: int) -> int:
    return value >> max(0, value.bit_length() - 8)


def pack(values: NDArray[np.uint8]) -> tuple[int, NDArray[np.uint8]]:
    """Values as few to a byte as their largest allows: how many share one, and the bytes."""
    largest = int(values.max(initial=0))
    per = 8 if largest < 2 else 4 if largest < 4 else 2 if largest < 16 else 1
    if per == 1:
        return 1, values
    if per == 8:
        return 8, np.packbits(values, bitorder="little")
    filled = np.zeros(-(-len(values) // per) * per, np.uint8)
    filled[: len(values)] = values
    columns, bits = filled.reshape(-1, per), 8 // per
    packed = columns[:, 0].copy()
    for column in range(1, per):
        packed |= columns[:, column] << np.uint8(bits * column)
    return per, packed


def unpack(packed: NDArray[np.uint8], per: int, count: int) -> NDArray[np.uint8]:
    """The ``count`` values that share bytes by ``per``."""
    if per == 1:
        return packed
    if per == 8:
        return np.unpackbits(packed, count=count, bitorder="little")
    bits = 8 // per
    columns = np.empty((len(packed), per), np.uint8)
    for column in range(per):
        columns[:, column] = packed >> np.uint8(bits * column) & np.uint8((1 << bits) - 1)
    return columns.reshape(-1)[:count]


def low_planes(folded: Bits, shift: int) -> bytes:
    """The low ``shift`` bits of each number as bit planes, lowest first."""
    one = folded.dtype.type(1)
    planes = [
        np.packbits((folded >> folded.dtype.type(bit) & one).astype(np.uint8), bitorder="little").tobytes()
        for bit in range(shift)
    ]
    return b"".join(planes)


def add_low_planes(tops: Bits, planes: bytes | memoryview, shift: int) -> Bits:
    """Numbers of which ``tops`` has what is above the low bits."""
    count, width = len(tops), -(-len(tops) // 8)
    folded: Bits = tops << tops.dtype.type(shift)
    for bit in range(shift):
        plane = np.frombuffer(planes[bit * width : (bit + 1) * width], np.uint8)
        ones = np.unpackbits(plane, count=count, bitorder="little").astype(tops.dtype)
        folded |= ones << tops.dtype.type(bit)
    return folded
