"""Vorbis comments, the metadata that FLAC and Ogg files share, as far as a label needs them.

For reading the comments of a file that may come from anywhere, and for putting the label's in the place of
earlier ones. Not for where they stand in a file: see flac.py and ogg.py. Follows specs/label.md.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from p2pvoice.protocol.errors import ManifestError

LABEL_COMMENT = b"AIGC"
"""The comment of the label, as the guide TC260-PG-202510A names it."""

OWN_COMMENT = b"P2PVOICE"
"""The comment of our own text."""

COMMENTS_LIMIT = 1024
"""Comments of one file."""

_VENDOR = b"p2pvoice"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Comments:
    """Who wrote the file, and its comments, each ``NAME=value``."""

    vendor: bytes
    entries: tuple[bytes, ...]

    def values(self, name: bytes) -> list[bytes]:
        """The values of all comments of a name; names do not distinguish case."""
        pairs = (entry.partition(b"=") for entry in self.entries)
        return [value for key, _, value in pairs if key.upper() == name]


def texts(found: Sequence[Comments]) -> tuple[list[bytes], list[bytes]]:
    """All labels and all texts of our own among these comments."""
    labels = [value for one in found for value in one.values(LABEL_COMMENT)]
    own = [value for one in found for value in one.values(OWN_COMMENT)]
    return labels, own


def labelled(found: Sequence[Comments], label: bytes, own: bytes) -> Comments:
    """These comments as one, with these two texts and without any earlier ones."""
    kept = [
        entry
        for one in found
        for entry in one.entries
        if entry.partition(b"=")[0].upper() not in (LABEL_COMMENT, OWN_COMMENT)
    ]
    added = [LABEL_COMMENT + b"=" + label]
    if own:
        added.append(OWN_COMMENT + b"=" + own)
    return Comments(found[0].vendor if found else _VENDOR, tuple(kept + added))


def parse(body: bytes, where: str) -> Comments:
    """Read comments: little-endian lengths, vendor first. ``where`` names the file in an error."""
    position = 0

    def number() -> int:
        nonlocal position
        if position + _LENGTH.size > len(body):
            raise ManifestError(f"the comments of the {where} are cut off")
        value: int = _LENGTH.unpack_from(body, position)[0]
        position += _LENGTH.size
        return value

    def text() -> bytes:
        nonlocal position
        size = number()
        if position + size > len(body):
            raise ManifestError(f"the comments of the {where} are cut off")
        position += size
        return body[position - size : position]

    vendor = text()
    count = number()
    if count > COMMENTS_LIMIT:
        raise ManifestError(f"the {where} has more than {COMMENTS_LIMIT} comments")
    return Comments(vendor, tuple(text() for _ in range(count)))


def encode(comments: Comments) -> bytes:
    """Comments as they are written."""
    parts = [_LENGTH.pack(len(comments.vendor)), comments.vendor, _LENGTH.pack(len(comments.entries))]
    for entry in comments.entries:
        parts += [_LENGTH.pack(len(entry)), entry]
    return b"".join(parts)
