"""From a draft to a signed release that others can find.

Licence and consent are checked first; then the voice speaks its preview, the chunks are planned, the manifest
is signed and stored, the head moves one further, and the release is announced. Publishing a draft again makes
a second release of the same voice. Not for how a draft comes about: see importing.py and enrol.py. Follows
specs/store.md, "Drafts", and specs/manifest.md.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node import base_needs, consents, forking, inheriting, proposing, references, speech
from p2pvoice.node.admit import admit, chunk_sizes
from p2pvoice.node.blocks import hash_file, plan_file
from p2pvoice.node.drafts import PUBLISHING, Draft
from p2pvoice.node.fetching import PREVIEW
from p2pvoice.node.importing import Step
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import Parts
from p2pvoice.node.references import Outgoing
from p2pvoice.node.reuse import as_before
from p2pvoice.protocol.consent import ConsentDeclaration, Licence
from p2pvoice.protocol.consent_state import consent_facts
from p2pvoice.protocol.errors import ConsentError, NotFoundError, RevokedError
from p2pvoice.protocol.head import LIFETIME, Head, sign_head
from p2pvoice.protocol.manifest import (
    VOICE_FORMAT,
    Engine,
    FileEntry,
    Manifest,
    ReferenceInfo,
    Release,
    reader_needed,
    sign_manifest,
)
from p2pvoice.protocol.provenance import Measured, read_training
from p2pvoice.protocol.tags import canonical_tag

#: What a voice says in its preview, by the language of its first reference.
PREVIEW_TEXTS = {
    "yue": "你好，呢個係我把聲，希望你鍾意聽。",
    "zh": "你好，这是我的声音，希望你喜欢听。",
    "en": "Hello, this is my voice. I hope you like the way it sounds.",
    "ja": "こんにちは。これはわたしの声です。気に入っていただけたらうれしいです。",
    "ko": "안녕하세요, 제 목소리입니다. 마음에 드셨으면 좋겠습니다.",
}

#: How the method of a figure ends that is a guess for the author to confirm.
TO_CONFIRM = ", to be confirmed"


@dataclass(frozen=True)
class Publication:
    """What a caller says about a draft to be published; ``consent_upload`` is a person's signed consent."""

    draft: str
    tags: tuple[str, ...]
    license: str
    consent: str
    description: str
    subject: str
    ai_voice_permission: bool
    consent_upload: str = ""
    clips_may_travel: bool = False
    #: A person's signed consent that an earlier release carried.
    consent_signed: bytes = b""


async def publish(parts: Parts, wanted: Publication, step: Step) -> dict[str, Any]:
    """Publish a draft. An uploaded consent is gone afterwards, whatever happened.

    Raises ConsentError without a licence or a consent that permits an AI voice, RevokedError for a voice that
    was revoked as a whole, and PolicyError or ConsentError where it would loosen what it was made from,
    before any work is done.
    """
    try:
        return await _publish(parts, wanted, step)
    finally:
        parts.uploads.discard(*([wanted.consent_upload] if wanted.consent_upload else []))


