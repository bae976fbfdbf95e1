"""The encoders by themselves: rates, pieces, what is sent first, and samples that come out again."""

import io

import numpy as np
import pytest
import soundfile

from p2pvoice.node.api.encode import FORMATS, UNLABELLED, encoder
from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.ids import release_id
from p2pvoice.protocol.label import Label, read_label

LABEL = Label(produce_id="i", producer="p2pvoice/0", release=release_id(b"r"), voice="说书人" * 20, created=1)
RATES = (8_000, 16_000, 20_000, 24_000, 32_000, 44_100, 48_000)
OUT = {"mp3": {20_000: 22_050}, "opus": {20_000: 24_000, 32_000: 48_000, 44_100: 48_000}}
"""Rates that a format does not have, and what it gets instead."""


def voice(rate: int, seconds: float = 2.0) -> bytes:
    """Something like a voice: a gliding tone with noise, 16 bit."""
    time = np.arange(int(rate * seconds)) / rate
    tone = np.sin(2 * np.pi * (200 + 40 * np.sin(3 * time)) * time) * 9_000
    noise = np.random.default_rng(1).normal(size=len(time)) * 300
    return (tone + noise).astype("<i2").tobytes()


def encoded(format: str, rate: int, pcm: bytes, *, piece: int = 9_998, whole: bool = False) -> list[bytes]:
    made = encoder(format, rate, LABEL, whole=whole)
    pieces = [made.add(pcm[start : start + piece]) for start in range(0, len(pcm), piece)]
    return [*pieces, made.end()]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_at_every_rate(format: str, rate: int) -> None:
    pcm = voice(rate)
    data = b"".join(encoded(format, rate, pcm))
    if format in UNLABELLED:
        made = rate if format == "raw" else 24_000
        assert len(data) / 2 / made == pytest.approx(2.0, abs=0.001)
        assert encoder(format, rate, LABEL).rate == made
        return
    samples, found = soundfile.read(io.BytesIO(data), dtype="int16")
    expected = OUT.get(format, {}).get(rate, rate)
    assert found == encoder(format, rate, LABEL).rate == expected
    assert len(samples) / found == pytest.approx(2.0, abs=0.2 if format == "mp3" else 0.001)
    assert read_label(data) == LABEL
    if format in ("wav", "flac"):
        assert samples.tobytes() == pcm
    # The same voice: as loud as it was.
    assert np.sqrt(np.mean(samples.astype(float) ** 2)) == pytest.approx(6_370, rel=0.1)


@pytest.mark.parametrize("format", FORMATS)
def test_pieces_of_any_size_give_the_same(format: str) -> None:
    pcm = voice(24_000)
    small, large = (b"".join(encoded(format, 24_000, pcm, piece=piece)) for piece in (962, len(pcm)))
    if format in ("ogg", "opus"):
        # Each stream has a number of its own, and Vorbis guesses what came before its first samples.
        assert len(small) == pytest.approx(len(large), rel=0.02)
        heard = [soundfile.read(io.BytesIO(data), dtype="int16")[0] for data in (small, large)]
        assert np.array_equal(heard[0][1_024:], heard[1][1_024:])
    else:
        assert small == large


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"flac"}))
def test_sound_leaves_before_the_end(format: str) -> None:
    pieces = encoded(format, 24_000, voice(24_000, 6.0))
    early = b"".join(pieces[: len(pieces) // 2])
    assert len(early) > 0.3 * sum(map(len, pieces))
    if format not in UNLABELLED:
        assert read_label(early) == LABEL
        with soundfile.SoundFile(io.BytesIO(early)) as file:
            assert sum(len(block) for block in file.blocks(1_024)) > 24_000


def test_a_wav_file_has_its_length_when_it_is_whole() -> None:
    pcm = voice(24_000)
    streamed, whole = (b"".join(encoded("wav", 24_000, pcm, whole=one)) for one in (False, True))
    assert encoded("wav", 24_000, pcm, whole=True)[0] == b""
    assert int.from_bytes(whole[4:8], "little") == len(whole) - 8
    assert streamed[4:8] == b"\xff" * 4
    assert len(streamed) == len(whole)
    assert [one for one, other in enumerate(zip(streamed, whole, strict=True)) if len(set(other)) > 1] == [
        *range(4, 8), *range(len(whole) - len(pcm) - 4, len(whole) - len(pcm)),
    ]  # fmt: skip


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"flac"}))
def test_nothing_said_is_still_a_file(format: str) -> None:
    data = encoder(format, 24_000, LABEL).end()
    assert format in UNLABELLED or read_label(data) == LABEL


def test_other_formats_are_refused() -> None:
    for format in ("aac", "", "MP3", "x" * 500):
        with pytest.raises(UsageError, match="unknown audio format"):
            encoder(format, 24_000, LABEL)
