import hashlib
import os
import random
import threading

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import codec, frames
from p2pvoice.protocol.chunks import CHUNK_LIMIT
from p2pvoice.protocol.errors import ChunkMismatchError, ManifestError


def digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


@given(st.binary(min_size=1, max_size=5000) | st.binary(min_size=1, max_size=50).map(lambda part: part * 300))
def test_round_trip(raw: bytes) -> None:
    name, data = codec.encode_chunk(raw)
    assert len(data) <= len(raw)
    assert codec.decode_chunk(name, data, len(raw), digest(raw)) == raw


def test_zstd_only_where_it_helps() -> None:
    noise = random.Random(1).randbytes(100_000)
    assert codec.encode_chunk(noise) == ("raw", noise)
    assert codec.encode_chunk(bytes(100_000))[0] == "zstd"
    # 2 % of zeros do not pay, 6 % do.
    assert codec.encode_chunk(noise[:98_000] + bytes(2_000))[0] == "raw"
    assert codec.encode_chunk(noise[:94_000] + bytes(6_000))[0] == "zstd"


def test_chunk_size_limit() -> None:
    raw = bytes(CHUNK_LIMIT)
    name, data = codec.encode_chunk(raw)
    assert codec.decode_chunk(name, data, CHUNK_LIMIT, digest(raw)) == raw
    for bad in (b"", raw + b"\0"):
        with pytest.raises(ManifestError):
            codec.encode_chunk(bad)
    for size in (0, CHUNK_LIMIT + 1):
        with pytest.raises(ManifestError):
            codec.decode_chunk("raw", raw, size, digest(raw))


def test_wrong_bytes_in_either_codec() -> None:
    raw = b"weights" * 1000
    for name, data in (("raw", b"x" + raw[1:]), codec.encode_chunk(b"x" + raw[1:])):
        with pytest.raises(ChunkMismatchError):
            codec.decode_chunk(name, data, len(raw), digest(raw))


def test_raw_of_another_size_and_unknown_codecs() -> None:
    raw = b"weights"
    for name, data in (("raw", raw + b"x"), ("raw", raw[:-1]), ("raw", b""), ("gz1", raw), ("", raw)):
        with pytest.raises(ChunkMismatchError):
            codec.decode_chunk(name, data, len(raw), digest(raw))


def frame(raw: bytes, **options: object) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, **options)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(raw)


def test_frames_with_unusual_parameters() -> None:
    raw = b"weights" * 1000
    assert codec.decode_chunk("zstd", frame(raw), len(raw), digest(raw)) == raw
    missing = frame(raw, write_content_size=False)
    with pytest.raises(ChunkMismatchError):
        codec.decode_chunk("zstd", missing, len(raw), digest(raw))
    dictionary = zstandard.train_dictionary(1024, [os.urandom(64) for _ in range(200)])
    with_dictionary = zstandard.ZstdCompressor(dict_data=dictionary).compress(raw)
    with pytest.raises(ChunkMismatchError):
        codec.decode_chunk("zstd", with_dictionary, len(raw), digest(raw))
    for data in (
        frame(raw) + b"\0",
        frame(raw) + frame(raw),
        frame(raw)[:-1],
        frame(raw)[:3],
        b"",
        b"(\xb5/\xfd",
    ):
        with pytest.raises(ChunkMismatchError):
            codec.decode_chunk("zstd", data, len(raw), digest(raw))


def test_a_wide_window_is_refused() -> None:
    # Two segments of a long stream, so that the frame is not a single segment and its window counts.
    parameters = zstandard.ZstdCompressionParameters.from_level(
        1, window_log=21, write_content_size=True, enable_ldm=True
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=3 << 20)
    data = compressor.compress(bytes(3 << 20)) + compressor.flush()
    assert zstandard.get_frame_parameters(data).window_size > frames.WINDOW_LIMIT
    with pytest.raises(ChunkMismatchError):
        codec.decode_chunk("zstd", data, CHUNK_LIMIT, bytes(32))


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    assert len(bomb) < 64 * 1024
    with pytest.raises(ChunkMismatchError, match="declares"):
        codec.decode_chunk("zstd", bomb, CHUNK_LIMIT, bytes(32))
    # Magic, a descriptor with an 8-byte content size in a single segment, and 64 GiB.
    forged = b"(\xb5/\xfd" + b"\xe0" + (64 << 30).to_bytes(8, "little") + b"\x01\x00\x00"
    with pytest.raises(ChunkMismatchError, match="declares"):
        codec.decode_chunk("zstd", forged, CHUNK_LIMIT, bytes(32))


def test_a_frame_that_holds_less_or_more_than_it_declares() -> None:
    raw = bytes(1000)
    honest = frame(raw)
    at = honest.index((1000 - 256).to_bytes(2, "little"))
    for claim in (999, 1001):
        lying = honest[:at] + (claim - 256).to_bytes(2, "little") + honest[at + 2 :]
        with pytest.raises(ChunkMismatchError):
            codec.decode_chunk("zstd", lying, claim, digest(bytes(claim)))


@given(st.data())
def test_mutated_frames_raise_only_our_error(data) -> None:
    raw = b"some weights, some more weights, and weights " * 40
    mutated = bytearray(frame(raw))
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert codec.decode_chunk("zstd", bytes(mutated), len(raw), digest(raw)) == raw
    except ChunkMismatchError:
        return


@given(st.binary(max_size=60))
def test_random_bytes_raise_only_our_error(data: bytes) -> None:
    with pytest.raises(ChunkMismatchError):
        codec.decode_chunk("zstd", data, 100, bytes(32))


def test_many_threads_at_once() -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for number in range(20):
                raw = random.Random(seed * 100 + number).randbytes(500) * 40
                name, data = codec.encode_chunk(raw)
                assert codec.decode_chunk(name, data, len(raw), digest(raw)) == raw
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
