"""Sharing a base that is installed here, and removing one.

Publishing a base makes a release of its files as they are: no preview, no consent, no head. The licence
must allow it, and the worker looks at every tensor first, as it does with a stranger's. Not for voices
(publish.py) nor for getting one from peers (base_fetching.py). Follows specs/bases.md, "Bases as releases".
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node import base_places, garbage
from p2pvoice.node.admit import admit, chunk_sizes
from p2pvoice.node.base_licences import LICENCE_FILE, require_ours
from p2pvoice.node.bases import installed_base
from p2pvoice.node.blocks import plan_file
from p2pvoice.node.importing import Step
from p2pvoice.node.parts import Parts
from p2pvoice.node.tidy import needed_files
from p2pvoice.protocol.base import (
    BASE_FAMILY,
    BASE_FORMAT,
    BASE_KINDS,
    BASE_LANGUAGE,
    BASE_RATE,
    LICENSE_TEXT_LIMIT,
    base_paths,
    base_slug,
)
from p2pvoice.protocol.consent import NO_VOICE, ConsentDeclaration
from p2pvoice.protocol.errors import NotFoundError, PolicyError
from p2pvoice.protocol.ids import slugify
from p2pvoice.protocol.manifest import NAME_LENGTH, Engine, FileEntry, Manifest, Release, sign_manifest
from p2pvoice.protocol.tags import canonical_tag

#: Releases of one base that are looked at: every publisher makes one.
RELEASES_LIMIT = 1_000


async def publish(parts: Parts, ref: str, tags: Sequence[str], step: Step) -> dict[str, Any]:
    """Share an installed base, named as :func:`installed_base` takes it.

    Raises NotFoundError, UsageError for a tag that is none, PolicyError for a base that may not be shared,
    and BadCheckpointError for one that holds something else than its kind's network.
    """
    own = tuple(dict.fromkeys(canonical_tag(tag) for tag in tags))
    async with parts.drafting:
        facts = await trio.to_thread.run_sync(installed_base, parts.home.bases, ref, limiter=parts.disk)
        if facts["kind"] not in BASE_KINDS:
            raise PolicyError(
                f"a base of the kind {facts['kind']} is not shared", hint=f"kinds: {' '.join(BASE_KINDS)}"
            )
        license = require_ours(facts)
        release = await trio.to_thread.run_sync(_shared_already, parts, facts, limiter=parts.disk)
        if release is None:
            release = await _make(parts, facts, license, own, step)
    await step({"step": "announcing"})
    announced = await parts.network.announced(parts.network.announce(release))
    return {
        "release": release.id,
        "bundle": release.manifest.bundle_id,
        "id": facts["id"],
        "name": facts["name"],
        "kind": facts["kind"],
        "license": release.manifest.license,
        "tags": list(release.manifest.finding_tags),
        "bytes": release.manifest.size,
        "announced": announced,
    }


async def _make(
    parts: Parts, facts: Mapping[str, Any], license: str, tags: tuple[str, ...], step: Step
) -> Release:
    with parts.store.holding() as hold:
        await step({"step": "storing"})
        release: Release = await trio.to_thread.run_sync(
            _store_release, parts, facts, license, tags, hold, limiter=parts.disk
        )
        await step({"step": "checking"})
        await admit(parts, release)
        await trio.to_thread.run_sync(_install, parts, release, limiter=parts.disk)
    return release


def _shared_already(parts: Parts, facts: Mapping[str, Any]) -> Release | None:
    """The installed release of a base, offered from now on if it was not."""
    identifier = facts.get("release")
    release = parts.catalog.release(identifier) if identifier else None
    if release is not None and parts.catalog.is_installed(release.id):
        parts.catalog.install(release, seed=True)
        return release
    return None


def _store_release(
    parts: Parts,
    facts: Mapping[str, Any],
    license: str,
    tags: tuple[str, ...],
    hold: Callable[[bytes], None],
) -> Release:
    """Plan, store and sign; blocking. ``hold`` is told of each file before it is stored."""
    kind, place = str(facts["kind"]), parts.home.bases / str(facts["name"])
    files = []
    for path in base_paths(kind):
        source = place / base_places.name_in_folder(path)
        if not source.is_file():
            hint = "p2pvoice base add FOLDER"
            raise NotFoundError(f"the base {facts['name']} lacks {source.name}", hint=hint)
        digest, chunks = plan_file(source, chunk_sizes(source, path))
        files.append(FileEntry(path, source.stat().st_size, digest, chunks))
        hold(digest)
        if not (parts.store.has(digest) and parts.store.inspection.ensure_indexed(digest, chunks)):
            parts.store.add_file(source, chunks)
    manifest = Manifest(
        author=parts.identity.author_public,
        slug=base_slug(kind, str(facts["id"])),
        name=str(facts["name"])[:NAME_LENGTH],
        created=int(time.time()),
        license=license,
        consent=ConsentDeclaration(NO_VOICE, False, references_may_travel=False),
        languages=(BASE_LANGUAGE,),
        tags=tags,
        files=tuple(files),
        engine=Engine(family=BASE_FAMILY, version=kind, sample_rate=BASE_RATE),
        license_text=_licence_text(place),
        format=BASE_FORMAT,
        min_reader=BASE_FORMAT,
    )
    release = sign_manifest(manifest, parts.identity.author)
    parts.catalog.add_release(release.envelope.to_bytes())
    return release


def _licence_text(place: Path) -> bytes | None:
    path = place / LICENCE_FILE
    if not path.is_file() or not 1 <= path.stat().st_size <= LICENSE_TEXT_LIMIT:
        return None
    return path.read_bytes()


def _install(parts: Parts, release: Release) -> None:
    """First the catalog, which says what is needed; then the folder, made anew from it. Blocking."""
    parts.catalog.install(release, seed=True)
    base_places.settle(parts.home.bases, parts.store, release)


async def shared_as(parts: Parts, name: str) -> str:
    """The release as which the base of this name is installed; empty when it is none."""

    def look() -> str:
        place = parts.home.bases / slugify(name)
        return str(base_places.read_record(place).get("release") or "")

    return await trio.to_thread.run_sync(look, limiter=parts.disk)


async def end_sharing(parts: Parts, identifier: str) -> None:
    """A base was added in the place of this release, which is not installed any more."""

    def work() -> Release | None:
        release = parts.catalog.release(identifier)
        if release is None or not parts.catalog.uninstall(identifier):
            return None
        needed = needed_files(parts.store, parts.catalog)
        digests = [file.digest for file in release.manifest.files]
        garbage.remove(parts.store, [digest for digest in digests if digest not in needed])
        return release

    release = await trio.to_thread.run_sync(work, limiter=parts.disk)
    if release is not None:
        parts.network.withdraw(release)


async def remove(parts: Parts, ref: str) -> dict[str, Any]:
    """Remove an installed base, named as :func:`installed_base` takes it; what others have stays there."""

    def work(facts: Mapping[str, Any]) -> tuple[list[Release], int]:
        releases = [
            one
            for one in parts.catalog.bases(content=str(facts.get("id") or "-"), limit=RELEASES_LIMIT)
            if parts.catalog.uninstall(one.id)
        ]
        place = parts.home.bases / str(facts["name"])
        freed = sum(
            path.lstat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink()
        )
        gone = parts.home.bases / f".{facts['name']}.old"
        shutil.rmtree(gone, ignore_errors=True)
        # Out of sight in one step: a kill in the middle leaves no half of a base.
        place.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        wanted = needed_files(parts.store, parts.catalog)
        digests = {file.digest for one in releases for file in one.manifest.files}
        return releases, freed + garbage.remove(parts.store, [one for one in digests if one not in wanted])

    async with parts.drafting:
        facts = await trio.to_thread.run_sync(installed_base, parts.home.bases, ref, limiter=parts.disk)
        releases, freed = await trio.to_thread.run_sync(work, facts, limiter=parts.disk)
    for release in releases:
        parts.network.withdraw(release)
    # A voice that was loaded with it forgets it.
    await parts.engine.unload()
    return {"name": facts["name"], "kind": facts["kind"], "id": facts.get("id"), "freed": freed}
