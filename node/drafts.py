"""Drafts: voices of the user's own on this machine, before (and after) they are published.

A draft is a folder with the bundle as the worker made it and a few facts beside it. It never leaves the
machine by itself. A draft is made beside its place and moved there when it is whole, so an import that
fails or is cancelled leaves what was there before. Follows specs/store.md, "Drafts".
"""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pvoice.node.durable import replace_file, sync_folder, sync_tree
from p2pvoice.protocol.errors import NotFoundError, StorageError, UsageError
from p2pvoice.protocol.ids import check_slug, slugify

#: Longest display name of a voice, in characters.
NAME_LIMIT = 100

#: Largest record beside a bundle, in bytes.
RECORD_LIMIT = 1 << 20


#: Folder in a draft for what exists only while it is published.
PUBLISHING = "publishing"


@dataclass(frozen=True)
class Draft:
    """A draft: its folder, how the voice is called, and what the worker found in its bundle.

    ``notes`` is what else is to be said of it when it is published: ``training`` and ``measured`` as in a
    manifest, ``parents`` as (release, kind) pairs, ``tags`` that were proposed. A merge notes the ``voice``
    it is for, how it was made (``merge``), and whether its references are a voice's own (``own_clips``).
    """

    folder: Path
    slug: str
    name: str
    created: int
    facts: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bundle(self) -> Path:
        """The folder with the bundle's files."""
        return self.folder / "bundle"

    @property
    def voice(self) -> str:
        """The slug of the voice that it is published as: its own, unless it was made for another one."""
        return str(self.notes.get("voice") or self.slug)

    def size(self) -> int:
        """Bytes of all files of the bundle."""
        return sum(path.stat().st_size for path in self.bundle.rglob("*") if path.is_file())

    def to_dict(self) -> dict[str, Any]:
        """The draft as the RPC shows it."""
        return {
            "draft": self.slug,
            "slug": self.slug,
            "name": self.name,
            "created": self.created,
            "bytes": self.size(),
            "languages": list(self.facts.get("languages", ())),
            "training": self.notes.get("training"),
            "measured": list(self.notes.get("measured", ())),
            "proposed_tags": list(self.notes.get("tags", ())),
        }


class Drafts:
    """The drafts of one home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clean(self) -> None:
        """Put in order what a crash left, as at the daemon's start.

        A draft that was being replaced when its successor was not in place yet is put back.
        """
        for path in self._folder.glob(".*.old"):
            place = self._folder / path.name[1 : -len(".old")]
            if not place.exists():
                path.rename(place)
        for path in [*self._folder.glob(".*"), *self._folder.glob(f"*/{PUBLISHING}")]:
            shutil.rmtree(path, ignore_errors=True)

    def begin(self, name: str, slug: str | None) -> tuple[str, Path]:
        """Check the names and make the folder in which a new draft grows; returns slug and bundle folder."""
        name = name.strip()
        if not 1 <= len(name) <= NAME_LIMIT:
            raise UsageError(f"a voice's name has 1 to {NAME_LIMIT} characters")
        chosen = check_slug(slug) if slug else slugify(name)
        growing = self._folder / f".{chosen}.new"
        shutil.rmtree(growing, ignore_errors=True)
        growing.mkdir(mode=0o700)
        return chosen, growing / "bundle"

    def finish(
        self, name: str, slug: str, facts: Mapping[str, Any], notes: Mapping[str, Any] | None = None
    ) -> Draft:
        """Move a grown draft to its place; one by the same slug that was there before is replaced."""
        growing, place = self._folder / f".{slug}.new", self._folder / slug
        _write(growing, name.strip(), slug, int(time.time()), facts, notes or {})
        sync_tree(growing)
        old = self._folder / f".{slug}.old"
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        growing.rename(place)
        # The old one goes when the new one's name is on disk, and not before.
        sync_folder(self._folder)
        shutil.rmtree(old, ignore_errors=True)
        return self.get(slug)

    def abandon(self, slug: str) -> None:
        """Remove a draft that did not become whole."""
        shutil.rmtree(self._folder / f".{slug}.new", ignore_errors=True)

    def remove(self, draft: Draft) -> int:
        """Remove a draft for good; the bytes of its files. What was published of it stays."""
        size, gone = draft.size(), self._folder / f".{draft.slug}.new"
        shutil.rmtree(gone, ignore_errors=True)
        # Out of sight in one step: a kill in the middle leaves no half of a draft.
        draft.folder.rename(gone)
        sync_folder(self._folder)
        shutil.rmtree(gone, ignore_errors=True)
        return size

    def note(self, draft: Draft, notes: Mapping[str, Any]) -> Draft:
        """Say more of a draft; keys that were there before are replaced."""
        merged = {**draft.notes, **notes}
        _write(draft.folder, draft.name, draft.slug, draft.created, draft.facts, merged)
        return self.get(draft.slug)

    def get(self, name: str) -> Draft:
        """A draft by its slug or its display name; NotFoundError when there is none."""
        for draft in self.all():
            if name in (draft.slug, draft.name):
                return draft
        raise NotFoundError(f"there is no draft {name!r}", hint="p2pvoice import --help")

    def all(self) -> list[Draft]:
        """Every draft, in the order of their slugs."""
        found = []
        for folder in sorted(self._folder.iterdir()):
            path = folder / "draft.json"
            if folder.name.startswith(".") or not path.is_file() or path.stat().st_size > RECORD_LIMIT:
                continue
            record = json.loads(path.read_text())
            found.append(
                Draft(
                    folder,
                    folder.name,
                    str(record["name"]),
                    int(record["created"]),
                    record["facts"],
                    record.get("notes", {}),
                )
            )
        return found


def _write(
    folder: Path, name: str, slug: str, created: int, facts: Mapping[str, Any], notes: Mapping[str, Any]
) -> None:
    record = {"name": name, "slug": slug, "created": created, "facts": dict(facts), "notes": dict(notes)}
    data = json.dumps(record, ensure_ascii=False).encode()
    if len(data) > RECORD_LIMIT:
        raise StorageError(f"what is known of the draft {slug} takes more than {RECORD_LIMIT} bytes")
    replace_file(folder / "draft.json", data)
