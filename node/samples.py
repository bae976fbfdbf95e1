"""Sentences that voices spoke for a comparison, kept for a while so that a person can listen to them.

Labelled WAV files of the daemon's own, each by a random id, bounded in number, bytes and time; the oldest
goes when there is no room. Not for previews, which belong to releases. Follows specs/merging.md, "Samples".
"""

import re
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from p2pvoice.protocol.errors import DiskFullError, NotFoundError

#: Samples that are kept at the same time.
COUNT_LIMIT = 64

#: Bytes of all of them together.
BYTES_LIMIT = 256 << 20

#: Seconds that one is kept.
LIFETIME = 3_600.0

_ID = re.compile(r"[0-9a-f]{32}")


class Samples:
    """The samples of one daemon; those of an earlier one are deleted when this is made. Everything blocks."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        #: Id -> when it came and how many bytes it has, the oldest first.
        self._kept: dict[str, tuple[float, int]] = {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    def add(self, data: bytes) -> str:
        """Keep a file; its id. Raises DiskFullError where it cannot be written."""
        self._make_room(len(data))
        name = secrets.token_hex(16)
        try:
            (self._folder / name).write_bytes(data)
        except OSError as error:
            (self._folder / name).unlink(missing_ok=True)
            raise DiskFullError(f"a sample cannot be kept: {error.strerror}") from error
        self._kept[name] = (self._clock(), len(data))
        return name

    def get(self, name: str) -> bytes:
        """A file by its id; NotFoundError when it is none, or is gone."""
        self._make_room(0)
        if not _ID.fullmatch(name) or name not in self._kept:
            raise NotFoundError("there is no such sample, or no longer", hint="ask for the comparison again")
        return (self._folder / name).read_bytes()

    def _make_room(self, more: int) -> None:
        since = self._clock() - LIFETIME
        while self._kept:
            oldest, (came, _) = next(iter(self._kept.items()))
            used = sum(size for _, size in self._kept.values())
            full = bool(more) and (len(self._kept) >= COUNT_LIMIT or used + more > BYTES_LIMIT)
            if came > since and not full:
                return
            del self._kept[oldest]
            (self._folder / oldest).unlink(missing_ok=True)
