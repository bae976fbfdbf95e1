"""Measuring all voices of a collection, one row each, for a table.

What is measured of a release is kept under its id and method (evaluations.py), so a run that was interrupted
goes on, and one that is repeated only measures what is new. Not for how anything is measured: see
worker_evaluating.py; nor for writing the table, which is the caller's. Follows specs/collections.md.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import mul
from pathlib import Path
from typing import Any, Final

from p2pvoice.node import collecting, measuring
from p2pvoice.node.bases import installed_bases, recogniser
from p2pvoice.node.evaluations import Evaluations
from p2pvoice.node.measuring import Subject
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import Tell, disk
from p2pvoice.protocol.collection import Item
from p2pvoice.protocol.consent_state import consent_facts
from p2pvoice.protocol.entries import LANGUAGE
from p2pvoice.protocol.errors import P2PVoiceError, UsageError
from p2pvoice.protocol.manifest import LANGUAGES_LIMIT, Release

SENTENCES_LIMIT: Final = 64
"""Test sentences in one language."""

SENTENCE_LENGTH: Final = 200
"""Characters of a test sentence."""

DESCRIBED: Final[Mapping[str, str]] = {
    "clips": "reference_clips",
    "seconds": "reference_seconds",
    "speech_seconds": "reference_speech_seconds",
    "voiced_seconds": "reference_voiced_seconds",
    "training_seconds": "training_seconds",
    "pitch_median": "pitch_median_hz",
    "pitch_low": "pitch_low_hz",
    "pitch_high": "pitch_high_hz",
    "pitch_range": "pitch_range_semitones",
    "speech_rate": "speech_rate_syllables_per_s",
    "loudness": "loudness_lufs",
    "peak": "peak_dbfs",
    "snr": "snr_db",
    "bandwidth": "bandwidth_hz",
    "hnr": "hnr_db",
    "jitter": "jitter_percent",
    "shimmer": "shimmer_percent",
    "cpps": "cpps_db",
    "h1_h2": "h1_h2_db",
    "hoarseness": "hoarseness_0_to_1",
    "breathiness": "breathiness_0_to_1",
    "vocal_tract": "vocal_tract_cm",
    "dnsmos_ovrl": "dnsmos_ovrl_1_to_5",
    "dnsmos_sig": "dnsmos_sig_1_to_5",
    "dnsmos_bak": "dnsmos_bak_1_to_5",
    "dnsmos_p808": "dnsmos_p808_1_to_5",
}
"""Fields of a description that a table has, and their columns. Guesses about a person are left out."""

STABILITY: Final = tuple(
    f"stability.{kind}.{name}" for kind in ("plain", "devices") for name in ("mean", "p5")
)
"""Fields of a stability report that a table has."""

COLUMNS: Final = (
    "collection", "place", "state", "release", "author", "slug", "name", "note", "languages", "tags",
    "license", "consent_subject", "consent_state", "consent_signed_by", "references_may_travel", "engine",
    "sample_rate_hz", "size_bytes", "created_utc", *DESCRIBED.values(), "spoken_language", "spoken_sentences",
    "spoken_seconds", "speed_rtf", "asr", "asr_errors", "asr_units", "wer_percent", "cer_percent",
    "similarity_voices", "similarity_mean_cosine", "similarity_nearest_cosine", "similarity_nearest_release",
    *(f"{name.replace('.', '_')}_cosine" for name in STABILITY), "methods", "problem",
)  # fmt: skip
"""The columns of the table, in order. A row has them all, empty (None) where nothing was measured.