async def _publish(parts: Parts, wanted: Publication, step: Step) -> dict[str, Any]:
    wanted = await _with_proposals(parts, wanted)
    if not wanted.license:
        raise ConsentError("a voice is published under a licence", hint="--license CC-BY-4.0")
    license = Licence.parse(wanted.license)
    if not wanted.consent:
        raise ConsentError("say whose voice this is", hint="--consent self")
    claim = await _claim(parts, wanted)
    tags = tuple(dict.fromkeys(canonical_tag(tag) for tag in wanted.tags))
    async with parts.drafting:
        draft = await trio.to_thread.run_sync(parts.drafts.get, wanted.draft, limiter=parts.disk)
        await trio.to_thread.run_sync(_refuse_recalled, parts, draft.voice, limiter=parts.disk)
        ancestors = await inheriting.binding(parts, draft)
        consent = consents.declare(parts.identity, claim, license, draft.voice, time.time())
        consent = inheriting.lasting(consent, ancestors)
        await trio.to_thread.run_sync(
            inheriting.require, parts, license, consent, ancestors, limiter=parts.disk
        )
        whole = await trio.to_thread.run_sync(_shared, parts, draft, consent, limiter=parts.disk)
        work = draft.folder / PUBLISHING
        await trio.to_thread.run_sync(partial(_make_anew, work), limiter=parts.disk)
        with parts.store.holding() as hold:
            try:
                if whole or consent.references_may_travel or draft.notes.get("own_clips"):
                    outgoing = references.as_it_is(draft)
                else:
                    outgoing = await references.without_recordings(parts, draft, work / "bundle", step)
                added = work / "added"
                kept = whole or await trio.to_thread.run_sync(
                    _keep_preview, parts, draft, outgoing, added, limiter=parts.disk
                )
                if not kept:
                    await step({"step": "speaking the preview"})
                    await _speak_preview(parts, outgoing, added, step)
                await step({"step": "signing"})
                release = await trio.to_thread.run_sync(
                    _store_release, parts, draft, outgoing, work / "added", wanted, license, consent, tags,
                    hold, limiter=parts.disk,
                )  # fmt: skip
            finally:
                shutil.rmtree(work, ignore_errors=True)
            await step({"step": "checking"})
            await admit(parts, release)
            older = await trio.to_thread.run_sync(_make_newest, parts, release, limiter=parts.disk)
        if older is not None and older.id != release.id:
            parts.network.withdraw(older)
    await step({"step": "announcing"})
    announced = await parts.network.announced(parts.network.announce(release))
    settled = await proposing.settle(parts, draft, release)
    return {
        "release": release.id,
        "author": parts.author,
        "slug": release.manifest.slug,
        "license": license.spdx,
        "tags": list(tags),
        "parents": [{"release": one.release, "kind": one.kind} for one in release.manifest.parents],
        "proposed_tags": [tag for tag in draft.notes.get("tags", ()) if tag not in tags],
        "measured": len(release.manifest.measured),
        "bytes": sum(file.size for file in release.manifest.files),
        "announced": announced,
        "proposal": settled,
        "consent": consent_facts(release.manifest, time.time()),
    }


async def _claim(parts: Parts, wanted: Publication) -> consents.Claim:
    """What the author says, with the statement that was sent; what can be refused already is."""
    signed = wanted.consent_signed
    if wanted.consent_upload:
        signed = await consents.received(parts, wanted.consent_upload)
    claim = consents.Claim(
        subject=wanted.consent,
        subject_name=wanted.subject,
        permission=wanted.ai_voice_permission,
        clips_may_travel=wanted.clips_may_travel,
        signed=signed,
    )
    if not signed:
        said = ConsentDeclaration(wanted.consent, claim.permission, subject_name=claim.subject_name)
        said.require_permission()
    return claim


async def _with_proposals(parts: Parts, wanted: Publication) -> Publication:
    """What was not said of a fork is taken over from its parent, of a merge from the release before it.

    A missing draft is told of later.
    """

    def work() -> Publication:
        try:
            draft = parts.drafts.get(wanted.draft)
        except NotFoundError:
            return wanted
        return as_before(parts, draft, forking.with_proposals(wanted, draft))

    return await trio.to_thread.run_sync(work, limiter=parts.disk)


def _shared(parts: Parts, draft: Draft, consent: ConsentDeclaration) -> bool:
    """Whether a fork is published with its parent's very files, preview and all.

    So it is unless the fork holds recordings back that its parent lets travel. CorruptError when one of the
    files has changed. Blocks.
    """
    identifier = forking.parent_of(draft)
    parent = parts.catalog.release(identifier) if identifier else None
    if parent is None:
        return False
    forking.require_unchanged(draft, parent)
    return consent.references_may_travel or not parent.manifest.consent.references_may_travel


def _refuse_recalled(parts: Parts, slug: str) -> None:
    """RevokedError when the whole voice was revoked: it does not come back under its name."""
    stone = parts.catalog.tombstones.of_voice(parts.author, slug)
    if stone is not None:
        error = stone.error()
        raise RevokedError(error.message, hint="import or train it under another name, and publish that")


