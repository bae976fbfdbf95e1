"""Whether whole files are still what their names say, and what becomes of those that are not.

Files are read again when somebody asks for it (repair.py) and when a crash left them without an index. One
whose bytes changed is set aside as ``partial/<hex>.damaged``: it is not served and not opened, and a repair
takes from it what is still right. Not for making it anew: see repair.py. All methods block. Follows
specs/store.md, "At the start" and "Damage and repair".
"""

import logging
import os
from collections.abc import Iterable, Sequence

from p2pvoice.node.blocks import fits, hash_file, offsets_of, pread
from p2pvoice.node.durable import sync_folder
from p2pvoice.node.index import ChunkIndex
from p2pvoice.node.layout import DAMAGED, Layout, digest_of_name
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.errors import IntegrityError

log = logging.getLogger("p2pvoice.store")


class Inspection:
    """The whole files of one store, compared with their chunk lists and with the index."""

    def __init__(self, layout: Layout, index: ChunkIndex) -> None:
        self._layout = layout
        self._index = index

    def check(self, digest: bytes, chunks: Sequence[Chunk], numbers: Iterable[int]) -> list[int]:
        """Read some chunks of a file again, from the disk and not from memory; those that are not right.

        A file that was set aside is read where it lies; of a file that is not here at all, no chunk is right.
        """
        offsets = offsets_of(chunks)
        try:
            descriptor = os.open(self._layout.readable(digest), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return list(numbers)
        try:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            return [
                number
                for number in numbers
                if not fits(pread(descriptor, offsets[number], chunks[number].size), chunks[number])
            ]
        finally:
            os.close(descriptor)

    def set_aside(self, digest: bytes) -> None:
        """Take a file whose bytes changed out of service, until a repair has made it anew."""
        with self._layout.lock:
            if self._layout.whole(digest).is_file():
                log.error("a stored file is damaged and was set aside", extra={"file": digest.hex()})
                self._layout.whole(digest).replace(self._layout.partial(digest, DAMAGED))
                sync_folder(self._layout.partials)
                sync_folder(self._layout.files)
        self._index.drop(digest)

    def ensure_indexed(self, digest: bytes, chunks: Sequence[Chunk]) -> bool:
        """Index a whole file that a crash left without; False, and it is set aside, when it is damaged.

        Raises IntegrityError when the file is right and the chunk list is not.
        """
        if self._index.locate(digest, 0) is not None or not chunks:
            return True
        if self.check(digest, chunks, range(len(chunks))):
            if hash_file(self._layout.readable(digest)) == digest:
                raise IntegrityError("the chunk list does not fit the file: the manifest is broken")
            self.set_aside(digest)
            return False
        if not self._layout.has_size(digest, sum(chunk.size for chunk in chunks)):
            self.set_aside(digest)
            return False
        self._index.put(digest, chunks)
        return True

    def forget_missing(self) -> int:
        """Drop from the index what is not on disk; returns how many files that were."""
        lost = [digest for digest in self._index.files() if not self._layout.has(digest)]
        for digest in lost:
            self._index.drop(digest)
        return len(lost)

    def unindexed(self) -> list[bytes]:
        """Whole files that the index does not know."""
        known = self._index.files()
        found = [digest_of_name(path) for path in self._layout.files.iterdir()]
        return [digest for digest in found if digest is not None and digest not in known]
