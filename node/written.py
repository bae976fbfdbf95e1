"""What a worker has written: when it is too much, and how it comes out of the worker's scratch folder.

The kernel bounds a file, not their number, so the daemon looks at the folders a worker may write while it
works. Not for the store, which has a quota of its own. Follows specs/sandbox.md, "Amounts".
"""

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from p2pvoice.protocol.errors import UnsafeFileError

#: Bytes that the folders of one worker may hold: a training at full size has some ten gigabytes.
WRITTEN_LIMIT = 128 << 30

#: Free bytes of the disk that a worker must leave to everything else.
LEFT_FREE = 256 << 20

#: Bytes that a worker may hold even on a disk that is that full: others filled it then.
ALWAYS_ALLOWED = 64 << 20

#: Seconds between two looks while a worker works.
LOOK_SECONDS = 2.0


def require_plain(folder: Path) -> None:
    """UnsafeFileError when a worker left anything but plain files and folders; blocking.

    Through a link the daemon would read, and publish, what the worker itself may not see.
    """
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            mode = os.lstat(os.path.join(parent, name)).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise UnsafeFileError(f"the worker left something that is no plain file: {ascii(name)[:80]}")


def take(made: Path, place: Path) -> None:
    """Move what a worker made to its place; blocking. What was there before is replaced.

    Raises UnsafeFileError as `require_plain` does; then nothing was moved.
    """
    require_plain(made)
    shutil.rmtree(place, ignore_errors=True)
    made.rename(place)


def too_much(folders: Sequence[Path]) -> str:
    """Why what lies in these folders is too much; empty when it is not. Blocking."""
    held = sum(allocated(folder) for folder in folders)
    if held > WRITTEN_LIMIT:
        return f"it wrote {held} bytes, and may write {WRITTEN_LIMIT}"
    if held > ALWAYS_ALLOWED and any(_free(folder) < LEFT_FREE for folder in folders):
        return f"the disk is full, and {held} bytes of it are the worker's"
    return ""


def _free(folder: Path) -> int:
    """Free bytes of a folder's disk; plenty when it cannot be told."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return LEFT_FREE


def allocated(folder: Path) -> int:
    """Bytes that the files in a folder take on disk, links not followed; 0 when it is not there.

    Files come and go while this looks: what cannot be looked at is not counted.
    """
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        total += allocated(Path(entry.path))
                except OSError:
                    continue
    except OSError:
        return total
    return total
