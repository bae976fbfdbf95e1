"""The metadata blocks of FLAC files, as far as a label needs them.

For listing the comments of a file that may come from anywhere, and for putting the label's comments in place
of earlier ones; every other block and comment stays as it was. It understands no audio. Follows
specs/label.md.
"""

from dataclasses import dataclass

from p2pvoice.protocol import comments
from p2pvoice.protocol.errors import ManifestError, UsageError

BLOCKS_LIMIT = 128
"""Metadata blocks of one file."""

BLOCK_SIZE_LIMIT = (1 << 24) - 1
"""Bytes of one metadata block: the length has 24 bits."""

_MAGIC = b"fLaC"
_STREAMINFO, _VORBIS_COMMENT, _INVALID = 0, 4, 127
_WHERE = "FLAC file"


@dataclass(frozen=True)
class _Block:
    kind: int
    body: bytes


def is_flac(data: bytes) -> bool:
    """Whether this looks like a FLAC file."""
    return data[:4] == _MAGIC


def texts(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """All labels and all texts of our own in a file."""
    blocks, _ = _blocks(data)
    found = [comments.parse(block.body, _WHERE) for block in blocks if block.kind == _VORBIS_COMMENT]
    return comments.texts(found)


def rewrite(data: bytes, label: bytes, own: bytes) -> bytes:
    """The same file with these two texts as comments, and without any earlier ones."""
    if not is_flac(data):
        raise UsageError("this is not a FLAC file")
    blocks, audio = _blocks(data)
    if not blocks or blocks[0].kind != _STREAMINFO:
        raise UsageError("the FLAC file does not begin with its stream information")
    old = [comments.parse(block.body, _WHERE) for block in blocks if block.kind == _VORBIS_COMMENT]
    body = comments.encode(comments.labelled(old, label, own))
    others = [block for block in blocks[1:] if block.kind != _VORBIS_COMMENT]
    new = [blocks[0], _Block(_VORBIS_COMMENT, body), *others]
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
