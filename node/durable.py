"""Making what was written survive a power cut: folders, whole trees, and small files that are replaced.

A rename or a new name is on disk when its folder was synced, bytes when their file was. Whoever tells a
caller "done" has done both before. Not for the store's chunks, which have an order of their own: see
partial.py. Follows specs/store.md, "Order of writes".
"""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Put the folder's names on disk."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_tree(folder: Path) -> None:
    """Put every file and every name at and below a folder on disk. Links are names only."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(place, name)
            if not path.is_symlink():
                _sync(path, os.O_RDONLY)
        sync_folder(Path(place))


def replace_file(path: Path, data: bytes) -> None:
    """Give a small file new contents: after a crash it holds the old ones or the new ones, whole."""
    growing = path.with_name(path.name + ".part")
    with growing.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    growing.replace(path)
    sync_folder(path.parent)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
