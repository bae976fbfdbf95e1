"""The ID3v2 tag in front of MP3 files, as far as a label needs it.

For listing the texts of a tag that may come from anywhere, and for putting the label's frames in place of
earlier ones; every other frame and the sound stay as they were. Versions 2.3 and 2.4 are read; in an older
tag nobody puts a label. It understands no audio. Follows specs/label.md.
"""

from dataclasses import dataclass

from p2pvoice.protocol.errors import ManifestError, UsageError

LABEL_TEXT = "AIGC"
"""The description of the label's TXXX frame, as the guide TC260-PG-202510A names it."""

OWN_TEXT = "P2PVOICE"
"""The description of the TXXX frame with our own text."""

FRAMES_LIMIT = 1024
"""Frames of one tag."""

TAGS_LIMIT = 8
"""Tags that are looked at in front of one file."""

SIZE_LIMIT = (1 << 28) - 1
"""Bytes of a tag: its length has four digits of seven bits."""

_HEAD_SIZE = 10
_TEXT = b"TXXX"
# Of a tag's flags: its bytes were made safe for old players; more of a head, or a foot, is there.
_UNSYNCHRONISED, _EXTENDED, _FOOT = 0x80, 0x40, 0x10
# Of a frame's second flag byte: what makes its text something else than text, in 2.3 and in 2.4.
_CODED = {3: 0xE0, 4: 0x4F}
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}


@dataclass(frozen=True)
class _Frame:
    name: bytes
    flags: bytes
    body: bytes


@dataclass(frozen=True)
class _Tag:
    version: int
    frames: tuple[_Frame, ...]
    end: int


def is_mp3(data: bytes) -> bool:
    """Whether this looks like an MP3 file: a tag, or the head of a frame of layer III."""
    if data[:3] == b"ID3":
        return True
    return len(data) >= 3 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2 and data[2] & 0xF0 != 0xF0


