"""Bringing somebody's collection here: the newest list of its name, then its voices one after another.

The list is kept before its voices come, and each voice before the next, so whatever ends a fetch, the next
one goes on from there. Not for how one voice comes (fetching.py) nor for asking peers (collection_swarm.py).
Follows specs/collections.md.
"""

from functools import partial
from typing import Any

from p2pvoice.node.collection_facts import HERE, REVOKED, collection_facts, item_facts
from p2pvoice.node.collection_tables import Kept
from p2pvoice.node.fetching import fetch_by_hand
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import Tell, disk, resolve
from p2pvoice.protocol.collection import Item, SignedCollection, is_fork
from p2pvoice.protocol.errors import (
    ConflictError,
    NetworkError,
    NotFoundError,
    P2PVoiceError,
    RevokedError,
    StaleError,
    UsageError,
)
from p2pvoice.protocol.ids import author_id, check_slug, parse_author_id
from p2pvoice.protocol.manifest import Release


async def fetch(parts: Parts, ref: str, *, voices: bool, seed: bool, tell: Tell) -> dict[str, Any]:
    """Fetch the newest collection of a name, keep it, and bring its voices here one after another.

    ``ref`` is ``AUTHOR/SLUG``, or names one that is kept. What stops one voice does not stop the others;
    each is told of with an event ``voice``. Without ``seed`` neither list nor voices are offered to others.
    """
    author, slug = await disk(parts, partial(_place, parts, ref))
    await tell({"event": "progress", "step": "looking for the newest list"})
    kept = await _newest(parts, author, slug, seed=seed, tell=tell)
    if seed:
        parts.network.collections.announce(author, slug)
    else:
        parts.network.collections.withdraw(author, slug)
    collection = kept.signed.collection
    facts: dict[str, Any] = await disk(parts, lambda: collection_facts(parts, None, kept))
    await tell({"event": "collection", **facts, "items": list(collection.releases)})
    states = await fetch_voices(parts, collection.items, seed=seed, tell=tell) if voices else []
    return facts | _told(states)


async def fetch_voices(
    parts: Parts, items: tuple[Item, ...], *, seed: bool, tell: Tell
) -> list[dict[str, Any]]:
    """Bring the releases of a list here, one after another; the ``voice`` event of each."""
    found = []
    for number, item in enumerate(items, start=1):
        row = await _fetch_voice(parts, item, f"{number} of {len(items)}", seed=seed, tell=tell)
        found.append(row)
        await tell(row)
    return found


async def _fetch_voice(parts: Parts, item: Item, count: str, *, seed: bool, tell: Tell) -> dict[str, Any]:
    row: dict[str, Any] = {"event": "voice", "release": item.release, "name": None, "bytes_fetched": 0}
    try:
        known = await disk(parts, lambda: item_facts(parts, item))
        row["name"] = known["name"]
        if known["state"] == HERE:
            # Asked for by hand now, it is no longer here for a mirror's sake only.
            await disk(parts, partial(parts.mirrors.by_hand, known["author"], known["slug"]))
            return row | {"state": HERE}
        await tell({"event": "progress", "step": f"voice {count}"})
        release = await resolve(parts, item.release)
        row["name"] = release.manifest.name
        await _keep_out(parts, release)

        async def labelled(event: Any) -> None:
            if "file" in event:
                event = {**event, "step": f"voice {count}, {release.manifest.slug}"}
            if event.get("event") != "progress" or "file" in event:
                await tell(event)

        result = await fetch_by_hand(parts, release, seed=seed, tell=labelled)
        return row | {"state": "fetched", "bytes_fetched": result["bytes_fetched"]}
    except P2PVoiceError as error:
        state = REVOKED if isinstance(error, RevokedError) else "failed"
        return row | {"state": state, "error": error.to_dict()}


async def _keep_out(parts: Parts, release: Release) -> None:
    """ConflictError when fetching a release would take the place of another one of its voice."""
    author, slug = author_id(release.manifest.author), release.manifest.slug
    held = await disk(parts, lambda: parts.catalog.installed_release(author, slug))
    if held is not None and held.release != release.id:
        raise ConflictError(
            f"another release of {slug} is installed here",
            hint=f"p2pvoice fetch {release.id} puts this one in its place",
        )


async def _newest(parts: Parts, author: str, slug: str, *, seed: bool, tell: Tell) -> Kept:
    """The newest list the network has, kept here; the one that is kept when the network has no newer."""
    held: Kept | None = await disk(parts, lambda: parts.collections.get(author, slug))
    try:
        found: SignedCollection = await parts.network.collections.newest(
            author, slug, held.signed if held is not None else None
        )
    except (NotFoundError, NetworkError, StaleError) as error:
        if held is None:
            raise
        await tell({"event": "warning", "message": f"the list that is here is used: {error.message}"})
        found = held.signed
    if held is not None and is_fork(held.signed, found):
        message = f"{slug}: its author signed two different lists at sequence {found.collection.sequence}"
        await tell({"event": "warning", "message": message + "; the one that came first stays"})
    kept: Kept = await disk(parts, lambda: parts.collections.keep(found.data, seed=seed))
    return kept


def _told(states: list[dict[str, Any]]) -> dict[str, Any]:
    """How a fetch went, in figures, with what did not come."""
    left = [
        {key: row[key] for key in ("release", "name", "state", "error")} for row in states if "error" in row
    ]
    return {
        "here": sum(row["state"] == HERE for row in states),
        "fetched": sum(row["state"] == "fetched" for row in states),
        "bytes_fetched": sum(row["bytes_fetched"] for row in states),
        "failed": left,
    }


def _place(parts: Parts, ref: str) -> tuple[str, str]:
    """Author id and slug of what is to be fetched. Blocks."""
    author, _, slug = ref.rpartition("/")
    name = author if author.startswith("did:key:") or not author else "did:key:" + author
    try:
        parse_author_id(name)
        return name, check_slug(slug)
    except UsageError:
        pass
    try:
        _, kept = parts.collections.named(ref, parts.author)
    except NotFoundError:
        raise UsageError(
            f"{ref!r} names no collection that could be looked up",
            hint="p2pvoice collection fetch AUTHOR/SLUG, with the whole author id",
        ) from None
    if kept is None:
        raise UsageError(f"{ref} is a draft of your own", hint=f"p2pvoice collection publish {ref}")
    return kept.signed.author, kept.signed.collection.slug
