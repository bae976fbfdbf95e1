"""Deleting files from the store: all that nothing needs, or some by name.

Which files are needed is the catalog's knowledge, so the caller says what to keep (tidy.py). What is being
fetched right now, or is held for a request, always stays. All functions block. Follows specs/store.md,
"Operations".
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from p2pvoice.node.layout import ADDING, BITS, DAMAGED, ENDINGS, PART, digest_of_name
from p2pvoice.node.store import Store


@dataclass(frozen=True)
class Removed:
    """A file that was, or would be, deleted: ``kind`` is ``file``, ``partial`` or ``damaged``.

    ``digest`` is None for a file whose name says nothing; ``bytes`` are allocated ones.
    """

    kind: str
    digest: bytes | None
    bytes: int


def collect(
    store: Store, keep: Container[bytes], *, dry_run: bool = False, unfinished: Container[bytes] = ()
) -> list[Removed]:
    """Delete every file, whole or not, that ``keep`` does not hold; what it was.

    Of files in ``unfinished`` the beginnings stay, too, and so does what is being fetched now or is held.
    With ``dry_run`` nothing is deleted.
    """
    layout, removed = store.layout, list[Removed]()
    with layout.lock:
        for path in layout.everything():
            digest = digest_of_name(path)
            if digest is not None and (digest in keep or store.in_use(digest)):
                continue
            if digest is not None and path.suffix in (PART, BITS) and digest in unfinished:
                continue
            if path.name.startswith(ADDING) or path.is_dir():
                continue
            kind = "damaged" if path.suffix == DAMAGED else "partial"
            kind = "file" if path.parent == layout.files else kind
            removed.append(Removed(kind, digest, path.lstat().st_blocks * 512))
            if dry_run:
                continue
            path.unlink()
            if digest is not None and kind == "file":
                store.index.drop(digest)
    return removed


def remove(store: Store, digests: Iterable[bytes]) -> int:
    """Delete files, whole, unfinished or set aside, by name; returns the bytes freed."""
    layout, freed = store.layout, 0
    for digest in digests:
        with layout.lock:
            if store.in_use(digest):
                continue
            for path in (layout.whole(digest), *(layout.partial(digest, end) for end in ENDINGS)):
                if path.is_file():
                    freed += path.stat().st_blocks * 512
                    path.unlink()
            store.index.drop(digest)
    return freed
