"""Bringing voices here: hear the preview of one, fetch one whole, or only the files that it lacks.

What comes is kept whatever stops a fetch, and nothing is usable before it was admitted (admit.py). Not for
which chunk is asked of whom: see fetch.py; nor for finding out what a reference names: see voices.py. Follows
specs/catalog.md, specs/store.md and specs/rpc.md.
"""

import time
from dataclasses import asdict
from functools import partial
from typing import Any

import trio

from p2pvoice.node import base_places, inheriting
from p2pvoice.node.admit import admit
from p2pvoice.node.fetch_report import FetchReport, Progress
from p2pvoice.node.kin import kin_of
from p2pvoice.node.offer import Landing, OnChunk
from p2pvoice.node.parts import Parts
from p2pvoice.node.quota import room_for
from p2pvoice.node.removing import withdraw
from p2pvoice.node.voices import Tell, disk, require_voice, resolve
from p2pvoice.protocol.consent_state import require_current
from p2pvoice.protocol.errors import NoPeersError, NotFoundError, P2PVoiceError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import FileEntry, Release

#: The file of a bundle that is fetched alone, to listen before downloading.
PREVIEW = "preview.wav"

#: Bytes that a progress event must add before the next one is sent; a file's end is always told.
PROGRESS_STEP = 1 << 18

#: Seconds between two progress events: whoever watches sees no more, and each costs as much as a chunk.
PROGRESS_PAUSE = 0.1


async def preview(parts: Parts, ref: str) -> tuple[Release, bytes]:
    """The preview clip's bytes; only this file is fetched when it is not here."""
    release = await resolve(parts, ref)
    require_current(release.manifest, time.time())
    file = next((file for file in release.manifest.files if file.path == PREVIEW), None)
    if file is None:
        raise NotFoundError(f"{release.manifest.name} has no preview")
    with parts.store.holding([file.digest]):
        if not await disk(parts, lambda: parts.store.has(file.digest)):
            await parts.hearsay.inquire(release)
            landing = Landing(parts.store, parts.disk, _silent)
            try:
                await parts.network.fetch(release.id, [file], landing)
            finally:
                landing.close()
        return release, await disk(parts, lambda: parts.store.path(file.digest).read_bytes())


async def fetch(parts: Parts, ref: str, *, seed: bool, tell: Tell) -> dict[str, Any]:
    """Fetch a release, admit it, make it usable, and announce that we have it (unless ``seed`` is false).

    Whatever stops it, the chunks that came are kept and the next fetch goes on from there.
    """
    release = await resolve(parts, ref)
    return await fetch_by_hand(parts, release, seed=seed, tell=tell)


async def fetch_by_hand(parts: Parts, release: Release, *, seed: bool, tell: Tell) -> dict[str, Any]:
    """As :func:`fetch_release`, because the user asked for it: no mirror lets go of it from now on."""
    author, slug = author_id(release.manifest.author), release.manifest.slug
    result = await fetch_release(parts, release, seed=seed, tell=tell)
    await disk(parts, lambda: parts.mirrors.by_hand(author, slug))
    return result


async def fetch_release(parts: Parts, release: Release, *, seed: bool, tell: Tell) -> dict[str, Any]:
    """As :func:`fetch`, of a release that is known.

    UsageError for a base; RevokedError when it was revoked, or is meanwhile; ConsentError when its consent
    has expired.
    """
    return await bring(parts, require_voice(release), seed=seed, tell=tell)


async def bring(
    parts: Parts, release: Release, *, seed: bool, tell: Tell, mirror: bool = False
) -> dict[str, Any]:
    """As :func:`fetch_release`, of a voice or a base; the caller knows which it wants.

    ``mirror`` says that it comes for a mirror's sake, and may be let go again (mirroring.py).
    """
    require_current(release.manifest, time.time())
    lock = parts.fetching.setdefault(release.id, trio.Lock())
    async with lock:
        await tell({"event": "progress", "step": "asking whether it was revoked"})
        await parts.hearsay.inquire(release)
        with parts.recall.fetching(release):
            return await _fetch_and_admit(parts, release, seed=seed, tell=tell, mirror=mirror)


