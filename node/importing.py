"""From files of the user's own to a draft.

The worker opens the files, without running anything in them, and makes the bundle in its scratch folder; it
is taken from there into the drafts. Not for drafts that a training makes (enrol.py, training.py), nor for
publishing one (publish.py). Follows specs/store.md, "Drafts", and specs/checkpoints.md.
"""

import re
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node.drafts import Draft
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import resolve
from p2pvoice.node.written import take

#: Told of each step of a long operation.
Step = Callable[[Mapping[str, Any]], Awaitable[None]]

#: Endings of a reference clip's name that the audio reader is told about.
CLIP_NAME = re.compile(r"\.(wav|flac|mp3|ogg|opus|m4a)$", re.IGNORECASE)


@dataclass(frozen=True)
class SentClip:
    """A reference clip that a caller sent: an upload, its name as the caller knows it, and what is said."""

    clip: str
    clip_name: str
    text: str
    lang: str


@dataclass(frozen=True)
class Import:
    """What a caller sent to make a draft of."""

    name: str
    slug: str | None
    sovits: str
    gpt: str
    clips: Sequence[SentClip]
    """At least one; speaking prompts with the first."""
    #: VOICEs that the weights were fine-tuned from, by whatever program.
    parents: tuple[str, ...] = ()


async def import_voice(parts: Parts, wanted: Import, step: Step) -> Draft:
    """Make a draft of uploads. The uploads are gone afterwards, whatever happened.

    Raises what resolving a parent raises, before anything is read.
    """
    names = (wanted.sovits, wanted.gpt, *(one.clip for one in wanted.clips))
    try:
        parents = [(await resolve(parts, parent, prefer_installed=True)).id for parent in wanted.parents]
        notes = {"parents": [[parent, "fine-tuned-from"] for parent in dict.fromkeys(parents)]}
        sovits, gpt, *clips = (parts.uploads.path(name) for name in names)
        first, *more = (
            {"clip": str(path), "clip_ending": _ending(one.clip_name), "text": one.text, "lang": one.lang}
            for path, one in zip(clips, wanted.clips, strict=True)
        )
        arguments = {"sovits": str(sovits), "gpt": str(gpt), **first, "more": more}
        return await _grow(parts, "import", wanted.name, wanted.slug, arguments, step, notes)
    finally:
        parts.uploads.discard(*names)


def _ending(name: str) -> str:
    found = CLIP_NAME.search(name)
    return found.group(1).lower() if found else "wav"


async def import_bundled(parts: Parts, name: str, step: Step) -> Draft:
    """Make a draft of the voice that comes with the package."""
    return await _grow(parts, "import_bundled", name, None, {}, step)


async def _grow(
    parts: Parts,
    operation: str,
    name: str,
    slug: str | None,
    arguments: dict[str, Any],
    step: Step,
    notes: Mapping[str, Any] | None = None,
) -> Draft:
    async with parts.drafting:
        chosen, bundle = await trio.to_thread.run_sync(parts.drafts.begin, name, slug, limiter=parts.disk)
        # The worker cannot reach the drafts: what it makes is moved there.
        made = parts.engine.scratch / "bundle"
        try:
            await trio.to_thread.run_sync(remove, made, limiter=parts.disk)
            facts = await parts.engine.call(
                operation, {**arguments, "out": str(made), "bases": parts.bases()}, on_progress=step
            )
            await trio.to_thread.run_sync(take, made, bundle, limiter=parts.disk)
            return await trio.to_thread.run_sync(
                parts.drafts.finish, name, chosen, facts, notes, limiter=parts.disk
            )
        finally:
            parts.drafts.abandon(chosen)
            remove(made)


def remove(folder: Path) -> None:
    """Remove a folder, if it is there; blocking."""
    shutil.rmtree(folder, ignore_errors=True)
