"""Helper networks (HuBERT, BERT) installed in this home: which there are, and installing one of uploads.

The worker checks and converts them; this file only moves bytes to where it may look. Follows
specs/worker.md, "Bases".
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node.parts import Parts
from p2pvoice.node.publish import Step
from p2pvoice.protocol.errors import UsageError

#: Files one helper network may consist of.
FILES_LIMIT = 32

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

#: Largest record beside an installed base, in bytes.
RECORD_LIMIT = 64 * 1024


def installed_bases(folder: Path) -> list[dict[str, Any]]:
    """The installed helper networks, as the RPC shows them."""
    found = []
    for place in sorted(folder.iterdir()):
        if not place.is_dir() or place.name.startswith("."):
            continue
        record = place / "base.json"
        facts: dict[str, Any] = {}
        if record.is_file() and record.stat().st_size <= RECORD_LIMIT:
            facts = json.loads(record.read_text())
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        found.append({"name": place.name, "kind": place.name, "size": size, **facts})
    return found


async def add(parts: Parts, name: str, files: Mapping[str, str], step: Step) -> dict[str, Any]:
    """Install a helper network of uploads (file name -> upload); the uploads are gone afterwards."""
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
            try:
                return await parts.engine.call(
                    "base_add",
                    {"name": name, "source": str(source), "into": str(parts.home.bases)},
                    on_progress=step,
                )
            finally:
                shutil.rmtree(source, ignore_errors=True)
    finally:
        parts.uploads.discard(*files.values())
