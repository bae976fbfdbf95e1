"""`verify`: read stored files again, take damaged ones out of service, and make them anew from peers.

Disks lose bits. A file in which that happened is set aside (inspection.py), so that nobody is served or
spoken to with it; a new one is made of the chunks that are still right and of those that peers have, and
takes its place when the hash of all of it is right. The damaged one is never written to: a program that has
it mapped would see the bytes change. Follows specs/store.md, "Damage and repair".
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio

from p2pvoice.node.fetching import fetch_missing
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import Tell, resolve_any
from p2pvoice.protocol.errors import DiskFullError, IntegrityError, NotFoundError, P2PVoiceError
from p2pvoice.protocol.manifest import FileEntry, Release

log = logging.getLogger("p2pvoice.repair")

#: Bytes read between two signs of progress.
SLICE = 64 << 20


@dataclass(frozen=True)
class Damage:
    """A file of a release that is not as its manifest says: the chunks that are wrong, none for a file that
    is only longer than it should be."""

    release: Release
    file: FileEntry
    chunks: tuple[int, ...]

    @property
    def lost(self) -> int:
        """Bytes of the chunks that are wrong."""
        return sum(self.file.chunks[number].size for number in self.chunks)

    def to_dict(self) -> dict[str, Any]:
        """The damage as the RPC tells of it."""
        return {
            "release": self.release.id,
            "slug": self.release.manifest.slug,
            "file": self.file.path,
            "digest": self.file.digest.hex(),
            "chunks": list(self.chunks),
            "bytes": self.lost,
        }


async def verify(parts: Parts, ref: str, tell: Tell, *, repair: bool = True) -> dict[str, Any]:
    """Check an installed voice, or all of them for an empty ``ref``, and repair what is damaged.

    Raises NotFoundError for a voice that is not installed, and IntegrityError when something is damaged
    and stays so, because nobody could give the chunks or because no repair was asked for. Cancelling it
    leaves what was checked and repaired so far.
    """
    releases = await _chosen(parts, ref)
    files = {file.digest: (release, file) for release in releases for file in release.manifest.files}
    total = sum(file.size for _, file in files.values())
    have, damaged = 0, list[Damage]()
    for release, file in files.values():
        wrong: list[int] = []
        for numbers in _slices(file):
            wrong += await _check(parts, file, numbers)
            have += sum(file.chunks[number].size for number in numbers)
            await tell({"event": "progress", "step": "checking", "have": have, "total": total})
        if not wrong and parts.store.layout.has_size(file.digest, file.size):
            continue
        await trio.to_thread.run_sync(parts.store.inspection.set_aside, file.digest, limiter=parts.disk)
        damaged.append(Damage(release, file, tuple(wrong)))
        await tell({"event": "damage", **damaged[-1].to_dict()})
    result = {
        "voices": len(releases),
        "files": len(files),
        "bytes": total,
        "damaged": len(damaged),
        "repaired": 0,
        "bytes_fetched": 0,
    }
    if not damaged:
        return result
    # The worker may have loaded what was damaged.
    await parts.engine.unload()
    if not repair:
        raise IntegrityError(_say(damaged), hint=f"p2pvoice verify {ref}".rstrip())
    return result | await _repair(parts, damaged, tell)


async def _chosen(parts: Parts, ref: str) -> list[Release]:
    if ref:
        release = await resolve_any(parts, ref, prefer_installed=True)
        if not await trio.to_thread.run_sync(parts.catalog.is_installed, release.id, limiter=parts.disk):
            raise NotFoundError(
                f"{release.manifest.name} is not installed here", hint=f"p2pvoice fetch {ref}"
            )
        return [release]

    def read() -> list[Release]:
        found = [parts.catalog.release(held.release) for held in parts.catalog.installed()]
        return [release for release in found if release is not None]

    return await trio.to_thread.run_sync(read, limiter=parts.disk)


def _slices(file: FileEntry) -> list[list[int]]:
    """The file's chunk numbers, so many together as are read between two signs of progress."""
    slices: list[list[int]] = [[]]
    room = SLICE
    for number, chunk in enumerate(file.chunks):
        if room < chunk.size:
            slices.append([])
            room = SLICE
        slices[-1].append(number)
        room -= chunk.size
    return slices


async def _check(parts: Parts, file: FileEntry, numbers: Sequence[int]) -> list[int]:
    return await trio.to_thread.run_sync(
        parts.store.inspection.check, file.digest, file.chunks, numbers, limiter=parts.disk
    )


async def _repair(parts: Parts, damaged: Sequence[Damage], tell: Tell) -> dict[str, Any]:
    repaired = fetched = 0
    left: list[Damage] = []
    reason = ""
    for release in {damage.release.id: damage.release for damage in damaged}.values():
        mine = [damage for damage in damaged if damage.release.id == release.id]
        try:
            report = await fetch_missing(parts, release, [damage.file for damage in mine], tell)
        except DiskFullError:
            raise
        except P2PVoiceError as error:
            left += mine
            reason = error.message
            log.warning("could not repair %s: %s", release.id, error.message)
            continue
        repaired += len(mine)
        fetched += report.received
    if left:
        slug = left[0].release.manifest.slug
        hint = f"p2pvoice connect MULTIADDR of a node that has it, then p2pvoice verify {slug}"
        raise IntegrityError(f"{_say(left)}; not repaired: {reason}", hint=hint)
    return {"repaired": repaired, "bytes_fetched": fetched}


def _say(damaged: Sequence[Damage]) -> str:
    names = ", ".join(f"{one.release.manifest.slug}/{one.file.path}" for one in damaged[:4])
    more = f" and {len(damaged) - 4} more" if len(damaged) > 4 else ""
    return f"damaged on this disk, not served and not spoken with: {names}{more}"
