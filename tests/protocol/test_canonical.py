import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import canonical
from p2pvoice.protocol.errors import ManifestError

LIMIT = 1 << 16
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary(max_size=20)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=30,
)


@given(values)
def test_round_trip(value: object) -> None:
    assert canonical.decode(canonical.encode(value), limit=LIMIT) == value


@given(st.dictionaries(st.text(max_size=8), st.integers(0, 9), max_size=8), st.randoms())
def test_key_order_does_not_change_the_bytes(value: dict[str, int], random) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical.encode(dict(items)) == canonical.encode(value)


@given(values, st.data())
def test_mutated_bytes_are_refused_or_canonical(value: object, data: st.DataObject) -> None:
    raw = bytearray(canonical.encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    try:
        decoded = canonical.decode(bytes(raw), limit=LIMIT)
    except ManifestError:
        return
    assert canonical.encode(decoded) == bytes(raw)


@given(st.binary(max_size=64))
def test_random_bytes_raise_only_our_error(raw: bytes) -> None:
    try:
        decoded = canonical.decode(raw, limit=LIMIT)
    except ManifestError:
        return
    assert canonical.encode(decoded) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        msgpack.packb(1.5),
        msgpack.packb(msgpack.ExtType(1, b"x")),
        msgpack.packb({1: 2}),
        msgpack.packb({None: 2}),
        msgpack.packb({"b": 1, "a": 2}),
        b"\x82\xa1a\x01\xa1a\x01",
        b"\xcc\x01",
        b"\xd9\x01a",
        b"\xc5\x00\x01a",
        b"\xdc\x00\x00",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\x01\x01",
        b"\x92\x01",
        b"\xdb\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\x7f\xff\xff\xff",
        b"\xcf\x80\x00\x00\x00\x00\x00\x00\x00",
        b"\xd6\xff\x00\x00\x00\x00",
    ],
)
def test_other_spellings_and_foreign_types_are_refused(raw: bytes) -> None:
    with pytest.raises(ManifestError):
        canonical.decode(raw, limit=LIMIT)


def test_byte_limit() -> None:
    raw = canonical.encode(b"x" * 100)
    assert canonical.decode(raw, limit=len(raw)) == b"x" * 100
    with pytest.raises(ManifestError):
        canonical.decode(raw, limit=len(raw) - 1)


def test_depth_limit() -> None:
    assert canonical.decode(b"\x91" * 3 + b"\x01", limit=LIMIT, max_depth=3) == [[[1]]]
    with pytest.raises(ManifestError):
        canonical.decode(b"\x91" * 4 + b"\x01", limit=LIMIT, max_depth=3)
    deepest: object = 1
    for _ in range(canonical.DEPTH_LIMIT):
        deepest = [deepest]
    assert canonical.decode(canonical.encode(deepest), limit=LIMIT) == deepest
    with pytest.raises(ManifestError):
        canonical.encode([deepest])
    with pytest.raises(ManifestError):
        canonical.decode(b"\x91" * 60_000 + b"\x01", limit=LIMIT)


def test_item_limit() -> None:
    raw = canonical.encode([1] * 9)
    assert canonical.decode(raw, limit=LIMIT, max_items=10) == [1] * 9
    with pytest.raises(ManifestError):
        canonical.decode(raw, limit=LIMIT, max_items=9)


def test_a_small_bomb_is_refused_before_it_is_built() -> None:
    bomb = b"\xdd" + struct.pack(">I", 60_000) + b"\x90" * 60_000
    with pytest.raises(ManifestError, match="values"):
        canonical.decode(bomb, limit=LIMIT, max_items=1000)


@pytest.mark.parametrize(
    "value", [1.0, {1: 2}, {"a": 2.0}, object(), 2**63, -(2**63) - 1, "\ud800", {"\ud800": 1}, {1}]
)
def test_values_without_a_canonical_form(value: object) -> None:
    with pytest.raises(ManifestError):
        canonical.encode(value)
