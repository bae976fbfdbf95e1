"""Giving a voice, or a draft, back in the form that GPT-SoVITS loads.

The worker makes the files; here is said whose they are and on what terms, and an archive of them passes
through. Nothing is kept. Not for what the files contain: that is the worker's. Follows specs/export.md.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node import voices
from p2pvoice.node.admit import voice_folder
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Manifest

#: The forms that a voice can be given back in.
FORMATS = ("gpt-sovits",)

#: The file of an export that says what it is and on what terms; it comes last, so an archive that ends with
#: it is whole.
TERMS_NAME = "TERMS.txt"

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class Export:
    """What is given back: the stem of the files' names, the bundle's folder, and the terms in words."""

    name: str
    folder: Path
    terms: str


async def exportable(parts: Parts, *, voice: str = "", draft: str = "") -> Export:
    """The installed voice or the draft that is asked for.

    Raises NotFoundError, RevokedError, or ConsentError for a voice whose consent has expired.
    """
    if draft:
        found = await trio.to_thread.run_sync(parts.drafts.get, draft, limiter=parts.disk)
        words = f"{found.name}: a draft, not published. Nobody has said on what terms it may be used.\n"
        return Export(found.slug, found.bundle, words)
    release = await voices.resolve_installed(parts, voice)
    facts = await voices.show(parts, release.id)
    return Export(
        release.manifest.slug,
        voice_folder(parts, release.id),
        terms(release.manifest, release.id, facts["consent"]),
    )


def terms(manifest: Manifest, release: str, consent: Mapping[str, Any]) -> str:
    """Licence and consent of a release in words that travel with its files."""
    rows = {
        "voice": manifest.name,
        "release": release,
        "author": author_id(manifest.author),
        "licence": manifest.license,
        "whose voice": " ".join(str(consent.get(key) or "") for key in ("subject", "subject_name")).strip(),
        "consent": str(consent.get("state") or ""),
        "also allowed": ", ".join(consent.get("scope") or ()),
        "statement": str(consent.get("statement") or ""),
    }
    lines = [f"{name}: {' '.join(value.split())}\n" for name, value in rows.items() if value]
    return "".join(lines) + (
        "\nThis voice is of a person who consented to it, or of nobody, as said above. The licence and the"
        "\nconsent bind whoever uses these files, too. What is spoken with them is synthetic and has to be"
        "\nmarked as such; other programs may not do that by themselves.\n"
    )


async def export(parts: Parts, what: Export, form: str, plain: bool, send: Send) -> None:
    """Pass the archive of an export on, a tar of plain files, piece by piece.

    Raises UsageError for a form that is not known or that the voice has not, before the first piece.
    """
    if form not in FORMATS:
        raise UsageError(f"{form[:40]!r} is no form of export", hint="--format " + " or ".join(FORMATS))
    notes = {TERMS_NAME: what.terms}
    arguments = {"folder": str(what.folder), "name": what.name, "notes": notes, "plain": plain}
    await parts.engine.call("export", arguments, on_piece=send)
