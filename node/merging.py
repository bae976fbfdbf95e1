"""Merging a release into a voice of one's own: a draft, spoken with and measured, for its author to publish.

Refuses with a reason what cannot be merged, has the worker compute, lets the voice speak as it was, as the
other is and as it would be, and keeps draft and report. Publishes nothing: see publish.py; where the draft's
licence and consent come from, see reuse.py. Follows specs/merging.md.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from p2pvoice.node import inheriting, judging
from p2pvoice.node.bases import recogniser
from p2pvoice.node.drafts import Draft
from p2pvoice.node.kinship import related
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import Parts
from p2pvoice.node.visiting import visiting
from p2pvoice.node.voices import Tell, disk, resolve
from p2pvoice.node.written import take
from p2pvoice.protocol.errors import ConflictError, NotFoundError, RefusedError, UsageError
from p2pvoice.protocol.ids import SLUG_LIMIT, author_id
from p2pvoice.protocol.manifest import PARENTS_LIMIT, Release
from p2pvoice.protocol.provenance import MEASURED_LIMIT, METHOD_LENGTH

#: How two voices can become one.
MODES = ("take", "average", "layers")

#: Share of theirs in an average, in thousandths, when nobody says.
SHARE = 500

#: Percentage of trust in a figure from half a minute of speech.
JUDGED_CONFIDENCE = 70

#: Parents of ours that a merge names again, the latest ones.
PARENTS_KEPT = PARENTS_LIMIT - 2

#: How the slug of a merged draft ends.
ENDING = "-merge"

#: Characters of a release id that a hint shows.
SHOWN = 17

#: Files of a release that are not part of its bundle.
NOT_TAKEN = frozenset({"preview.wav", "preview.flac"})

#: Figure of a report -> field and unit in a manifest.
FIELDS = {"similarity": ("similarity", "cosine"), "quality": ("dnsmos_ovrl", "1-5"), "errors": ("errors", "")}


@dataclass(frozen=True)
class Wanted:
    """What the author asks for: ``theirs`` into ``voice``. ``parts`` are words of specs/merging.md."""

    voice: str
    theirs: str
    mode: str
    share: int = SHARE
    parts: tuple[str, ...] = ()
    asr: str = ""
    sentences: tuple[str, ...] = ()
    lang: str = ""
    unrelated: bool = False
    #: The operation of the proposal that is merged; empty for a merge that nobody proposed.
    proposal: str = ""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"{self.mode[:40]!r} is no way to merge", hint="modes: " + " ".join(MODES))
        if self.mode == "average" and not 0 < self.share < 1000:
            raise UsageError("a share lies between 0 and 1", hint="--mode take is all of the other voice")
        if (self.mode == "layers") != bool(self.parts):
            raise UsageError(
                "--mode layers takes named parts of the other voice, and no other mode does",
                hint="--mode layers --part decoder",
            )


@dataclass(frozen=True)
class _Merge:
    """Both releases, and what is asked for."""

    ours: Release
    theirs: Release
    wanted: Wanted
    sentences: list[tuple[str, str]] = field(default_factory=list)
    ear: Path | None = None

    @property
    def slug(self) -> str:
        """The slug of the draft."""
        return self.ours.manifest.slug[: SLUG_LIMIT - len(ENDING)].rstrip("-") + ENDING


async def merge(parts: Parts, wanted: Wanted, tell: Tell) -> dict[str, Any]:
    """Merge a release into the newest one of a voice of this node's author; the draft and its report.

    Raises RefusedError for somebody else's voice, ConflictError with the reason for two that cannot be
    merged, and what fetching, admission and synthesis raise; then there is no draft.
    """
    ours = await _own_head(parts, wanted.voice)
    theirs = await resolve(parts, wanted.theirs)
    require_same_kind(ours, theirs)
    if not wanted.unrelated and not await related(parts, ours, theirs):
        raise ConflictError(
            f"{theirs.manifest.name} is not of one lineage with {ours.manifest.name}: as far as is known "
            "neither comes from the other, nor both from a third",
            hint="--unrelated, if you know that their weights come from the same base",
        )
    for message in await disk(parts, lambda: inheriting.forewarnings(parts, theirs)):
        await tell({"event": "warning", "message": message})
    sentences = judging.sentences_for(ours.manifest.languages, wanted.sentences, wanted.lang)
    ear = await disk(parts, lambda: recogniser(parts.home.bases, wanted.asr))
    merging = _Merge(ours, theirs, wanted, sentences, ear)
    async with (
        visiting(parts, ours, tell) as our_folder,
        visiting(parts, theirs, tell) as their_folder,
        parts.drafting,
    ):
        await disk(parts, lambda: _spare_drafts(parts, merging.slug))
        slug, bundle = await disk(parts, lambda: parts.drafts.begin(ours.manifest.name, merging.slug))
        try:
            made = await _make(parts, merging, our_folder, their_folder, bundle, tell)
            folders = {"before": our_folder, "theirs": their_folder, "after": bundle}
            report, samples = await _judge(parts, merging, folders, tell)
            notes = _notes(merging, made, report)
            draft: Draft = await disk(
                parts, lambda: parts.drafts.finish(ours.manifest.name, slug, made["facts"], notes)
            )
        finally:
            parts.drafts.abandon(slug)
    return {
        "draft": draft.slug,
        "voice": ours.manifest.slug,
        "ours": ours.id,
        "theirs": theirs.id,
        "mode": wanted.mode,
        "share": wanted.share / 1000 if wanted.mode == "average" else None,
        "taken": made["parts"],
        "changes": made["changes"],
        "report": report,
        "samples": samples,
    }


async def _own_head(parts: Parts, ref: str) -> Release:
    """The newest release of the author's own voice."""
    named = await resolve(parts, ref)
    slug, author = named.manifest.slug, author_id(named.manifest.author)
    if author != parts.author:
        raise RefusedError(
            f"{named.manifest.name} is {author}'s voice: only its author merges into it",
            hint="merge into a voice of your own, and propose that",
        )
    head = await disk(parts, lambda: parts.catalog.head(author, slug))
    newest = await disk(parts, lambda: parts.catalog.release(head.release)) if head is not None else None
    if newest is None:
        raise NotFoundError(f"the voice {slug} has no release to merge into", hint="p2pvoice publish DRAFT")
    found: Release = newest
    return found


