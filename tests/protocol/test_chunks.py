import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import chunks as c
from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.tensors import SafetensorsHeader, TensorInfo

HEADER = 64


def header_of(*tensors: tuple[tuple[int, ...], str]) -> SafetensorsHeader:
    """A header over F16 tensors of these shapes, in this order."""
    width = {"F16": 2, "F32": 4}
    found, position = {}, HEADER
    for number, (shape, dtype) in enumerate(tensors):
        size = width[dtype]
        for length in shape:
            size *= length
        found[f"t{number}"] = TensorInfo(dtype, shape, position, position + size)
        position += size
    return SafetensorsHeader(found, {}, HEADER, position)


def plan(*tensors: tuple[tuple[int, ...], str]) -> list[int]:
    header = header_of(*tensors)
    return c.plan_chunks(header.file_size, header)


def test_plain_files_are_cut_at_the_limit() -> None:
    assert c.plan_chunks(1) == [1]
    assert c.plan_chunks(c.CHUNK_LIMIT) == [c.CHUNK_LIMIT]
    assert c.plan_chunks(c.CHUNK_LIMIT + 1) == [c.CHUNK_LIMIT, 1]
    with pytest.raises(ManifestError):
        c.plan_chunks(0)


def test_the_header_is_a_chunk_of_its_own() -> None:
    assert plan(((10,), "F16")) == [HEADER, 20]


def test_small_tensors_are_gathered_until_they_reach_the_merge_limit() -> None:
    half = ((c.MERGE_LIMIT // 4,), "F16")  # half the merge limit, in bytes
    assert plan(half, half, half) == [HEADER, c.MERGE_LIMIT, c.MERGE_LIMIT // 2]
    almost = ((c.MERGE_LIMIT // 2 - 1,), "F16")
    assert plan(almost) == [HEADER, c.MERGE_LIMIT - 2]
    assert plan(almost, almost) == [HEADER, 2 * c.MERGE_LIMIT - 4]


def test_a_tensor_at_the_merge_limit_stands_alone_and_ends_a_run() -> None:
    exact = ((c.MERGE_LIMIT // 2,), "F16")
    small = ((8,), "F16")
    assert plan(small, exact, small, small) == [HEADER, 16, c.MERGE_LIMIT, 32]


def test_large_tensors_are_cut_at_whole_rows() -> None:
    row = 3000 * 2
    rows = c.CHUNK_LIMIT // row
    assert plan(((rows * 2 + 5, 3000), "F16")) == [HEADER, rows * row, rows * row, 5 * row]
    assert plan(((2, 1000, 3), "F32"))[1:] == [24_000]


def test_rows_at_and_over_the_chunk_limit() -> None:
    exact = c.CHUNK_LIMIT // 2
    assert plan(((3, exact), "F16")) == [HEADER, *[c.CHUNK_LIMIT] * 3]
    longer = exact + 1
    assert plan(((2, longer), "F16")) == [HEADER, c.CHUNK_LIMIT, c.CHUNK_LIMIT, 4]


def test_an_unchanged_tensor_keeps_its_chunks_when_its_neighbours_change() -> None:
    large = ((700, 1000), "F16")
    one, two = plan(((9,), "F16"), large, ((9,), "F16")), plan(((5000,), "F32"), large)
    cut = [700 * 2000 - (700 - 524) * 2000, (700 - 524) * 2000]
    assert one[2:4] == two[2:4] == cut


@given(
    st.lists(
        st.tuples(st.lists(st.integers(1, 900), max_size=3).map(tuple), st.sampled_from(["F16", "F32"])),
        min_size=1,
        max_size=12,
    )
)
def test_every_plan_fits(tensors) -> None:
    header = header_of(*tensors)
    sizes = c.plan_chunks(header.file_size, header)
    assert sum(sizes) == header.file_size
    assert all(1 <= size <= c.CHUNK_LIMIT for size in sizes)
    assert sizes[0] == HEADER


def test_a_header_of_another_file_is_refused() -> None:
    header = header_of(((4,), "F16"))
    with pytest.raises(ManifestError):
        c.plan_chunks(header.file_size + 1, header)


@pytest.mark.parametrize("size", [0, -1, c.CHUNK_LIMIT + 1, True, 1.0, "1"])
def test_chunk_sizes(size) -> None:
    assert c.Chunk(c.CHUNK_LIMIT, b"d" * 32).size == c.CHUNK_LIMIT
    with pytest.raises(ManifestError):
        c.Chunk(size, b"d" * 32)


def test_chunk_digests() -> None:
    for digest in (b"", b"d" * 31, b"d" * 33, "d" * 32, None):
        with pytest.raises(ManifestError):
            c.Chunk(1, digest)


@given(
    st.integers(0, 70).flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(n - 1, 0))) if n else st.just(set()))
    )
)
def test_bitmaps_round_trip(case) -> None:
    count, present = case
    bitmap = c.Bitmap(count)
    for index in present:
        bitmap.set(index)
    again = c.Bitmap.from_bytes(bitmap.to_bytes(), count)
    assert again == bitmap
    assert {index for index in range(count) if index in again} == present
    assert len(again) == len(present)
    assert again.missing() == sorted(set(range(count)) - present)
    assert again.complete == (len(present) == count)
    assert bool(again) == bool(present)
    for index in present:
        again.clear(index)
    assert again == c.Bitmap(count)


def test_bit_order() -> None:
    bitmap = c.Bitmap(9)
    bitmap.set(0)
    bitmap.set(8)
    assert bitmap.to_bytes() == b"\x01\x01"
    assert c.Bitmap.full(9).to_bytes() == b"\xff\x01"


def test_bitmaps_have_one_form_and_bounds() -> None:
    for data, count in ((b"", 1), (b"\0\0", 8), (b"\x02", 1), (b"\x80", 7)):
        with pytest.raises(ManifestError):
            c.Bitmap.from_bytes(data, count)
    c.Bitmap(c.CHUNKS_LIMIT)
    for count in (-1, c.CHUNKS_LIMIT + 1):
        with pytest.raises(ManifestError):
            c.Bitmap(count)
    bitmap = c.Bitmap(3)
    assert 3 not in bitmap
    assert -1 not in bitmap
    for change in (bitmap.set, bitmap.clear):
        with pytest.raises(IndexError):
            change(3)
