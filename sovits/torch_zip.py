"""The zip container that ``torch.save`` writes, parsed defensively.

For: finding the one pickle and the raw storages of a weight file by offset. Not for: general zip files. Only
what torch writes is accepted: stored (never compressed) entries under one prefix, one disk, no comment, no
encryption. Entry names are compared as bytes and never become paths. Follows specs/checkpoints.md.
"""

import re
import struct
import zlib
from dataclasses import dataclass

from p2pvoice.protocol.errors import BadCheckpointError, UnsafeFileError

from .mapped import MappedFile

#: Entries in one file; the largest published model has 690.
ENTRY_LIMIT = 8192
#: Bytes of the central directory, which lists the entries.
DIRECTORY_LIMIT = 2 << 20
#: Bytes of one entry's name.
NAME_LIMIT = 512
#: Bytes of the pickle; the largest published model has 90 KB.
PICKLE_LIMIT = 4 << 20
#: Bytes of the small text entries (version, byteorder and the like).
NOTE_LIMIT = 256

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_NOTES = (b"byteorder", b"version", b".format_version", b".storage_alignment", b".data/serialization_id")
_STORAGE = re.compile(rb"data/[0-9]{1,10}\Z")


@dataclass(frozen=True)
class Entry:
    """Where the bytes of one zip entry lie."""

    start: int
    size: int
    crc: int


@dataclass(frozen=True)
class TorchZip:
    """The checked container: the pickle, and the place of every storage by its key."""

    pickle: bytes
    storages: dict[str, Entry]


def open_zip(file: MappedFile) -> TorchZip:
    """Check the whole container and return its pickle and storages.

    The first two bytes are not looked at: some versions of the format write a mark over the leading ``PK``,
    and the caller has already judged them.
    """
    start, size, count = _find_directory(file)
    entries = _read_directory(file, start, size, count)
    prefix = _one_prefix(entries)
    _no_overlap(entries, start)
    storages: dict[str, Entry] = {}
    pickle = b""
    for name, entry in entries.items():
        inner = name[len(prefix) :]
        if inner == b"data.pkl":
            if entry.size > PICKLE_LIMIT:
                raise _bad(f"its index has {entry.size} bytes, more than {PICKLE_LIMIT}")
            pickle = file.bytes(entry.start, entry.size)
        elif _STORAGE.match(inner):
            storages[inner[5:].decode("ascii")] = entry
        elif inner in _NOTES:
            if entry.size > NOTE_LIMIT:
                raise _bad(f"its entry {_show(inner)} is too long")
            if inner == b"byteorder" and file.bytes(entry.start, entry.size) != b"little":
                raise _bad("it was saved on a machine with another byte order")
        else:
            raise _bad(f"it holds an entry that no weight file has: {_show(name)}")
        if zlib.crc32(file.view[entry.start : entry.start + entry.size]) != entry.crc:
            raise _bad(f"its entry {_show(inner)} is damaged (checksum)")
    return TorchZip(pickle, storages)


def _find_directory(file: MappedFile) -> tuple[int, int, int]:
    """Offset, size and entry count of the central directory."""
    end = file.size - _END.size
    if end < 0 or file.bytes(end, 4) != b"PK\x05\x06":
        raise _bad("it is cut short: the zip directory at its end is missing")
    _, disk, first_disk, here, total, size, start, comment = _END.unpack(file.bytes(end, _END.size))
    if disk or first_disk or here != total or comment:
        raise _bad("its zip directory is not one that torch writes")
    limit = end
    locator = end - _LOCATOR.size
    if locator >= 0 and file.bytes(locator, 4) == b"PK\x06\x07":
        _, disk, end64, disks = _LOCATOR.unpack(file.bytes(locator, _LOCATOR.size))
        if disk or disks > 1 or end64 + _END64.size != locator:
            raise _bad("its zip64 directory is not where it says")
        signature, length, _, _, disk, first_disk, here64, total64, size64, start64 = _END64.unpack(
            file.bytes(end64, _END64.size)
        )
        if (
            signature != b"PK\x06\x06"
            or length != _END64.size - 12
            or disk
            or first_disk
            or here64 != total64
        ):
            raise _bad("its zip64 directory is not one that torch writes")
        for short, full, top in (
            (total, total64, 0xFFFF),
            (size, size64, 0xFFFFFFFF),
            (start, start64, 0xFFFFFFFF),
        ):
            if short not in (full, top):
                raise _bad("its two zip directories contradict each other")
        total, size, start, limit = total64, size64, start64, end64
    if total > ENTRY_LIMIT or size > DIRECTORY_LIMIT:
        raise _bad(f"its zip directory lists {total} entries in {size} bytes, more than any weight file")
    if start + size != limit:
        raise _bad("its zip directory is not where it says")
    return start, size, total


