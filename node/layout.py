"""Where the store's files stand: two folders, and what a name in them means.

Whole files are ``files/<hex of the sha-256>``; ``partial/`` has everything else of a digest, told apart by
its ending. ``lock`` is held by whoever changes what is in use, sets a file aside, or deletes one that might
be in use. Not for what is in the files: see blocks.py. Follows specs/store.md, "Layout".
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

#: Endings of a digest's files in ``partial/``: in the making, its bitmap, found damaged.
PART, BITS, DAMAGED = ENDINGS = (".part", ".bits", ".damaged")

#: How the name of a file begins that is being copied in.
ADDING = "add-"


@dataclass(frozen=True)
class Usage:
    """What the store occupies: whole files, and allocated bytes of whole and partial files together."""

    files: int
    bytes: int


class Layout:
    """The folders of one store, made when they are not there."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "files"
        self.partials = folder / "partial"
        self.files.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.partials.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.index = folder / "index.sqlite"
        self.lock = threading.Lock()

    def whole(self, digest: bytes) -> Path:
        """The place of a whole file, which need not be there."""
        return self.files / digest.hex()

    def partial(self, digest: bytes, ending: str) -> Path:
        """The place of what else there may be of a file: ``ending`` is one of ENDINGS."""
        return self.partials / (digest.hex() + ending)

    def has(self, digest: bytes) -> bool:
        """Whether the whole file is in its place."""
        return self.whole(digest).is_file()

    def has_size(self, digest: bytes, size: int) -> bool:
        """Whether the file is in its place, with this many bytes."""
        try:
            return self.whole(digest).stat().st_size == size
        except OSError:
            return False

    def readable(self, digest: bytes) -> Path:
        """Where the file's bytes are: in its place, or set aside."""
        path = self.whole(digest)
        return path if path.is_file() else self.partial(digest, DAMAGED)

    def everything(self) -> list[Path]:
        """Every name in both folders."""
        return [*self.files.iterdir(), *self.partials.iterdir()]

    def usage(self) -> Usage:
        """How much is stored, in allocated blocks: a sparse file costs only what was written of it."""
        files = total = 0
        for folder in (self.files, self.partials):
            with os.scandir(folder) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    files += folder is self.files
        return Usage(files, total)


def digest_of_name(path: Path) -> bytes | None:
    """The digest that a file of the store is named by; None for a name that says nothing."""
    stem = path.name.split(".", 1)[0]
    try:
        digest = bytes.fromhex(stem)
    except ValueError:
        return None
    return digest if len(digest) == 32 else None
