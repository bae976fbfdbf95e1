"""The Ogg container of Opus and Vorbis files, as far as a label needs it.

For reading the comments of a file that may come from anywhere, and for putting the label's comments in place
of earlier ones: its packets are put into pages again, and pages behind them are numbered anew where that
takes more of them or fewer. It understands no audio. Follows specs/label.md.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from p2pvoice.protocol import comments
from p2pvoice.protocol.errors import ManifestError, UsageError

PAGES_LIMIT = 4096
"""Pages that are looked at until a file's comments are found."""

PACKET_LIMIT = 1 << 24
"""Bytes of the packets up to the sound, all together."""

SEGMENTS_LIMIT = 255
"""Segments of one page; each has at most as many bytes."""

_HEAD = struct.Struct("<4sBBqIIIB")
_CONTINUED, _FIRST = 1, 2
_WHERE = "Ogg file"
# How the first packet begins -> how the one with the comments does, and the packets before the sound.
_CODECS = {b"OpusHead": (b"OpusTags", 2), b"\x01vorbis": (b"\x03vorbis", 3)}
# Ogg counts a byte's bits from the other end than zlib does.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class _Page:
    flags: int
    granule: int
    serial: int
    number: int
    lacing: bytes
    body: bytes
    start: int
    end: int

    def packed(self) -> bytes:
        """The page as bytes, with its checksum."""
        size = len(self.lacing)
        blank = _HEAD.pack(b"OggS", 0, self.flags, self.granule, self.serial, self.number, 0, size)
        whole = blank + self.lacing + self.body
        return whole[:22] + checksum(whole).to_bytes(4, "little") + whole[26:]


@dataclass(frozen=True)
class _Start:
    """The packets before the sound, the pages they stand in, and what their comments begin with.

    ``count`` packets stand there; ``alone`` tells that nothing else does.
    """

    packets: list[bytes]
    pages: list[_Page]
    mark: bytes
    count: int
    alone: bool


def is_ogg(data: bytes) -> bool:
    """Whether this looks like an Ogg file."""
    return data[:4] == b"OggS"


