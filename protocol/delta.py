"""One chunk as its difference to a base chunk, lossless, for weights that were tuned from each other.

For making an encoding where both chunks are at hand, and for decoding one from a stranger: every length is
checked against the base before memory is taken. It does not check digests, nor choose bases. This module
imports numpy, so it is imported where a delta is really at hand. Follows specs/delta.md.
"""

import struct
from dataclasses import dataclass

import numpy as np

from p2pvoice.protocol import frames
from p2pvoice.protocol.chunks import CHUNK_LIMIT
from p2pvoice.protocol.delta_planes import (
    ESCAPE,
    FORMATS,
    Format,
    add_low_planes,
    choose_shift,
    fold,
    groups,
    low_planes,
    pack,
    unfold,
    unpack,
)
from p2pvoice.protocol.errors import ChunkMismatchError

LEVEL = 1
"""zstd's level for the byte planes; higher ones gain nothing."""

SAVING = 0.03
"""Share of its size a chunk must save to be sent as a delta."""

UNCHANGED_SHARE = 8
"""Bit planes are compressed when at least one number in so many did not change."""

SAMPLES = 2048
"""Numbers that are compared to tell which of several bases is nearest."""

_GROUP = struct.Struct("<BBIII")
_TOPS_FRAMED, _PLANES_FRAMED, _PER = 0x80, 0x40, 0x0F


def encode(new: bytes, base: bytes, form: Format) -> bytes | None:
    """The difference of a chunk to a base of the same size; None when it would not save enough."""
    if len(new) != len(base) or not 1 <= len(new) <= CHUNK_LIMIT or len(new) % form.size:
        return None
    before = np.frombuffer(base, form.dtype)
    folded = fold(np.frombuffer(new, form.dtype), before, form)
    heads, parts = [bytes([form.code])], []
    for members in groups(before, form):
        group = folded[members]
        shift = choose_shift(group)
        tops = group >> group.dtype.type(shift)
        per, packed = pack(np.minimum(tops, ESCAPE).astype(np.uint8))
        listed = tops[tops >= ESCAPE]
        body, flag = _smaller(packed.tobytes(), _TOPS_FRAMED)
        planes = low_planes(group, shift)
        # Low bits are noise, but for stretches that did not change at all.
        if planes and np.count_nonzero(group) * UNCHANGED_SHARE < len(group) * (UNCHANGED_SHARE - 1):
            planes, more = _smaller(planes, _PLANES_FRAMED)
            flag |= more
        heads.append(_GROUP.pack(shift, per | flag, len(body), len(planes), len(listed)))
        parts += [body, planes, listed.astype(form.dtype).tobytes()]
    encoded = b"".join(heads + parts)
    return encoded if len(encoded) < len(new) * (1 - SAVING) else None


def _smaller(plain: bytes, flag: int) -> tuple[bytes, int]:
    """The bytes, or their frame and the flag that says so, whichever is shorter."""
    framed = frames.compress(plain, LEVEL)
    return (framed, flag) if len(framed) < len(plain) else (plain, 0)


def decode(encoded: bytes, base: bytes) -> bytes:
    """The chunk of which ``encoded`` is the difference to ``base``; only its digest says whether it is right.

    Raises ChunkMismatchError for anything that does not fit to the base.
    """
    form = FORMATS.get(encoded[0]) if encoded else None
    if form is None or not 1 <= len(base) <= CHUNK_LIMIT or len(base) % form.size:
        raise ChunkMismatchError("a delta is of an unknown format, or does not fit to its base")
    before = np.frombuffer(base, form.dtype)
    found = groups(before, form)
    heads = _read_heads(encoded, list(map(len, found)), form)
    view, place = memoryview(encoded), 1 + _GROUP.size * len(heads)
    folded = np.empty(len(before), form.dtype)
    for head, members in zip(heads, found, strict=True):
        plain = _plain(view[place : place + head.body], head.tops_framed, -(-head.count // head.per))
        tops = unpack(np.frombuffer(plain, np.uint8), head.per, head.count).astype(form.dtype)
        place += head.body
        size = head.shift * -(-head.count // 8)
        planes = _plain(view[place : place + head.planes], head.planes_framed, size)
        place += head.planes
        # The values of the list take the places of the marks.
        marks = np.flatnonzero(tops == ESCAPE) if head.per == 1 else np.empty(0, np.intp)
        if len(marks) != head.listed:
            raise ChunkMismatchError("a delta lists other values than it marks")
        tops[marks] = np.frombuffer(view[place : place + head.listed * form.size], form.dtype)
        place += head.listed * form.size
        folded[members] = add_low_planes(tops, planes, head.shift)
    return unfold(folded, before, form).tobytes()


def distance(new: bytes, base: bytes, form: Format) -> float:
    """How far a chunk is from a base, in bits a number, by a sample of SAMPLES numbers; 0 when they agree."""
    count = min(len(new), len(base)) // form.size
    step = max(1, count // SAMPLES)
    a = np.frombuffer(new, form.dtype, count)[::step]
    b = np.frombuffer(base, form.dtype, count)[::step]
    return float(np.log2(1.0 + fold(a, b, form).astype(np.float64)).mean()) if count else 0.0


@dataclass(frozen=True)
class _Head:
    """A group's head: how many numbers, and how many bytes each of its parts takes in the encoding."""

    count: int
    shift: int
    per: int
    tops_framed: bool
    planes_framed: bool
    body: int
    planes: int
    listed: int


def _read_heads(encoded: bytes, lengths: list[int], form: Format) -> list[_Head]:
    size = 1 + _GROUP.size * len(lengths)
    if len(encoded) < size:
        raise ChunkMismatchError("a delta is cut off")
    heads = []
    for index, count in enumerate(lengths):
        shift, packing, body, planes, listed = _GROUP.unpack_from(encoded, 1 + _GROUP.size * index)
        per = packing & _PER
        if per not in (1, 2, 4, 8) or shift >= form.size * 8 or listed > (count if per == 1 else 0):
            raise ChunkMismatchError("a delta has a group that cannot be")
        size += body + planes + listed * form.size
        framed = bool(packing & _TOPS_FRAMED), bool(packing & _PLANES_FRAMED)
        heads.append(_Head(count, shift, per, *framed, body, planes, listed))
    if size != len(encoded):
        raise ChunkMismatchError("a delta is longer or shorter than its groups")
    return heads


def _plain(part: memoryview, framed: bool, size: int) -> bytes | memoryview:
    """A part of a group as it was before it was framed, which takes exactly ``size`` bytes."""
    plain = frames.decompress(bytes(part), size) if framed else part
    if len(plain) != size:
        raise ChunkMismatchError("a delta has a group of another length than its base")
    return plain
