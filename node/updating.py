"""Bringing installed voices to their newest releases, also to those under an author's new key.

The author's head says which release is newest, successors (moves.py) say whose head counts. Not for how the
newer release comes here: see fetching.py. Follows specs/catalog.md, specs/keys.md and specs/rpc.md.
"""

from typing import Any

from p2pvoice.node.fetching import fetch_release
from p2pvoice.node.moves import look_up, look_up_followed
from p2pvoice.node.parts import Parts
from p2pvoice.node.removing import withdraw
from p2pvoice.node.voices import Tell, disk, resolve
from p2pvoice.protocol.errors import NotFoundError, P2PVoiceError, UsageError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release


async def update(parts: Parts, ref: str, tell: Tell) -> dict[str, Any]:
    """Bring an installed voice to its newest release."""
    release = await resolve(parts, ref, prefer_installed=True)
    manifest = release.manifest
    author = author_id(manifest.author)
    held = await disk(parts, lambda: parts.catalog.installed_release(author, manifest.slug))
    if held is None:
        raise NotFoundError(f"{manifest.name} is not installed here", hint=f"p2pvoice fetch {ref}")
    await tell({"event": "progress", "step": "looking for a newer release"})
    await parts.hearsay.inquire(release)
    now = await look_up(parts, author, held.release, tell)
    try:
        head = await parts.network.newest_head(now, manifest.slug, held.release)
    except NotFoundError:
        if now == author:
            raise
        # Nothing that the old key signs counts any more, so the voice stays as it is here.
        message = f"{manifest.slug}: its author has a new key, {now}, and has not published it there yet"
        await tell({"event": "warning", "message": message})
        return {"release": held.release, "updated": False, "sequence": None, "moved_to": now}
    if head.release == held.release:
        return {"release": held.release, "updated": False, "sequence": head.sequence}
    newest: Release | None = await disk(parts, lambda: parts.catalog.release(head.release))
    if newest is None:
        newest = await parts.network.find_release(head.release)
    if author_id(newest.manifest.author) != now or newest.manifest.slug != manifest.slug:
        raise UsageError(f"the head of {manifest.slug} names a release of another voice")
    result = await fetch_release(parts, newest, seed=held.seed, tell=tell)
    if now != author:
        # The same voice stands under its author's new key now.
        await disk(parts, lambda: parts.catalog.uninstall(held.release))
        await disk(parts, lambda: parts.mirrors.move(author, now, manifest.slug))
        await withdraw(parts, held.release)
        result["moved_to"] = now
    return result | {"updated": True, "previous": held.release, "sequence": head.sequence}


async def update_all(parts: Parts, tell: Tell) -> dict[str, Any]:
    """Bring every installed voice to its newest release; one that fails does not stop the others."""
    updated, failed = [], []
    await look_up_followed(parts, tell, always=True)
    for held in await disk(parts, parts.catalog.installed_voices):
        if held.author == parts.author:
            continue
        try:
            result = await update(parts, held.release, tell)
        except P2PVoiceError as error:
            failed.append({"release": held.release, "slug": held.slug, "error": error.to_dict()})
            await tell({"event": "warning", "message": f"{held.slug}: {error.message}"})
            continue
        updated.append({"slug": held.slug, **result})
    return {"voices": updated, "failed": failed, "updated": sum(bool(one["updated"]) for one in updated)}
