"""Voices and authors as the templates want them: plain dictionaries of text that is ready to be shown.

Nothing here is HTML: the templates escape whatever they are given. What is known of a voice comes from
node/voices.py. All functions but the names block on the catalog. Follows specs/page.md.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from p2pvoice.node.fetching import PREVIEW
from p2pvoice.node.page import wave
from p2pvoice.node.page.mark import mark_of
from p2pvoice.node.page.view import View
from p2pvoice.node.voices import summary
from p2pvoice.protocol.manifest import Release

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

FINGERPRINT = 12
"""Characters of an author's key that stand for it, as on the command line: ``z6Mk`` and eight more."""

GROUP = 4
"""Characters of a key that stand together where it is shown whole."""


def fingerprint(author: str) -> str:
    """The beginning of a key that stands for it beside a name."""
    return author.removeprefix("did:key:")[:FINGERPRINT]


def person(view: View, row: dict[str, Any]) -> dict[str, Any]:
    """Whose key it is to the user; ``row`` has author, own, followed and author_name."""
    key = str(row["author"])
    trust = "own" if row["own"] else "followed" if row["followed"] else "unknown"
    whole = key.removeprefix("did:key:")
    return {
        "id": key,
        "name": row["author_name"],
        "fingerprint": fingerprint(key),
        "groups": [whole[start : start + GROUP] for start in range(0, len(whole), GROUP)],
        "trust": trust,
        "url": view.author(key),
        "mark": asdict(mark_of(key)),
    }


def card(parts: "Parts", view: View, release: Release, row: dict[str, Any] | None = None) -> dict[str, Any]:
    """A voice as a card of a list shows it. Blocks."""
    row = row if row is not None else summary(parts, release)
    file = next((file for file in release.manifest.files if file.path == PREVIEW), None)
    here = file is not None and parts.store.has(file.digest)
    bars = wave.outline_of(parts.store.path(file.digest)) if file is not None and here else ()
    consent = row["consent"]
    return {
        "release": release.id,
        "slug": row["slug"],
        "name": row["name"],
        "description": row["description"],
        "url": view.voice(release.id),
        "author": person(view, row),
        "tags": [{"key": tag, "name": view.words.tag(tag)} for tag in row["tags"]],
        "licence": row["license"],
        "size": view.words.size(row["size"]),
        "created": view.words.day(row["created"]),
        "installed": row["installed"],
        "stars": row.get("stars", 0),
        "consent": consent["state"],
        "subject": consent["subject"],
        "warnings": [{"code": one["code"], "author": one["author"]} for one in row["warnings"]],
        "sound": None
        if file is None or consent["state"] == "expired"
        else {
            # Scripts ask from the page's root, what works without one is a link from this page.
            "asked": f"v1/voices/{release.id}/preview",
            "url": view.link(f"v1/voices/{release.id}/preview"),
            "path": wave.path(bars),
            "known": bool(bars),
        },
    }
