"""The table of fuzz targets: a name, what must hold, what to begin with, and how cases are made.

A new target is one line here; its corpus is the folder corpus/<name>, which may be empty. The check functions
stand in checks.py and weights.py, the mutators in mutate.py. Follows specs/fuzzing.md.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pvoice.protocol import ids, tags
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.codec import encode_chunk
from p2pvoice.protocol.consent import ConsentDeclaration as Consent
from p2pvoice.protocol.consent_statement import ConsentStatement, verify_statement
from p2pvoice.protocol.envelope import Envelope, open_envelope
from p2pvoice.protocol.head import Head, verify_head
from p2pvoice.protocol.manifest import Manifest, Release, decode_manifest, verify_release
from p2pvoice.protocol.provenance import Measured, TrainingRecord, read_measured
from p2pvoice.protocol.revocation import Revocation, verify_revocation

from . import checks, messages, mutate, weights
from .checks import CHUNK, LIMIT, NOW, Check, mapped, signed, text, wire
from .mutate import Mutator

VECTORS = Path(__file__).parents[2] / "specs" / "vectors"
CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Target:
    """A parser under test. ``length`` bounds a case in bytes, ``quick`` counts the default suite's cases."""

    check: Check
    seeds: Callable[[], Iterable[bytes]]
    mutate: Mutator = mutate.edit_bytes
    length: int = 4096
    quick: int = 1000


def vectors(*names: str) -> Callable[[], Iterator[bytes]]:
    """Every byte string in these files of specs/vectors, those that must be refused included."""

    def seeds() -> Iterator[bytes]:
        for name in names:
            yield from _bytes_in(json.loads((VECTORS / f"{name}.json").read_text("utf-8")))

    return seeds


def words(*texts: str) -> Callable[[], Iterator[bytes]]:
    """These texts."""
    return lambda: (word.encode() for word in texts)


def entry(name: str, key: str) -> Callable[[], Iterator[bytes]]:
    """One entry of one file of the vectors."""
    return lambda: _bytes_in(json.loads((VECTORS / f"{name}.json").read_text("utf-8"))[key])


def named(keys: str, *names: str) -> Callable[[], Iterator[bytes]]:
    """The byte strings under these keys, wherever they stand in these files of the vectors."""

    def seeds(shown: Any, wanted: bool = False) -> Iterator[bytes]:
        if isinstance(shown, dict):
            for key, item in shown.items():
                yield from seeds(item, key in keys.split())
        elif isinstance(shown, list):
            for item in shown:
                yield from seeds(item)
        elif wanted:
            yield from _bytes_in(shown)

    return lambda: (
        data for name in names for data in seeds(json.loads((VECTORS / f"{name}.json").read_text("utf-8")))
    )


def part(key: str) -> Callable[[], Iterator[bytes]]:
    """One part of every manifest in the vectors."""

    def seeds() -> Iterator[bytes]:
        for payload in vectors("manifest")():
            try:
                yield encode(decode(payload, limit=LIMIT)[key])
            except (checks.RefusedError, KeyError, TypeError, IndexError):
                continue

    return seeds


def _bytes_in(shown: Any) -> Iterator[bytes]:
    if isinstance(shown, str) and len(shown) % 2 == 0:
        try:
            yield bytes.fromhex(shown)
        except ValueError:
            return
    elif isinstance(shown, dict | list):
        for item in shown.values() if isinstance(shown, dict) else shown:
            yield from _bytes_in(item)


def _decoded(data: bytes) -> Any:
    return decode(data, limit=LIMIT)


def _opened(data: bytes) -> Envelope:
    return open_envelope(data, kind="manifest", limit=LIMIT)


def _head(data: bytes) -> Head:
    return verify_head(data, NOW)


def _written(rows: tuple[Measured, ...]) -> list[dict[str, Any]]:
    return [row.to_map() for row in rows]


def _head_author(one: Head) -> bytes:
    return one.author


def _subject(one: ConsentStatement) -> bytes:
    return one.subject


def _signer(one: Revocation) -> bytes:
    return one.signer


def _release_author(one: Release) -> bytes:
    return one.manifest.author


def _release_payload(one: Release) -> bytes:
    return one.envelope.payload


AUTHOR = "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"
RELEASE = ids.release_id(b"payload")

