"""What differs between two voices: what their authors say of them, their files, their tensors, their sound.

Either is a release, wherever it is, or a draft of this home. Nothing is installed by looking. Not for judging
which is better, nor for merging (merging.py). Follows specs/merging.md, "Diff".
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pvoice.node import judging
from p2pvoice.node.drafts import Draft
from p2pvoice.node.kinship import related
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import Parts
from p2pvoice.node.references import draft_key
from p2pvoice.node.visiting import visiting
from p2pvoice.node.voices import Tell, disk, resolve
from p2pvoice.protocol.consent_state import consent_facts
from p2pvoice.protocol.errors import NotFoundError, P2PVoiceError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release

#: Tensors that are listed, by default and at most.
TENSORS_SHOWN, TENSORS_LIMIT = 64, 4096

#: Sentences of each language that are spoken when nobody says which.
SAMPLES_EACH = 1


@dataclass(frozen=True)
class Side:
    """One of the two: a release or a draft, and what tells it from others."""

    role: str
    ref: str
    release: Release | None = None
    draft: Draft | None = None

    @property
    def key(self) -> str:
        """What keeps it loaded in the worker."""
        if self.release is not None:
            return self.release.id
        assert self.draft is not None
        return draft_key(self.draft)

    @property
    def languages(self) -> tuple[str, ...]:
        if self.release is not None:
            return self.release.manifest.languages
        assert self.draft is not None
        return tuple(self.draft.facts["languages"])

    def facts(self) -> dict[str, Any]:
        """Which voice it is, in short."""
        if self.release is not None:
            manifest = self.release.manifest
            return {
                "ref": self.ref,
                "release": self.release.id,
                "author": author_id(manifest.author),
                "slug": manifest.slug,
                "name": manifest.name,
                "draft": None,
            }
        assert self.draft is not None
        return {
            "ref": self.ref,
            "release": None,
            "author": None,
            "slug": self.draft.voice,
            "name": self.draft.name,
            "draft": self.draft.slug,
        }


async def side(parts: Parts, role: str, ref: str) -> Side:
    """What a reference names: a voice known here or in the network, else a draft. Raises as resolve does."""
    try:
        return Side(role, ref, release=await resolve(parts, ref))
    except NotFoundError as error:
        try:
            return Side(role, ref, draft=await disk(parts, lambda: parts.drafts.get(ref)))
        except NotFoundError:
            raise error from None


@asynccontextmanager
async def open_side(parts: Parts, one: Side, tell: Tell) -> AsyncIterator[Path]:
    """The folder of one side, as long as the block lasts."""
    if one.release is None:
        assert one.draft is not None
        yield one.draft.bundle
        return
    async with visiting(parts, one.release, tell) as folder:
        yield folder


async def diff(
    parts: Parts,
    ref_a: str,
    ref_b: str,
    *,
    samples: bool,
    measure: bool,
    text: str,
    lang: str,
    tensors: int,
    tell: Tell,
) -> dict[str, Any]:
    """Everything that differs between two voices; both are brought here if they are not.

    ``samples`` are spoken when they are asked for, and when the two are to be measured by them.

    Raises what finding and fetching them raises; a voice that cannot speak is told of, and has no samples.
    """
    a, b = await side(parts, "a", ref_a), await side(parts, "b", ref_b)
    async with open_side(parts, a, tell) as folder_a, open_side(parts, b, tell) as folder_b:

        async def on_progress(data: Mapping[str, Any]) -> None:
            await tell({"event": "progress", **data})

        found = await parts.engine.call(
            "compare", {"a": str(folder_a), "b": str(folder_b)}, on_progress=on_progress
        )
        kept: list[dict[str, Any]] = []
        report: dict[str, Any] | None = None
        if samples or measure:
            speakers = [
                judging.Speaker(one.role, LoadableVoice(one.key, folder, (), one.release))
                for one, folder in ((a, folder_a), (b, folder_b))
            ]
            sentences = _sentences(a, b, text, lang)
            try:
                spoken, kept = await judging.speak_side_by_side(parts, speakers, sentences, tell)
                if measure:
                    report = await judging.judge(parts, spoken, sentences, None, tell)
            except P2PVoiceError as error:
                await tell({"event": "warning", "message": f"no samples: {error.message}"})
    kin = None
    if a.release is not None and b.release is not None:
        kin = await related(parts, a.release, b.release)
    return {
        "a": a.facts(),
        "b": b.facts(),
        **_said(a, b),
        "files": _files(a, b),
        "parts": found["parts"],
        "tensors": found["tensors"][:tensors],
        "count": found["count"],
        "changed": found["changed"],
        "related": kin,
        "unfit": found["unfit"],
        "samples": kept,
        "report": report,
    }


def _sentences(a: Side, b: Side, text: str, lang: str) -> list[tuple[str, str]]:
    shared = [one for one in a.languages if one in b.languages] or list(a.languages)
    if text:
        return judging.sentences_for(shared, [text], lang)
    found = judging.sentences_for(shared, lang=lang)
    return found[:: judging.SENTENCES_EACH // SAMPLES_EACH]


def _said(a: Side, b: Side) -> dict[str, Any]:
    """What the authors say: the fields that differ, licence, and consent."""
    left, right = _fields(a), _fields(b)
    now = time.time()
    consents = [consent_facts(one.release.manifest, now) if one.release else None for one in (a, b)]
    licences = [one.release.manifest.license if one.release else None for one in (a, b)]
    return {
        "metadata": [
            {"field": name, "a": left.get(name), "b": right.get(name)}
            for name in dict.fromkeys([*left, *right])
            if left.get(name) != right.get(name)
        ],
        "license": {"a": licences[0], "b": licences[1], "changed": licences[0] != licences[1]},
        "consent": {"a": consents[0], "b": consents[1], "changed": consents[0] != consents[1]},
    }


def _fields(one: Side) -> dict[str, Any]:
    """What is said of a voice, under the names that a person reads."""
    if one.release is None:
        assert one.draft is not None
        facts, notes = one.draft.facts, one.draft.notes
        return {
            "name": one.draft.name,
            "languages": list(facts["languages"]),
            "engine": f"{facts['family']} {facts['version']}",
            "sample_rate": facts["sample_rate"],
            "bases": dict(facts["bases"]),
            "references": _spoken(facts["references"]),
            "training": notes.get("training"),
        }
    manifest = one.release.manifest
    references = [{"lang": ref.lang, "milliseconds": ref.milliseconds} for ref in manifest.references]
    return {
        "name": manifest.name,
        "author": author_id(manifest.author),
        "slug": manifest.slug,
        "created": manifest.created,
        "description": manifest.description,
        "languages": list(manifest.languages),
        "tags": list(manifest.tags),
        "engine": f"{manifest.engine.family} {manifest.engine.version}",
        "sample_rate": manifest.engine.sample_rate,
        "bases": dict(manifest.engine.bases),
        "references": _spoken(references),
        "training": manifest.training.facts() if manifest.training is not None else None,
        "parents": [{"release": parent.release, "kind": parent.kind} for parent in manifest.parents],
        "size": manifest.size,
    }


def _spoken(references: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{one['lang']}, {one['milliseconds'] / 1000:.1f} s" for one in references]


def _files(a: Side, b: Side) -> dict[str, Any] | None:
    """Files and bytes that both have, by their hashes; None where one is a draft, which has none yet."""
    if a.release is None or b.release is None:
        return None
    left, right = a.release.manifest.files, b.release.manifest.files
    digests = {file.path: file.digest for file in left}
    chunks = {chunk.digest for file in left for chunk in file.chunks}
    return {
        "same": sorted(file.path for file in right if digests.get(file.path) == file.digest),
        "changed": sorted(
            file.path for file in right if file.path in digests and digests[file.path] != file.digest
        ),
        "only_a": sorted(digests.keys() - {file.path for file in right}),
        "only_b": sorted(file.path for file in right if file.path not in digests),
        "bytes": sum(file.size for file in right),
        "shared_bytes": sum(chunk.size for file in right for chunk in file.chunks if chunk.digest in chunks),
    }
