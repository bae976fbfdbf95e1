"""What this node offers to its peers, and where what it fetches goes: the network's two windows.

``Offer`` implements ``library.Library``: installed voices that are seeded, their heads, and the chunks of
their files, and what is here of those that are being fetched with seeding (sharing.py); drafts and voices
fetched without seeding do not exist for a peer. ``Landing`` implements
``library.Sink`` over the store. Both only move work into threads. A voice whose consent has expired does not
exist for a peer either (specs/consent.md). Follows specs/exchange.md.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import trio

from p2pvoice.node.blocks import fits
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.deltas import Deltas
from p2pvoice.node.library import Page
from p2pvoice.node.offered import Offered
from p2pvoice.node.sharing import Sharing
from p2pvoice.node.shelves.reading import CURSOR, ShelfReader
from p2pvoice.node.store import Store
from p2pvoice.node.successors import Successors
from p2pvoice.node.tombstone import Kind
from p2pvoice.protocol.catalog_messages import KNOWN_SIZE
from p2pvoice.protocol.chunks import Bitmap
from p2pvoice.protocol.consent_state import consent_state
from p2pvoice.protocol.errors import CorruptError, StaleError
from p2pvoice.protocol.head import verify_head
from p2pvoice.protocol.ids import author_id, parse_release_id
from p2pvoice.protocol.manifest import FileEntry, Release

log = logging.getLogger("p2pvoice.offer")

#: Most releases on one page, whatever a peer asks for.
PAGE_LIMIT = 50


class Offer:
    """The installed and seeded voices, as peers see them."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        successors: Successors,
        disk: trio.CapacityLimiter,
        deltas: Deltas | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._successors = successors
        self._disk = disk
        self._deltas = deltas
        self._clock = clock
        self._offered = Offered(catalog, clock)
        #: The shelves that are kept here, once they are open.
        self.shelves: ShelfReader | None = None
        #: Told of the revocations that peers tell of; set when the part that judges them is there.
        self.hearer: Callable[[bytes], Awaitable[None]] | None = None
        #: What is being fetched with seeding; set when the part that announces it is there.
        self.sharing: Sharing | None = None

    def _current(self, identifier: str) -> Release | None:
        """A release that is offered, unless its consent has expired; blocking."""
        release = self._catalog.release(identifier)
        if release is None or consent_state(release.manifest, self._clock()) == "expired":
            return None
        return release

    async def query(
        self,
        tags: Sequence[str],
        limit: int,
        cursor: str,
        *,
        offered: bool = False,
        known: Collection[bytes] = (),
    ) -> Page:
        """Releases that carry all of ``tags``, with heads: those offered here, then those on shelves.

        With ``offered`` the latter are only counted. Left out are releases whose digests begin with what is
        in ``known``.
        """
        wanted = max(1, min(limit, PAGE_LIMIT))
        page = Page(())
        if not cursor.startswith(CURSOR):
            page = await trio.to_thread.run_sync(
                self._query, tuple(tags), wanted, cursor, known, limiter=self._disk
            )
        room = 0 if page.next or offered else wanted - len(page.releases)
        listing = None
        if self.shelves is not None:
            on_shelf = cursor if cursor.startswith(CURSOR) else ""
            listing = await self.shelves.read(tags, room, on_shelf, known)
        if listing is None:
            return page
        now = self._clock()
        return Page(
            (*page.releases, *(entry.release for entry in listing.entries)),
            (*page.heads, *(entry.head for entry in listing.entries if is_valid(entry.head, now))),
            page.next if offered else page.next or listing.next,
            page.revocations,
            listing.size,
            listing.partial,
        )

    def _query(self, tags: tuple[str, ...], wanted: int, cursor: str, known: Collection[bytes]) -> Page:
        found = self._unknown(tags, wanted + 1, cursor, known)
        releases, heads = [], []
        for identifier in found[:wanted]:
            release = self._current(identifier)
            if release is None:
                continue
            releases.append(release.envelope.to_bytes())
            head = self._catalog.head_bytes(author_id(release.manifest.author), release.manifest.slug)
            # An expired one would be taken for a replay.
            if head is not None and is_valid(head, self._clock()):
                heads.append(head)
        revoked = self._catalog.tombstones.matching(tags) if not cursor else []
        more = found[wanted - 1] if len(found) > wanted else ""
        return Page(tuple(releases), tuple(heads), more, tuple(revoked))

    def _unknown(
        self, tags: tuple[str, ...], wanted: int, cursor: str, known: Collection[bytes]
    ) -> list[str]:
        """The first so many offered releases behind a cursor, without those that are known."""
        found: list[str] = []
        while len(found) < wanted:
            some = self._catalog.offered(tags, wanted, cursor)
            found += [one for one in some if parse_release_id(one)[:KNOWN_SIZE] not in known]
            if len(some) < wanted:
                break
            cursor = some[-1]
        return found[:wanted]

    async def get_release(self, release: str) -> bytes | None:
        """The signed envelope of an offered release, or of one that such a release comes from.

        Lineage travels with the voice: who made what of what can be read as long as the voice is offered.
        RevokedError for a release that was revoked.
        """

        def read() -> bytes | None:
            shared = self.sharing is not None and self.sharing.has(release)
            if not (shared or self._catalog.is_offered(release) or self._catalog.leads_to_offered(release)):
                stone = self._catalog.tombstones.of_release(release)
                # What was merely remembered from a search is nothing this node could prove.
                if stone is not None and stone.kind > Kind.SEEN:
                    raise stone.error()
                return None
            if self._current(release) is None:
                return None
            return self._catalog.release_bytes(release)

        return await trio.to_thread.run_sync(read, limiter=self._disk)

    async def get_head(self, author: str, slug: str) -> bytes | None:
        """The newest head known of an offered voice. RevokedError for a voice that was revoked."""

        def read() -> bytes | None:
            held = self._catalog.installed_release(author, slug)
            if held is not None and held.seed:
                current = self._current(held.release) is not None
                return self._catalog.head_bytes(author, slug) if current else None
            stone = self._catalog.tombstones.of_voice(author, slug)
            if stone is not None:
                raise stone.error()
            return None

        return await trio.to_thread.run_sync(read, limiter=self._disk)

    async def get_revocations(
        self, releases: Sequence[str], author: str, slug: str, *, proofs: bool
    ) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Revocations of the releases and the voice, or the newest ones; with releases as proofs."""

        def read() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
            return self._catalog.tombstones.answer(releases, author, slug, proofs=proofs)

        return await trio.to_thread.run_sync(read, limiter=self._disk)

    async def hear(self, record: bytes) -> None:
        """A peer tells of a revocation."""
        if self.hearer is not None:
            await self.hearer(record)

    async def get_successor(self, author: str) -> bytes | None:
        """What comes after an author's key, when a voice is offered of the key it led to.

        Of other keys nothing is said, however much is known: whom this node follows is nobody's business.
        """

        def read() -> bytes | None:
            chain = self._successors.chain(author)
            if any(held.seed and held.author in chain for held in self._catalog.installed()):
                return self._successors.record_bytes(author)
            return None

        return await trio.to_thread.run_sync(read, limiter=self._disk)

    async def get_collection(self, author: str, slug: str) -> bytes | None:
        """A collection that is kept here and seeded."""
        return await trio.to_thread.run_sync(
            self._catalog.collections.offered, author, slug, limiter=self._disk
        )

    async def get_have(self, file: bytes) -> Bitmap | None:
        """Which chunks are here of a file that an offered or a shared release uses."""

        def read() -> Bitmap | None:
            if self._offered.file(file):
                return self._store.held(file)
            entry = self._shared(file)
            return None if entry is None else self._store.held(file, entry.chunks)

        return await trio.to_thread.run_sync(read, limiter=self._disk)

    def _shared(self, file: bytes) -> FileEntry | None:
        """A file as a release that is being fetched with seeding has it; blocking."""
        entries = self.sharing.entries(file) if self.sharing is not None else ()
        return next((entry for release, entry in entries if self._current(release) is not None), None)

    def _read_shared(self, file: bytes, index: int) -> bytes | None:
        """A chunk that is here of a file being fetched, when it is what the manifest says; blocking.

        The release is not admitted yet: its manifest may lie about a file that is here whole, and those who
        fetch by it would take the file's true chunk for a wrong one.
        """
        entry = self._shared(file)
        if entry is None or index >= len(entry.chunks):
            return None
        data = self._store.read_chunk(file, index)
        return data if data is not None and fits(data, entry.chunks[index]) else None

    async def read_chunk(self, file: bytes, index: int) -> bytes | None:
        """One chunk of a file that an offered release uses, or that is being fetched with seeding."""

        def read() -> bytes | None:
            try:
                if not self._offered.file(file):
                    return self._read_shared(file, index)
                return self._store.read_chunk(file, index)
            except CorruptError as error:
                # The store has set the file aside: it is neither served nor spoken until it is repaired.
                log.error("not served: %s", error.message, extra={"file": file.hex(), "next": error.hint})
                return None

        return await trio.to_thread.run_sync(read, limiter=self._disk)

    async def read_delta(self, file: bytes, index: int, bases: Sequence[bytes]) -> tuple[int, bytes] | None:
        """One chunk of an offered file as a delta to the nearest base that a peer may know is here."""
        deltas = self._deltas
        if deltas is None:
            return None

        def read() -> tuple[int, bytes] | None:
            if not self._offered.file(file):
                return None
            known = [
                number
                for number, base in enumerate(bases)
                if self._store.has(base) and self._offered.base(base)
            ]
            found = deltas.best(file, index, [bases[number] for number in known])
            return None if found is None else (known[found[0]], found[1])

        return await trio.to_thread.run_sync(read, limiter=self._disk)


def is_valid(head: bytes, now: float) -> bool:
    """Whether there is a head, of those that were verified before, and it has not expired."""
    try:
        return bool(head) and verify_head(head, now) is not None
    except StaleError:
        return False


#: Told (file path in the bundle, bytes of it that are here) after each chunk.
OnChunk = Callable[[FileEntry, int], Awaitable[None]]


class Landing:
    """Where the chunks of one fetch land. Counts what came from the network and what was here already.

    ``kin`` names files of this home that a file may be a tuned version of, the nearest first.
    """

    def __init__(
        self,
        store: Store,
        disk: trio.CapacityLimiter,
        on_chunk: OnChunk,
        kin: Callable[[FileEntry], Sequence[bytes]] = lambda file: (),
    ) -> None:
        self._store = store
        self._kin = kin
        self._disk = disk
        self._on_chunk = on_chunk
        self._open: set[bytes] = set()
        self.fetched = 0
        self.reused = 0

    async def missing(self, file: FileEntry) -> Sequence[int]:
        """The chunks of ``file`` to fetch, after copying what other files share with it."""

        def prepare() -> tuple[list[int], int, int]:
            inspection = self._store.inspection
            if self._store.has(file.digest) and inspection.ensure_indexed(file.digest, file.chunks):
                return [], file.size, file.size
            partial = self._store.open_partial(file.digest, file.chunks)
            self._open.add(file.digest)
            copied = self._store.copy_known(file.digest)
            return partial.missing(), copied, partial.have_bytes()

        missing, copied, have = await trio.to_thread.run_sync(prepare, limiter=self._disk)
        self.reused += copied
        await self._on_chunk(file, have)
        return missing

    async def delta_bases(self, file: FileEntry) -> Sequence[bytes]:
        """Whole files of this home that chunks of ``file`` may come as deltas to."""
        return await trio.to_thread.run_sync(self._kin, file, limiter=self._disk)

    async def read_delta_base(self, base: bytes, index: int) -> bytes | None:
        """One chunk of a file that was named as a base."""
        return await trio.to_thread.run_sync(self._store.read_chunk, base, index, limiter=self._disk)

    async def write_many(self, file: FileEntry, chunks: Iterable[tuple[int, bytes]]) -> None:
        """Keep verified chunks: written, synced together, and only then marked."""

        def keep() -> tuple[int, int]:
            # Verified before others have to wait for the file.
            verified = list(chunks)
            partial = self._store.open_partial(file.digest, file.chunks)
            return partial.write_many(verified, checked=True), partial.have_bytes()

        kept, have = await trio.to_thread.run_sync(keep, limiter=self._disk)
        self.fetched += kept
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
