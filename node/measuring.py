"""Measuring voices and recordings: what the daemon looks up before the worker measures.

A subject is an installed voice, a draft, or a file that was sent; the worker gets folders and paths of ours
only. What is found of a draft is kept with it and published with it. Follows specs/measurement.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node.admit import voice_folder
from p2pvoice.node.bases import recogniser
from p2pvoice.node.parts import Parts
from p2pvoice.node.training import Tell
from p2pvoice.node.voices import resolve_installed
from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.provenance import MEASURED_LIMIT

#: Bytes of a recording that is measured.
CLIP_BYTES = 768 << 20


@dataclass(frozen=True)
class Subject:
    """What is measured: exactly one of an installed voice, a draft of this home, and an upload."""

    voice: str = ""
    draft: str = ""
    upload: str = ""

    def __post_init__(self) -> None:
        if sum(bool(one) for one in (self.voice, self.draft, self.upload)) != 1:
            raise UsageError("name one voice, draft or upload")


async def describe(
    parts: Parts, subject: Subject, *, name: str, lang: str, said: str, asr: str, tell: Tell
) -> dict[str, Any]:
    """Measure a draft by its reference clips, or a recording; what is found of a draft is kept with it."""
    try:
        ear = await trio.to_thread.run_sync(recogniser, parts.home.bases, asr, limiter=parts.disk)
        found = await parts.engine.call(
            "describe",
            {
                "subject": await place(parts, subject),
                "name": name,
                "lang": lang,
                "text": said,
                "asr": str(ear) if ear is not None else None,
                "bases": parts.bases(),
            },
            on_progress=_progress(tell),
        )
    finally:
        parts.uploads.discard(*([subject.upload] if subject.upload else []))
    if subject.draft:
        await _keep(parts, subject.draft, found["measured"], found["tags"])
    return found


async def similarity(parts: Parts, a: Subject, b: Subject, tell: Tell) -> dict[str, Any]:
    """How alike two speakers are: the cosine of their embeddings."""
    try:
        arguments = {"a": await place(parts, a), "b": await place(parts, b), "bases": parts.bases()}
        return await parts.engine.call("similarity", arguments, on_progress=_progress(tell))
    finally:
        parts.uploads.discard(*(one.upload for one in (a, b) if one.upload))


async def stability(parts: Parts, subject: Subject, tell: Tell) -> dict[str, Any]:
    """How well a voice stays itself. Takes minutes, so it runs where trainings run, and not beside one."""
    parts.trainer.require_idle()
    where = await place(parts, subject)
    found = await parts.training_engine.call(
        "stability", {"subject": where, "bases": parts.bases()}, on_progress=_progress(tell)
    )
    if subject.draft:
        await _keep(parts, subject.draft, found["measured"])
    return found


async def _keep(parts: Parts, name: str, rows: list[dict[str, Any]], tags: list[str] | None = None) -> None:
    """Note figures, and tags if they were proposed, with a draft; a figure replaces its older self."""

    def keep() -> None:
        draft = parts.drafts.get(name)
        merged = {row["field"]: row for row in [*draft.notes.get("measured", []), *rows]}
        notes: dict[str, Any] = {"measured": list(merged.values())[:MEASURED_LIMIT]}
        parts.drafts.note(draft, notes | ({"tags": tags} if tags is not None else {}))

    async with parts.drafting:
        await trio.to_thread.run_sync(keep, limiter=parts.disk)


async def place(parts: Parts, subject: Subject) -> dict[str, Any]:
    """A subject as the worker needs it: where it is, what keeps it loaded, and what is known of it."""
    if subject.upload:
        path = parts.uploads.path(subject.upload)
        if path.stat().st_size > CLIP_BYTES:
            raise UsageError(f"a recording to measure has at most {CLIP_BYTES} bytes")
        return {"kind": "clip", "path": str(path)}
    if subject.draft:
        draft = await trio.to_thread.run_sync(parts.drafts.get, subject.draft, limiter=parts.disk)
        key = f"draft {draft.slug} {draft.created}"
        training = draft.notes.get("training") or {}
        return {
            "kind": "voice",
            "path": str(draft.bundle),
            "key": key,
            "languages": list(draft.facts["languages"]),
            "training_seconds": (training.get("data") or {}).get("seconds"),
        }
    release = await resolve_installed(parts, subject.voice)
    training_record = release.manifest.training
    return {
        "kind": "voice",
        "path": str(Path(voice_folder(parts, release.id))),
        "key": release.id,
        "languages": list(release.manifest.languages),
        "training_seconds": training_record.data.seconds if training_record is not None else None,
    }


def _progress(tell: Tell) -> Tell:
    async def on_progress(data: Any) -> None:
        await tell({"event": "progress", **data})

    return on_progress
