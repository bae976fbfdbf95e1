"""The stream that torch wrote before version 1.6, parsed as defensively as the zip that came after it.

Five pickles in a row (a magic number, the protocol, the machine, the content, the keys of its storages) and
then each storage: a count and its raw numbers. The first two are compared byte for byte, the others walked
like every index. Not for the tar files that torch wrote before 2017. Follows specs/checkpoints.md.
"""

from typing import Final

from p2pvoice.protocol.errors import BadCheckpointError

from .mapped import MappedFile
from .pickle_walk import StorageSpec, walk_first
from .torch_zip import ENTRY_LIMIT, PICKLE_LIMIT, Entry

START: Final = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
"""The pickled magic number; every file of the form begins with it."""
_PROTOCOL: Final = bytes.fromhex("80024de9032e")
_COUNT_BYTES: Final = 8


def open_legacy(file: MappedFile) -> tuple[object, dict[str, Entry]]:
    """The content of a legacy file, and the place of every storage by its key.

    The caller has seen that it begins with START. Raises BadCheckpointError or UnsafeFileError.
    """
    at = len(START)
    if file.bytes(at, min(len(_PROTOCOL), file.size - at)) != _PROTOCOL:
        raise _bad("its protocol is not the one that torch wrote")
    at += len(_PROTOCOL)
    machine, _, at = _pickle(file, at)
    if type(machine) is not dict or machine.get("little_endian") is not True:
        raise _bad("it was saved on a machine with another byte order")
    top, wanted, at = _pickle(file, at)
    keys, none, at = _pickle(file, at)
    if none or type(keys) is not list or len(keys) > ENTRY_LIMIT:
        raise _bad(f"its list of storages is no list of at most {ENTRY_LIMIT} keys")
    found: dict[str, Entry] = {}
    for key in keys:
        spec = wanted.get(key) if type(key) is str else None
        if spec is None or spec.key in found:
            raise _bad("it holds a storage that nothing in it refers to, or one twice")
        if file.size - at < _COUNT_BYTES:
            raise _bad("it is cut short")
        count = int.from_bytes(file.bytes(at, _COUNT_BYTES), "little", signed=True)
        at += _COUNT_BYTES
        size = spec.count * spec.itemsize
        if count != spec.count or size > file.size - at:
            raise _bad("the numbers of a storage are not all there")
        found[spec.key] = Entry(at, size, 0)
        at += size
    if at != file.size:
        raise _bad("more bytes follow than it speaks of")
    return top, found


def _pickle(file: MappedFile, at: int) -> tuple[object, dict[str, StorageSpec], int]:
    """The pickle that begins at ``at``, the storages it refers to, and where the next thing begins."""
    value, storages, used = walk_first(file.bytes(at, min(PICKLE_LIMIT, file.size - at)))
    return value, storages, at + used


def _bad(reason: str) -> BadCheckpointError:
    return BadCheckpointError(
        f"this is not a whole torch weight file: {reason}", hint="download or export it again"
    )