``methods`` says what each figure was measured by, and with what confidence.
"""


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
        await collecting.fetch_voices(parts, source.items, seed=seed, tell=tell)
    facts = {"columns": list(COLUMNS), "collection": source.slug, "rows": len(source.items)}
    await tell({"event": "columns", **facts})
    if run.ear is None:
        message = "no recogniser is installed: no error rates (p2pvoice base add asr FOLDER)"
        await tell({"event": "warning", "message": message})
    rows = [await _facts(parts, source.slug, number, item) for number, item in enumerate(source.items, 1)]
    here = [row["release"] for row in rows if row["state"] == collecting.HERE]
    for row in rows:
        if row["state"] == collecting.HERE:
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


async def _facts(parts: Parts, collection: str, place: int, item: Item) -> dict[str, Any]:
    """A row before anything was measured: whose voice it is, and under what."""

    def read() -> dict[str, Any]:
        known = collecting.item_facts(parts, item)
        row = dict.fromkeys(COLUMNS) | {
            "collection": collection,
            "place": place,
            "note": item.note,
            **{key: known.get(key) for key in ("state", "release", "author", "slug", "name")},
        }
        release = parts.catalog.release(item.release)
        return row | (_release_facts(release) if release is not None else {})

    row: dict[str, Any] = await disk(parts, read)
    return row


def _release_facts(release: Release) -> dict[str, Any]:
    manifest = release.manifest
    consent = consent_facts(manifest, time.time())
    return {
        "languages": " ".join(manifest.languages),
        "tags": " ".join(manifest.tags),
        "license": manifest.license,
        "consent_subject": consent["subject"],
        "consent_state": consent["state"],
        "consent_signed_by": consent["signed_by"],
        "references_may_travel": consent["references_may_travel"],
        "engine": f"{manifest.engine.family} {manifest.engine.version}",
        "sample_rate_hz": manifest.engine.sample_rate,
        "size_bytes": sum(file.size for file in manifest.files),
        "created_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(manifest.created)),
    }


async def _measure(run: _Run, row: dict[str, Any], here: Sequence[str], tell: Tell) -> None:
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


def _fill(run: _Run, row: dict[str, Any]) -> None:
    """Put what is kept of a release into its row. Blocks on the database."""
    release = str(row["release"])
    by_method: dict[str, list[str]] = {}
    for one in run.kept.get(release, "describe/1") or ():
        column = DESCRIBED.get(one["field"])
        if column is not None:
            row[column] = float(one["value"])
            by_method.setdefault(one["method"], []).append(f"{column} {one['confidence']} %")
    methods = [f"{', '.join(columns)}: {method}" for method, columns in by_method.items()]
    speech = run.kept.get(release, run.methods()["speech"])
    if speech is not None:
        row["spoken_language"], row["spoken_sentences"] = speech["lang"], speech["sentences"]
        row["spoken_seconds"], row["speed_rtf"] = speech["seconds"], speech["rtf"]
        methods.append(f"spoken: {run.wish.spoken} sentences")
        methods.append("speed_rtf: seconds of computing a second of speech, loaded, this machine")
    heard = run.kept.get(release, run.methods().get("heard", ""))
    if heard is not None and run.ear is not None:
        row["asr"], row["asr_errors"], row["asr_units"] = run.ear.name, heard["errors"], heard["units"]
        column = f"{heard['kind']}_percent"
        row[column] = round(100 * heard["errors"] / max(1, heard["units"]), 2)
        hint = "" if heard["knows"] else ", which does not know this language: a hint, no more"
        methods.append(f"{column}: recogniser {run.ear_id}{hint}")
    if run.wish.stability:
        for name, value in (run.kept.get(release, "stability/1") or {}).items():
            if name in STABILITY:
                row[f"{name.replace('.', '_')}_cosine"] = float(value)
    row["methods"] = "; ".join(methods) or None


def _compare(run: _Run, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
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
            # Of equals the same one each time, whatever order they were measured in.
            nearest = max(cosines, key=lambda other: (cosines[other], other))
            row["similarity_voices"] = len(cosines)
            row["similarity_mean_cosine"] = round(sum(cosines.values()) / len(cosines), 4)
            row["similarity_nearest_cosine"] = cosines[nearest]
            row["similarity_nearest_release"] = nearest
            row["methods"] = f"{row['methods'] or ''}; similarity: cosine of speaker embeddings (GE2E)".strip(
                "; "
            )
            changed.append(row)
    return changed
