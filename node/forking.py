"""`fork`: a draft of one's own with the files of somebody's release, which remembers where it came from.

The draft's files are second names of the store's, so a fork takes no room, and publishing it stores nothing
anew: the release shares every chunk with its parent. What the parent says of licence, tags and description is
kept beside it as a proposal for the publication. Not for what may be published (inheriting.py). Follows
specs/lineage.md, "Forks".
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from p2pvoice.node import inheriting
from p2pvoice.node.blocks import hash_file
from p2pvoice.node.drafts import Draft
from p2pvoice.node.fetching import fetch_release
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import Tell, resolve, resolve_installed
from p2pvoice.protocol import pronunciation
from p2pvoice.protocol.errors import ConflictError, CorruptError, UsageError
from p2pvoice.protocol.ids import author_id, check_slug, slugify
from p2pvoice.protocol.inherit import INHERITED
from p2pvoice.protocol.manifest import NAME_LENGTH, Release

if TYPE_CHECKING:
    from p2pvoice.node.publish import Publication

#: Where a draft's notes keep what a fork proposes of its parent.
FORK = "fork"


async def fork(parts: Parts, ref: str, name: str, slug: str | None, tell: Tell) -> dict[str, Any]:
    """Make a draft of a release's files, which is fetched when it is not here.

    Raises UsageError for a name that is none and ConflictError when a draft of that name is there, before
    anything is fetched; then what fetching raises, RevokedError, and ConsentError for an expired consent.
    """
    await trio.to_thread.run_sync(_require_free, parts, name, slug, limiter=parts.disk)
    release = await resolve(parts, ref, prefer_installed=True)
    if not await trio.to_thread.run_sync(parts.catalog.is_installed, release.id, limiter=parts.disk):
        await fetch_release(parts, release, seed=True, tell=tell)
    release = await resolve_installed(parts, release.id)
    for message in await trio.to_thread.run_sync(inheriting.forewarnings, parts, release, limiter=parts.disk):
        await tell({"event": "warning", "message": message})
    await tell({"event": "progress", "step": "making the draft"})
    digests = [file.digest for file in release.manifest.files]
    async with parts.drafting:
        with parts.store.holding(digests):
            draft = await trio.to_thread.run_sync(_make, parts, release, name, slug, limiter=parts.disk)
    own = await trio.to_thread.run_sync(inheriting.is_own, parts, release, limiter=parts.disk)
    manifest, size = release.manifest, release.manifest.size
    return {
        "draft": draft.slug,
        "slug": draft.slug,
        "name": draft.name,
        "parent": release.id,
        "parent_author": author_id(manifest.author),
        "bytes": size,
        "shared_bytes": size,
        "license": manifest.license,
        "tags": list(manifest.tags),
        "consent": manifest.consent.subject,
        "consent_inherited": manifest.consent.subject in INHERITED,
        "own": own,
    }


def proposal(draft: Draft) -> Mapping[str, Any]:
    """What a fork proposes of its parent; empty for another draft."""
    found = draft.notes.get(FORK)
    return found if isinstance(found, dict) else {}


def parent_of(draft: Draft) -> str:
    """The release whose files a draft holds, as they were; empty for a draft that is no fork."""
    return str(proposal(draft).get("release", ""))


def with_proposals(wanted: "Publication", draft: Draft) -> "Publication":
    """The same publication, with what was not said taken over from what the draft was forked from.

    A declaration is taken over only where nobody's permission is in it: a person's consent is for one author.
    """
    said = proposal(draft)
    if not said:
        return wanted
    wanted = replace(
        wanted,
        license=wanted.license or str(said["license"]),
        tags=wanted.tags or tuple(said["tags"]),
        description=wanted.description or str(said["description"]),
    )
    if not wanted.consent and said["consent"] in INHERITED:
        wanted = replace(wanted, consent=str(said["consent"]), ai_voice_permission=True)
        if said["consent"] == "public-domain-corpus":
            travel = wanted.clips_may_travel or bool(said["references_may_travel"])
            wanted = replace(wanted, clips_may_travel=travel)
    return wanted


def require_unchanged(draft: Draft, parent: Release) -> None:
    """CorruptError unless a fork's files are still its parent's, apart from what an author may edit.

    Blocks; reads all of them.
    """
    for file in parent.manifest.files:
        if file.path == pronunciation.VOICE_NAME:
            continue
        path = draft.bundle / file.path
        if not path.is_file() or hash_file(path) != file.digest:
            raise CorruptError(
                f"{file.path} of the fork {draft.slug} is no longer what it was forked from",
                hint=f"p2pvoice verify, then fork again: p2pvoice fork {parent.id[:17]} --name …",
            )


def _require_free(parts: Parts, name: str, slug: str | None) -> None:
    if not 1 <= len(name.strip()) <= NAME_LENGTH:
        raise UsageError(f"a voice's name has 1 to {NAME_LENGTH} characters")
    chosen = check_slug(slug) if slug else slugify(name)
    if any(draft.slug == chosen for draft in parts.drafts.all()):
        raise ConflictError(f"there is a draft {chosen} already", hint="choose another --name for the fork")


def _make(parts: Parts, release: Release, name: str, slug: str | None) -> Draft:
    _require_free(parts, name, slug)
    manifest = release.manifest
    chosen, bundle = parts.drafts.begin(name, slug)
    try:
        for file in manifest.files:
            place = bundle / file.path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _link(parts.store.path(file.digest), place)
        facts = {
            "family": manifest.engine.family,
            "version": manifest.engine.version,
            "sample_rate": manifest.engine.sample_rate,
            "bases": dict(manifest.engine.bases),
            "languages": list(manifest.languages),
            "references": [
                {"lang": one.lang, "milliseconds": one.milliseconds} for one in manifest.references
            ],
        }
        notes = {
            "parents": [[release.id, "forked-from"]],
            FORK: {
                "release": release.id,
                "license": manifest.license,
                "tags": list(manifest.tags),
                "description": manifest.description,
                "consent": manifest.consent.subject,
                "references_may_travel": manifest.consent.references_may_travel,
            },
        }
        return parts.drafts.finish(name, chosen, facts, notes)
    finally:
        parts.drafts.abandon(chosen)


def _link(source: Path, place: Path) -> None:
    """A second name for a file of the store: mode 0400, and nothing ever writes to one."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)
