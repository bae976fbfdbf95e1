"""What a user does with lists of voices of one's own: begin one, add voices, publish, forget.

Each function is one verb, above the tables and the network and below the RPC. To see what is told of a
collection go on to collection_facts.py, how somebody else's comes here to collection_fetching.py, how all its
voices are measured to evaluating.py. Follows specs/collections.md and specs/rpc.md.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from p2pvoice.node.collection_facts import collection_facts, item_facts, same, show
from p2pvoice.node.collection_tables import Draft, Kept, with_items
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import Tell, disk, resolve
from p2pvoice.protocol.collection import Collection, Item, sign_collection
from p2pvoice.protocol.consent import Licence
from p2pvoice.protocol.errors import ManifestError, NotFoundError, UsageError
from p2pvoice.protocol.ids import check_slug, slugify


async def begin(parts: Parts, name: str, slug: str, card: str, license: str) -> dict[str, Any]:
    """Begin a draft. UsageError for what no collection could hold, ConflictError when the slug is taken."""
    chosen = check_slug(slug) if slug else slugify(name, what="collection")
    draft = Draft(chosen, name, int(time.time()), (), card, Licence.parse(license).spdx if license else "")
    _check(parts, draft)
    await disk(parts, lambda: parts.collections.begin(draft))
    return await show(parts, chosen)


async def edit(
    parts: Parts, ref: str, *, name: str | None, card: str | None, license: str | None
) -> dict[str, Any]:
    """Give a draft another name, card or licence; None keeps what there is, an empty text takes it away."""
    spdx = Licence.parse(license).spdx if license else license

    def change(draft: Draft) -> Draft:
        changed = replace(
            draft,
            name=draft.name if name is None else name,
            card=draft.card if card is None else card,
            license=draft.license if spdx is None else spdx,
        )
        _check(parts, changed)
        return changed

    return await _change(parts, ref, change)


async def add(parts: Parts, ref: str, voices: list[str], note: str) -> dict[str, Any]:
    """Add voices to a draft, in this order; each is looked up as everywhere, and stands for its release.

    Raises what :func:`voices.resolve` raises for the first that is not found, and adds none then.
    """
    releases = [await resolve(parts, voice) for voice in voices]
    try:
        items = [Item(release.id, note) for release in releases]
    except ManifestError as error:
        raise UsageError(error.message) from error

    def change(draft: Draft) -> Draft:
        changed = replace(draft, items=with_items(draft.items, items))
        _check(parts, changed)
        return changed

    return await _change(parts, ref, change)


async def remove(parts: Parts, ref: str, voices: list[str]) -> dict[str, Any]:
    """Take voices out of a draft: named as anywhere, or by the beginning of a release id of the list."""

    def change(draft: Draft) -> Draft:
        left = list(draft.items)
        for voice in voices:
            chosen = _item_named(parts, draft, voice)
            left = [item for item in left if item.release != chosen]
        return replace(draft, items=tuple(left))

    return await _change(parts, ref, change)


async def publish(parts: Parts, ref: str, tell: Tell) -> dict[str, Any]:
    """Sign a draft as the next of its name and announce it; one that did not change stays as it is.

    Raises KeyLockedError while the author key is locked.
    """
    draft, _ = await disk(parts, lambda: parts.collections.named(ref, parts.author))
    if draft is None:
        raise NotFoundError(f"there is no draft of {ref}", hint="p2pvoice collection new NAME")
    held: Kept | None = await disk(parts, lambda: parts.collections.get(parts.author, draft.slug))
    if held is None and not draft.items:
        raise UsageError(
            f"{draft.slug} has no voices yet", hint=f"p2pvoice collection add {draft.slug} VOICE"
        )
    changed = held is None or not same(draft, held.signed.collection)
    if changed:
        sequence = held.signed.collection.sequence + 1 if held is not None else 1
        signed = sign_collection(_collection(parts, draft, sequence), parts.identity.author)
        held = await disk(parts, lambda: parts.collections.keep(signed.data, seed=True))
    assert held is not None
    await tell({"event": "progress", "step": "announcing"})
    key = parts.network.collections.announce(parts.author, draft.slug)
    announced = await parts.network.announced([key])
    facts: dict[str, Any] = await disk(parts, lambda: collection_facts(parts, draft, held))
    return facts | {"changed": changed, "announced": announced}


async def forget(parts: Parts, ref: str) -> dict[str, Any]:
    """Forget a collection, its draft too, and announce it no longer; the voices stay."""

    def work() -> dict[str, Any]:
        draft, kept = parts.collections.named(ref, parts.author)
        facts = collection_facts(parts, draft, kept)
        parts.collections.forget(
            facts["slug"], facts["author"] if kept is not None else None, draft=draft is not None
        )
        return facts

    facts: dict[str, Any] = await disk(parts, work)
    parts.network.collections.withdraw(facts["author"], facts["slug"])
    return {key: facts[key] for key in ("name", "slug", "author", "published", "own")}


def announce_all(parts: Parts) -> None:
    """Announce every collection that is kept and seeded; blocks on the database, at the start."""
    for kept in parts.collections.all():
        if kept.seed:
            parts.network.collections.announce(kept.signed.author, kept.signed.collection.slug)


async def _change(parts: Parts, ref: str, change: Callable[[Draft], Draft]) -> dict[str, Any]:
    def work() -> str:
        draft, kept = parts.collections.named(ref, parts.author)
        if draft is None:
            assert kept is not None
            raise UsageError(
                f"{ref} is another author's list, only its author changes it",
                hint="p2pvoice collection new NAME",
            )
        return parts.collections.change(draft.slug, change).slug

    return await show(parts, await disk(parts, work))


def _item_named(parts: Parts, draft: Draft, voice: str) -> str:
    """The release of a draft that a name means. NotFoundError when it holds none such."""
    fitting = [item.release for item in draft.items if item.release.startswith(voice)]
    if len(fitting) == 1 and len(voice) >= 4:
        return fitting[0]
    # A name means whichever release of the voice stands in the list, not its newest one.
    for item in draft.items:
        known = item_facts(parts, item)
        if known["author"] is not None:
            whole = f"{known['author']}/{known['slug']}"
            if voice in (known["slug"], known["name"], whole, whole.removeprefix("did:key:")):
                return item.release
    raise NotFoundError(f"{draft.slug} has no voice {voice!r}", hint=f"p2pvoice collection show {draft.slug}")


def _collection(parts: Parts, draft: Draft, sequence: int) -> Collection:
    return Collection(
        author=parts.identity.author_public,
        slug=draft.slug,
        sequence=sequence,
        name=draft.name,
        created=int(time.time()),
        items=draft.items,
        card=draft.card,
        license=draft.license,
    )


def _check(parts: Parts, draft: Draft) -> None:
    """UsageError unless a collection may look like this draft."""
    try:
        _collection(parts, draft, 1)
    except ManifestError as error:
        raise UsageError(error.message, hint=error.hint) from error
