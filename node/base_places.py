"""Where bases lie in this home: a folder each, whose files are links into the store when the base is shared.

The folder is what the worker reads; which shared bases are installed says the catalog, so a folder is made
anew from it whenever it lacks. Not for what a folder must hold to be a base: the worker has checked that
before. All functions block. Follows specs/bases.md, "Layout".
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2pvoice.node.base_licences import LICENCE_FILE
from p2pvoice.node.durable import replace_file, sync_tree
from p2pvoice.node.store import Store
from p2pvoice.protocol.base import BASE_KINDS, VOCABULARY, base_ids, base_paths, model_path
from p2pvoice.protocol.ids import bundle_id, digest_of, parse_raw_cid, slugify
from p2pvoice.protocol.manifest import Release

#: The weights in the folder of an installed base.
MODEL = "model.safetensors"

#: What is known of an installed base, beside its files.
RECORD = "base.json"

#: Largest record beside an installed base, in bytes.
RECORD_LIMIT = 64 * 1024


def records(folder: Path) -> dict[Path, dict[str, Any]]:
    """The folders of installed bases, in the order of their names, with what is known of each."""
    found = {}
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if place.is_dir() and not place.name.startswith("."):
            found[place] = read_record(place)
    return found


def read_record(place: Path) -> dict[str, Any]:
    """What is known of one installed base; empty when nothing is."""
    record = place / RECORD
    if not record.is_file() or record.stat().st_size > RECORD_LIMIT:
        return {}
    facts: dict[str, Any] = json.loads(record.read_text())
    return facts


def name_in_folder(path: str) -> str:
    """What a file of a base's bundle is called in an installed base's folder."""
    return VOCABULARY if path == VOCABULARY else MODEL


def bundle_of(place: Path, record: Mapping[str, Any]) -> str:
    """The bundle id of an installed base; empty for what is no base that could be shared.

    The weights are not read again: their digest stands in the record since they were installed.
    """
    kind = str(record.get("kind", ""))
    if kind not in BASE_KINDS:
        return ""
    entries = []
    for path in base_paths(kind):
        file = place / name_in_folder(path)
        if not file.is_file():
            return ""
        weights = path == model_path(kind)
        digest = parse_raw_cid(str(record["id"])) if weights else digest_of(file.read_bytes())
        entries.append((path, file.stat().st_size, digest))
    return bundle_id(entries)


def settle(folder: Path, store: Store, release: Release) -> dict[str, Any]:
    """Give an installed release its folder of links; returns its record. What had the same weights goes.

    A kill leaves the old folder, or none, which :func:`restore` makes.
    """
    manifest, ids = release.manifest, base_ids(release.manifest)
    kind = manifest.engine.version
    place = _place(folder, release, ids.content)
    growing = folder / f".{place.name}.new"
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(mode=0o700)
    for file in manifest.files:
        (growing / name_in_folder(file.path)).symlink_to(store.place(file.digest))
    record = {
        "name": place.name,
        "kind": kind,
        "id": ids.content,
        "bundle": ids.bundle,
        "license": manifest.license,
        "release": release.id,
    }
    (growing / RECORD).write_text(json.dumps(record))
    if manifest.license_text is not None:
        (growing / LICENCE_FILE).write_bytes(manifest.license_text)
    sync_tree(growing)
    shutil.rmtree(place, ignore_errors=True)
    growing.rename(place)
    return record


def part(folder: Path, release: str, *, keep: bool) -> None:
    """A release of a base is none any more: its folder goes, or with ``keep`` stays as one that was added."""
    for place, record in records(folder).items():
        if record.get("release") != release:
            continue
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
            continue
        for link in [path for path in place.iterdir() if path.is_symlink()]:
            growing = link.with_name(link.name + ".part")
            growing.unlink(missing_ok=True)
            # A second name for the file in the store, which is never written to.
            os.link(link.resolve(), growing)
            growing.replace(link)
        kept = {key: value for key, value in record.items() if key != "release"}
        replace_file(place / RECORD, json.dumps(kept).encode())


def restore(folder: Path, store: Store, releases: Sequence[Release], *, keep_unknown: bool) -> None:
    """Make the folders that a crash left undone, and remove those of releases that are not installed.

    ``releases`` are the installed bases. With ``keep_unknown`` nothing is removed: the catalog was lost.
    """
    wanted = {release.id: release for release in releases}
    for place, record in records(folder).items():
        identifier = record.get("release")
        if identifier in wanted:
            links = [store.place(file.digest) for file in wanted[identifier].manifest.files]
            here = [path.readlink() for path in place.iterdir() if path.is_symlink()]
            if sorted(map(os.fspath, here)) == sorted(map(os.fspath, links)):
                del wanted[identifier]
        elif identifier is not None and not keep_unknown:
            shutil.rmtree(place, ignore_errors=True)
    for release in wanted.values():
        settle(folder, store, release)


def _place(folder: Path, release: Release, content: str) -> Path:
    """The folder of a base: that of the same weights if there is one, else a name nobody has."""
    taken = records(folder)
    for place, record in taken.items():
        if record.get("id") == content:
            return place
    name = slugify(release.manifest.name, what="base")
    return folder / (name if folder / name not in taken else release.manifest.slug)