def require_same_kind(ours: Release, theirs: Release) -> None:
    """ConflictError for what the manifests already show cannot be merged."""
    if ours.id == theirs.id:
        raise ConflictError("there is nothing to merge: it is the voice's newest release")
    a, b = ours.manifest.engine, theirs.manifest.engine
    for what, one, two in (
        ("family", a.family, b.family),
        ("version", a.version, b.version),
        ("sample rate", f"{a.sample_rate} Hz", f"{b.sample_rate} Hz"),
    ):
        if one != two:
            raise ConflictError(f"the two voices cannot be merged: the {what} is {two}, not {one}")


def _spare_drafts(parts: Parts, slug: str) -> None:
    """ConflictError when the result would replace a draft that no merge has made."""
    for draft in parts.drafts.all():
        if draft.slug == slug and not draft.notes.get("merge"):
            raise ConflictError(
                f"there is a draft {slug} already, which no merge has made",
                hint=f"p2pvoice publish {slug}, or move drafts/{slug} out of the home",
            )


async def _make(
    parts: Parts, merging: _Merge, ours: Path, theirs: Path, bundle: Path, tell: Tell
) -> dict[str, Any]:
    """Make the merged bundle: its facts for a manifest, the parts that were taken, and what changed."""

    async def on_progress(data: Mapping[str, Any]) -> None:
        await tell({"event": "progress", **data})

    wanted = merging.wanted
    if wanted.mode == "take":
        await disk(parts, partial(_copy, theirs, bundle))
        facts = await parts.engine.call("inspect", {"folder": str(bundle), "bases": parts.bases()})
        made: dict[str, Any] = {"facts": facts, "parts": []}
    else:
        out = parts.engine.scratch / "merged"
        arguments = {
            "ours": str(ours),
            "theirs": str(theirs),
            "out": str(out),
            "mode": wanted.mode,
            "share": wanted.share,
            "parts": list(wanted.parts),
            "bases": parts.bases(),
        }
        try:
            made = await parts.engine.call("merge", arguments, on_progress=on_progress)
            await disk(parts, partial(take, out, bundle))
        finally:
            await disk(parts, partial(shutil.rmtree, out, ignore_errors=True))
    compared = await parts.engine.call("compare", {"a": str(ours), "b": str(bundle)}, on_progress=on_progress)
    if not any(row["changed"] for row in compared["parts"]):
        raise ConflictError(
            "there is nothing to merge: the voice would stay as it is",
            hint=f"p2pvoice diff {merging.ours.id[:SHOWN]} {merging.theirs.id[:SHOWN]}",
        )
    return made | {"changes": compared["parts"]}


