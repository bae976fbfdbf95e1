"""Deltas of chunks in the store: which base serves best, in which format, made once and kept in a cache.

For whoever serves a chunk and holds a base of the asker's, too. It does not decide what a peer may know of:
see offer.py. Everything blocks and is called from threads; this is the only part of serving that loads numpy.
Follows specs/exchange.md, "Deltas", and specs/delta.md.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2pvoice.node.blocks import offsets_of
from p2pvoice.node.delta_cache import DeltaCache
from p2pvoice.node.store import Store
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.tensors import read_header

if TYPE_CHECKING:
    from p2pvoice.protocol.delta_planes import Format

#: Files whose formats are remembered.
FILES_REMEMBERED = 32


class Deltas:
    """Makes deltas between files of a store."""

    def __init__(self, store: Store, cache: DeltaCache) -> None:
        self._store = store
        self._cache = cache
        self._lock = threading.Lock()
        self._dtypes: OrderedDict[bytes, tuple[str, ...]] = OrderedDict()
        #: Deltas that were encoded, and that were in the cache: for tests and figures.
        self.encoded = self.cached = 0

    def best(self, file: bytes, index: int, bases: Sequence[bytes]) -> tuple[int, bytes] | None:
        """A chunk's delta to the nearest of ``bases``, and which that is; None when none is worth sending.

        Raises what reading the chunk raises; a base that cannot be read is passed over.
        """
        new = self._store.read_chunk(file, index)
        if new is None:
            return None
        dtypes = self._formats(file)
        if dtypes is None or index >= len(dtypes) or not dtypes[index]:
            return None
        found: list[tuple[int, bytes]] = []
        for number, base in enumerate(bases):
            data = self._base(base, index, len(new))
            if data is not None:
                found.append((number, data))
        if not found:
            return None
        form = _format(dtypes[index])
        if len(found) > 1:
            from p2pvoice.protocol.delta import distance

            found.sort(key=lambda one: distance(new, one[1], form))
        number, data = found[0]
        blob = self._encode(new, data, form)
        return (number, blob) if blob else None

    def _base(self, base: bytes, index: int, size: int) -> bytes | None:
        try:
            data = self._store.read_chunk(base, index)
        except P2PVoiceError:
            return None
        return data if data is not None and len(data) == size else None

    def _encode(self, new: bytes, base: bytes, form: "Format") -> bytes:
        """The delta, or nothing when it would not save enough; either is remembered."""
        from p2pvoice.protocol.delta import encode

        name = hashlib.sha256(hashlib.sha256(base).digest() + hashlib.sha256(new).digest()).hexdigest()
        known = self._cache.get(name)
        if known is not None:
            self.cached += 1
            return known
        blob = encode(new, base, form) or b""
        self.encoded += 1
        self._cache.put(name, blob)
        return blob

    def _formats(self, file: bytes) -> tuple[str, ...] | None:
        """The element type of each chunk of a safetensors file, "" for the header; None for another file."""
        with self._lock:
            if file in self._dtypes:
                self._dtypes.move_to_end(file)
                return self._dtypes[file] or None
        chunks, head = self._store.chunks(file), self._store.read_chunk(file, 0)
        if chunks is None or head is None:
            return None
        try:
            header = read_header(head, sum(chunk.size for chunk in chunks))
        except P2PVoiceError:
            found: tuple[str, ...] = ()
        else:
            # A chunk begins where a tensor begins or within one, so the one it begins in gives the type.
            spans = iter(sorted((one.start, one.end, one.dtype) for one in header.tensors.values()))
            types, end, dtype = [], header.header_size, ""
            for start in offsets_of(chunks):
                while start >= end and start >= header.header_size:
                    _, end, dtype = next(spans)
                types.append(dtype)
            found = tuple(types)
        with self._lock:
            self._dtypes[file] = found
            while len(self._dtypes) > FILES_REMEMBERED:
                self._dtypes.popitem(last=False)
        return found or None


def _format(dtype: str) -> "Format":
    # Imported here: numpy comes with the first delta and not with the daemon.
    from p2pvoice.protocol.delta_planes import BF16, F16, F32

    return {"F16": F16, "BF16": BF16}.get(dtype, F32)