def texts(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """All labels and all texts of our own in the tags in front of a file, in UTF-8."""
    labels: list[bytes] = []
    own: list[bytes] = []
    position = 0
    for _ in range(TAGS_LIMIT):
        tag = _tag(data, position)
        if tag is None:
            return labels, own
        for frame in tag.frames:
            said = _said(frame, tag.version)
            if said is not None:
                {LABEL_TEXT: labels, OWN_TEXT: own}.get(said[0], []).append(said[1])
        position = tag.end
    raise ManifestError(f"the MP3 file has {TAGS_LIMIT} tags or more")


def rewrite(data: bytes, label: bytes, own: bytes) -> bytes:
    """The same file, or the sound that will follow, behind a tag with these texts and no earlier ones."""
    if data and not is_mp3(data):
        raise UsageError("this is not an MP3 file")
    kept: list[_Frame] = []
    version, position = 4, 0
    for number in range(TAGS_LIMIT):
        tag = _tag(data, position)
        if tag is None:
            break
        if number and tag.version != version:
            raise UsageError("the MP3 file has tags of several versions")
        version, position = tag.version, tag.end
        if version not in _CODED:
            raise UsageError("the MP3 file has a tag of an old version")
        for frame in tag.frames:
            said = _said(frame, version)
            if said is None or said[0] not in (LABEL_TEXT, OWN_TEXT):
                kept.append(frame)
    else:
        raise ManifestError(f"the MP3 file has {TAGS_LIMIT} tags or more")
    added = [_text_frame(LABEL_TEXT, label, version)]
    if own:
        added.append(_text_frame(OWN_TEXT, own, version))
    body = b"".join(_frame_bytes(frame, version) for frame in (*added, *kept))
    if len(body) > SIZE_LIMIT:
        raise UsageError("the tag of the MP3 file is too long for its format")
    return b"ID3" + bytes((version, 0, 0)) + _syncsafe(len(body)) + body + data[position:]


def _tag(data: bytes, position: int) -> _Tag | None:
    """The tag that begins here, or None; ManifestError when it is cut off or broken."""
    if data[position : position + 3] != b"ID3":
        return None
    head = data[position : position + _HEAD_SIZE]
    if len(head) < _HEAD_SIZE:
        raise ManifestError("the tag of the MP3 file is cut off")
    version, flags, size = head[3], head[5], _from_syncsafe(head[6:10])
    start = position + _HEAD_SIZE
    if start + size > len(data):
        raise ManifestError("the tag of the MP3 file is cut off")
    end = start + size + (_HEAD_SIZE if version == 4 and flags & _FOOT else 0)
    if version not in _CODED:
        return _Tag(version, (), end)
    body = data[start : start + size]
    if version == 3 and flags & _UNSYNCHRONISED:
        body = body.replace(b"\xff\x00", b"\xff")
    return _Tag(version, tuple(_frames(body, version, extended=bool(flags & _EXTENDED))), end)


def _frames(body: bytes, version: int, *, extended: bool) -> list[_Frame]:
    position = 0
    if extended:
        # The length counts itself in 2.4 and not in 2.3.
        position = _from_syncsafe(body[:4]) if version == 4 else int.from_bytes(body[:4]) + 4
        if len(body) < 4 or position < 4:
            raise ManifestError("the tag of the MP3 file has a broken head")
    found: list[_Frame] = []
    while position + _HEAD_SIZE <= len(body) and body[position]:
        head = body[position : position + _HEAD_SIZE]
        size = _from_syncsafe(head[4:8]) if version == 4 else int.from_bytes(head[4:8])
        position += _HEAD_SIZE
        if position + size > len(body):
            raise ManifestError("a frame in the tag of the MP3 file is cut off")
        if len(found) == FRAMES_LIMIT:
            raise ManifestError(f"the tag of the MP3 file has more than {FRAMES_LIMIT} frames")
        found.append(_Frame(head[:4], head[8:10], body[position : position + size]))
        position += size
    return found


def _said(frame: _Frame, version: int) -> tuple[str, bytes] | None:
    """The description, in capitals, and the text in UTF-8 of a TXXX frame; None for all others."""
    if frame.name != _TEXT or not frame.body or frame.flags[1] & _CODED[version]:
        return None
    encoding = _ENCODINGS.get(frame.body[0])
    if encoding is None:
        return None
    wide = encoding.startswith("utf-16")
    body, end = frame.body[1:], b"\0\0" if wide else b"\0"
    cut = body.find(end)
    while wide and cut % 2 and cut >= 0:
        cut = body.find(end, cut + 1)
    if cut < 0:
        return None
    try:
        name = body[:cut].decode(encoding)
        return name.upper(), body[cut + len(end) :].decode(encoding).rstrip("\0").encode("utf-8")
    except UnicodeError:
        if LABEL_TEXT.encode() in frame.body.replace(b"\0", b"").upper():
            raise ManifestError("the label in the tag of the MP3 file is no text") from None
        return None


def _text_frame(name: str, value: bytes, version: int) -> _Frame:
    """A TXXX frame; 2.3 knows no UTF-8."""
    if version == 4:
        return _Frame(_TEXT, b"\0\0", b"\x03" + name.encode() + b"\0" + value)
    wide = value.decode("utf-8").encode("utf-16")
    return _Frame(_TEXT, b"\0\0", b"\x01" + name.encode("utf-16") + b"\0\0" + wide)


def _frame_bytes(frame: _Frame, version: int) -> bytes:
    size = len(frame.body)
    if size > SIZE_LIMIT:
        raise UsageError("the tag of the MP3 file is too long for its format")
    return frame.name + (_syncsafe(size) if version == 4 else size.to_bytes(4)) + frame.flags + frame.body


def _syncsafe(size: int) -> bytes:
    return bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))


def _from_syncsafe(digits: bytes) -> int:
    value = 0
    for digit in digits:
        value = value << 7 | digit & 0x7F
    return value