def texts(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """All labels and all texts of our own in the comments of the first Opus or Vorbis stream."""
    start = _start(data, 2)
    return ([], []) if start is None else comments.texts([_comments(start)])


def head_length(data: bytes) -> int | None:
    """Bytes up to the sound, for a file that is still being written; None when they are not all there."""
    try:
        start = _start(data, None)
    except ManifestError:
        return None
    return None if start is None else start.pages[-1].end


def page_count(data: bytes) -> int:
    """Pages of a file; ManifestError when one is broken or cut off."""
    return sum(1 for _ in _pages(data, whole=True))


def rewrite(data: bytes, label: bytes, own: bytes) -> bytes:
    """The same file with these two texts as comments, and without any earlier ones."""
    if not is_ogg(data):
        raise UsageError("this is not an Ogg file")
    start = _start(data, None)
    if start is None:
        raise UsageError("the Ogg file holds neither Opus nor Vorbis")
    first, *others = start.pages
    single = all(page.serial == first.serial for page in _pages(data[: start.pages[-1].end]))
    if not others or not single or not start.alone or len(first.lacing) != 1 or first.number != 0:
        raise UsageError("the Ogg file is not laid out as one stream of sound")
    made = comments.encode(comments.labelled([_comments(start)], label, own))
    tail = b"\x01" if start.mark == b"\x03vorbis" else b""
    packets = [start.mark + made + tail, *start.packets[2:]]
    pages = list(_paged(packets, first.serial))
    rest = data[others[-1].end :]
    shift = len(pages) - len(others)
    if shift:
        rest = b"".join(_renumbered(page, first.serial, shift) for page in _pages(rest, whole=True))
    return data[: first.end] + b"".join(page.packed() for page in pages) + rest


def checksum(data: bytes) -> int:
    """Ogg's checksum: the polynomial of zlib's, with bits in the other order and nothing inverted."""
    register = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{register:032b}"[::-1], 2)


def _pages(data: bytes, *, whole: bool = False) -> Iterator[_Page]:
    """The pages of a file, up to the first that is cut off; with ``whole`` that is an error."""
    position = 0
    while position < len(data):
        if data[position : position + 4] != b"OggS"[: len(data) - position]:
            raise ManifestError("a page of the Ogg file is broken")
        lacing_at = position + _HEAD.size
        if lacing_at <= len(data):
            _, version, flags, granule, serial, number, _, count = _HEAD.unpack_from(data, position)
            lacing = data[lacing_at : lacing_at + count]
            start = lacing_at + count
            end = start + sum(lacing)
            if version != 0:
                raise ManifestError("a page of the Ogg file is of an unknown version")
            if len(lacing) == count and end <= len(data):
                yield _Page(flags, granule, serial, number, lacing, data[start:end], position, end)
                position = end
                continue
        if whole:
            raise ManifestError("a page of the Ogg file is cut off")
        return


def _start(data: bytes, wanted: int | None) -> _Start | None:
    """The first packets of the first Opus or Vorbis stream; ``wanted`` None means all before the sound.

    None when there is no such stream, ManifestError when its packets are broken or cut off.
    """
    serial: int | None = None
    mark, count, size = b"", 0, 0
    packets: list[bytes] = []
    pages: list[_Page] = []
    begun = bytearray()
    for looked, page in enumerate(_pages(data), 1):
        if serial is None:
            kind = next((one for one in _CODECS if page.body.startswith(one)), None)
            if kind is not None and page.flags & _FIRST:
                serial, (mark, count) = page.serial, _CODECS[kind]
            elif not page.flags & _FIRST:
                # Every stream's first page stands before all others.
                return None
        if page.serial == serial:
            pages.append(page)
            size += len(page.body)
            if size > PACKET_LIMIT:
                raise ManifestError(f"the Ogg file has more than {PACKET_LIMIT} bytes before its sound")
            position = 0
            for length in page.lacing:
                begun += page.body[position : position + length]
                position += length
                if length < SEGMENTS_LIMIT:
                    packets.append(bytes(begun))
                    begun.clear()
            if len(packets) >= (wanted or count):
                return _Start(packets, pages, mark, count, len(packets) == count and not begun)
        if looked == PAGES_LIMIT:
            raise ManifestError(f"the Ogg file has more than {PAGES_LIMIT} pages before its sound")
    if serial is None:
        return None
    raise ManifestError("the Ogg file is cut off before its sound")


def _comments(start: _Start) -> comments.Comments:
    if not start.packets[1].startswith(start.mark):
        raise ManifestError("the Ogg file has no comments where they belong")
    return comments.parse(start.packets[1][len(start.mark) :], _WHERE)


def _paged(packets: list[bytes], serial: int) -> Iterator[_Page]:
    """Packets in as few pages as they need, from number 1 on, without sound."""
    lacing = bytearray()
    for packet in packets:
        full, rest = divmod(len(packet), SEGMENTS_LIMIT)
        lacing += bytes((SEGMENTS_LIMIT,)) * full + bytes((rest,))
    joined, position, continued = b"".join(packets), 0, False
    for number, begin in enumerate(range(0, len(lacing), SEGMENTS_LIMIT), 1):
        part = bytes(lacing[begin : begin + SEGMENTS_LIMIT])
        size = sum(part)
        # A page on which no packet ends has no position in the sound.
        granule = 0 if min(part) < SEGMENTS_LIMIT else -1
        body = joined[position : position + size]
        yield _Page(_CONTINUED if continued else 0, granule, serial, number, part, body, 0, 0)
        position, continued = position + size, part[-1] == SEGMENTS_LIMIT


def _renumbered(page: _Page, serial: int, shift: int) -> bytes:
    if page.serial != serial:
        return page.packed()
    number = (page.number + shift) % (1 << 32)
    return _Page(page.flags, page.granule, serial, number, page.lacing, page.body, 0, 0).packed()
