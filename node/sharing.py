"""Releases that are being fetched and offered at the same time: what partial holders give each other.

A release is shared from its first chunk until its fetch ends, whichever way; only fetches with seeding get
here. Nothing is kept: after a start nothing is shared until a fetch is taken up again. Not for reading the
chunks: see offer.py. Follows specs/exchange.md, "Partial holders".
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from p2pvoice.node.announcing import Announcer
from p2pvoice.protocol.manifest import FileEntry, Release


class Sharing:
    """What is being fetched with seeding. Written by the event loop, read from threads."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._releases: dict[str, Release] = {}

    @contextmanager
    def while_fetching(self, release: Release) -> Iterator[Callable[[], None]]:
        """Gives a function that begins to share the release; sharing ends with the block."""
        begun = False

        def begin() -> None:
            nonlocal begun
            # A second fetch of the same release, say a repair, leaves the first one's announcement alone.
            if not begun and release.id not in self._releases:
                begun = True
                self._releases[release.id] = release
                self._announcer.release(release.id, ())

        try:
            yield begin
        finally:
            if begun:
                del self._releases[release.id]
                self._announcer.withdraw(release.id, ())

    def has(self, identifier: str) -> bool:
        """Whether a release is shared."""
        return identifier in self._releases

    def entries(self, file: bytes) -> list[tuple[str, FileEntry]]:
        """The shared releases that a file belongs to, and how each says that it is cut."""
        return [
            (release.id, entry)
            for release in list(self._releases.values())
            for entry in release.manifest.files
            if entry.digest == file
        ]
