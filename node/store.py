"""Files by their hash: what a release consists of, on disk, each file once.

A whole file stands at ``files/<hex of its sha-256>`` and never changes. One in the making stands in
``partial/`` (see partial.py) and is renamed when the hash of all of it is right. An index (index.py) knows
where every chunk is, so that a chunk two files share is copied and not fetched. Not for where the files stand
(layout.py), nor for reading them again and setting damaged ones aside (inspection.py), nor for deleting what
is not wanted any more (garbage.py). All methods block; the daemon calls them from threads. Follows
specs/store.md.
"""

import hashlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from p2pvoice.node.blocks import created, fits, offsets_of, read_at, write_all
from p2pvoice.node.durable import sync_folder
from p2pvoice.node.index import ChunkIndex
from p2pvoice.node.inspection import Inspection
from p2pvoice.node.layout import ADDING, BITS, DAMAGED, PART, Layout, digest_of_name
from p2pvoice.node.partial import Partial, storage_error
from p2pvoice.protocol.chunks import CHUNKS_LIMIT, Bitmap, Chunk
from p2pvoice.protocol.errors import CorruptError, IntegrityError, NotFoundError, QuotaError, UsageError

log = logging.getLogger("p2pvoice.store")

#: Largest file the store takes, in bytes (a full-size v4 voice has 1.5 GB).
FILE_LIMIT = 4 << 30


