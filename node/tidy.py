"""Putting a home in order: what a crash left half-done, and what nobody needs any more.

``at_start`` runs before anything is served: index, folders of links and drafts are brought to agree with the
catalog, which alone says what is installed. ``collect_garbage`` is `p2pvoice gc`. Neither touches a file that
an installed release needs or that is in use. Not for damaged bytes: see repair.py. Follows specs/store.md.
"""

import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

import trio

from p2pvoice.node import base_places, garbage
from p2pvoice.node.admit import restore_folders
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.layout import PART
from p2pvoice.node.parts import Parts
from p2pvoice.node.paths import Home
from p2pvoice.node.store import Store
from p2pvoice.protocol.errors import IntegrityError
from p2pvoice.protocol.manifest import Release

log = logging.getLogger("p2pvoice.tidy")

#: Seconds for which the beginnings of a fetch that was interrupted, and not taken up again, are kept.
FETCH_KEPT = 30 * 86_400

#: Removed files that are told of one by one; the sums count all of them.
TOLD_LIMIT = 10_000

Tell = Callable[[Mapping[str, Any]], Awaitable[None]]


def needed_files(
    store: Store,
    catalog: Catalog,
    author: str = "",
    *,
    now: float | None = None,
    without: Collection[str] = (),
) -> set[bytes]:
    """Files of installed releases, and of releases whose fetch was begun and not given up.

    Of ``author``, who is this node's own, the releases just before the offered ones are kept, too: others who
    hold them fetch the newer ones as deltas. Installed releases in ``without`` do not count.
    """
    since = int((time.time() if now is None else now) - FETCH_KEPT)
    begun = [catalog.release(identifier) for identifier in store.index.fetches(since)]
    return (
        catalog.wanted_files(without)
        | catalog.former_files(author)
        | {file.digest for release in begun if release is not None for file in release.manifest.files}
    )


def at_start(home: Home, store: Store, catalog: Catalog, author: str = "", *, new_catalog: bool) -> None:
    """Bring store, index and links to agree with the catalog; blocking.

    With ``new_catalog`` (it was moved away, or lost) nothing is deleted: that no release is known says
    nothing about the files then.
    """
    for left in home.bases.glob(".*"):
        shutil.rmtree(left, ignore_errors=True)
    installed = [catalog.release(held.release) for held in catalog.installed()]
    releases = [release for release in installed if release is not None]
    if not new_catalog:
        # What came of a fetch is never lost by a start: the note that it was begun may be, with the index.
        unfinished = catalog.known_files()
        needed = needed_files(store, catalog, author)
        for gone in garbage.collect(store, needed, unfinished=unfinished):
            log.info("removed what nobody needs", extra={"kind": gone.kind, "bytes": gone.bytes})
    store.inspection.forget_missing()
    for digest in store.inspection.unindexed():
        _index(store, digest, [*releases, *catalog.releases_with(digest)])
    restore_folders(home.voices, store, [one for one in releases if not one.manifest.is_base])
    bases = [release for release in releases if release.manifest.is_base]
    base_places.restore(home.bases, store, bases, keep_unknown=new_catalog)
    for release in releases:
        lacking = [file.path for file in release.manifest.files if not store.has(file.digest)]
        if lacking:
            extra = {"release": release.id, "files": lacking, "next": "p2pvoice verify"}
            log.error("an installed release lacks files", extra=extra)


def _index(store: Store, digest: bytes, releases: Iterable[Release]) -> None:
    for release in releases:
        for file in release.manifest.files:
            if file.digest != digest:
                continue
            try:
                store.inspection.ensure_indexed(digest, file.chunks)
                return
            except IntegrityError as error:
                log.warning("a manifest does not fit its file", extra={"why": error.message})


async def collect_garbage(parts: Parts, tell: Tell, *, dry_run: bool) -> dict[str, Any]:
    """Remove files that no installed release and no begun fetch needs; tell of each."""

    def work() -> list[tuple[garbage.Removed, str]]:
        if not dry_run:
            parts.community.forget_unneeded()
        needed = needed_files(parts.store, parts.catalog, parts.author)
        found = garbage.collect(parts.store, needed, dry_run=dry_run)
        return [(one, _name(parts.catalog, one)) for one in found]

    removed = await trio.to_thread.run_sync(work, limiter=parts.disk)
    for one, name in removed[:TOLD_LIMIT]:
        digest = one.digest.hex() if one.digest is not None else ""
        await tell({"event": "removed", "kind": one.kind, "file": digest, "bytes": one.bytes, "name": name})
    usage = await trio.to_thread.run_sync(parts.store.layout.usage, limiter=parts.disk)
    return {
        "dry_run": dry_run,
        "removed": len(removed),
        "freed": sum(one.bytes for one, _ in removed),
        "kept": {"files": usage.files, "bytes": usage.bytes},
        "unfinished": await trio.to_thread.run_sync(_unfinished, parts, limiter=parts.disk),
    }


def _unfinished(parts: Parts) -> list[dict[str, Any]]:
    """The fetches that were begun, did not end, and are kept, with the bytes that only they keep here."""
    found, needed, layout = [], parts.catalog.wanted_files(), parts.store.layout
    for identifier in parts.store.index.fetches(int(time.time()) - FETCH_KEPT)[:TOLD_LIMIT]:
        release = parts.catalog.release(identifier)
        if release is None:
            continue
        own = [file.digest for file in release.manifest.files if file.digest not in needed]
        paths = [path for digest in own for path in (layout.whole(digest), layout.partial(digest, PART))]
        size = sum(path.stat().st_blocks * 512 for path in paths if path.is_file())
        if size:
            found.append({"release": identifier, "name": release.manifest.slug, "bytes": size})
    return found


def _name(catalog: Catalog, removed: garbage.Removed) -> str:
    """What a file is called in a release that is still remembered: ``slug/path``, or nothing."""
    for release in catalog.releases_with(removed.digest) if removed.digest is not None else ():
        for file in release.manifest.files:
            if file.digest == removed.digest:
                return f"{release.manifest.slug}/{file.path}"
    return ""