def _make_anew(folder: Path) -> None:
    """An empty folder, whatever a killed publication left there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


def _keep_preview(parts: Parts, draft: Draft, outgoing: Outgoing, added: Path) -> bool:
    """Take the preview of the voice's last release when its files are the same; whether they are. Blocks.

    Who updates then fetches what was said anew, and no sound that says the same.
    """
    held = parts.catalog.installed_release(parts.author, draft.voice)
    before = parts.catalog.release(held.release) if held is not None else None
    if before is None:
        return False
    files = {file.path: file.digest for file in before.manifest.files}
    preview = files.pop(PREVIEW, None)
    folder = outgoing.folder
    here = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    if preview is None or here.keys() != files.keys() or not parts.store.has(preview):
        return False
    if any(hash_file(path) != files[name] for name, path in here.items()):
        return False
    added.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(parts.store.path(preview), added / PREVIEW)
    return True


async def _speak_preview(parts: Parts, outgoing: Outgoing, work: Path, step: Step) -> None:
    """Let the voice speak as it will be published: a listener hears what there is to fetch."""
    languages = [lang for lang in outgoing.facts["languages"] if lang in PREVIEW_TEXTS]
    lang = languages[0] if languages else "en"
    spoken = await speech.speak(
        parts,
        LoadableVoice(outgoing.key, outgoing.folder, tuple(outgoing.facts["languages"])),
        PREVIEW_TEXTS[lang],
        lang,
        options={"seed": 0},
        on_progress=step,
        own_words=False,
    )

    def write() -> None:
        work.mkdir(mode=0o700, exist_ok=True)
        (work / PREVIEW).write_bytes(spoken.data)

    await trio.to_thread.run_sync(write, limiter=parts.disk)


def _store_release(
    parts: Parts,
    draft: Draft,
    outgoing: Outgoing,
    work: Path,
    wanted: Publication,
    license: Licence,
    consent: ConsentDeclaration,
    tags: tuple[str, ...],
    hold: Callable[[bytes], None],
) -> Release:
    """Plan, store and sign; blocking. ``hold`` is told of each file before it is stored."""
    sources = {
        str(path.relative_to(folder)): path
        for folder in (outgoing.folder, work)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    files = []
    for name, path in sorted(sources.items()):
        digest, chunks = plan_file(path, chunk_sizes(path, name))
        files.append(FileEntry(name, path.stat().st_size, digest, chunks))
        hold(digest)
        if not (parts.store.has(digest) and parts.store.inspection.ensure_indexed(digest, chunks)):
            parts.store.add_file(path, chunks)
    head = parts.catalog.head(parts.author, draft.voice)
    facts, notes = outgoing.facts, draft.notes
    parent = parts.catalog.release(forking.parent_of(draft))
    manifest = Manifest(
        author=parts.identity.author_public,
        slug=draft.voice,
        name=draft.name,
        created=int(time.time()),
        description=wanted.description,
        license=license.spdx,
        consent=consent,
        languages=tuple(facts["languages"]),
        tags=tags,
        files=tuple(files),
        engine=Engine(
            family=facts["family"],
            version=facts["version"],
            sample_rate=facts["sample_rate"],
            bases=facts["bases"],
            pins=base_needs.pins_for(parts, facts["bases"], parent),
        ),
        references=tuple(
            ReferenceInfo(lang=one["lang"], milliseconds=one["milliseconds"]) for one in facts["references"]
        ),
        parents=inheriting.parents_of(draft, head.release if head is not None else None),
        training=read_training(notes["training"]) if notes.get("training") else None,
        measured=tuple(
            Measured.from_map(row) for row in confirmed(notes.get("measured", ()), tags, facts["languages"])
        ),
        format=max(VOICE_FORMAT, reader_needed(sources)),
        min_reader=reader_needed(sources),
    )
    manifest.require_complete()
    release = sign_manifest(manifest, parts.identity.author)
    parts.catalog.add_release(release.envelope.to_bytes())
    return release


def confirmed(
    rows: Iterable[Mapping[str, Any]], tags: Sequence[str], languages: Sequence[str]
) -> list[dict[str, Any]]:
    """The figures to publish: a guess about a person only when the author's own tags say the same."""
    said = {*tags, *(f"language/{language}" for language in languages)}
    found = []
    for row in rows:
        guess = row["method"].endswith(TO_CONFIRM)
        if not guess:
            found.append(dict(row))
        elif f"{row['field']}/{row['value']}" in said:
            method = row["method"].removesuffix(TO_CONFIRM) + ", confirmed by the author"
            found.append({**row, "method": method})
    return found


def _make_newest(parts: Parts, release: Release) -> Release | None:
    """Install a release of our own and point its voice's head to it; returns the one it replaces."""
    slug = release.manifest.slug
    held = parts.catalog.head(parts.author, slug)
    sequence = held.sequence + 1 if held is not None else 1
    expires = int(time.time()) + LIFETIME
    head = Head(parts.identity.author_public, slug, sequence, release.id, expires)
    previous = parts.catalog.installed_release(parts.author, slug)
    parts.catalog.install(release, seed=True, head=sign_head(head, parts.identity.author))
    return parts.catalog.release(previous.release) if previous is not None else None
