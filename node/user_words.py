"""The user's pronunciation dictionary: a file of the home that is read again when it changed.

Not for what is done with it: see pronouncing.py. Follows specs/pronunciation.md.
"""

import os
from collections.abc import Callable
from pathlib import Path

import trio

from p2pvoice.node.durable import replace_file
from p2pvoice.protocol import pronunciation
from p2pvoice.protocol.errors import UsageError


class UserWords:
    """The file at ``path``, which may be edited by hand at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[tuple[int, ...], str] | None = None
        #: One edit at a time; reading needs no lock, since a file is replaced whole.
        self.editing = trio.Lock()

    def text(self) -> str:
        """What it says now; empty when there is none. Blocks.

        Raises UsageError that names the line which does not fit.
        """
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                state = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                known = self._known
                if known is not None and known[0] == state:
                    return known[1]
                text = self._checked(file.read(pronunciation.USER_BYTES + 1))
        except FileNotFoundError:
            self._known = None
            return ""
        self._known = state, text
        return text

    def edit(self, change: Callable[[str], str]) -> tuple[str, str]:
        """Replace it by what ``change`` makes of it; its text before and after. Blocks."""
        before = self.text()
        after = change(before or pronunciation.HEADER)
        if after != before:
            replace_file(self._path, self._checked(after.encode()).encode())
        return before, after

    def _checked(self, data: bytes) -> str:
        try:
            text = pronunciation.text_of(data)
            pronunciation.parse(text)
        except UsageError as error:
            raise UsageError(
                f"{self._path.name} in the home: {error.message}", hint=error.hint or f"edit {self._path}"
            ) from None
        return text
