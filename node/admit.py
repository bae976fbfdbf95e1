"""Admission: the checks between "all bytes are here" and "this voice, or this base, may be used".

Hashes say that the bytes are the author's; they do not say that the author means well. So: the file set is
complete, each safetensors header passes the strict reader and is cut into chunks as the rules cut it, and
the worker (the only process with torch) reads voice.json within its bounds and compares every tensor with
the architecture it declares. Nothing is usable before all of this passed. Follows specs/store.md,
"Admission".
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node.parts import Parts
from p2pvoice.node.store import Store
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
    """Check a release whose files are all in the store, and give a voice its folder for the worker.

    A base gets its own when it is installed (base_places.py). Raises ManifestError, BadCheckpointError or
    VoiceNotLoadableError; then nothing was made usable.
    """
    growing, manifest = parts.home.voices / f".{release.id}", release.manifest
    try:
        await trio.to_thread.run_sync(_lay_out, parts, release, growing, limiter=parts.disk)
        if manifest.is_base:
            arguments = {"folder": str(growing), "kind": manifest.engine.version}
            await parts.engine.call("inspect_base", arguments)
            await trio.to_thread.run_sync(shutil.rmtree, growing, limiter=parts.disk)
            return
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


def _lay_out(parts: Parts, release: Release, growing: Path) -> None:
    release.manifest.require_complete()
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(mode=0o700)
    for file in release.manifest.files:
        stored = parts.store.path(file.digest)
        if chunk_sizes(stored, file.path) != [chunk.size for chunk in file.chunks]:
            raise ManifestError(f"{file.path} is not cut into chunks as the rules cut it")
        # A file that was here before was never compared with this manifest's list.
        if parts.store.chunks(file.digest) != file.chunks:
            raise ManifestError(f"{file.path} does not have the chunks that the manifest names")
        link = growing / file.path
        link.parent.mkdir(mode=0o700, exist_ok=True)
        link.symlink_to(stored)


def _settle(growing: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    growing.rename(place)


def restore_folders(voices: Path, store: Store, releases: Sequence[Release]) -> int:
    """Make the folders of links anew that a crash left undone, and remove those of no installed release.

    ``releases`` are the installed ones: they were admitted, so nothing is checked but that each link leads
    to its file's place. Blocking; returns how many were made.
    """
    made = 0
    wanted = {release.id: release for release in releases}
    for folder in list(voices.iterdir()):
        if folder.name not in wanted:
            shutil.rmtree(folder, ignore_errors=True)
    for identifier, release in wanted.items():
        links = {file.path: store.place(file.digest) for file in release.manifest.files}
        place = voices / identifier
        if all((place / name).is_symlink() and (place / name).readlink() == to for name, to in links.items()):
            continue
        growing = voices / f".{identifier}"
        for name, to in links.items():
            (growing / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (growing / name).symlink_to(to)
        _settle(growing, place)
        made += 1
    return made
