"""The metadata blocks of FLAC files, as far as a label needs them.

For listing the comments of a file that may come from anywhere, and for putting the label's comments in place
of earlier ones; every other block and comment stays as it was. It understands no audio. Follows
specs/label.md.
"""

import struct
from dataclasses import dataclass

from p2pvoice.protocol.errors import ManifestError, UsageError

LABEL_COMMENT = b"AIGC"
"""The Vorbis comment of the label, as the guide TC260-PG-202510A names it."""

OWN_COMMENT = b"P2PVOICE"
"""The Vorbis comment of our own text."""

BLOCKS_LIMIT = 128
"""Metadata blocks of one file."""

COMMENTS_LIMIT = 1024
"""Comments of one file."""

BLOCK_SIZE_LIMIT = (1 << 24) - 1
"""Bytes of one metadata block: the length has 24 bits."""

_MAGIC = b"fLaC"
_STREAMINFO, _VORBIS_COMMENT, _INVALID = 0, 4, 127
_VENDOR = b"p2pvoice"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class _Block:
    kind: int
    body: bytes


@dataclass(frozen=True)
class _Comments:
    vendor: bytes
    entries: tuple[bytes, ...]

    def values(self, name: bytes) -> list[bytes]:
        """The values of all comments of a name; names do not distinguish case."""
        pairs = (entry.partition(b"=") for entry in self.entries)
        return [value for key, _, value in pairs if key.upper() == name]


def is_flac(data: bytes) -> bool:
    """Whether this looks like a FLAC file."""
    return data[:4] == _MAGIC


def texts(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """All labels and all texts of our own in a file."""
    blocks, _ = _blocks(data)
    comments = [_parse(block.body) for block in blocks if block.kind == _VORBIS_COMMENT]
    labels = [value for one in comments for value in one.values(LABEL_COMMENT)]
    own = [value for one in comments for value in one.values(OWN_COMMENT)]
    return labels, own


def rewrite(data: bytes, label: bytes, own: bytes) -> bytes:
    """The same file with these two texts as comments, and without any earlier ones."""
    if not is_flac(data):
        raise UsageError("this is not a FLAC file")
    blocks, audio = _blocks(data)
    if not blocks or blocks[0].kind != _STREAMINFO:
        raise UsageError("the FLAC file does not begin with its stream information")
    old = [_parse(block.body) for block in blocks if block.kind == _VORBIS_COMMENT]
    kept = [
        entry
        for one in old
        for entry in one.entries
        if entry.partition(b"=")[0].upper() not in (LABEL_COMMENT, OWN_COMMENT)
    ]
    added = [LABEL_COMMENT + b"=" + label]
    if own:
        added.append(OWN_COMMENT + b"=" + own)
    comments = _Comments(old[0].vendor if old else _VENDOR, tuple(kept + added))
    others = [block for block in blocks[1:] if block.kind != _VORBIS_COMMENT]
    new = [blocks[0], _Block(_VORBIS_COMMENT, _encode(comments)), *others]
    heads = [_block_bytes(block, last=index == len(new) - 1) for index, block in enumerate(new)]
    return _MAGIC + b"".join(heads) + data[audio:]


def _blocks(data: bytes) -> tuple[list[_Block], int]:
    """The metadata blocks of a file, and where its audio begins."""
    position = len(_MAGIC)
    found: list[_Block] = []
    for _ in range(BLOCKS_LIMIT):
        if position + 4 > len(data):
            raise ManifestError("the metadata of the FLAC file is cut off")
        head = data[position]
        size = int.from_bytes(data[position + 1 : position + 4])
        position += 4
        if position + size > len(data):
            raise ManifestError("the metadata of the FLAC file is cut off")
        if head & 0x7F == _INVALID:
            raise ManifestError("the FLAC file has an invalid metadata block")
        found.append(_Block(head & 0x7F, data[position : position + size]))
        position += size
        if head & 0x80:
            return found, position
    raise ManifestError(f"the FLAC file has more than {BLOCKS_LIMIT} metadata blocks")


def _block_bytes(block: _Block, *, last: bool) -> bytes:
    if len(block.body) > BLOCK_SIZE_LIMIT:
        raise UsageError("the comments of the FLAC file are too long for its format")
    return bytes((block.kind | (0x80 if last else 0),)) + len(block.body).to_bytes(3) + block.body


def _parse(body: bytes) -> _Comments:
    """A block of Vorbis comments: little-endian lengths, vendor first."""
    position = 0

    def number() -> int:
        nonlocal position
        if position + _LENGTH.size > len(body):
            raise ManifestError("the comments of the FLAC file are cut off")
        value: int = _LENGTH.unpack_from(body, position)[0]
        position += _LENGTH.size
        return value

    def text() -> bytes:
        nonlocal position
        size = number()
        if position + size > len(body):
            raise ManifestError("the comments of the FLAC file are cut off")
        position += size
        return body[position - size : position]

    vendor = text()
    count = number()
    if count > COMMENTS_LIMIT:
        raise ManifestError(f"the FLAC file has more than {COMMENTS_LIMIT} comments")
    return _Comments(vendor, tuple(text() for _ in range(count)))


def _encode(comments: _Comments) -> bytes:
    parts = [_LENGTH.pack(len(comments.vendor)), comments.vendor, _LENGTH.pack(len(comments.entries))]
    for entry in comments.entries:
        parts += [_LENGTH.pack(len(entry)), entry]
    return b"".join(parts)
