"""What this node offers to its peers, and where what it fetches goes: the network's two windows.

``Offer`` implements ``library.Library``: installed voices that are seeded, their heads, and the chunks of
their files; drafts and voices fetched without seeding do not exist for a peer. ``Landing`` implements
``library.Sink`` over the store. Both only move work into threads. Follows specs/exchange.md.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.library import Page
from p2pvoice.node.store import Store
from p2pvoice.protocol.errors import CorruptError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import FileEntry

log = logging.getLogger("p2pvoice.offer")

#: Most releases on one page, whatever a peer asks for.
PAGE_LIMIT = 50


class Offer:
    """The installed and seeded voices, as peers see them."""

    def __init__(self, store: Store, catalog: Catalog, disk: trio.CapacityLimiter) -> None:
        self._store = store
        self._catalog = catalog
        self._disk = disk

    async def query(self, tags: Sequence[str], limit: int, cursor: str) -> Page:
        """Releases offered that carry all of ``tags``, with the heads of their voices."""
        return await trio.to_thread.run_sync(self._query, tuple(tags), limit, cursor, limiter=self._disk)

    def _query(self, tags: tuple[str, ...], limit: int, cursor: str) -> Page:
        wanted = max(1, min(limit, PAGE_LIMIT))
        found = self._catalog.offered(tags, wanted + 1, cursor)
        releases, heads = [], []
        for identifier in found[:wanted]:
            release = self._catalog.release(identifier)
            if release is None:
                continue
            releases.append(release.envelope.to_bytes())
            head = self._catalog.head_bytes(author_id(release.manifest.author), release.manifest.slug)
            if head is not None:
                heads.append(head)
        return Page(tuple(releases), tuple(heads), found[wanted - 1] if len(found) > wanted else "")

    async def get_release(self, release: str) -> bytes | None:
        """The signed envelope of an offered release."""

        def read() -> bytes | None:
            if not self._catalog.is_offered(release):
                return None
            return self._catalog.release_bytes(release)

        return await trio.to_thread.run_sync(read, limiter=self._disk)

    async def get_head(self, author: str, slug: str) -> bytes | None:
        """The newest head known of an offered voice."""

        def read() -> bytes | None:
            held = self._catalog.installed_release(author, slug)
            return self._catalog.head_bytes(author, slug) if held is not None and held.seed else None

        return await trio.to_thread.run_sync(read, limiter=self._disk)

    async def read_chunk(self, file: bytes, index: int) -> bytes | None:
        """One chunk of a file that an offered release uses."""

        def read() -> bytes | None:
            if not self._catalog.is_file_offered(file):
                return None
            try:
                return self._store.read_chunk(file, index)
            except CorruptError as error:
                # The store has set the file aside: it is neither served nor spoken until it is repaired.
                log.error("not served: %s", error.message, extra={"file": file.hex(), "next": error.hint})
                return None

        return await trio.to_thread.run_sync(read, limiter=self._disk)


#: Told (file path in the bundle, bytes of it that are here) after each chunk.
OnChunk = Callable[[FileEntry, int], Awaitable[None]]


class Landing:
    """Where the chunks of one fetch land. Counts what came from the network and what was here already."""

    def __init__(self, store: Store, disk: trio.CapacityLimiter, on_chunk: OnChunk) -> None:
        self._store = store
        self._disk = disk
        self._on_chunk = on_chunk
        self._open: set[bytes] = set()
        self.fetched = 0
        self.reused = 0

    async def missing(self, file: FileEntry) -> Sequence[int]:
        """The chunks of ``file`` to fetch, after copying what other files share with it."""

        def prepare() -> tuple[list[int], int, int]:
            if self._store.has(file.digest) and self._store.ensure_indexed(file.digest, file.chunks):
                return [], file.size, file.size
            partial = self._store.open_partial(file.digest, file.chunks)
            self._open.add(file.digest)
            copied = self._store.copy_known(file.digest)
            return partial.missing(), copied, partial.have_bytes()

        missing, copied, have = await trio.to_thread.run_sync(prepare, limiter=self._disk)
        self.reused += copied
        await self._on_chunk(file, have)
        return missing

    async def write(self, file: FileEntry, index: int, data: bytes) -> None:
        """Keep one chunk: checked, synced, and only then marked."""

        def keep() -> tuple[bool, int]:
            partial = self._store.open_partial(file.digest, file.chunks)
            return partial.write(index, data), partial.have_bytes()

        new, have = await trio.to_thread.run_sync(keep, limiter=self._disk)
        if new:
            self.fetched += len(data)
        await self._on_chunk(file, have)

    async def finish(self, file: FileEntry) -> None:
        """Check the whole file and put it into the store."""

        def settle() -> None:
            if not self._store.has(file.digest):
                self._store.finish(file.digest)
            self._open.discard(file.digest)

        await trio.to_thread.run_sync(settle, limiter=self._disk)

    def close(self) -> None:
        """Close what was not finished; its chunks stay for the next attempt."""
        for digest in self._open:
            self._store.close_partial(digest)
        self._open.clear()
