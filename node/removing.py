"""Taking voices out of use: remove one from this home, call one back, make room for a newer release.

Files go only when nothing else needs them (tidy.py says what does, garbage.py deletes). Not for what a
revocation is nor for how it spreads: see recall.py and recalling.py. Follows specs/store.md, specs/recall.md
and specs/rpc.md.
"""

import logging
import shutil
from collections.abc import Mapping
from typing import Any

from p2pvoice.node import garbage
from p2pvoice.node.admit import voice_folder
from p2pvoice.node.former import former_key
from p2pvoice.node.mirror_tables import Mirrored
from p2pvoice.node.parts import Parts
from p2pvoice.node.tidy import needed_files
from p2pvoice.node.voices import Tell, disk, resolve, resolve_any
from p2pvoice.protocol.errors import NotFoundError, RevokedError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release

log = logging.getLogger("p2pvoice.removing")


async def remove(parts: Parts, ref: str) -> dict[str, Any]:
    """Take a voice out of use, stop serving it, and free what no other voice needs.

    A voice whose fetch was begun and did not end is given up.
    """
    try:
        release = await resolve(parts, ref, prefer_installed=True)
    except RevokedError:
        return await _remove_revoked(parts, ref)
    except NotFoundError as error:
        if any(ref in (one.slug, one.name) for one in await disk(parts, parts.trainings.all)):
            error.hint = f"there is a training of that name: p2pvoice trainings rm {ref}"
        if any(ref in (one.slug, one.name) for one in await disk(parts, parts.drafts.all)):
            error.hint = f"there is a draft of that name: p2pvoice rm --draft {ref}"
        raise
    installed = await disk(parts, lambda: parts.catalog.uninstall(release.id))
    begun = await disk(parts, lambda: parts.store.index.end_fetch(release.id))
    if not installed and not begun:
        raise NotFoundError(f"{release.manifest.name} is not installed here")
    author, slug = author_id(release.manifest.author), release.manifest.slug
    await disk(parts, lambda: parts.mirrors.removed(author, slug))
    parts.network.withdraw(release, with_head=author == parts.author)
    return {"release": release.id, "slug": release.manifest.slug, "freed": await _collect(parts, release.id)}


async def revoke(
    parts: Parts, ref: str, *, whole: bool, reason: str, passphrase: str, tell: Tell
) -> dict[str, Any]:
    """Call a release back, of a base too, or a whole voice, as its author or the person whose voice it is.

    ``passphrase`` opens the former key that signs when the release is of one and it lies sealed.
    """

    async def step(facts: Mapping[str, Any]) -> None:
        await tell({"event": "progress", **facts})

    try:
        release = await resolve_any(parts, ref, prefer_installed=True)
    except RevokedError:
        # One release was revoked before, and now the whole voice is.
        found = await disk(parts, lambda: parts.catalog.tombstones.named(ref))
        kept = await disk(parts, lambda: parts.catalog.tombstones.releases(found[0])) if found else []
        if not kept:
            raise
        release = next((one for one in kept if one.id == found[1]), kept[0])
    former = await disk(parts, lambda: former_key(parts, release, passphrase))
    return await parts.recall.revoke(release, whole=whole, reason=reason, step=step, former=former)


async def _remove_revoked(parts: Parts, ref: str) -> dict[str, Any]:
    """Free the files of a voice that was revoked; its tombstone stays."""

    def work() -> dict[str, Any] | None:
        found = parts.catalog.tombstones.named(ref)
        if found is None:
            return None
        stone, identifier = found
        wanted, freed = parts.catalog.wanted_files(), 0
        for release in parts.catalog.tombstones.releases(stone):
            digests = [file.digest for file in release.manifest.files]
            freed += garbage.remove(parts.store, [digest for digest in digests if digest not in wanted])
            identifier = identifier or release.id
        return {"release": identifier, "slug": stone.revocation.slug, "freed": freed}

    answer: dict[str, Any] | None = await disk(parts, work)
    if answer is None:
        raise NotFoundError(f"nothing of {ref!r} is here")
    return answer


async def withdraw(parts: Parts, identifier: str) -> None:
    """An older release of a voice makes room for a newer one."""
    release: Release | None = await disk(parts, lambda: parts.catalog.release(identifier))
    if release is not None:
        parts.network.withdraw(release)
    await _collect(parts, identifier)


async def let_go(parts: Parts, voice: Mirrored) -> int:
    """Take a mirrored voice out of use to make room; returns the bytes that were freed."""

    def work() -> Release | None:
        parts.catalog.uninstall(voice.release)
        parts.mirrors.let_go(voice.author, voice.slug)
        return parts.catalog.release(voice.release)

    release: Release | None = await disk(parts, work)
    if release is not None:
        parts.network.withdraw(release)
    freed = await _collect(parts, voice.release)
    facts = {"release": voice.release, "holders": voice.holders, "bytes": freed}
    log.info("a mirrored voice made room", extra=facts)
    return freed


async def _collect(parts: Parts, identifier: str) -> int:
    def work() -> int:
        shutil.rmtree(voice_folder(parts, identifier), ignore_errors=True)
        wanted = needed_files(parts.store, parts.catalog, parts.author)
        release = parts.catalog.release(identifier)
        files = [file.digest for file in release.manifest.files] if release is not None else []
        return garbage.remove(parts.store, [digest for digest in files if digest not in wanted])

    freed: int = await disk(parts, work)
    parts.engine.forget(identifier)
    return freed
