"""Encoded deltas on disk, within a quota: the same update is asked for by many, and encoded once.

A convenience: it may be emptied at any time. An entry carries a hash of its own, so a damaged one is dropped
and never sent. Not for encoding: see deltas.py. All methods block. Follows specs/exchange.md, "Deltas".
"""

import hashlib
import os
import threading
from collections import OrderedDict
from pathlib import Path

_HASH = 32


class DeltaCache:
    """Entries by name (hexadecimal digits) in one folder; the least recently used ones make room."""

    def __init__(self, folder: Path, quota: int) -> None:
        self._folder = folder
        self._quota = quota
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What an earlier run left is known by its size and age alone; a beginning without its end goes.
        entries = sorted((e for e in os.scandir(folder)), key=lambda entry: entry.stat().st_mtime)
        for entry in entries:
            if entry.name.endswith(".new") or not entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            self._sizes[entry.name] = entry.stat().st_size
            self._bytes += entry.stat().st_size
        self._make_room(0)

    @property
    def held(self) -> int:
        """Bytes of all entries."""
        return self._bytes

    def get(self, name: str) -> bytes | None:
        """The entry of that name; ``None`` when there is none. An entry may be empty."""
        with self._lock:
            if name not in self._sizes:
                return None
            self._sizes.move_to_end(name)
        try:
            data = (self._folder / name).read_bytes()
        except OSError:
            data = b""
        if hashlib.sha256(data[_HASH:]).digest() != data[:_HASH]:
            with self._lock:
                self._drop(name)
            return None
        return data[_HASH:]

    def put(self, name: str, data: bytes) -> None:
        """Keep an entry, if the quota and the disk have room for it."""
        size = _HASH + len(data)
        if size > self._quota:
            return
        new = self._folder / f"{name}.{threading.get_ident()}.new"
        try:
            new.write_bytes(hashlib.sha256(data).digest() + data)
            with self._lock:
                self._drop(name)
                self._make_room(size)
                new.rename(self._folder / name)
                self._sizes[name] = size
                self._bytes += size
        except OSError:
            # A full disk costs the next asker a moment of work, and nothing else.
            new.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        while self._sizes and self._bytes + size > self._quota:
            self._drop(next(iter(self._sizes)))

    def _drop(self, name: str) -> None:
        size = self._sizes.pop(name, None)
        if size is not None:
            self._bytes -= size
            (self._folder / name).unlink(missing_ok=True)
