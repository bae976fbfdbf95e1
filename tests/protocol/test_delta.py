"""The delta codec: lossless on every bit pattern, small on real weights, and bounded whatever comes."""

import json
import math
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import delta
from p2pvoice.protocol.chunks import CHUNK_LIMIT, plan_chunks
from p2pvoice.protocol.delta_planes import (
    BF16,
    F16,
    F32,
    FORMATS,
    Format,
    fold,
    groups,
    keys,
    pack,
    unfold,
    unpack,
)
from p2pvoice.protocol.errors import ChunkMismatchError
from p2pvoice.protocol.tensors import header_size, read_header

VECTORS = Path(__file__).parents[2] / "specs" / "vectors" / "delta.json"
HEAD = struct.Struct("<BBIII")

formats = st.sampled_from([F16, BF16, F32])


def tuned(form: Format, count: int, step: float, seed: int = 0, frozen: float = 0.0) -> tuple[bytes, bytes]:
    """Weights and the same after a training step of relative size ``step``; a share of them is frozen."""
    rng = np.random.default_rng(seed)
    before = rng.standard_normal(count) * np.exp(rng.standard_normal(count))
    moved = before + step * rng.standard_normal(count) * (rng.random(count) >= frozen)
    return pattern(before, form), pattern(moved, form)


def pattern(values: np.ndarray, form: Format) -> bytes:
    if form is F16:
        return values.astype("<f2").tobytes()
    single = values.astype("<f4")
    return single.tobytes() if form is F32 else (single.view("<u4") >> 16).astype("<u2").tobytes()


@pytest.mark.parametrize("form", [F16, BF16])
def test_keys_and_differences_of_every_pattern(form: Format) -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16)
    rising = keys(patterns, form)
    assert (keys(rising, form) == patterns).all()
    if form is F16:
        values = patterns.view(np.float16).astype(np.float64)
        order = np.argsort(rising.view(np.int16), kind="stable")
        finite = values[order][np.isfinite(values[order])]
        assert (np.diff(finite) >= 0).all()
    shuffled = np.random.default_rng(1).permutation(patterns)
    assert (unfold(fold(shuffled, patterns, form), patterns, form) == shuffled).all()
    # Neighbours are small, on either side.
    assert sorted(fold(np.array([5, 6, 4], np.uint16), np.array([5, 5, 5], np.uint16), form)) == [0, 1, 2]


@given(st.data(), formats, st.integers(1, 3000))
def test_any_two_chunks_come_back(data: st.DataObject, form: Format, count: int) -> None:
    seed = data.draw(st.integers(0, 2**32))
    kind = data.draw(st.sampled_from(["noise", "near", "same", "few"]))
    rng = np.random.default_rng(seed)
    base = rng.bytes(count * form.size)
    if kind == "noise":
        new = rng.bytes(count * form.size)
    elif kind == "same":
        new = base
    else:
        patterns = np.frombuffer(base, form.dtype).copy()
        spread = 1 << data.draw(st.integers(1, form.size * 8 - 1))
        moved = rng.random(count) < (1.0 if kind == "near" else 0.05)
        patterns[moved] += rng.integers(0, spread, int(moved.sum())).astype(form.dtype)
        new = patterns.tobytes()
    encoded = delta.encode(new, base, form)
    if encoded is None:
        assert kind != "same" or count * form.size < 40
        return
    assert len(encoded) < len(new)
    assert delta.decode(encoded, base) == new


@pytest.mark.parametrize("form", [F16, BF16, F32])
@pytest.mark.parametrize("step", [1e-5, 1e-3, 1e-1])
@pytest.mark.parametrize("frozen", [0.0, 0.9])
def test_tuned_weights_come_back_smaller(form: Format, step: float, frozen: float) -> None:
    base, new = tuned(form, 20_000, step, frozen=frozen)
    encoded = delta.encode(new, base, form)
    assert encoded is not None
    assert delta.decode(encoded, base) == new
    assert len(encoded) < len(zstandard.ZstdCompressor(level=3).compress(new))


