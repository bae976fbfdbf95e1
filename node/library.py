"""What the network part needs from the rest of the node: two small interfaces, implemented by the daemon.

``Library`` is what we serve from, ``Sink`` is what a fetch writes to. All methods are called from the event
loop and may hand their work to a thread. Follows specs/exchange.md.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from p2pvoice.protocol.chunks import Bitmap
from p2pvoice.protocol.manifest import FileEntry


@dataclass(frozen=True)
class Page:
    """Part of an answer to a query: signed envelopes as stored. ``next`` is where the rest begins, or "".

    ``revocations`` are of releases that would have been in the answer, on the first page only. ``shelf`` is
    how many voices the shelf has that the answer is from, 0 without one, and ``partial`` whether it leaves
    any out.
    """

    releases: tuple[bytes, ...]
    heads: tuple[bytes, ...] = ()
    next: str = ""
    revocations: tuple[bytes, ...] = ()
    shelf: int = 0
    partial: bool = False


class Library(Protocol):
    """What this node offers to others: no draft, nothing that was or is being fetched without seeding."""

    async def query(
        self,
        tags: Sequence[str],
        limit: int,
        cursor: str,
        *,
        offered: bool = False,
        known: Collection[bytes] = (),
    ) -> Page:
        """Releases offered that carry all ``tags``, at most ``limit``, from ``cursor`` on ("" at first)."""

    async def get_release(self, release: str) -> bytes | None:
        """The signed envelope of a release by its id. RevokedError when it was revoked."""

    async def get_head(self, author: str, slug: str) -> bytes | None:
        """The signed envelope of the newest head known of a voice. RevokedError when it was revoked."""

    async def get_revocations(
        self, releases: Sequence[str], author: str, slug: str, *, proofs: bool
    ) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Revocations of the releases and the voice, or the newest ones; with releases as proofs."""

    async def hear(self, record: bytes) -> None:
        """A peer tells of a revocation."""

    async def get_successor(self, author: str) -> bytes | None:
        """The signed record of what comes after an author's key."""

    async def get_collection(self, author: str, slug: str) -> bytes | None:
        """The signed collection of an author and a slug."""

    async def get_have(self, file: bytes) -> Bitmap | None:
        """Which chunks of a file may be had here; ``None`` when none of it is offered."""

    async def read_chunk(self, file: bytes, index: int) -> bytes | None:
        """The raw bytes of one chunk of a file, named by the file's digest; ``None`` when not held."""

    async def read_delta(self, file: bytes, index: int, bases: Sequence[bytes]) -> tuple[int, bytes] | None:
        """One chunk as a delta to the chunk of that index of one of ``bases``, and which; ``None`` for none.

        Bases that this node may not speak of do not exist, as with :meth:`read_chunk`.
        """


class Sink(Protocol):
    """Where fetched chunks go. What was written survives a crash, or it was not written."""

    async def missing(self, file: FileEntry) -> Sequence[int]:
        """The chunks of ``file`` not held yet, after whatever could be copied locally was copied."""

    async def delta_bases(self, file: FileEntry) -> Sequence[bytes]:
        """Whole files held here that chunks of ``file`` may come as deltas to, the nearest first."""

    async def read_delta_base(self, base: bytes, index: int) -> bytes | None:
        """One chunk of a file that :meth:`delta_bases` named."""

    async def write_many(self, file: FileEntry, chunks: Iterable[tuple[int, bytes]]) -> None:
        """Keep verified chunks, each with its index: data synced first, bits second.

        They are verified while they are iterated over, which is to be done once, and in a thread. May be
        called several at once.
        """

    async def finish(self, file: FileEntry) -> None:
        """All chunks are there: check the whole file and put it into the store."""
