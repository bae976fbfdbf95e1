"""Measuring all voices of a collection, one row each, for a table.

What is measured of a release is kept under its id and method (evaluations.py), so a run that was interrupted
goes on, and one that is repeated only measures what is new. Not for how anything is measured: see
worker_evaluating.py; nor for writing the table, which is the caller's. Follows specs/collections.md.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import mul
from pathlib import Path
from typing import Any, Final

from p2pvoice.node import measuring
from p2pvoice.node.bases import installed_bases, recogniser
from p2pvoice.node.collection_facts import HERE
from p2pvoice.node.collection_fetching import fetch_voices
from p2pvoice.node.evaluation_rows import (
    COLUMNS,
    Row,
    new_row,
    put_compared,
    put_described,
    put_heard,
    put_spoken,
    put_stable,
)
from p2pvoice.node.evaluations import Evaluations
from p2pvoice.node.measuring import Subject
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import Tell, disk
from p2pvoice.protocol.entries import LANGUAGE
from p2pvoice.protocol.errors import P2PVoiceError, UsageError
from p2pvoice.protocol.manifest import LANGUAGES_LIMIT

SENTENCES_LIMIT: Final = 64
"""Test sentences in one language."""

SENTENCE_LENGTH: Final = 200
"""Characters of a test sentence."""


@dataclass(frozen=True)
class Wish:
    """What to measure: a recogniser by name, sentences by language (None for our own), and how much anew."""

    asr: str = ""
    sentences: Mapping[str, Sequence[str]] | None = None
    stability: bool = False
    fetch: bool = False
    again: bool = False

    def __post_init__(self) -> None:
        if self.sentences is None:
            return
        if not 1 <= len(self.sentences) <= LANGUAGES_LIMIT:
            raise UsageError(f"sentences are in 1 to {LANGUAGES_LIMIT} languages")
        for lang, texts in self.sentences.items():
            if not LANGUAGE.fullmatch(lang):
                raise UsageError(f"{lang[:40]!r} is not a language", hint="yue, zh, en …")
            if not 1 <= len(texts) <= SENTENCES_LIMIT:
                raise UsageError(
                    f"there are 1 to {SENTENCES_LIMIT} sentences in a language, not {len(texts)}"
                )
            if not all(text.strip() and len(text) <= SENTENCE_LENGTH for text in texts):
                raise UsageError(f"a test sentence has 1 to {SENTENCE_LENGTH} characters")

    @property
    def spoken(self) -> str:
        """The name under which what is spoken is kept: equal sentences, equal name."""
        if self.sentences is None:
            return "ordinary"
        listed = json.dumps({key: list(value) for key, value in sorted(self.sentences.items())})
        return hashlib.sha256(listed.encode()).hexdigest()[:16]


@dataclass
class _Run:
    """One evaluation while it goes on."""

    parts: Parts
    wish: Wish
    ear: Path | None
    ear_id: str
    kept: Evaluations
    #: Release -> embedding, for as long as the run lasts and nowhere else.
    embeddings: dict[str, list[float]] = field(default_factory=dict)
    #: False once the packages for comparing turned out to be missing.
    comparing: bool = True

    def methods(self) -> dict[str, str]:
        """What each kind of figure is kept under. The number counts what makes old figures another thing."""
        spoken = self.wish.spoken
        names = {"describe": "describe/1", "speech": f"speech/1/{spoken}"}
        if self.ear is not None:
            names["heard"] = f"heard/1/{spoken}/{self.ear_id}"
        if self.wish.stability:
            names["stability"] = "stability/1"
        return names

    @property
    def cosines(self) -> str:
        """What cosines to other releases are kept under, before the other's id."""
        return f"cosine/1/{self.wish.spoken}/"

    @property
    def mute(self) -> str:
        """Under this it is kept why a release cannot be compared, or an empty text when it can."""
        return f"mute/1/{self.wish.spoken}"


async def evaluate(parts: Parts, ref: str, wish: Wish, tell: Tell) -> dict[str, Any]:
    """Measure a collection: an event ``columns``, then ``row`` for each release as it is done.

    A row comes once more when it was compared with all others. A voice that cannot be measured has a row
    that says why. Raises ConflictError while a training runs, NotFoundError for a recogniser that is not
    installed, and what naming a collection raises.
    """
    parts.trainer.require_idle()
    run = await _begin(parts, wish)
    draft, kept = await disk(parts, lambda: parts.collections.named(ref, parts.author))
    source = draft if draft is not None else kept.signed.collection
    if wish.fetch:
        seed = kept.seed if kept is not None else True
        await fetch_voices(parts, source.items, seed=seed, tell=tell)
    facts = {"columns": list(COLUMNS), "collection": source.slug, "rows": len(source.items)}
    await tell({"event": "columns", **facts})
    if run.ear is None:
        message = "no recogniser is installed: no error rates (p2pvoice base add asr FOLDER)"
        await tell({"event": "warning", "message": message})
    rows: list[Row] = await disk(
        parts,
        lambda: [new_row(parts, source.slug, place, item) for place, item in enumerate(source.items, 1)],
    )
    here = [row["release"] for row in rows if row["state"] == HERE]
    for row in rows:
        if row["state"] == HERE:
            await _measure(run, row, here, tell)
        await tell({"event": "row", "row": row})
    for row in await disk(parts, lambda: _compare(run, rows)):
        await tell({"event": "row", "row": row})
    return {
        "collection": source.slug,
        "rows": len(rows),
        "measured": sum(row["state"] == "measured" for row in rows),
    }


