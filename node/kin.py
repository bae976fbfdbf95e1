"""Files here that a file to fetch may be a tuned version of: what deltas are asked against.

Naming a file tells a peer that it is here, so only what peers may have anyway is named, and the release that
is being updated. Not for making or applying deltas: see deltas.py and window.py. All functions block. Follows
specs/exchange.md, "Deltas".
"""

from collections.abc import Iterator

from p2pvoice.node.parts import Parts
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.exchange_messages import BASES_LIMIT
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import FileEntry, Release

#: Smallest file that a delta is asked for, in bytes: below, a round of looking costs more than it saves.
LEAST_SIZE = 256 * 1024


def kin_of(parts: Parts, release: Release, file: FileEntry) -> list[bytes]:
    """Digests of at most BASES_LIMIT whole files that are cut like ``file``, the nearest relative first."""
    if file.size < LEAST_SIZE:
        return []
    found: list[bytes] = []
    for relative in _relatives(parts, release):
        for other in relative.manifest.files:
            if other.digest in (file.digest, *found) or not _cut_alike(file.chunks, other.chunks):
                continue
            if parts.store.has(other.digest):
                found.append(other.digest)
                if len(found) == BASES_LIMIT:
                    return found
    return found


def _relatives(parts: Parts, release: Release) -> Iterator[Release]:
    """Releases whose files may be named: the one before, parents, the author's others, then the newest."""
    catalog, author = parts.catalog, author_id(release.manifest.author)
    before = catalog.installed_release(author, release.manifest.slug)
    parents = [parent.release for parent in release.manifest.parents]
    named = [held for held in catalog.installed() if held.seed or held == before]
    named.sort(
        key=lambda held: (held != before, held.release not in parents, held.author != author, -held.at)
    )
    for held in named:
        found = catalog.release(held.release)
        if found is not None and found.id != release.id:
            yield found


def _cut_alike(a: tuple[Chunk, ...], b: tuple[Chunk, ...]) -> bool:
    """Whether two files have the same tensors, as far as their chunks tell; headers may differ."""
    return len(a) == len(b) > 1 and all(x.size == y.size for x, y in zip(a[1:], b[1:], strict=True))
