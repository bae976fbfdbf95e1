"""The RIFF container of WAV files, as far as a label needs it.

For listing the chunks of a file that may come from anywhere, and for putting label chunks before the samples.
It understands no audio. Follows specs/label.md.
"""

import struct
from collections.abc import Iterator

from p2pvoice.protocol.errors import ManifestError, UsageError

LABEL_CHUNK = b"AIGC"
"""The RIFF chunk of the label, as the guide TC260-PG-202510A names it."""

OWN_CHUNK = b"p2pv"
"""The RIFF chunk of our own text."""

CHUNKS_LIMIT = 1024
"""Chunks of one file that are looked at, and entries of one list."""

SIZE_LIMIT = 0xFFFFFFFF
"""Bytes a RIFF file can count."""

_HEAD = struct.Struct("<4sI")
# A streamed file does not know its length yet, and writers say so in one of these ways.
_UNKNOWN_LENGTH = (0, 0xFFFFFFFF)


def is_wav(data: bytes) -> bool:
    """Whether this looks like a WAV file."""
    return len(data) >= 12 and data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def texts(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """All labels and all texts of our own in a file, a label in a LIST/INFO chunk included."""
    labels: list[bytes] = []
    own: list[bytes] = []
    for name, start, end in _chunks(data):
        if name == LABEL_CHUNK:
            labels.append(data[start:end])
        elif name == OWN_CHUNK:
            own.append(data[start:end])
        elif name == b"LIST" and data[start : start + 4] == b"INFO":
            entries = _entries(data, start + 4, end)
            labels.extend(data[first:last] for entry, first, last in entries if entry == LABEL_CHUNK)
    return labels, own


def stream_beginning(rate: int, label: bytes, own: bytes) -> bytes:
    """What stands before the samples of a stream, 16 bit and mono, whose length nobody knows yet.

    The lengths are the largest there are: players then read until the stream ends.
    """
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16)
    chunks = _chunk(b"fmt ", form) + _chunk(LABEL_CHUNK, label) + (_chunk(OWN_CHUNK, own) if own else b"")
    return _HEAD.pack(b"RIFF", SIZE_LIMIT) + b"WAVE" + chunks + _HEAD.pack(b"data", SIZE_LIMIT)


def rewrite(data: bytes, label: bytes, own: bytes) -> bytes:
    """The same file with these two texts directly before the samples, and without any earlier ones."""
    if not is_wav(data):
        raise UsageError("this is not a WAV file")
    parts: list[bytes] = []
    placed = False
    for name, start, end in _chunks(data):
        body = data[start:end]
        if name in (LABEL_CHUNK, OWN_CHUNK):
            continue
        if name == b"LIST" and body[:4] == b"INFO":
            entries = [(entry, data[a:b]) for entry, a, b in _entries(data, start + 4, end)]
            body = b"INFO" + b"".join(_chunk(*entry) for entry in entries if entry[0] != LABEL_CHUNK)
            if len(body) == 4:
                continue
        if name == b"data" and not placed:
            placed = True
            parts.append(_chunk(LABEL_CHUNK, label))
            if own:
                parts.append(_chunk(OWN_CHUNK, own))
        parts.append(_chunk(name, body))
    if not placed:
        raise UsageError("the WAV file has no samples")
    content = b"WAVE" + b"".join(parts)
    if len(content) > SIZE_LIMIT:
        raise UsageError("the WAV file is too long for its format", hint="write FLAC instead")
    return _HEAD.pack(b"RIFF", len(content)) + content


def _chunk(name: bytes, body: bytes) -> bytes:
    if len(body) > SIZE_LIMIT:
        raise UsageError("the WAV file is too long for its format", hint="write FLAC instead")
    return _HEAD.pack(name, len(body)) + body + b"\0" * (len(body) % 2)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk. Only the samples may be cut off or of unknown length."""
    position = 12
    for _ in range(CHUNKS_LIMIT):
        if position + _HEAD.size > len(data):
            return
        name, size = _HEAD.unpack_from(data, position)
        start = position + _HEAD.size
        end = start + size
        if name == b"data" and (end > len(data) or size in _UNKNOWN_LENGTH):
            end = len(data)
        if end > len(data):
            raise ManifestError("a chunk of the WAV file is cut off")
        yield name, start, end
        position = end + (end - start) % 2
    raise ManifestError(f"the WAV file has more than {CHUNKS_LIMIT} chunks")


def _entries(data: bytes, position: int, end: int) -> list[tuple[bytes, int, int]]:
    """The entries of a list chunk; what is cut off ends the list."""
    found: list[tuple[bytes, int, int]] = []
    while position + _HEAD.size <= end:
        name, size = _HEAD.unpack_from(data, position)
        start = position + _HEAD.size
        if start + size > end:
            break
        if len(found) == CHUNKS_LIMIT:
            raise ManifestError(f"a list in the WAV file has more than {CHUNKS_LIMIT} entries")
        found.append((name, start, start + size))
        position = start + size + size % 2
    return found