async def _begin(parts: Parts, wish: Wish) -> _Run:
    def look() -> tuple[Path | None, str]:
        ear = recogniser(parts.home.bases, wish.asr)
        if ear is None:
            return None, ""
        facts = next(row for row in installed_bases(parts.home.bases) if row["name"] == ear.name)
        return ear, str(facts.get("id") or ear.name)

    ear, identifier = await disk(parts, look)
    return _Run(parts, wish, ear, identifier, parts.evaluations)


async def _measure(run: _Run, row: Row, here: Sequence[str], tell: Tell) -> None:
    """Fill a row with what is kept of its release, after measuring what is not."""
    release = str(row["release"])
    notes: list[str] = []
    try:
        place = await measuring.place(run.parts, Subject(voice=release))
        wanted = await disk(run.parts, lambda: _missing(run, release, here))
        if "stability" in wanted:
            wanted.remove("stability")
            report = await measuring.stability(run.parts, Subject(voice=release), _named(tell, row))
            figures = {one["field"]: one["value"] for one in report["measured"]}
            await disk(run.parts, lambda: run.kept.put(release, {"stability/1": figures}))
        if wanted:
            notes += await _ask_worker(run, release, place, wanted, _named(tell, row))
        row["state"] = "measured"
    except P2PVoiceError as error:
        # One voice that cannot be measured must not cost the rest of the table.
        row["state"] = "failed"
        notes = [error.message]
    await disk(run.parts, lambda: _fill(run, row))
    mute = await disk(run.parts, lambda: run.kept.get(release, run.mute))
    row["problem"] = "; ".join(notes) or mute or None


def _missing(run: _Run, release: str, here: Sequence[str]) -> list[str]:
    """What has to be measured of a release. Blocks on the database."""
    wanted = [
        kind for kind, name in run.methods().items() if run.wish.again or run.kept.get(release, name) is None
    ]
    # A voice that cannot speak any of the sentences would be asked for in vain each time.
    others = [other for other in here if other != release and not run.kept.get(other, run.mute)]
    if run.comparing and others and (run.wish.again or not run.kept.get(release, run.mute)):
        known = run.kept.beginning(release, run.cosines)
        if run.wish.again or not set(others) <= set(known):
            wanted.append("embedding")
    return wanted


async def _ask_worker(
    run: _Run, release: str, place: Mapping[str, Any], wanted: Sequence[str], tell: Tell
) -> list[str]:
    """Have the worker measure; keeps what came and returns the notes."""

    async def on_progress(data: Any) -> None:
        await tell({"event": "progress", **data})

    found = await run.parts.training_engine.call(
        "evaluate",
        {
            "subject": place,
            "wanted": list(wanted),
            "sentences": run.wish.sentences,
            "asr": str(run.ear) if run.ear is not None else None,
            "bases": run.parts.bases(),
        },
        on_progress=on_progress,
    )
    embedding = found.pop("embedding", None)
    if embedding is not None:
        run.embeddings[release] = embedding
    elif any("packages that are not installed" in note for note in found["notes"]):
        run.comparing = False
    methods = run.methods()
    keep = {methods[kind]: data for kind, data in found.items() if kind in methods and data is not None}
    if "embedding" in wanted and run.comparing:
        keep[run.mute] = "" if embedding is not None else "; ".join(found["notes"]) or "not compared"
    await disk(run.parts, lambda: run.kept.put(release, keep))
    return list(found["notes"])


def _named(tell: Tell, row: Mapping[str, Any]) -> Tell:
    """Progress that says of which voice it is."""

    async def named(event: Mapping[str, Any]) -> None:
        await tell({**event, "voice": row["slug"]})

    return named


def _fill(run: _Run, row: Row) -> None:
    """Put what is kept of a release into its row. Blocks on the database."""
    names = run.methods()
    kept = {kind: run.kept.get(str(row["release"]), name) for kind, name in names.items()}
    if kept["describe"] is not None:
        put_described(row, kept["describe"])
    if kept["speech"] is not None:
        put_spoken(row, kept["speech"], run.wish.spoken)
    if kept.get("heard") is not None and run.ear is not None:
        put_heard(row, kept["heard"], run.ear.name, run.ear_id)
    if kept.get("stability") is not None:
        put_stable(row, kept["stability"])


def _compare(run: _Run, rows: Sequence[Row]) -> list[Row]:
    """Compare every measured voice with all others, as far as they could be heard; the rows that changed.

    Blocks: on the database, and some seconds on a full collection.
    """
    measured = {str(row["release"]): row for row in rows if row["state"] == "measured"}
    known = {release: run.kept.beginning(release, run.cosines) for release in measured}
    for release, vector in run.embeddings.items():
        new = {
            other: round(sum(map(mul, vector, theirs)), 4)
            for other, theirs in run.embeddings.items()
            if other != release and (run.wish.again or other not in known.get(release, {}))
        }
        known.setdefault(release, {}).update(new)
        run.kept.put(release, {run.cosines + other: cosine for other, cosine in new.items()})
    changed = []
    for release, row in measured.items():
        cosines = {other: cosine for other, cosine in known[release].items() if other in measured}
        if cosines:
            put_compared(row, cosines)
            changed.append(row)
    return changed
