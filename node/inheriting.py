"""What a voice takes over from those it was made of, and what it may not loosen, at this node.

Before anything is published its ancestors are looked up and asked; of somebody else's release the same is
found and told as a warning. The rules themselves are protocol/inherit.py's, what a fork proposes is
forking.py's. Follows specs/lineage.md, "What is passed on".
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from p2pvoice.node.drafts import Draft
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.ancestry import OWN_STEP, Ancestor, Ancestry, ancestry
from p2pvoice.protocol.consent import ConsentDeclaration, Licence
from p2pvoice.protocol.errors import (
    ConsentError,
    NetworkError,
    NotFoundError,
    PolicyError,
)
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.inherit import OTHERS, allowed_licences, faults, person_key
from p2pvoice.protocol.manifest import Manifest, Parent, Release

log = logging.getLogger("p2pvoice.inheriting")

#: Parents that are looked up in the network before one publication.
LOOKUPS_LIMIT = 16

#: Seconds that these look-ups may take together.
LOOKUP_SECONDS = 30.0

#: Warnings of loosened terms that one voice carries; more would say nothing more.
WARNINGS_LIMIT = 4


def parents_of(draft: Draft, previous: str | None) -> tuple[Parent, ...]:
    """The release before this one, and those that the weights come from."""
    found = {str(release): str(kind) for release, kind in draft.notes.get("parents", ())}
    if previous is not None:
        found = {previous: OWN_STEP} | found
    return tuple(Parent(release, kind) for release, kind in found.items())


async def binding(parts: Parts, draft: Draft) -> tuple[Ancestor, ...]:
    """The ancestors that bind what is published of a draft, looked up in the network where they are not here.

    Raises PolicyError for a parent that nobody reachable has, since what it forbids cannot be known then, and
    RevokedError for one that was revoked.
    """

    def walk() -> Ancestry:
        head = parts.catalog.head(parts.author, draft.voice)
        parents = parents_of(draft, head.release if head is not None else None)
        found = _walk(parts, parts.identity.author_public, parents)
        # What one has called back oneself is no secret to oneself, and nobody else has it any more.
        return replace(found, unknown=tuple(one for one in found.unknown if not _called_back(parts, one)))

    found: Ancestry = await trio.to_thread.run_sync(walk, limiter=parts.disk)
    with trio.move_on_after(LOOKUP_SECONDS):
        for _ in range(LOOKUPS_LIMIT):
            if not found.unknown:
                break
            try:
                await parts.network.find_release(found.unknown[0])
            except (NotFoundError, NetworkError) as error:
                log.info("a parent is not found: %s", error.message)
                break
            found = await trio.to_thread.run_sync(walk, limiter=parts.disk)
    if found.unknown:
        raise PolicyError(
            f"this voice comes from the release {found.unknown[0]}, which is not known here and which nobody "
            "reachable has: what it forbids cannot be checked",
            hint="p2pvoice connect MULTIADDR of a node that has it, and publish again",
        )
    await trio.to_thread.run_sync(_refuse_revoked, parts, found.binding, limiter=parts.disk)
    return found.binding


def require(
    parts: Parts, license: Licence, consent: ConsentDeclaration, ancestors: Sequence[Ancestor]
) -> None:
    """PolicyError for a licence, ConsentError for a consent, that gives what an ancestor does not. Blocks."""
    author = parts.identity.author_public
    for fault in faults(author, license.spdx, consent, ancestors, partial(_same, parts)):
        kind = PolicyError if fault.about == "licence" else ConsentError
        raise kind(fault.message, hint=fault.hint)


def lasting(consent: ConsentDeclaration, ancestors: Sequence[Ancestor]) -> ConsentDeclaration:
    """A claimed declaration that lasts no longer than those before it, of the same subject."""
    ends = [
        one.release.manifest.consent.expires
        for one in ancestors
        if one.release.manifest.consent.subject == consent.subject
    ]
    known = [end for end in (*ends, consent.expires) if end is not None]
    return replace(consent, expires=min(known)) if known and consent.signed is None else consent


def warnings(parts: Parts, release: Release) -> list[dict[str, Any]]:
    """What a release loosens of its known ancestors' terms: ``{code, message, author, release}``. Blocks."""
    manifest = release.manifest
    if not manifest.parents:
        return []
    found = _walk(parts, manifest.author, manifest.parents)
    judged = faults(manifest.author, manifest.license, manifest.consent, found.binding, partial(_same, parts))
    return [
        {
            "code": f"loosens_{fault.about}",
            "message": f"it loosens what it was made from: {fault.message}",
            "author": author_id(fault.author),
            "release": fault.ancestor,
        }
        for fault in judged[:WARNINGS_LIMIT]
    ]


def loosens(parts: Parts, child: Manifest, parent: Release, kind: str) -> bool:
    """Whether a release loosens what one parent of it says, by what both say. Blocks."""
    found = ancestry(
        child.author,
        [Parent(parent.id, kind)],
        lambda one: parent if one == parent.id else None,
        partial(_same, parts),
    )
    return bool(faults(child.author, child.license, child.consent, found.binding, partial(_same, parts)))


def forewarnings(parts: Parts, parent: Release) -> list[str]:
    """What somebody should know who begins to make something of a release: it may not be publishable."""
    manifest = parent.manifest
    own, found = is_own(parts, parent), []
    if not own and allowed_licences(manifest.license) == frozenset():
        found.append(
            f"{manifest.name} is under {manifest.license}: what is made of it stays on this machine, "
            "publishing it is refused"
        )
    key = person_key(manifest.consent, manifest.author)
    if key is not None and (not own or manifest.consent.subject in OTHERS):
        found.append(
            f"{manifest.name} is a person's voice: publishing what is made of it takes a consent for you, "
            f"{parts.author}, signed by {author_id(key)}"
        )
    return found


def is_own(parts: Parts, release: Release) -> bool:
    """Whether a release is by the author of this node, under whichever key. Blocks."""
    return _same(parts, release.manifest.author, parts.identity.author_public)


def _walk(parts: Parts, author: bytes, parents: Sequence[Parent]) -> Ancestry:
    return ancestry(author, parents, partial(_known, parts), partial(_same, parts))


def _known(parts: Parts, identifier: str) -> Release | None:
    """A release that is remembered here, or kept as the proof of a revocation."""
    found = parts.catalog.release(identifier)
    stone = parts.catalog.tombstones.of_release(identifier) if found is None else None
    kept = parts.catalog.tombstones.releases(stone) if stone is not None else []
    return found or next((release for release in kept if release.id == identifier), None)


def _called_back(parts: Parts, identifier: str) -> bool:
    """Whether a release is one's own and was called back by oneself."""
    stone = parts.catalog.tombstones.of_release(identifier)
    own, said = parts.identity.author_public, stone.revocation if stone is not None else None
    return said is not None and _same(parts, said.author, own) and _same(parts, said.signer, own)


def _same(parts: Parts, one: bytes, other: bytes) -> bool:
    """Whether two keys are one author's: the same, or one of them came after the other."""
    if one == other:
        return True
    return parts.successors.current(author_id(one)) == parts.successors.current(author_id(other))


def _refuse_revoked(parts: Parts, ancestors: Sequence[Ancestor]) -> None:
    for ancestor in ancestors:
        stone = parts.catalog.tombstones.of_release(ancestor.release.id)
        if stone is not None and not _called_back(parts, ancestor.release.id):
            raise stone.error()