TARGETS: dict[str, Target] = {
    "canonical": Target(wire(_decoded, encode), vectors("canonical", "head"), mutate.edit_map),
    "chunk": Target(checks.check_chunk, lambda: (encode_chunk(CHUNK)[1], CHUNK, *vectors("chunks")())),
    "collection": Target(checks.check_collection, vectors("collection"), mutate.edit_signed, quick=500),
    "consent": Target(mapped(Consent.from_map, Consent.to_map), part("consent"), mutate.edit_map),
    "confusable": Target(checks.check_confusable, words("Mei", "М\u0435\u0456 2", "說書人 ＡＩ", "M\u200dé")),
    "consent-statement": Target(
        signed("consent", verify_statement, _subject, ConsentStatement.payload),
        vectors("consent"),
        mutate.edit_signed,
    ),
    "conversation": Target(
        messages.check_conversation,
        named("bytes question answer", "conversation", "reconcile"),
        mutate.edit_map,
    ),
    "delta": Target(checks.check_delta, checks.deltas, quick=400),
    "envelope": Target(wire(_opened, Envelope.to_bytes), vectors("envelope"), mutate.edit_signed),
    "framing": Target(checks.check_framing, vectors("framing", "messages")),
    "head": Target(signed("head", _head, _head_author, Head.payload), vectors("head"), mutate.edit_signed),
    "head-key": Target(checks.check_head_key, vectors("head")),
    "heads": Target(checks.check_heads, vectors("head"), mutate.edit_signed),
    "keyfile": Target(checks.check_keyfile, vectors("keyfile"), mutate.edit_keyfile),
    "label": Target(checks.check_label, vectors("label")),
    "label-stream": Target(checks.check_label, checks.streams),
    "manifest": Target(
        wire(decode_manifest, Manifest.payload), vectors("manifest"), mutate.edit_map, quick=500
    ),
    "measured": Target(mapped(read_measured, _written), part("measured"), mutate.edit_map),
    "messages": Target(messages.check_messages, vectors("messages"), mutate.edit_map),
    "operation": Target(checks.check_operation, named("signed", "operation"), mutate.edit_signed),
    "pronunciation": Target(
        checks.check_pronunciation,
        words(
            "zh\t重慶\tchóng qìng\n# note\r\n\nyue 重慶 cung4 hing3\n",
            "en\tNode.js\tN OW1 D\nja\t東京\tとうきょう\n",
        ),
        quick=500,
    ),
    "reconcile": Target(
        checks.check_reconcile, named("question answer", "reconcile"), mutate.edit_ranges, quick=500
    ),
    "release": Target(
        signed("manifest", verify_release, _release_author, _release_payload),
        vectors("manifest"),
        mutate.edit_signed,
        quick=500,
    ),
    "release-consent": Target(
        signed("manifest", verify_release, _release_author, _release_payload),
        entry("revocation", "release"),
        mutate.edit_consent,
        quick=500,
    ),
    "revocation": Target(
        signed("revocation", verify_revocation, _signer, Revocation.payload),
        vectors("revocation"),
        mutate.edit_signed,
    ),
    "safetensors": Target(checks.check_safetensors, vectors("safetensors"), mutate.edit_safetensors),
    "shelf": Target(messages.check_shelf, named("bytes", "shelf"), mutate.edit_map),
    "slug": Target(text(ids.check_slug, str), words("storyteller", "a-1", "-")),
    "slugify": Target(checks.check_slugify, words("说书人", "The Storyteller", "é")),
    "successor": Target(checks.check_successor, vectors("successor"), mutate.edit_signed),
    "successor-key": Target(checks.check_successor_key, words(f"/p2pvoice/successor/{AUTHOR}")),
    "tag": Target(
        checks.check_tag, words("cantonese", "粤语", "language/粵語", "tag/wuxia", "age/child", "STYLE/x")
    ),
    "tag-key": Target(text(tags.check_tag, str), words("language/yue", "tag/武侠")),
    "author-id": Target(text(ids.parse_author_id, ids.author_id), words(AUTHOR)),
    "release-id": Target(text(ids.parse_release_id, ids.cid_of), words(RELEASE)),
    "training": Target(
        mapped(TrainingRecord.from_map, TrainingRecord.to_map), part("training"), mutate.edit_map
    ),
    "voice-json": Target(weights.check_voice_json, weights.voices, mutate.edit_json),
    "zip": Target(weights.check_zip, weights.checkpoints, mutate.edit_zip, length=8192, quick=400),
    "pickle": Target(weights.check_pickle, weights.pickles, mutate.edit_pickle),
    "legacy": Target(weights.check_legacy, weights.legacies, mutate.edit_pickle),
    "checkpoint": Target(
        weights.check_checkpoint, weights.checkpoints, mutate.edit_zip, length=8192, quick=400
    ),
}
"""Every target by its name."""


def corpus(name: str) -> list[bytes]:
    """What the target begins with: the seeds that fit, then the kept corpus, in a fixed order."""
    target = TARGETS[name]
    kept = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
    return list(dict.fromkeys(data for data in (*target.seeds(), *kept) if len(data) <= target.length))


def case_name(data: bytes) -> str:
    """The file name of a case in a corpus folder: a short digest, so equal cases are one file."""
    return hashlib.sha256(data).hexdigest()[:16]