def _copy(folder: Path, bundle: Path) -> None:
    """Copy the files of a release, which lie behind links, as they are."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and str(name) not in NOT_TAKEN:
            (bundle / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(path, bundle / name)


async def _judge(
    parts: Parts, merging: _Merge, folders: Mapping[str, Path], tell: Tell
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report, and the samples it is made of."""
    releases = {"before": merging.ours, "theirs": merging.theirs}
    speakers = [
        judging.Speaker(role, LoadableVoice(_key(releases.get(role), folder), folder, (), releases.get(role)))
        for role, folder in folders.items()
    ]
    # The same folder held another merge before: a voice that is still loaded from it is not this one.
    await parts.engine.call("forget", {"key": str(folders["after"])})
    spoken, samples = await judging.speak_side_by_side(parts, speakers, merging.sentences, tell)
    report = await judging.judge(parts, spoken, merging.sentences, merging.ear, tell)
    return report, samples


def _key(release: Release | None, folder: Path) -> str:
    """What keeps a voice loaded in the worker."""
    return release.id if release is not None else str(folder)


def _notes(merging: _Merge, made: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """What the draft says when it is published, and what reuse.py needs for that."""
    ours, theirs, wanted = merging.ours.manifest, merging.theirs.manifest, merging.wanted
    taken = wanted.mode == "take"
    clips = theirs if taken or "references" in wanted.parts else ours
    measured = {one.field: one.to_map() for one in (theirs.measured if taken else ())}
    measured |= {row["field"]: row for row in figures(report)}
    return {
        "voice": ours.slug,
        "parents": _parents(merging),
        "training": theirs.training.to_map() if taken and theirs.training is not None else None,
        "measured": list(measured.values())[:MEASURED_LIMIT],
        # A release whose recordings may not travel holds clips that the voice spoke already.
        "own_clips": not clips.consent.references_may_travel,
        "merge": {
            "ours": merging.ours.id,
            "theirs": merging.theirs.id,
            "mode": wanted.mode,
            "share": wanted.share if wanted.mode == "average" else None,
            "parts": list(made["parts"]),
            "proposal": wanted.proposal,
            "report": dict(report),
        },
    }


def _parents(merging: _Merge) -> list[list[str]]:
    """What the merged weights come from beside the release before, which publishing adds.

    What ours names stays named: whoever asks for its ancestors may find the newest release only.
    """
    kept = [
        [parent.release, parent.kind]
        for parent in merging.ours.manifest.parents
        if parent.kind != "revision-of" and parent.release != merging.theirs.id
    ]
    before = [] if merging.wanted.mode == "take" else kept[-PARENTS_KEPT:]
    return [*before, [merging.theirs.id, "merged-from"]]


def figures(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a report says of the merged voice, as measured fields of a manifest."""
    found = []
    for name, (field_name, unit) in FIELDS.items():
        row = report[name]
        if row.get("after") is None:
            continue
        before = "" if name == "similarity" else f", before {row['before']}"
        spoken = int(report["sentences"])
        method = f"{row['method']}; {spoken} sentence{'' if spoken == 1 else 's'}{before}"
        found.append(
            {
                "field": field_name,
                "value": str(row["after"]),
                "unit": unit,
                "method": method[:METHOD_LENGTH],
                "confidence": JUDGED_CONFIDENCE,
            }
        )
    return found
