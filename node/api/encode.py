"""Samples to a labelled sound file, piece by piece while they are made.

An encoder takes 16-bit samples as they come and gives bytes that may be sent at once; the label stands in the
first of them and was read back before. All of it is work for a thread: libsndfile compresses, soxr changes
rates. FLAC alone waits for the end, since its readers need the length. Not for how bytes travel: see
answer.py. Follows specs/api.md and specs/label.md.
"""

import struct
from typing import Any, Protocol

from p2pvoice.node.speech import flac_file, wav_file
from p2pvoice.protocol import ogg
from p2pvoice.protocol.errors import BugError, UsageError
from p2pvoice.protocol.label import Label, label_flac, label_mp3, label_ogg, label_wav, read_label

FORMATS = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "raw": "audio/raw",
}
"""Formats and their media types. ``ogg`` is Vorbis; ``pcm`` is at PCM_RATE, ``raw`` as it was made."""

UNLABELLED = frozenset({"pcm", "raw"})
"""Formats without a place for a label: it goes beside them."""

PCM_RATE = 24_000
"""Samples a second of ``pcm``: what its clients assume."""

BLOCK = 8 * 1024
"""Samples that are compressed at once: libsndfile's Ogg writer takes much more of them on its stack."""

MP3_LEVEL = 0.5
"""libsndfile's scale of bit rates: 80 kbit/s at 24 kHz, 160 from 32 kHz on."""

UNKNOWN_LENGTH = 0xFFFFFFFF
"""What stands in a WAV file for a length that is not known yet."""

_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)


class Encoder(Protocol):
    """Makes one file. ``rate`` is the samples a second that are in it."""

    rate: int

    def add(self, pcm: bytes) -> bytes:
        """Take samples (16-bit little-endian, mono); the bytes of the file that are ready."""

    def end(self) -> bytes:
        """The rest of the file. Nothing may be added afterwards."""


def encoder(format: str, rate: int, label: Label, *, whole: bool = False) -> Encoder:
    """An encoder for samples of this rate; ``whole`` lets a WAV file wait until its length is known.

    UsageError for a format that is none of FORMATS.
    """
    if format == "wav":
        return _Whole(format, rate, label) if whole else _Wav(rate, label)
    if format == "flac":
        return _Whole(format, rate, label)
    if format in UNLABELLED:
        return _Raw(rate, PCM_RATE if format == "pcm" else rate)
    if format == "mp3":
        return _Mp3(rate, label)
    if format in ("ogg", "opus"):
        return _Ogg(format, rate, label)
    raise UsageError(f"unknown audio format {format[:20]!r}", hint="formats: " + " ".join(FORMATS))


class _Whole:
    """A file that is written when all its samples are there."""

    def __init__(self, format: str, rate: int, label: Label) -> None:
        self.rate, self._format, self._label, self._pcm = rate, format, label, bytearray()

    def add(self, pcm: bytes) -> bytes:
        self._pcm += pcm
        return b""

    def end(self) -> bytes:
        if self._format == "flac":
            return label_flac(flac_file(bytes(self._pcm), self.rate), self._label)
        return label_wav(wav_file(bytes(self._pcm), self.rate), self._label)


