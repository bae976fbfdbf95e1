"""What a user does with collections: begin one, add voices, publish, fetch somebody's, forget.

Each function is one verb, above the tables and the network and below the RPC. Not for measuring the voices of
a collection (evaluating.py) nor for bringing one voice here (fetching.py). Follows specs/collections.md and
specs/rpc.md.
"""

import logging
import time
from dataclasses import replace
from functools import partial
from typing import Any

from p2pvoice.node.collection_tables import Draft, Kept, with_items
from p2pvoice.node.fetching import fetch_release
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import Tell, disk, resolve
from p2pvoice.protocol.collection import Collection, Item, SignedCollection, is_fork, sign_collection
from p2pvoice.protocol.consent import Licence
from p2pvoice.protocol.errors import (
    ConflictError,
    ManifestError,
    NetworkError,
    NotFoundError,
    P2PVoiceError,
    RevokedError,
    StaleError,
    UsageError,
)
from p2pvoice.protocol.ids import author_id, check_slug, parse_author_id, slugify
from p2pvoice.protocol.manifest import Release

log = logging.getLogger("p2pvoice.collections")

HERE, AWAY, REVOKED, UNKNOWN, OTHER = "here", "away", "revoked", "unknown", "other release here"
"""What a collection's release is to this node: usable, known and not fetched, revoked, never heard of, or
kept out by another release of the same voice that is installed."""


# -- own lists -------------------------------------------------------------------------------------------


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
    changed = held is None or not _same(draft, held.signed.collection)
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


# -- looking ---------------------------------------------------------------------------------------------


async def listed(parts: Parts) -> list[dict[str, Any]]:
    """Every collection here, own drafts first, each in short."""

    def read() -> list[dict[str, Any]]:
        drafts = parts.collections.drafts()
        rows = [collection_facts(parts, one, parts.collections.get(parts.author, one.slug)) for one in drafts]
        own = {(parts.author, one.slug) for one in drafts}
        for kept in parts.collections.all():
            if (kept.signed.author, kept.signed.collection.slug) not in own:
                rows.append(collection_facts(parts, None, kept))
        return rows

    rows: list[dict[str, Any]] = await disk(parts, read)
    return rows


async def show(parts: Parts, ref: str) -> dict[str, Any]:
    """A collection in full, with what is known here of each release; of an own one its draft."""

    def read() -> dict[str, Any]:
        draft, kept = parts.collections.named(ref, parts.author)
        facts = collection_facts(parts, draft, kept)
        source = draft if draft is not None else kept.signed.collection if kept is not None else None
        assert source is not None
        return facts | {
            "card": source.card,
            "items": [item_facts(parts, item) for item in source.items],
        }

    found: dict[str, Any] = await disk(parts, read)
    return found


def collection_facts(parts: Parts, draft: Draft | None, kept: Kept | None) -> dict[str, Any]:
    """A collection in short: of an own one what its draft says, beside what was published. Blocks."""
    published = kept.signed.collection if kept is not None else None
    source = draft if draft is not None else published
    assert source is not None
    author = kept.signed.author if kept is not None else parts.author
    return {
        "name": source.name,
        "slug": source.slug,
        "author": author,
        **parts.names.whose(author),
        "moved_to": parts.successors.current(author) if parts.successors.current(author) != author else None,
        "draft": draft is not None,
        "published": published is not None,
        "pending": draft is not None and published is not None and not _same(draft, published),
        "sequence": published.sequence if published is not None else None,
        "id": kept.signed.id if kept is not None else None,
        "created": published.created if published is not None else source.created,
        "license": source.license,
        "voices": len(source.items),
        "seed": kept.seed if kept is not None else False,
        "fork": kept.rival.id if kept is not None and kept.rival is not None else None,
    }


def item_facts(parts: Parts, item: Item) -> dict[str, Any]:
    """One release of a collection, as far as it is known here. Blocks on the catalog."""
    stone = parts.catalog.tombstones.of_release(item.release)
    release = parts.catalog.release(item.release)
    facts: dict[str, Any] = {"release": item.release, "note": item.note, "name": None, "author": None}
    if stone is not None:
        said = stone.facts()
        told = {key: said[key] for key in ("name", "slug", "author")}
        return facts | told | parts.names.whose(said["author"]) | {"state": REVOKED}
    if release is None:
        return facts | {"state": UNKNOWN}
    manifest = release.manifest
    author = author_id(manifest.author)
    state = HERE if parts.catalog.is_installed(item.release) else AWAY
    if state == AWAY and parts.catalog.installed_release(author, manifest.slug) is not None:
        state = OTHER
    return facts | {
        "name": manifest.name,
        "slug": manifest.slug,
        "author": author,
        **parts.names.whose(author),
        "languages": list(manifest.languages),
        "license": manifest.license,
        "size": sum(file.size for file in manifest.files),
        "state": state,
    }


# -- others' lists ---------------------------------------------------------------------------------------


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

        result = await fetch_release(parts, release, seed=seed, tell=labelled)
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


# -- parts of these --------------------------------------------------------------------------------------


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


async def _change(parts: Parts, ref: str, change: Any) -> dict[str, Any]:
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


def _same(draft: Draft, published: Collection) -> bool:
    return (draft.name, draft.card, draft.license, draft.items) == (
        published.name,
        published.card,
        published.license,
        published.items,
    )
