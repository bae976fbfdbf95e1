import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from p2pvoice.protocol import tensors as t
from p2pvoice.protocol.errors import BadCheckpointError

GOOD = {
    "a.weight": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]},
    "b": {"dtype": "F32", "shape": [], "data_offsets": [12, 16]},
    "__metadata__": {"format": "pt"},
}


def write(header: Any, data_size: int = 16, *, pad: bool = True) -> bytes:
    """A file with this header, given as a value or as its JSON text."""
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    if pad:
        text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(data_size)


def read(raw: bytes) -> t.SafetensorsHeader:
    return t.read_header(raw, len(raw))


def changed(name: str = "b", **fields: Any) -> dict[str, Any]:
    return GOOD | {name: GOOD[name] | fields}


def test_a_good_file() -> None:
    raw = write(GOOD)
    header = read(raw)
    start = header.header_size
    assert start == len(raw) - 16
    assert header.tensors["a.weight"] == t.TensorInfo("F16", (2, 3), start, start + 12)
    assert list(header.tensors) == ["a.weight", "b"]
    assert header.metadata == {"format": "pt"}
    assert t.header_size(raw[:8], len(raw)) == start
    assert t.read_header(raw[:start], len(raw)) == header


def test_files_of_the_library_are_read() -> None:
    arrays = {"x": np.ones((3, 5), np.float16), "dec.ups.0.weight_v": np.zeros(7, np.float32)}
    raw = save(arrays, {"note": "音"})
    header = read(raw)
    assert {name: tensor.shape for name, tensor in header.tensors.items()} == {
        "x": (3, 5),
        "dec.ups.0.weight_v": (7,),
    }
    info = header.tensors["x"]
    assert raw[info.start : info.end] == arrays["x"].tobytes()


def test_tensors_come_in_the_order_of_their_data() -> None:
    header = read(write({"z": GOOD["a.weight"], "a": GOOD["b"]}))
    assert list(header.tensors) == ["z", "a"]


