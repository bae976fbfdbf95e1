"""What is published of a draft: its bundle as it is, or with the voice's own clips in the recordings' place.

The draft itself never changes. The folder made here holds links to the draft's files beside what is new,
and lives as long as the publication. Clips that a voice spoke are labelled as such; the label is made of the
clip, so that publishing twice gives the same bytes. Follows specs/consent.md, "What travels".
"""

import hashlib
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node.drafts import Draft
from p2pvoice.node.engine import OnProgress
from p2pvoice.node.parts import VERSION, Parts
from p2pvoice.node.written import take
from p2pvoice.protocol.label import Label, label_wav

#: The folder of a bundle in which everything of its references lies, and the file that describes them.
REFERENCE_FOLDER, VOICE_FILE = "reference", "voice.json"


@dataclass(frozen=True)
class Outgoing:
    """A bundle to publish: where it lies, what keeps it loaded in the worker, and its facts."""

    folder: Path
    key: str
    facts: Mapping[str, Any]


def draft_key(draft: Draft) -> str:
    """What keeps a draft loaded in the worker."""
    return f"draft {draft.slug} {draft.created}"


def as_it_is(draft: Draft) -> Outgoing:
    """The draft's own bundle, recordings and all."""
    return Outgoing(draft.bundle, draft_key(draft), draft.facts)


async def without_recordings(parts: Parts, draft: Draft, work: Path, on_progress: OnProgress) -> Outgoing:
    """The draft's bundle with references that the voice speaks itself, in the new folder ``work``.

    Raises SynthesisError when the voice speaks nothing that could serve, and NotFoundError when the encoder
    it was made with is not installed.
    """
    spoken = parts.engine.scratch / "own-clips"
    await trio.to_thread.run_sync(partial(shutil.rmtree, spoken, ignore_errors=True), limiter=parts.disk)
    arguments = {
        "key": draft_key(draft),
        "folder": str(draft.bundle),
        "out": str(spoken),
        "bases": parts.bases(),
    }
    made = await parts.engine.call("own_clips", arguments, on_progress=on_progress)
    await trio.to_thread.run_sync(take, spoken, work, limiter=parts.disk)
    await trio.to_thread.run_sync(_complete, draft, work, limiter=parts.disk)
    return Outgoing(work, f"{draft_key(draft)} own", {**draft.facts, **made})


def _complete(draft: Draft, work: Path) -> None:
    """Label the clips and link what did not change; nothing of the draft's references comes along."""
    for clip in sorted((work / REFERENCE_FOLDER).glob("*.wav")):
        data = clip.read_bytes()
        clip.write_bytes(label_wav(data, clip_label(data, draft.name)))
    for path in sorted(draft.bundle.rglob("*")):
        name = path.relative_to(draft.bundle)
        if path.is_file() and name.parts[0] != REFERENCE_FOLDER and str(name) != VOICE_FILE:
            (work / name).parent.mkdir(mode=0o700, exist_ok=True)
            (work / name).symlink_to(path.resolve())


def clip_label(data: bytes, voice: str) -> Label:
    """The label of a clip that a voice spoke for itself; it names no release, as it is part of one."""
    digest = bytearray(hashlib.sha256(data).digest()[:16])
    digest[6] = 0x80 | (digest[6] & 0x0F)
    digest[8] = 0x80 | (digest[8] & 0x3F)
    return Label(str(uuid.UUID(bytes=bytes(digest))), f"p2pvoice/{VERSION}", voice=voice)