async def _fetch_and_admit(
    parts: Parts, release: Release, *, seed: bool, tell: Tell, mirror: bool
) -> dict[str, Any]:
    started = trio.current_time()
    files = release.manifest.files
    with parts.store.holding(file.digest for file in files):
        report = await bring_files(parts, release, tell, seed=seed, mirror=mirror)
        transferred = trio.current_time()
        await tell({"event": "progress", "step": "checking"})
        previous = await disk(
            parts,
            lambda: parts.catalog.installed_release(
                author_id(release.manifest.author), release.manifest.slug
            ),
        )
        await admit(parts, release)
        await disk(parts, lambda: parts.catalog.install(release, seed=seed))
        if release.manifest.is_base:
            await disk(parts, lambda: base_places.settle(parts.home.bases, parts.store, release))
        await disk(parts, lambda: parts.store.index.end_fetch(release.id))
    if previous is not None and previous.release != release.id:
        await withdraw(parts, previous.release)
    if seed:
        parts.network.announce(release)
    else:
        parts.network.withdraw(release)
    author, slug = author_id(release.manifest.author), release.manifest.slug
    if report is not None:
        await disk(parts, lambda: parts.community.credits.served(author, report.peers))
    if not release.manifest.is_base:
        parts.community.telling.ask_later(await disk(parts, lambda: parts.community.lines.of(author, slug)))
    total = sum(file.size for file in files)
    return {
        "release": release.id,
        "bytes_total": total,
        "bytes_fetched": report.received if report else 0,
        "bytes_reused": report.reused if report else total,
        "bytes_sent": report.wire if report else 0,
        "transfer_seconds": round(transferred - started, 3),
        "seconds": round(trio.current_time() - started, 3),
        "peers": report.peers if report else {},
        "rates": report.rates if report else {},
        "dropped": report.dropped if report else {},
        "seeding": seed,
        "warnings": await disk(
            parts, lambda: [*inheriting.warnings(parts, release), *parts.names.warnings(release)]
        ),
    }


async def bring_files(
    parts: Parts, release: Release, tell: Tell, *, seed: bool = False, mirror: bool = False
) -> FetchReport | None:
    """Bring every file of a release that is not here yet; None when all were. The caller holds the files.

    With ``seed`` what is here is announced and given to peers while the fetch lasts. Raises QuotaError before
    anything moved when the quota leaves no room (quota.py).

    What comes of it outlives a crash, until the fetch is taken up again, ends with an installation, or is
    given up.
    """
    files = sorted(release.manifest.files, key=_small_first)
    if await disk(parts, lambda: all(_is_here(parts, file) for file in files)):
        return None
    async with room_for(parts, release, mirror=mirror):
        await disk(parts, lambda: parts.store.index.begin_fetch(release.id, int(time.time())))
        if not seed:
            return await _fetch_files(parts, release, files, tell)
        with parts.network.sharing.while_fetching(release) as begin:

            async def share(file: FileEntry, have: int) -> None:
                if have:
                    begin()

            return await _fetch_files(parts, release, files, tell, share)


async def fetch_missing(parts: Parts, release: Release, files: list[FileEntry], tell: Tell) -> FetchReport:
    """Bring some files of an installed release back, as a repair does. Raises as a fetch does."""
    async with parts.fetching.setdefault(release.id, trio.Lock()):
        with parts.store.holding(file.digest for file in files):
            return await _fetch_files(parts, release, files, tell)


def _small_first(file: FileEntry) -> tuple[bool, int]:
    return file.path != PREVIEW, file.size


def _is_here(parts: Parts, file: FileEntry) -> bool:
    return parts.store.has(file.digest) and parts.store.inspection.ensure_indexed(file.digest, file.chunks)


async def _silent(file: FileEntry, have: int) -> None:
    """Nobody wants to hear of single chunks."""


class _Teller:
    """Turns a fetch's progress, reported from the middle of its work, into events of a bounded number."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._last = -PROGRESS_STEP
        self._latest: Progress | None = None
        self._news = trio.Event()

    def note(self, progress: Progress) -> None:
        """Remember how far the fetch is."""
        self._latest = progress
        if progress.have - self._last >= PROGRESS_STEP or progress.have == progress.total:
            self._last = progress.have
            self._news.set()

    async def run(self) -> None:
        """Tell of it, until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            await self.say()
            await trio.sleep(PROGRESS_PAUSE)

    async def say(self) -> None:
        """Tell of what was not told yet."""
        latest, self._latest = self._latest, None
        if latest is not None:
            await self._tell({"event": "progress", **asdict(latest)})


async def _fetch_files(
    parts: Parts, release: Release, files: list[FileEntry], tell: Tell, on_chunk: OnChunk = _silent
) -> FetchReport:
    teller = _Teller(tell)
    landing = Landing(parts.store, parts.disk, on_chunk, partial(kin_of, parts, release))
    report: FetchReport | None = None
    failure: P2PVoiceError | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(teller.run)
            # An error that left through the nursery would arrive wrapped in a group.
            try:
                report = await parts.network.fetch(release.id, files, landing, teller.note)
            except P2PVoiceError as error:
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        landing.close()
    if report is None:
        raise failure or NoPeersError()
    await teller.say()
    return report