class Store:
    """The files under one folder."""

    def __init__(self, folder: Path, *, quota: int = 0) -> None:
        self.layout = Layout(folder)
        self.index = ChunkIndex(self.layout.index)
        self.inspection = Inspection(self.layout, self.index)
        self._quota = quota
        self._opening = threading.Lock()
        self._open: dict[bytes, Partial] = {}
        self._held: Counter[bytes] = Counter()
        self._clean()

    def _clean(self) -> None:
        """Remove what a crash left behind: half-made additions, and beginnings of files that are whole."""
        for path in list(self.layout.partials.iterdir()):
            digest = digest_of_name(path)
            if path.name.startswith(ADDING) or (digest is not None and self.has(digest)):
                path.unlink()

    def close(self) -> None:
        """Close every open file and the index."""
        with self.layout.lock:
            for partial in self._open.values():
                partial.close()
            self._open.clear()
        self.index.close()

    # -- whole files ---------------------------------------------------------------------------------

    def has(self, digest: bytes) -> bool:
        """Whether the whole file is here."""
        return self.layout.has(digest)

    def place(self, digest: bytes) -> Path:
        """Where the whole file is when it is here."""
        return self.layout.whole(digest)

    def path(self, digest: bytes) -> Path:
        """Where the whole file is; NotFoundError when it is not here."""
        path = self.layout.whole(digest)
        if not path.is_file():
            raise NotFoundError(f"file {digest.hex()[:12]}… is not in the store")
        return path

    def chunks(self, digest: bytes) -> tuple[Chunk, ...] | None:
        """The chunk list of a whole file, or of one being fetched; None for an unknown file."""
        found = self.index.chunks(digest)
        if found is not None:
            return found
        with self.layout.lock:
            partial = self._open.get(digest)
        return partial.chunks if partial is not None else None

    @contextmanager
    def holding(self, digests: Iterable[bytes] = ()) -> Iterator[Callable[[bytes], None]]:
        """Keep files from being collected for a while, though no installed release needs them yet.

        Gives a function that adds a file to those that are kept until the block ends.
        """
        held: list[bytes] = []

        def hold(digest: bytes) -> None:
            with self.layout.lock:
                self._held[digest] += 1
            held.append(digest)

        try:
            for digest in digests:
                hold(digest)
            yield hold
        finally:
            with self.layout.lock:
                self._held.subtract(held)
                self._held = +self._held

    def in_use(self, digest: bytes) -> bool:
        """Whether a file is being fetched or held. The caller holds the layout's lock."""
        return digest in self._open or digest in self._held

    def add_file(self, source: Path, chunks: Sequence[Chunk]) -> bytes:
        """Copy a finished file into the store and return its digest. It is on disk when this returns.

        The copy is hashed while it is made, so the name is true to the bytes that were stored even if
        the source changes meanwhile. Raises IntegrityError when the chunk list does not fit.
        """
        size = source.stat().st_size
        self._admit_size(size, chunks)
        self._check_quota(size)
        temporary = self.layout.partials / f"{ADDING}{os.getpid()}-{threading.get_ident()}-{source.name}"
        whole = hashlib.sha256()
        try:
            with source.open("rb") as reader, created(temporary) as writer:
                for number, (chunk, start) in enumerate(zip(chunks, offsets_of(chunks), strict=True)):
                    data = reader.read(chunk.size)
                    if not fits(data, chunk):
                        raise IntegrityError(f"{source.name} changed while it was read (chunk {number})")
                    whole.update(data)
                    write_all(writer, data, start)
                if reader.read(1):
                    raise IntegrityError(f"{source.name} is longer than its chunk list")
                os.fdatasync(writer)
            digest = whole.digest()
            self._settle(temporary, digest, chunks)
        except OSError as error:
            raise storage_error(error, source) from error
        finally:
            temporary.unlink(missing_ok=True)
        return digest

    # -- files in the making ---------------------------------------------------------------------------

    def open_partial(self, digest: bytes, chunks: Sequence[Chunk]) -> Partial:
        """The partial file for a digest, resumed when some of it is here already."""
        self._admit_size(sum(chunk.size for chunk in chunks), chunks)
        with self.layout.lock:
            found = self._open.get(digest)
            if found is not None:
                if found.chunks != tuple(chunks):
                    raise IntegrityError("two chunk lists for one file")
                return found
        # A repair takes the room that the damaged file gives back.
        if not self.layout.partial(digest, DAMAGED).exists():
            self._check_quota(sum(chunk.size for chunk in chunks), self.layout.partial(digest, PART))
        with self._opening:
            with self.layout.lock:
                partial = self._open.get(digest)
            if partial is None:
                part, bits = self.layout.partial(digest, PART), self.layout.partial(digest, BITS)
                partial = Partial(part, bits, chunks)
                wrong = partial.recheck()
                if wrong:
                    log.warning("chunks were damaged", extra={"file": digest.hex(), "chunks": wrong})
                with self.layout.lock:
                    self._open[digest] = partial
            return partial

    def copy_known(self, digest: bytes) -> int:
        """Copy chunks that other whole files have, or this one before it was damaged, into an open partial
        file; returns the bytes that saved. A source that turns out damaged is set aside.
        """
        partial = self._opened(digest)
        missing, damaged = partial.missing(), set[bytes]()

        def known() -> Iterator[tuple[int, bytes]]:
            old = self.layout.partial(digest, DAMAGED)
            for index in missing:
                chunk = partial.chunks[index]
                data = read_at(old, partial.offsets[index], chunk.size)
                if data is not None and fits(data, chunk):
                    yield index, data
                    continue
                place = self.index.find(chunk)
                if place is None or place.file in damaged:
                    continue
                data = read_at(self.layout.whole(place.file), place.start, chunk.size)
                if data is not None and fits(data, chunk):
                    yield index, data
                elif data is not None:
                    damaged.add(place.file)

        # The generator reads a chunk only when it is written: one chunk is in memory at a time.
        saved = partial.write_many(known())
        for file in damaged:
            self.inspection.set_aside(file)
        return saved

    def finish(self, digest: bytes) -> Path:
        """Turn a complete partial file into a whole one when the hash of all of it is right.

        The hash was taken as the chunks came, in their order; what came out of turn was read again for it.

        Raises CorruptError when the disk changed chunks that were right: they are missing again.
        Raises IntegrityError, and forgets the partial file, when its chunks are right and the whole is
        not: then the manifest contradicts itself and no peer can help.
        """
        partial = self._opened(digest)
        if partial.missing():
            # Serving peers meanwhile may have shown that a chunk was damaged after it was written.
            raise CorruptError("chunks changed on this disk after they were written", hint="fetch it again")
        path = self.layout.partial(digest, PART)
        good = partial.digest() == digest
        if not good and partial.recheck():
            raise CorruptError("chunks changed on this disk after they were written", hint="fetch it again")
        with self.layout.lock:
            self._open.pop(digest, None)
            partial.close()
        if not good:
            path.unlink(missing_ok=True)
            self.layout.partial(digest, BITS).unlink(missing_ok=True)
            raise IntegrityError("the file's chunks are right and its hash is wrong: the manifest is broken")
        try:
            self._settle(path, digest, partial.chunks)
        except OSError as error:
            raise storage_error(error, path) from error
        finally:
            # Also when only the index found no room: the file is whole and is indexed the next time.
            if self.has(digest):
                for end in (BITS, DAMAGED):
                    self.layout.partial(digest, end).unlink(missing_ok=True)
        return self.layout.whole(digest)

    def close_partial(self, digest: bytes) -> None:
        """Stop fetching a file for now; what is here stays for the next time."""
        with self.layout.lock:
            partial = self._open.pop(digest, None)
        if partial is not None:
            partial.close()

    # -- serving -----------------------------------------------------------------------------------------

    def held(self, digest: bytes, chunks: Sequence[Chunk] | None = None) -> Bitmap | None:
        """Which chunks of a file are here: all of a whole one, some of one being fetched; None for others.

        With ``chunks``: None as well when the file is known to be cut otherwise.
        """
        known = self.chunks(digest)
        if known is None or (chunks is not None and known != tuple(chunks)):
            return None
        with self.layout.lock:
            partial = self._open.get(digest)
        if self.has(digest):
            return Bitmap.full(len(known))
        return Bitmap.from_bytes(partial.bitmap(), len(known)) if partial is not None else None

    def read_chunk(self, digest: bytes, index: int) -> bytes | None:
        """One chunk of a whole file or of one being fetched; None when it is not here.

        Bytes that no longer match their hash are not given out: the file is set aside, CorruptError.
        """
        place = self.index.locate(digest, index)
        if place is None:
            with self.layout.lock:
                partial = self._open.get(digest)
            return partial.read(index) if partial is not None else None
        data = read_at(self.layout.whole(digest), place.start, place.chunk.size)
        if data is None:
            return None
        if not fits(data, place.chunk):
            self.inspection.set_aside(digest)
            raise CorruptError(
                f"file {digest.hex()[:12]}… no longer matches its hash", hint="p2pvoice verify"
            )
        return data

    # -- inside ------------------------------------------------------------------------------------------

    def _opened(self, digest: bytes) -> Partial:
        with self.layout.lock:
            partial = self._open.get(digest)
        if partial is None:
            raise NotFoundError(f"file {digest.hex()[:12]}… is not being fetched")
        return partial

    def _admit_size(self, size: int, chunks: Sequence[Chunk]) -> None:
        if size > FILE_LIMIT:
            raise UsageError(f"a file of {size} bytes is larger than the store takes ({FILE_LIMIT})")
        if len(chunks) > CHUNKS_LIMIT:
            raise UsageError(f"a file of {len(chunks)} chunks is more than the store takes ({CHUNKS_LIMIT})")

    def _check_quota(self, size: int, part: Path | None = None) -> None:
        """QuotaError when a file does not fit, of which ``part`` is here already."""
        if self._quota and part is not None and part.exists():
            size = max(0, size - part.stat().st_blocks * 512)
        if self._quota and self.layout.usage().bytes + size > self._quota:
            raise QuotaError(
                f"the store's quota of {self._quota} bytes does not leave room for {size} more",
                hint="p2pvoice gc, p2pvoice rm VOICE, or a larger quota_bytes in config.toml",
            )

    def _settle(self, source: Path, digest: bytes, chunks: Sequence[Chunk]) -> None:
        """Give a complete file its final name and index its chunks."""
        source.chmod(0o400)
        source.rename(self.layout.whole(digest))
        sync_folder(self.layout.files)
        self.index.put(digest, chunks)
