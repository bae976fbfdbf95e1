"""Everything that must hold before a training starts: names, clips, base, recogniser, room on the disk.

A request that is refused here has cost nothing and left nothing. Not for running: see training.py. Follows
specs/trainings.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import trio

from p2pvoice.node.admit import voice_folder
from p2pvoice.node.bases import recogniser
from p2pvoice.node.forking import parent_of
from p2pvoice.node.inheriting import forewarnings
from p2pvoice.node.parts import Parts
from p2pvoice.node.training import MANIFEST_KINDS, Tell
from p2pvoice.node.trainings import TRANSCRIPTS_BYTES, Clip, Training, check_clips, new_training
from p2pvoice.node.voices import resolve_installed
from p2pvoice.protocol.errors import ConflictError, NotFoundError, P2PVoiceError, UsageError

#: Languages that can be trained.
LANGUAGES = ("yue", "zh", "en")

#: What an author says of the data who says nothing.
DECLARATION = "clips given by the author"

Kind = Literal["train", "tune", "distil"]


@dataclass(frozen=True)
class Wanted:
    """What a caller asks for.

    ``clips`` are (file name, upload) pairs, ``base`` is the voice to start from or to distil, empty for the
    packaged one. An empty ``lang`` is the base's own.
    """

    kind: Kind
    name: str
    lang: str
    base: str
    clips: tuple[tuple[str, str], ...]
    transcripts: str
    asr: str
    epochs: int | None
    minutes: float | None
    only: str
    seed: int
    declaration: str


@dataclass(frozen=True)
class Found:
    """A voice to learn from: its release id, its files by their names in the bundle, what its descendants
    name as parents, and its languages."""

    identifier: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    parents: tuple[tuple[str, str], ...] = ()
    languages: tuple[str, ...] = ()


async def start(parts: Parts, wanted: Wanted, tell: Tell) -> dict[str, Any]:
    """Make a training of uploads and follow it to its end. The uploads are gone afterwards in any case.

    Raises UsageError, NotFoundError, ConflictError or DiskFullError before anything is moved, and what
    :meth:`Trainer.follow` raises.
    """
    uploads = [upload for _, upload in wanted.clips] + ([wanted.transcripts] if wanted.transcripts else [])
    try:
        parts.trainer.require_idle()
        base = await _find(parts, wanted.base, wanted.kind)
        training = await trio.to_thread.run_sync(_enrol, parts, wanted, base, limiter=parts.disk)
        # Hours of training are spent before it is published: what will be refused then is told now.
        for message in await trio.to_thread.run_sync(_forewarn, parts, base, limiter=parts.disk):
            await tell({"event": "warning", "message": message})
    finally:
        parts.uploads.discard(*uploads)
    return await parts.trainer.follow(training, tell)


async def resume(parts: Parts, name: str, tell: Tell) -> dict[str, Any]:
    """Go on with a training that was stopped, killed or that failed; follow it to its end."""
    training = await trio.to_thread.run_sync(parts.trainings.get, name, limiter=parts.disk)
    if training.state == "done":
        raise ConflictError(
            f"the training {training.slug} has come to its end",
            hint=f"p2pvoice publish {training.draft}, or p2pvoice trainings rm {training.slug} to start anew",
        )
    return await parts.trainer.follow(training, tell)


async def stop(parts: Parts, name: str) -> dict[str, Any]:
    """Stop a running training; answers when it has written its checkpoint."""
    training = await trio.to_thread.run_sync(parts.trainings.get, name, limiter=parts.disk)
    stopped = await parts.trainer.stop(training.slug)
    return {"training": training.slug, "stopped": stopped}


async def remove(parts: Parts, name: str) -> dict[str, Any]:
    """Delete a training's folder, clips and all; the draft it made stays."""
    training = await trio.to_thread.run_sync(parts.trainings.get, name, limiter=parts.disk)
    if parts.trainer.current == training.slug:
        raise ConflictError(
            f"the training {training.slug} is running", hint=f"p2pvoice trainings stop {training.slug}"
        )
    freed = await trio.to_thread.run_sync(parts.trainings.remove, training.slug, limiter=parts.disk)
    return {"training": training.slug, "freed": freed, "draft": training.draft}


