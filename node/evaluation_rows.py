"""The rows of an evaluation: their columns, and what each kind of figure puts into them.

A row is a map with every column, empty (None) where nothing is known. Nothing is measured here and nothing is
kept: see evaluating.py and evaluations.py. Follows specs/collections.md, "Evaluation".
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from p2pvoice.node.collection_facts import item_facts
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.collection import Item
from p2pvoice.protocol.consent_state import consent_facts
from p2pvoice.protocol.manifest import Release

Row = dict[str, Any]

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


def _stability_column(name: str) -> str:
    return f"{name.replace('.', '_')}_cosine"


COLUMNS: Final = (
    "collection", "place", "state", "release", "author", "slug", "name", "note", "languages", "tags",
    "license", "consent_subject", "consent_state", "consent_signed_by", "references_may_travel", "engine",
    "sample_rate_hz", "size_bytes", "created_utc", *DESCRIBED.values(), "spoken_language", "spoken_sentences",
    "spoken_seconds", "speed_rtf", "asr", "asr_errors", "asr_units", "wer_percent", "cer_percent",
    "similarity_voices", "similarity_mean_cosine", "similarity_nearest_cosine", "similarity_nearest_release",
    *map(_stability_column, STABILITY), "methods", "problem",
)  # fmt: skip
"""The columns of the table, in order. A row has them all, empty (None) where nothing was measured.

``methods`` says what each figure was measured by, and with what confidence.
"""


def new_row(parts: Parts, collection: str, place: int, item: Item) -> Row:
    """A row before anything was measured: whose voice it is, and under what. Blocks on the catalog."""
    known = item_facts(parts, item)
    row: Row = dict.fromkeys(COLUMNS) | {
        "collection": collection,
        "place": place,
        "note": item.note,
        **{key: known.get(key) for key in ("state", "release", "author", "slug", "name")},
    }
    release = parts.catalog.release(item.release)
    return row | (_release_facts(release) if release is not None else {})


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


def put_described(row: Row, figures: Iterable[Mapping[str, Any]]) -> None:
    """What a description found of the reference clips."""
    by_method: dict[str, list[str]] = {}
    for one in figures:
        column = DESCRIBED.get(one["field"])
        if column is not None:
            row[column] = float(one["value"])
            by_method.setdefault(one["method"], []).append(f"{column} {one['confidence']} %")
    for method, columns in by_method.items():
        _add_method(row, f"{', '.join(columns)}: {method}")


def put_spoken(row: Row, speech: Mapping[str, Any], sentences: str) -> None:
    """What was said, and how fast; ``sentences`` names them."""
    row["spoken_language"], row["spoken_sentences"] = speech["lang"], speech["sentences"]
    row["spoken_seconds"], row["speed_rtf"] = speech["seconds"], speech["rtf"]
    _add_method(row, f"spoken: {sentences} sentences")
    _add_method(row, "speed_rtf: seconds of computing a second of speech, loaded, this machine")


def put_heard(row: Row, heard: Mapping[str, Any], name: str, identifier: str) -> None:
    """What a recogniser got wrong, under its name here and its id."""
    row["asr"], row["asr_errors"], row["asr_units"] = name, heard["errors"], heard["units"]
    column = f"{heard['kind']}_percent"
    row[column] = round(100 * heard["errors"] / max(1, heard["units"]), 2)
    hint = "" if heard["knows"] else ", which does not know this language: a hint, no more"
    _add_method(row, f"{column}: recogniser {identifier}{hint}")


def put_stable(row: Row, figures: Mapping[str, str]) -> None:
    """What a stability report found."""
    for name in STABILITY:
        if name in figures:
            row[_stability_column(name)] = float(figures[name])


def put_compared(row: Row, cosines: Mapping[str, float]) -> None:
    """Cosines to other releases, by their ids; at least one."""
    # Of equals the same one each time, whatever order they were measured in.
    nearest = max(cosines, key=lambda other: (cosines[other], other))
    row["similarity_voices"] = len(cosines)
    row["similarity_mean_cosine"] = round(sum(cosines.values()) / len(cosines), 4)
    row["similarity_nearest_cosine"] = cosines[nearest]
    row["similarity_nearest_release"] = nearest
    _add_method(row, "similarity: cosine of speaker embeddings (GE2E)")


def _add_method(row: Row, text: str) -> None:
    row["methods"] = f"{row['methods']}; {text}" if row["methods"] else text
