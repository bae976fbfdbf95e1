"""A release that is needed for one request only: brought here, admitted, looked at, and let go again.

Installing it would put it in the place of the release of the same voice that is installed now, announce it,
and offer it to peers. So its files are held while the request lasts, and count as those of a fetch that was
begun afterwards, until gc collects them. Not for keeping a voice: see fetching.py. Follows specs/merging.md
and specs/store.md.
"""

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from p2pvoice.node.admit import admit, voice_folder
from p2pvoice.node.fetching import bring_files
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import Tell, disk
from p2pvoice.protocol.consent_state import require_current
from p2pvoice.protocol.manifest import Release


@asynccontextmanager
async def visiting(parts: Parts, release: Release, tell: Tell) -> AsyncIterator[Path]:
    """The folder through which the worker sees a release, installed or not, as long as the block lasts.

    Raises what a fetch raises: RevokedError, ConsentError, NoPeersError, IntegrityError, and what admission
    raises.
    """
    require_current(release.manifest, time.time())
    place = voice_folder(parts, release.id)
    with parts.store.holding(file.digest for file in release.manifest.files):
        async with parts.fetching.setdefault(release.id, trio.Lock()):
            installed = await disk(parts, lambda: parts.catalog.is_installed(release.id))
            if not installed:
                await tell({"event": "progress", "step": "asking whether it was revoked"})
                await parts.hearsay.inquire(release)
            with parts.recall.fetching(release):
                await bring_files(parts, release, tell)
            if not await disk(parts, place.is_dir):
                await tell({"event": "progress", "step": "checking"})
                await admit(parts, release)
        parts.visited[release.id] += 1
        try:
            yield place
        finally:
            parts.visited[release.id] -= 1
            if not parts.visited[release.id]:
                del parts.visited[release.id]
                with trio.CancelScope(shield=True):
                    await disk(parts, lambda: _leave(parts, release, place))


def _leave(parts: Parts, release: Release, place: Path) -> None:
    """Remove the folder of a release that was not installed meanwhile; blocking."""
    if not parts.catalog.is_installed(release.id):
        shutil.rmtree(place, ignore_errors=True)
