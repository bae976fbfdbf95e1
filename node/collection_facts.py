"""What is told of collections: each in short, one in full, and what their releases are to this node.

Everything here only reads. Not for changing or fetching them (collecting.py, collection_fetching.py). Follows
specs/collections.md and specs/rpc.md.
"""

from typing import Any

from p2pvoice.node.collection_tables import Draft, Kept
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import disk
from p2pvoice.protocol.collection import Collection, Item
from p2pvoice.protocol.ids import author_id

HERE, AWAY, REVOKED, UNKNOWN, OTHER = "here", "away", "revoked", "unknown", "other release here"
"""What a collection's release is to this node: usable, known and not fetched, revoked, never heard of, or
kept out by another release of the same voice that is installed."""


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
        "pending": draft is not None and published is not None and not same(draft, published),
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


def same(draft: Draft, published: Collection) -> bool:
    """Whether a draft says what was published."""
    return (draft.name, draft.card, draft.license, draft.items) == (
        published.name,
        published.card,
        published.license,
        published.items,
    )
