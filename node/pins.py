"""What a user says of keeping: pin a voice, offer it or not, mirror an author or a tag, see how that goes.

Each function is one verb, above the tables and below the RPC. Not for what mirrors do by themselves: see
mirroring.py. Follows specs/mirror.md and specs/rpc.md.
"""

from typing import Any

from p2pvoice.node.mirror_tables import AUTHOR, TAG, Mirror
from p2pvoice.node.mirroring import bytes_of
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import disk, resolve
from p2pvoice.protocol.consent_state import consent_state
from p2pvoice.protocol.errors import NotFoundError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.tags import canonical_tag

REPLICAS = 3
"""Holders a mirror asks for when nothing else is said."""


async def pin(parts: Parts, ref: str, *, on: bool) -> dict[str, Any]:
    """Pin an installed voice, or unpin it. NotFoundError when it is not installed."""
    release = await _installed(parts, ref)
    author, slug = author_id(release.manifest.author), release.manifest.slug

    def work() -> dict[str, Any]:
        changed = parts.mirrors.pin(author, slug) if on else parts.mirrors.unpin(author, slug)
        return {"changed": changed, **parts.mirrors.kept(author, slug)}

    done: dict[str, Any] = await disk(parts, work)
    return {"release": release.id, "slug": slug, **done}


async def offer(parts: Parts, ref: str, *, on: bool, now: float) -> dict[str, Any]:
    """Offer an installed voice to others, or stop it: it is neither announced nor served then.

    What others have meanwhile stays with them. NotFoundError when it is not installed.
    """
    release = await _installed(parts, ref)
    own = author_id(release.manifest.author) == parts.author
    changed = await disk(parts, lambda: parts.catalog.set_seed(release.id, on))
    if on and consent_state(release.manifest, now) != "expired":
        parts.network.announce(release)
    else:
        parts.network.withdraw(release, with_head=own)
    return {"release": release.id, "slug": release.manifest.slug, "seed": on, "changed": changed}


async def mirror(parts: Parts, what: str, *, replicas: int, limit: int) -> dict[str, Any]:
    """Mirror an author or a tag, or change how; a look begins at once.

    Raises UsageError for what is neither, NotFoundError for the beginning of an author id nobody here knows.
    """

    def work() -> Mirror:
        kind, name = named(parts, what)
        return parts.mirrors.begin(kind, name, replicas, limit)

    begun: Mirror = await disk(parts, work)
    parts.mirroring.ask()
    found: dict[str, Any] = await disk(parts, lambda: _facts(parts, begun))
    return found


async def stop(parts: Parts, what: str) -> dict[str, Any]:
    """Mirror it no longer. What it brought stays until room is needed, or until gc."""

    def work() -> dict[str, Any]:
        kind, name = named(parts, what)
        return _facts(parts, parts.mirrors.get(kind, name))

    facts: dict[str, Any] = await disk(parts, work)
    await disk(parts, lambda: parts.mirrors.stop(facts["kind"], facts["name"]))
    parts.mirroring.stopped(facts["kind"], facts["name"])
    return facts


async def mirrors(parts: Parts) -> dict[str, Any]:
    """Every mirror and how it stands."""

    def work() -> dict[str, Any]:
        return {
            "mirrors": [_facts(parts, one) for one in parts.mirrors.all()],
            "quota": parts.config.quota_bytes,
            "store": parts.store.layout.usage().bytes,
        }

    found: dict[str, Any] = await disk(parts, work)
    at = parts.mirroring
    return found | {"looking": at.looking, "fetching": at.fetching, "next_look": at.next_look or None}


def named(parts: Parts, what: str) -> tuple[str, str]:
    """Kind and name of what is to be mirrored; blocking. An author is meant by id or its beginning only."""
    if what.startswith(("did:key:", "z6Mk")):
        return AUTHOR, parts.catalog.author_named(what)
    return TAG, canonical_tag(what)


def _facts(parts: Parts, one: Mirror) -> dict[str, Any]:
    held = [row for row in parts.mirrors.held() if (row.kind, row.name) == (one.kind, one.name)]
    return {
        "kind": one.kind,
        "name": one.name,
        "replicas": one.replicas,
        "limit": one.limit,
        "since": one.since,
        "looked": one.looked or None,
        "wanted": one.wanted,
        "held": len(held),
        "below": one.below,
        "bytes": bytes_of(parts, one),
        "left_out": dict(one.left_out),
        "error": one.error,
    } | (parts.names.whose(one.name) if one.kind == AUTHOR else {})


async def _installed(parts: Parts, ref: str) -> Release:
    release = await resolve(parts, ref, prefer_installed=True)
    if not await disk(parts, lambda: parts.catalog.is_installed(release.id)):
        raise NotFoundError(f"{release.manifest.name} is not installed here", hint=f"p2pvoice fetch {ref}")
    return release
