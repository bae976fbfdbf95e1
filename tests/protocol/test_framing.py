import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import framing as f
from p2pvoice.protocol.errors import ManifestError


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.lists(st.integers(1, 40), max_size=60))
def test_frames_come_whole_however_the_stream_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(f.encode_frame(payload) for payload in payloads)
    reader, found, position = f.FrameReader(), [], 0
    for cut in [*cuts, len(stream)]:
        found += reader.feed(stream[position : position + cut])
        position += cut
    assert found == payloads
    assert reader.pending == 0
    reader.finish()


def test_layout() -> None:
    assert f.encode_frame(b"abc") == b"\0\0\0\3abc"


def test_limit() -> None:
    assert f.FrameReader(10).feed(f.encode_frame(b"x" * 10, 10)) == [b"x" * 10]
    with pytest.raises(ManifestError):
        f.encode_frame(b"x" * 11, 10)
    # The length alone is enough to refuse; nothing of the frame has to come first.
    with pytest.raises(ManifestError):
        f.FrameReader(10).feed(b"\0\0\0\x0b")
    assert f.frame_length(b"\0\0\0\x0a", 10) == 10
    for bad in (b"\0\0\0\x0b", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0"):
        with pytest.raises(ManifestError):
            f.frame_length(bad, 10)


def test_empty_frames_are_refused() -> None:
    with pytest.raises(ManifestError):
        f.encode_frame(b"")
    with pytest.raises(ManifestError):
        f.FrameReader().feed(bytes(4))


def test_a_frame_cut_by_the_end_of_the_stream() -> None:
    reader = f.FrameReader()
    assert reader.feed(f.encode_frame(b"abc")[:-1]) == []
    assert reader.pending == 6
    with pytest.raises(ManifestError):
        reader.finish()


def test_the_default_limit() -> None:
    largest = bytes(f.MESSAGE_LIMIT)
    assert f.FrameReader().feed(f.encode_frame(largest)) == [largest]
    with pytest.raises(ManifestError):
        f.encode_frame(largest + b"x")


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_random_bytes_raise_only_our_error(pieces: list[bytes]) -> None:
    reader = f.FrameReader(64)
    try:
        for piece in pieces:
            for frame in reader.feed(piece):
                assert 1 <= len(frame) <= 64
        reader.finish()
    except ManifestError:
        return
    assert reader.pending == 0
