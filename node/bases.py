"""Helper networks installed in this home: which there are, and installing one of uploads.

A HuBERT, a BERT or a speaker network is checked and converted by the worker; this file only moves bytes to
where it may look. A speech recogniser (kind ``asr``) is kept as it came: the files of a closed list, its JSON
read within bounds. Follows specs/bases.md.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from p2pvoice.node.base_licences import LICENCE_FILE, LICENCE_TEXT_LIMIT, checked, shown
from p2pvoice.node.base_places import bundle_of, records
from p2pvoice.node.parts import Parts
from p2pvoice.node.written import take
from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.protocol.ids import raw_cid, slugify

if TYPE_CHECKING:
    from p2pvoice.node.importing import Step

#: Files one helper network may consist of.
FILES_LIMIT = 32

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

#: The kind of a speech recogniser, as faster-whisper reads it.
ASR = "asr"

#: Files a recogniser may consist of, and the most bytes of each: the largest published one has 3.1 GB.
ASR_FILES: Mapping[str, int] = {
    "config.json": 1 << 20,
    "model.bin": 4 << 30,
    "tokenizer.json": 32 << 20,
    "vocabulary.txt": 32 << 20,
    "vocabulary.json": 32 << 20,
    "preprocessor_config.json": 1 << 20,
}

#: Files without which no recogniser works; a vocabulary, in either form, comes on top.
ASR_NEEDED = ("config.json", "model.bin", "tokenizer.json")


def installed_bases(folder: Path) -> list[dict[str, Any]]:
    """The installed helper networks, as the RPC shows them."""
    found = []
    for place, facts in records(folder).items():
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        ids = {"bundle": bundle_of(place, facts), "release": facts.get("release")}
        found.append(shown({"kind": place.name, "size": size, **facts, **ids, "name": place.name}))
    return found


def installed_base(folder: Path, ref: str) -> dict[str, Any]:
    """One installed helper network by name, content id, bundle id or release id, or by kind when one has it.

    Raises NotFoundError, or UsageError when several are of that kind.
    """
    rows = installed_bases(folder)
    for key in ("name", "id", "bundle", "release"):
        for row in rows:
            if ref and row.get(key) == ref:
                return row
    found = [row for row in rows if row["kind"] == ref]
    if len(found) > 1:
        names = " or ".join(str(row["name"]) for row in found)
        raise UsageError(f"there are several bases of the kind {ref}", hint=f"name one: {names}")
    if not found:
        raise NotFoundError(f"no base {ref[:80]!r} is installed here", hint="p2pvoice base list")
    return found[0]


def recogniser(folder: Path, name: str = "") -> Path | None:
    """The folder of an installed recogniser, by name, or the only one; None when there is none to choose.

    Raises NotFoundError for a name that no recogniser has, UsageError when there are several and no name.
    """
    found = [str(row["name"]) for row in installed_bases(folder) if row["kind"] == ASR]
    if name:
        if name not in found:
            raise NotFoundError(
                f"no speech recogniser is installed as {name!r}", hint="p2pvoice base add asr DIR"
            )
        return folder / name
    if len(found) > 1:
        raise UsageError("there are several speech recognisers", hint="--asr " + " or --asr ".join(found))
    return folder / found[0] if found else None


async def add(
    parts: Parts,
    name: str,
    files: Mapping[str, str],
    step: "Step",
    *,
    kind: str = "",
    license: str = "",
    license_upload: str = "",
) -> dict[str, Any]:
    """Install a helper network of uploads (file name -> upload); the uploads are gone afterwards.

    ``kind`` is ``asr`` for a speech recogniser; the others tell their kind themselves. ``license`` is an SPDX
    id and ``license_upload`` the text, both as the owner of this node says. Raises UsageError, ConsentError
    for a licence that is not known, and what the worker's checks raise.
    """
    try:
        text = await _licence_text(parts, license_upload)
        spdx, words = checked(license, text)
        made = await _install(parts, name, files, step, kind)
        return await trio.to_thread.run_sync(
            _license, parts.home.bases / made["name"], made, spdx, words, limiter=parts.disk
        )
    finally:
        parts.uploads.discard(*files.values(), *([license_upload] if license_upload else []))


async def _licence_text(parts: Parts, upload: str) -> bytes | None:
    if not upload:
        return None
    path = parts.uploads.path(upload)

    def read() -> bytes:
        with path.open("rb") as file:
            return file.read(LICENCE_TEXT_LIMIT + 1)

    return await trio.to_thread.run_sync(read, limiter=parts.disk)


def _license(place: Path, made: Mapping[str, Any], spdx: str, text: str | None) -> dict[str, Any]:
    """Keep the licence beside an installed base; an older one goes with the older base. Blocking."""
    record = {**made, **({"license": spdx} if spdx else {})}
    if text is not None:
        (place / LICENCE_FILE).write_text(text, encoding="utf-8")
    else:
        (place / LICENCE_FILE).unlink(missing_ok=True)
    (place / "base.json").write_text(json.dumps(record))
    return shown(record)


async def _install(
    parts: Parts, name: str, files: Mapping[str, str], step: "Step", kind: str
) -> dict[str, Any]:
    if kind == ASR:
        return await _add_recogniser(parts, name, files, step)
    if kind:
        raise UsageError(f"{kind[:20]!r} is no kind of base that must be named", hint="kinds: asr")
    try:
        if not 1 <= len(files) <= FILES_LIMIT or not all(_FILE_NAME.fullmatch(file) for file in files):
            raise UsageError(f"a base model has 1 to {FILES_LIMIT} files with plain names")
        source = parts.home.bases / ".incoming"

        def gather() -> None:
            shutil.rmtree(source, ignore_errors=True)
            source.mkdir(mode=0o700)
            for file, upload in files.items():
                parts.uploads.path(upload).rename(source / file)

        async with parts.drafting:
            await trio.to_thread.run_sync(gather, limiter=parts.disk)
            made = parts.engine.scratch / "bases"
            try:
                found = await parts.engine.call(
                    "base_add", {"name": name, "source": str(source), "into": str(made)}, on_progress=step
                )
                await trio.to_thread.run_sync(
                    take, made / slugify(name), parts.home.bases / slugify(name), limiter=parts.disk
                )
                return found
            finally:
                shutil.rmtree(source, ignore_errors=True)
                shutil.rmtree(made, ignore_errors=True)
    finally:
        parts.uploads.discard(*files.values())


async def _add_recogniser(parts: Parts, name: str, files: Mapping[str, str], step: "Step") -> dict[str, Any]:
    try:
        async with parts.drafting:
            await step({"stage": "check", "done": 0.0})
            return await trio.to_thread.run_sync(_settle_recogniser, parts, name, files, limiter=parts.disk)
    finally:
        parts.uploads.discard(*files.values())


def _settle_recogniser(parts: Parts, name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """Check a recogniser's files and move them to their place; blocking. Nothing moves when one is wrong."""
    slug = slugify(name)
    paths = {file: parts.uploads.path(upload) for file, upload in check_recogniser(files).items()}
    for file, path in paths.items():
        if path.stat().st_size > ASR_FILES[file]:
            raise UsageError(f"{file} of a recogniser has at most {ASR_FILES[file]} bytes")
        if file.endswith(".json"):
            try:
                json.loads(path.read_bytes())
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{file} is not JSON") from error
    with paths["model.bin"].open("rb") as opened:
        identifier = raw_cid(hashlib.file_digest(opened, "sha256").digest())
    growing, place = parts.home.bases / f".{slug}.new", parts.home.bases / slug
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(mode=0o700)
    record = {"name": slug, "kind": ASR, "id": identifier}
    for file, path in paths.items():
        path.rename(growing / file)
    (growing / "base.json").write_text(json.dumps(record))
    shutil.rmtree(place, ignore_errors=True)
    growing.rename(place)
    return record


def check_recogniser(files: Mapping[str, str]) -> Mapping[str, str]:
    """The files themselves when their names are those of a recogniser; UsageError says what is wrong."""
    unknown = sorted(set(files) - set(ASR_FILES))
    if unknown:
        raise UsageError(
            f"{unknown[0][:60]!r} is no file of a recogniser", hint="files: " + " ".join(ASR_FILES)
        )
    missing = [file for file in ASR_NEEDED if file not in files]
    if not missing and not {"vocabulary.txt", "vocabulary.json"} & set(files):
        missing = ["vocabulary.txt"]
    if missing:
        raise UsageError(
            f"the recogniser lacks {missing[0]}", hint="give a folder as faster-whisper downloads it"
        )
    return files