BAD_HEADERS = {
    "no tensors": {},
    "a list": [GOOD],
    "a duplicate name": '{"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
    '"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
    "a duplicate field": '{"b":{"dtype":"F16","dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
    "an unknown field": changed(extra=1),
    "a missing field": GOOD | {"b": {"dtype": "F32", "shape": []}},
    "an entry that is no map": GOOD | {"b": 7},
    "an empty name": GOOD | {"": GOOD["b"]},
    "a path as a name": {"../b": GOOD["a.weight"], "b": GOOD["b"]},
    "a slash in a name": {"x/y": GOOD["a.weight"], "b": GOOD["b"]},
    "a space in a name": {"a ": GOOD["a.weight"], "b": GOOD["b"]},
    "a name beyond ASCII": {"ä": GOOD["a.weight"], "b": GOOD["b"]},
    "an unknown type": changed(dtype="F64"),
    "an integer type": changed(dtype="I32"),
    "a type that is no text": changed(dtype=[]),
    "a negative dimension": changed(shape=[-1]),
    "a boolean dimension": changed(shape=[True]),
    "a fractional dimension": changed(shape=[1.0]),
    "a dimension that is text": changed(shape=["1"]),
    "a shape that is no list": changed(shape=1),
    "an empty tensor": GOOD | {"c": {"dtype": "F16", "shape": [0], "data_offsets": [16, 16]}},
    "an overflowing shape": changed(shape=[1 << 40, 1 << 40]),
    "an endless number": '{"b":{"dtype":"F32","shape":[' + "9" * 5000 + '],"data_offsets":[0,16]}}',
    "a shape that does not fit": changed(shape=[2]),
    "reversed offsets": changed(data_offsets=[16, 12]),
    "negative offsets": changed(data_offsets=[-4, 0]),
    "one offset": changed(data_offsets=[12]),
    "boolean offsets": {"b": {"dtype": "F16", "shape": [8], "data_offsets": [False, 16]}},
    "a hole": {"b": {"dtype": "F32", "shape": [3], "data_offsets": [4, 16]}},
    "an overlap": changed(data_offsets=[8, 12]),
    "trailing bytes": {"a": GOOD["a.weight"]},
    "data past the end": changed(shape=[2], data_offsets=[12, 20]),
    "unaligned data": {
        "a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]},
        "b": {"dtype": "F32", "shape": [3], "data_offsets": [2, 14]},
        "c": {"dtype": "F16", "shape": [1], "data_offsets": [14, 16]},
    },
    "metadata that is no text": GOOD | {"__metadata__": {"x": 1}},
    "metadata that is no map": GOOD | {"__metadata__": "x"},
    "NaN": '{"b":NaN}',
    "a space before the header": " " + json.dumps(GOOD),
    "more padding than alignment needs": json.dumps(GOOD) + " " * 8,
    "text behind the header": json.dumps(GOOD) + "x",
    "no JSON": "{nothing}",
    "deep nesting": '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
    "a lone surrogate": '{"\\ud800":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_bad_headers(header: Any) -> None:
    with pytest.raises(BadCheckpointError):
        read(write(header))


def test_bad_lengths() -> None:
    good = write(GOOD)
    for raw in (
        b"",
        b"\0" * 7,
        b"\0" * 8,
        struct.pack("<Q", 1 << 63) + bytes(9),
        struct.pack("<Q", 9) + bytes(9),
    ):
        with pytest.raises(BadCheckpointError):
            read(raw)
    with pytest.raises(BadCheckpointError, match="cut off"):
        t.read_header(good[:20], len(good))
    for size in (len(good) - 1, len(good) + 1, t.FILE_SIZE_LIMIT + 1):
        with pytest.raises(BadCheckpointError):
            t.read_header(good, size)
    with pytest.raises(BadCheckpointError, match="aligned"):
        read(write(json.dumps(GOOD) + " " * (-len(json.dumps(GOOD)) % 8 + 1), pad=False))
    with pytest.raises(BadCheckpointError):
        read(struct.pack("<Q", 8) + b"{\xff\xff\xff\xff\xff\xff}" + bytes(16))


def many(count: int) -> dict[str, Any]:
    return {f"t{n}": {"dtype": "F16", "shape": [1], "data_offsets": [2 * n, 2 * n + 2]} for n in range(count)}


def test_tensor_count_limit() -> None:
    assert len(read(write(many(t.TENSORS_LIMIT), 2 * t.TENSORS_LIMIT)).tensors) == t.TENSORS_LIMIT
    with pytest.raises(BadCheckpointError):
        read(write(many(t.TENSORS_LIMIT + 1), 2 * t.TENSORS_LIMIT + 2))


def test_rank_name_and_metadata_limits() -> None:
    def one(name: str = "b", rank: int = 1, metadata: int = 0) -> bytes:
        tensor = {"dtype": "F32", "shape": [1] * rank, "data_offsets": [0, 4]}
        return write({name: tensor, "__metadata__": {str(n): "" for n in range(metadata)}}, 4)

    for good in (one(rank=t.RANK_LIMIT), one("n" * t.NAME_LENGTH), one(metadata=t.METADATA_LIMIT)):
        assert len(read(good).tensors) == 1
    for bad in (
        one(rank=t.RANK_LIMIT + 1),
        one("n" * (t.NAME_LENGTH + 1)),
        one(metadata=t.METADATA_LIMIT + 1),
    ):
        with pytest.raises(BadCheckpointError):
            read(bad)


def test_header_size_limit() -> None:
    def padded(size: int) -> bytes:
        empty = len(json.dumps(GOOD | {"__metadata__": {"x": ""}}))
        return write(GOOD | {"__metadata__": {"x": "m" * (size - 8 - empty)}})

    raw = padded(t.HEADER_LIMIT)
    assert read(raw).header_size == t.HEADER_LIMIT
    with pytest.raises(BadCheckpointError, match="takes more than"):
        read(padded(t.HEADER_LIMIT + 8))
    with pytest.raises(BadCheckpointError, match="takes more than"):
        t.header_size(struct.pack("<Q", t.HEADER_LIMIT - 7), 1 << 30)


@given(st.data())
def test_mutated_headers_raise_only_our_error(data) -> None:
    raw = bytearray(write(GOOD))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 17))] = data.draw(st.integers(0, 255))
    try:
        header = read(bytes(raw))
    except BadCheckpointError:
        return
    assert (
        sum(tensor.end - tensor.start for tensor in header.tensors.values()) == len(raw) - header.header_size
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["dtype", "shape", "data_offsets"]), JSON)
def test_any_json_in_a_field_raises_only_our_error(field: str, value: Any) -> None:
    try:
        read(write(changed(**{field: value})))
    except BadCheckpointError:
        return
    assert changed(**{field: value}) == GOOD or value == [1]


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
def test_finite_values(dtype: str) -> None:
    width = t.ITEM_SIZE[dtype]
    largest = {"F16": 0x7BFF, "BF16": 0x7F7F, "F32": 0x7F7FFFFF}[dtype]
    infinity = {"F16": 0x7C00, "BF16": 0x7F80, "F32": 0x7F800000}[dtype]
    sign = 1 << (8 * width - 1)
    fine = [0, 1, largest, largest | sign, sign, infinity - 1]
    plain = b"".join(value.to_bytes(width, "little") for value in fine * 3)
    assert t.is_finite(dtype, plain)
    assert t.is_finite(dtype, b"")
    for value in (infinity, infinity | sign, infinity + 1, infinity | sign | 1, infinity + 3):
        for place in (0, width, len(plain)):
            assert not t.is_finite(dtype, plain[:place] + value.to_bytes(width, "little") + plain[place:])
    with pytest.raises(BadCheckpointError):
        t.is_finite(dtype, plain[:-1])


@given(st.lists(st.integers(0, 65535), max_size=40))
def test_finite_agrees_with_numpy(bits: list[int]) -> None:
    half = np.array(bits, np.uint16)
    assert t.is_finite("F16", half.tobytes()) == bool(np.isfinite(half.view(np.float16)).all())
    single = half.astype(np.uint32) << 16
    assert t.is_finite("F32", single.tobytes()) == bool(np.isfinite(single.view(np.float32)).all())
    assert t.is_finite("BF16", half.tobytes()) == bool(np.isfinite(single.view(np.float32)).all())
