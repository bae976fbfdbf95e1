"""The files of the fetches that run now, which the quota counts before they are here (quota.py)."""

from collections.abc import Mapping

import trio


class Reserved:
    """Digests and sizes by whoever fetches. Belongs to the event loop's thread.

    ``lock`` is held from looking whether there is room until the files are counted.
    """

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self._held: dict[object, Mapping[bytes, int]] = {}

    def hold(self, files: Mapping[bytes, int]) -> object:
        """Count these files from now on; what to give to :meth:`release`."""
        key = object()
        self._held[key] = files
        return key

    def release(self, key: object) -> None:
        """Count them no longer."""
        self._held.pop(key, None)

    def files(self) -> dict[bytes, int]:
        """All of them, each once."""
        return {digest: size for files in self._held.values() for digest, size in files.items()}