def test_the_largest_chunk_and_one_past_it() -> None:
    base, new = tuned(F16, CHUNK_LIMIT // 2, 1e-3)
    encoded = delta.encode(new, base, F16)
    assert encoded is not None
    assert delta.decode(encoded, base) == new
    assert delta.encode(new + b"\0\0", base + b"\0\0", F16) is None
    with pytest.raises(ChunkMismatchError):
        delta.decode(encoded, base + b"\0\0")


def test_what_is_not_encoded() -> None:
    base, new = tuned(F32, 5000, 1e-4)
    assert delta.encode(new, base[:-4], F32) is None
    assert delta.encode(b"", b"", F32) is None
    assert delta.encode(new[:-2], base[:-2], F32) is None  # No whole numbers.
    noise = random.Random(3).randbytes(10_000)
    assert delta.encode(noise, base[:10_000], F16) is None


def test_values_at_and_past_the_mark() -> None:
    """Tops of 254, 255 and 256 with the shift that 4,000 others choose: one byte, the mark, the mark."""
    base = np.zeros(4096, np.uint16)
    new = np.full(4096, 127, np.uint16)  # Folded: 254.
    new[:3] = [126, 128, 3000]
    form = F16
    encoded = delta.encode(new.tobytes(), base.tobytes(), form)
    assert encoded is not None
    shift, _, _, _, listed = HEAD.unpack_from(encoded, 1)
    assert (shift, listed) == (0, 2)
    assert delta.decode(encoded, base.tobytes()) == new.tobytes()


@given(st.lists(st.integers(0, 255), min_size=1, max_size=70), st.sampled_from([1, 3, 15, 255]))
def test_values_that_share_bytes(values: list[int], most: int) -> None:
    plain = np.array(values, np.uint8) & np.uint8(most)
    per, packed = pack(plain)
    assert len(packed) == math.ceil(len(plain) / per)
    assert (unpack(packed, per, len(plain)) == plain).all()


def test_groups_cover_each_number_once() -> None:
    for count in (1, 1023, 1024, 1025, 50_000):
        base = np.frombuffer(tuned(F16, count, 0.1, seed=count)[0], np.uint16)
        found = groups(base, F16)
        assert sorted(np.concatenate(found)) == list(range(count))
        assert len(found) == 1 or min(map(len, found)) >= 1024
        lows = [int((base[members] >> 10 & 31).min()) for members in found]
        assert lows == sorted(lows)


def test_mutated_encodings_are_refused_or_decode_to_a_chunk() -> None:
    base, new = tuned(F16, 6000, 1e-3, frozen=0.5)
    encoded = delta.encode(new, base, F16)
    assert encoded is not None
    rng = random.Random(5)
    refused = 0
    for _ in range(2000):
        data = bytearray(encoded)
        for _ in range(rng.choice((1, 1, 3))):
            data[rng.randrange(len(data) if rng.random() < 0.5 else 80)] = rng.randrange(256)
        if rng.random() < 0.2:
            data = data[: rng.randrange(len(data))]
        try:
            assert len(delta.decode(bytes(data), base)) == len(base)
        except ChunkMismatchError:
            refused += 1
    assert refused > 500


def heads(encoded: bytes, base: bytes) -> list[list[int]]:
    count = len(groups(np.frombuffer(base, np.uint16), F16))
    return [list(HEAD.unpack_from(encoded, 1 + HEAD.size * i)) for i in range(count)]


def test_each_length_is_checked() -> None:
    base, new = tuned(F16, 3000, 1e-3)
    encoded = delta.encode(new, base, F16)
    assert encoded is not None
    found = heads(encoded, base)
    wrong = {0: (16, 255), 1: (0, 3, 16), 2: (0, 2**32 - 1), 3: (0, 2**32 - 1), 4: (1, 2**32 - 1)}
    for field, values in wrong.items():
        for value in values:
            changed = [*found[0]]
            assert changed[field] != value
            changed[field] = value
            data = encoded[:1] + HEAD.pack(*changed) + encoded[1 + HEAD.size :]
            with pytest.raises(ChunkMismatchError):
                delta.decode(data, base)
    for data in (b"", b"\0", b"\4" + encoded[1:], encoded[:-1], encoded + b"\0", encoded[:5]):
        with pytest.raises(ChunkMismatchError):
            delta.decode(data, base)


def test_a_frame_that_claims_more_is_not_opened() -> None:
    base = bytes(4096)
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(64 << 20))
    data = bytes([F16.code]) + HEAD.pack(0, 0x81, len(bomb), 0, 0) + bomb
    with pytest.raises(ChunkMismatchError):
        delta.decode(data, base)
    data = bytes([F16.code]) + HEAD.pack(8, 0x41, 2048, len(bomb), 0) + bytes(2048) + bomb
    with pytest.raises(ChunkMismatchError):
        delta.decode(data, base)


def test_distance_tells_the_nearer_base() -> None:
    base, new = tuned(F16, 10_000, 1e-4)
    stranger, _ = tuned(F16, 10_000, 1e-4, seed=9)
    assert delta.distance(new, new, F16) == 0.0
    assert delta.distance(new, base, F16) < delta.distance(new, stranger, F16)


def golden(name: str) -> list[bytes]:
    folder = os.environ.get("P2PVOICE_GOLDEN")
    path = Path(folder).parent / "delta" / f"sovits_{name}.safetensors" if folder else None
    if path is None or not path.exists():
        pytest.skip("the golden data is not here")
    data = path.read_bytes()
    assert header_size(data, len(data)) < len(data)
    chunks, place = [], 0
    for size in plan_chunks(len(data), read_header(data, len(data))):
        chunks.append(data[place : place + size])
        place += size
    return chunks


@pytest.mark.parametrize(("name", "share"), [("realA", 0.85), ("last", 0.9)])
def test_real_weights_take_less_than_xor_and_planes(name: str, share: float) -> None:
    """The goal, against BitX: XOR, both bytes apart, zstd -3 over each plane of the whole file."""
    before, after = golden("base"), golden(name)
    ours = 0
    for base, new in zip(before[1:], after[1:], strict=True):
        if base == new:
            continue
        encoded = delta.encode(new, base, F16)
        assert encoded is not None
        assert delta.decode(encoded, base) == new
        ours += len(encoded)
    a, b = (np.frombuffer(b"".join(chunks[1:]), np.uint16) for chunks in (before, after))
    crossed = a ^ b
    planes = (crossed >> 8).astype(np.uint8), (crossed & 255).astype(np.uint8)
    bitx = sum(len(zstandard.ZstdCompressor(level=3).compress(plane.tobytes())) for plane in planes)
    assert ours <= share * bitx


def test_vectors() -> None:
    for case in json.loads(VECTORS.read_text())["deltas"]:
        base, new, encoded = (bytes.fromhex(case[name]) for name in ("base", "new", "encoded"))
        assert delta.decode(encoded, base) == new
        form = FORMATS[encoded[0]]
        assert form.name == case["format"]
        if case["ours"]:
            assert delta.encode(new, base, form) == encoded