class _Wav:
    """A WAV file whose length nobody knows yet."""

    def __init__(self, rate: int, label: Label) -> None:
        self.rate = rate
        whole = label_wav(wav_file(b"", rate), label)
        # Both lengths, of the file and of its samples, are the last thing the head says of each.
        self._head = whole[:4] + struct.pack("<I", UNKNOWN_LENGTH) + whole[8:-4]
        self._head += struct.pack("<I", UNKNOWN_LENGTH)
        if read_label(self._head) != label:
            raise BugError("the audio could not be labelled")

    def add(self, pcm: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + pcm

    def end(self) -> bytes:
        return self.add(b"")


class _Raw:
    """Samples and nothing else."""

    def __init__(self, made: int, rate: int) -> None:
        self.rate = rate
        self._resampler = _Resampler(made, rate)

    def add(self, pcm: bytes) -> bytes:
        return bytes(self._resampler.feed(pcm).astype("<i2").tobytes())

    def end(self) -> bytes:
        return bytes(self._resampler.feed(b"", last=True).astype("<i2").tobytes())


class _Mp3:
    """An MP3 file of constant bit rate behind a tag with the label."""

    def __init__(self, rate: int, label: Label) -> None:
        self.rate = _fitting(rate, _MP3_RATES)
        self._head = label_mp3(b"", label)
        # With a constant bit rate players know the length of what they have, without a table in front.
        self._sound = _Compressor(
            rate, self.rate, "MP3", "MPEG_LAYER_III",
            bitrate_mode="CONSTANT", compression_level=MP3_LEVEL,
        )  # fmt: skip
        self._begun = False

    def add(self, pcm: bytes) -> bytes:
        return self._framed(self._sound.feed(pcm))

    def end(self) -> bytes:
        return self._framed(self._sound.finish())

    def _framed(self, frames: list[bytes]) -> bytes:
        if frames and not self._begun:
            self._begun = True
            # The first frame is a table that the encoder fills in at the end, when it has been sent.
            if not frames[0][4:].strip(b"\0"):
                frames = frames[1:]
        head, self._head = self._head, b""
        return head + b"".join(frames)


class _Ogg:
    """An Ogg file, Opus or Vorbis, whose second packet holds the label."""

    def __init__(self, format: str, rate: int, label: Label) -> None:
        self._label = label
        self.rate = _fitting(rate, _OPUS_RATES) if format == "opus" else rate
        self._sound = _Compressor(rate, self.rate, "OGG", "OPUS" if format == "opus" else "VORBIS")
        self._waiting = bytearray()
        self._begun = False

    def add(self, pcm: bytes) -> bytes:
        return self._labelled(b"".join(self._sound.feed(pcm)))

    def end(self) -> bytes:
        made = self._labelled(b"".join(self._sound.finish()))
        if not self._begun:
            raise BugError("the audio could not be labelled")
        return made

    def _labelled(self, made: bytes) -> bytes:
        if self._begun:
            return made
        self._waiting += made
        length = ogg.head_length(bytes(self._waiting))
        if length is None:
            return b""
        self._begun = True
        # What follows was numbered by the encoder, so the head must take as many pages as before: it does,
        # being a single page as long as encoder and label say no more than 64 KiB.
        head, rest = bytes(self._waiting[:length]), bytes(self._waiting[length:])
        labelled = label_ogg(head, self._label)
        if ogg.page_count(labelled) != ogg.page_count(head):
            raise BugError("the audio could not be labelled")
        return labelled + rest


class _Resampler:
    """Samples at another rate; the same samples when the rates are equal."""

    def __init__(self, made: int, rate: int) -> None:
        import numpy
        import soxr

        self._numpy = numpy
        self._stream = None if made == rate else soxr.ResampleStream(made, rate, 1, dtype="int16")

    def feed(self, pcm: bytes, *, last: bool = False) -> Any:
        samples = self._numpy.frombuffer(pcm, "<i2").astype("int16")
        return samples if self._stream is None else self._stream.resample_chunk(samples, last=last)


class _Compressor:
    """libsndfile, writing into memory that is taken away while it writes."""

    def __init__(self, made: int, rate: int, format: str, subtype: str, **settings: Any) -> None:
        import soundfile

        self._resampler = _Resampler(made, rate)
        self._sink = _Sink()
        self._file = soundfile.SoundFile(
            self._sink, "w", samplerate=rate, channels=1, format=format, subtype=subtype, **settings
        )

    def feed(self, pcm: bytes, *, last: bool = False) -> list[bytes]:
        """What libsndfile has written of these samples, one entry for each time that it wrote."""
        samples = self._resampler.feed(pcm, last=last)
        for begin in range(0, len(samples), BLOCK):
            self._file.write(samples[begin : begin + BLOCK])
        return self._sink.taken()

    def finish(self) -> list[bytes]:
        """The rest."""
        made = self.feed(b"", last=True)
        self._file.close()
        return made + self._sink.taken()


class _Sink:
    """A file for libsndfile that only grows: what it would write again at the beginning has been sent."""

    def __init__(self) -> None:
        self._position, self._length = 0, 0
        self._written: list[bytes] = []

    def write(self, data: Any) -> int:
        piece = bytes(data)
        if self._position == self._length:
            self._written.append(piece)
            self._length += len(piece)
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._length)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, _size: int = -1) -> bytes:
        return b""

    def taken(self) -> list[bytes]:
        """What was written since the last time."""
        written, self._written = self._written, []
        return written


def _fitting(rate: int, rates: tuple[int, ...]) -> int:
    """The rate itself where the format has it, else the next one above, else the highest."""
    return next((one for one in rates if one >= rate), rates[-1])
