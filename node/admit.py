"""Admission: the checks between "all bytes are here" and "this voice may be used".

Hashes say that the bytes are the author's; they do not say that the author means well. So: the file set is
complete, each safetensors header passes the strict reader and is cut into chunks as the rules cut it, and
the worker (the only process with torch) reads voice.json within its bounds and compares every tensor with
the architecture it declares. Nothing is usable before all of this passed. Follows specs/store.md,
"Admission".
"""

import shutil
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node.parts import Parts
from p2pvoice.protocol.chunks import plan_chunks
from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.ids import parse_release_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.tensors import HEADER_LIMIT, read_header


def voice_folder(parts: Parts, identifier: str) -> Path:
    """The folder of links through which the worker sees a release's files."""
    parse_release_id(identifier)
    return parts.home.voices / identifier


async def admit(parts: Parts, release: Release) -> None:
    """Check a release whose files are all in the store, and give it a folder for the worker.

    Raises ManifestError, BadCheckpointError or VoiceNotLoadableError; then nothing was made usable.
    """
    growing = await trio.to_thread.run_sync(_lay_out, parts, release, limiter=parts.disk)
    try:
        facts = await parts.engine.call("inspect", {"folder": str(growing), "bases": parts.bases()})
        compare(release, facts)
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise
    await trio.to_thread.run_sync(_settle, growing, voice_folder(parts, release.id), limiter=parts.disk)


def chunk_sizes(path: Path, name: str) -> list[int]:
    """The sizes into which a bundle's file is cut. Raises BadCheckpointError for a bad header."""
    size = path.stat().st_size
    if not name.endswith(".safetensors"):
        return plan_chunks(size, None)
    with path.open("rb") as file:
        return plan_chunks(size, read_header(file.read(min(size, HEADER_LIMIT)), size))


def compare(release: Release, facts: dict[str, Any]) -> None:
    """Whether the manifest says of the voice what the voice says of itself."""
    engine = release.manifest.engine
    declared = (engine.family, engine.version, engine.sample_rate, dict(engine.bases))
    found = (facts["family"], facts["version"], facts["sample_rate"], facts["bases"])
    if declared != found:
        raise ManifestError("the manifest describes another voice than the one in its files")


def _lay_out(parts: Parts, release: Release) -> Path:
    release.manifest.require_complete()
    growing = parts.home.voices / f".{release.id}"
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(mode=0o700)
    for file in release.manifest.files:
        stored = parts.store.path(file.digest)
        if chunk_sizes(stored, file.path) != [chunk.size for chunk in file.chunks]:
            raise ManifestError(f"{file.path} is not cut into chunks as the rules cut it")
        link = growing / file.path
        link.parent.mkdir(mode=0o700, exist_ok=True)
        link.symlink_to(stored)
    return growing


def _settle(growing: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    growing.rename(place)