def _read_directory(file: MappedFile, start: int, size: int, count: int) -> dict[bytes, Entry]:
    directory = file.bytes(start, size)
    entries: dict[bytes, Entry] = {}
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > size:
            raise _bad("its zip directory is cut short")
        (signature, _, _, flags, method, _, _, crc, packed, length, name_size, extra_size, comment_size, disk,
         _, _, offset) = _ENTRY.unpack_from(directory, at)  # fmt: skip
        at += _ENTRY.size
        if signature != b"PK\x01\x02" or name_size > NAME_LIMIT or comment_size or disk:
            raise _bad("its zip directory is damaged")
        if at + name_size + extra_size > size:
            raise _bad("its zip directory is cut short")
        name = directory[at : at + name_size]
        extra = directory[at + name_size : at + name_size + extra_size]
        at += name_size + extra_size
        length, packed, offset = _widen(extra, length, packed, offset)
        if _leaves_folder(name):
            raise UnsafeFileError(f"the file holds an entry that points outside of it: {_show(name)}")
        if name in entries:
            raise UnsafeFileError(f"the file holds two entries called {_show(name)}")
        if method != 0 or packed != length:
            raise _bad(f"its entry {_show(name)} is compressed, which torch never does")
        if flags & ~0x0808:
            raise _bad(f"its entry {_show(name)} is encrypted or of an unknown kind")
        entries[name] = Entry(_data_start(file, name, offset, length, start), length, crc)
    if at != size:
        raise _bad("its zip directory has bytes that belong to no entry")
    return entries


def _widen(extra: bytes, length: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Replace the fields that are full of ones by their 64-bit values from the zip64 extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        body = extra[at + 4 : at + 4 + size]
        at += 4 + size
        if kind != 1:
            continue
        values = [int.from_bytes(body[i : i + 8], "little") for i in range(0, len(body) - 7, 8)]
        if length == 0xFFFFFFFF and values:
            length = values.pop(0)
        if packed == 0xFFFFFFFF and values:
            packed = values.pop(0)
        if offset == 0xFFFFFFFF and values:
            offset = values.pop(0)
    return length, packed, offset


def _data_start(file: MappedFile, name: bytes, offset: int, length: int, directory: int) -> int:
    """Where an entry's bytes begin, after its local header, which must agree with the directory."""
    if offset + _LOCAL.size > directory:
        raise _bad(f"its entry {_show(name)} lies outside of the file")
    signature, _, flags, method, _, _, _, _, _, name_size, extra_size = _LOCAL.unpack(
        file.bytes(offset, _LOCAL.size)
    )
    # The leading two bytes of the very first header may carry a version marker in place of "PK".
    good = signature[2:] == b"\x03\x04" if offset == 0 else signature == b"PK\x03\x04"
    start: int = offset + _LOCAL.size + name_size + extra_size
    if not good or flags & ~0x0808 or method != 0 or name_size != len(name):
        raise _bad(f"its entry {_show(name)} is damaged")
    if start + length > directory or file.bytes(offset + _LOCAL.size, name_size) != name:
        raise _bad(f"its entry {_show(name)} lies outside of the file")
    return start


def _one_prefix(entries: dict[bytes, Entry]) -> bytes:
    """The folder that all entries share, with its slash."""
    indexes = [name for name in entries if name.rsplit(b"/", 1)[-1] == b"data.pkl"]
    if len(indexes) > 1:
        raise UnsafeFileError("the file holds two indexes (data.pkl), so two programs would read two models")
    if not indexes:
        if any(b"/code/" in name or name.endswith(b"constants.pkl") for name in entries):
            raise UnsafeFileError("the file is a TorchScript program, not a weight file")
        raise _bad("it is a zip file but not one that torch wrote (no data.pkl)")
    prefix = indexes[0][: -len(b"data.pkl")]
    if prefix.count(b"/") != 1 or len(prefix) < 2:
        raise _bad("its index is not in one top folder")
    for name in entries:
        if not name.startswith(prefix):
            raise _bad(f"its entry {_show(name)} is not in the folder of the others")
    return prefix


def _no_overlap(entries: dict[bytes, Entry], directory: int) -> None:
    at = 0
    for entry in sorted(entries.values(), key=lambda entry: entry.start):
        if entry.start < at or entry.start + entry.size > directory:
            raise _bad("its entries overlap")
        at = entry.start + entry.size


def _leaves_folder(name: bytes) -> bool:
    parts = name.replace(b"\\", b"/").split(b"/")
    return name[:1] in (b"/", b"\\") or b".." in parts or b"\0" in name or b":" in parts[0]


def _show(name: bytes) -> str:
    """A name from the file as it may stand in a message: ASCII, on one line, short."""
    return ascii(name.decode("utf-8", "replace")[:80])


def _bad(reason: str) -> BadCheckpointError:
    return BadCheckpointError(
        f"this is not a whole torch weight file: {reason}", hint="download or export it again"
    )