async def _find(parts: Parts, name: str, kind: Kind) -> Found:
    """An installed voice, else a draft of the user's own; nothing for an empty name."""
    if not name:
        return Found()
    try:
        release = await resolve_installed(parts, name)
    except NotFoundError as error:
        return await trio.to_thread.run_sync(_find_draft, parts, name, kind, error, limiter=parts.disk)
    folder = voice_folder(parts, release.id)
    return Found(
        identifier=release.id,
        files={file.path: folder / file.path for file in release.manifest.files},
        parents=((release.id, MANIFEST_KINDS[kind][1]),),
        languages=release.manifest.languages,
    )


def _forewarn(parts: Parts, base: Found) -> list[str]:
    known = [parts.catalog.release(release) for release, _ in base.parents]
    return [line for release in known if release is not None for line in forewarnings(parts, release)]


def _find_draft(parts: Parts, name: str, kind: Kind, error: P2PVoiceError) -> Found:
    try:
        draft = parts.drafts.get(name)
    except NotFoundError:
        raise error from None
    files = {str(path.relative_to(draft.bundle)): path for path in draft.bundle.rglob("*") if path.is_file()}
    # A draft has no id that others know; what it came from they may know.
    parents = {str(release): str(kind) for release, kind in draft.notes.get("parents", ())}
    # A fork's files are its parent's own: what is learnt from them is learnt from that release.
    forked = parent_of(draft)
    if forked:
        parents[forked] = MANIFEST_KINDS[kind][1]
    return Found(
        identifier=forked,
        files=files,
        parents=tuple(parents.items()),
        languages=tuple(draft.facts["languages"]),
    )


def _enrol(parts: Parts, wanted: Wanted, base: Found) -> Training:
    """Check the rest and make the training's folder; blocking."""
    if wanted.epochs is not None and wanted.minutes is not None:
        raise UsageError("a training ends after epochs or after minutes", hint="leave one of them out")
    lang = wanted.lang or next((lang for lang in base.languages if lang in LANGUAGES), "")
    if not lang:
        raise UsageError(
            f"the voice speaks {' '.join(base.languages)}, which no lite voice can be taught yet",
            hint="name another language: --lang " + ", --lang ".join(LANGUAGES),
        )
    clips = {name: parts.uploads.path(upload) for name, upload in wanted.clips}
    check_clips([(name, parts.uploads.path(upload).stat().st_size) for name, upload in wanted.clips])
    if not clips and wanted.kind != "distil":
        raise UsageError("there is nothing to train on", hint="give a recording of a minute or more")
    if clips and wanted.kind == "distil":
        raise UsageError("a voice is distilled from its own speech", hint="leave the clips out")
    transcripts = parts.uploads.path(wanted.transcripts) if wanted.transcripts else None
    if transcripts is not None and transcripts.stat().st_size > TRANSCRIPTS_BYTES:
        raise UsageError(f"a list of transcripts has at most {TRANSCRIPTS_BYTES} bytes")
    ear = recogniser(parts.home.bases, wanted.asr)
    if clips and transcripts is None and ear is None:
        raise UsageError(
            "the clips have no transcripts",
            hint='--transcripts LIST, --text "…" for a single clip, or p2pvoice base add asr DIR',
        )
    training = new_training(
        wanted.name,
        kind=wanted.kind,
        lang=lang,
        clips=tuple(Clip(name, path.stat().st_size) for name, path in clips.items()),
        transcripts=transcripts is not None,
        base=wanted.base,
        base_id=base.identifier,
        parents=base.parents,
        asr=ear.name if ear is not None else "",
        epochs=wanted.epochs,
        minutes=wanted.minutes,
        only=wanted.only,
        seed=wanted.seed,
        declaration=wanted.declaration or _declare(wanted, ear),
    )
    _spare_drafts(parts, training)
    parts.trainings.begin(training, clips, transcripts, base.files)
    return training


def _declare(wanted: Wanted, ear: Path | None) -> str:
    if wanted.kind == "distil":
        return f"speech of the voice {wanted.base}"
    heard = "" if wanted.transcripts or ear is None else f", transcribed by the recogniser {ear.name}"
    return DECLARATION + heard


def _spare_drafts(parts: Parts, training: Training) -> None:
    """ConflictError when the result would replace a draft that no training of this name has made."""
    for draft in parts.drafts.all():
        if draft.slug == training.slug and not draft.notes.get("training"):
            raise ConflictError(
                f"there is a draft {draft.slug} already", hint="choose another --name for the training"
            )
