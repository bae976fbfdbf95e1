"""The quota: whether a release fits, before any byte of it moves, and what makes room for it.

Counted are allocated blocks of the store, and what the fetches that run now will still allocate; so several
at once do not exceed it together. Room is made by letting go of mirrored voices that are not pinned, those
that most others have first, then those unused for longest; nothing is let go of when that would not be
enough. Not for what nobody needs: see tidy.py. Follows specs/mirror.md, "Quota".
"""

import time
from collections.abc import AsyncIterator, Container, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from p2pvoice.node.layout import ENDINGS, PART, Layout
from p2pvoice.node.mirror_tables import Mirrored
from p2pvoice.node.parts import Parts
from p2pvoice.node.removing import let_go
from p2pvoice.node.tidy import needed_files
from p2pvoice.node.voices import Tell
from p2pvoice.protocol.errors import QuotaError
from p2pvoice.protocol.manifest import Release

BLOCK = 4096
"""Bytes in which file systems allocate."""

HINT = "p2pvoice gc, p2pvoice rm VOICE, or p2pvoice unpin VOICE; or a larger quota_bytes in config.toml"


@asynccontextmanager
async def room_for(parts: Parts, release: Release, *, mirror: bool = False) -> AsyncIterator[None]:
    """Hold the room that a release still needs, for the block.

    Raises QuotaError before anything moved when there is none. ``mirror`` says that it comes for a mirror's
    sake: then only voices make room that enough others have.
    """
    if not parts.config.quota_bytes:
        yield
        return
    files = {file.digest: file.size for file in release.manifest.files}
    async with parts.reserved.lock:
        await _make_room(parts, files, release, mirror=mirror)
        key = parts.reserved.hold(files)
    try:
        yield
    finally:
        parts.reserved.release(key)


async def over(parts: Parts) -> int:
    """Bytes by which the store and the fetches that run now exceed the quota; negative when they do not."""
    return await _over(parts, {})


async def _over(parts: Parts, files: Mapping[bytes, int]) -> int:
    wanted, quota, layout = {**parts.reserved.files(), **files}, parts.config.quota_bytes, parts.store.layout

    def work() -> int:
        return layout.usage().bytes + lacking(layout, wanted) - quota

    return await trio.to_thread.run_sync(work, limiter=parts.disk)


def lacking(layout: Layout, files: Mapping[bytes, int]) -> int:
    """Bytes that files will still allocate until they are whole; blocking."""
    return sum(
        max(0, -(-size // BLOCK) * BLOCK - allocated(layout, digest, (PART,)))
        for digest, size in files.items()
        if not layout.has(digest)
    )


def allocated(layout: Layout, digest: bytes, endings: Iterable[str] = ENDINGS) -> int:
    """Bytes that a file allocates, whole, unfinished or set aside; blocking."""
    total = 0
    for path in (layout.whole(digest), *(layout.partial(digest, ending) for ending in endings)):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue
    return total


async def _make_room(parts: Parts, files: Mapping[bytes, int], release: Release, *, mirror: bool) -> None:
    missing = await _over(parts, files)
    if missing <= 0:
        return
    spare = [
        one for one in await spare_first(parts) if one.release != release.id and (one.plenty or not mirror)
    ]
    if await _freed_by(parts, spare, files) < missing:
        raise QuotaError(
            f"{release.manifest.name} needs {missing} bytes more than the quota of"
            f" {parts.config.quota_bytes} bytes leaves",
            hint=HINT,
        )
    for one in spare:
        await let_go(parts, one)
        if await _over(parts, files) <= 0:
            return
    raise QuotaError(f"the quota leaves no room for {release.manifest.name}", hint=HINT)


async def spare_first(parts: Parts) -> list[Mirrored]:
    """Mirrored voices that are not pinned, those that are let go of first in front."""
    served, now, wall = parts.network.served_at(), trio.current_time(), time.time()

    def work() -> list[Mirrored]:
        held = [one for one in parts.mirrors.held() if not one.pinned]
        return in_order(held, {one.release: _used(parts, one, served, wall - now) for one in held})

    return await trio.to_thread.run_sync(work, limiter=parts.disk)


def in_order(held: Sequence[Mirrored], used: Mapping[str, float]) -> list[Mirrored]:
    """Those of stopped mirrors, then those that most others have, then those unused for longest."""
    return sorted(held, key=lambda one: (one.replicas > 0, -one.holders, used[one.release], one.release))


def _used(parts: Parts, one: Mirrored, served: Mapping[bytes, float], offset: float) -> float:
    times = [float(one.used), parts.used.get(one.release, 0.0)]
    times += [served[digest] + offset for digest in _files(parts, one) if digest in served]
    return max(times)


def _files(parts: Parts, one: Mirrored) -> list[bytes]:
    release = parts.catalog.release(one.release)
    return [file.digest for file in release.manifest.files] if release is not None else []


async def last_used(parts: Parts, one: Mirrored) -> float:
    """When somebody last had something of a mirrored voice, in seconds since 1970."""
    served, offset = parts.network.served_at(), time.time() - trio.current_time()
    return await trio.to_thread.run_sync(_used, parts, one, served, offset, limiter=parts.disk)


async def _freed_by(parts: Parts, spare: Sequence[Mirrored], keep: Container[bytes]) -> int:
    """Bytes that letting go of these voices would free; files in ``keep`` do not count."""

    def work() -> int:
        going = {one.release for one in spare}
        needed = needed_files(parts.store, parts.catalog, parts.author, without=going)
        files = {digest for one in spare for digest in _files(parts, one)} - needed
        return sum(allocated(parts.store.layout, digest) for digest in files if digest not in keep)

    return await trio.to_thread.run_sync(work, limiter=parts.disk)


async def trim(parts: Parts, tell: Tell, *, dry_run: bool, freed: int = 0) -> dict[str, int]:
    """What gc does to mirrored voices: those of stopped mirrors go, and others until the quota holds.

    Each is told of. ``freed`` are bytes that a dry run would have freed before.
    """
    told = {"removed": 0, "freed": 0}
    for one in await spare_first(parts):
        limited = parts.config.quota_bytes > 0
        excess = await over(parts) - (freed + told["freed"] if dry_run else 0) if limited else 0
        if one.replicas and excess <= 0:
            break
        size = await _freed_by(parts, [one], ()) if dry_run else await let_go(parts, one)
        told["removed"] += 1
        told["freed"] += size
        await tell({"event": "removed", "kind": "mirrored", "file": "", "bytes": size, "name": one.slug})
    return told
