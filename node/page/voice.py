"""One voice: who made it, of whom, under which terms, how it was measured, and what to do with it.

Whatever stands there is what its author signed, or what this node knows itself; the page says which. A voice
that is not known here is looked for in the network. Follows specs/page.md.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import trio
from starlette.requests import Request
from starlette.responses import Response

from p2pvoice.node import voices
from p2pvoice.node.page import shown, speaking, talk
from p2pvoice.node.page.family import family
from p2pvoice.node.page.view import View
from p2pvoice.node.rpc.requests import REF_LIMIT
from p2pvoice.node.voices import disk
from p2pvoice.protocol.errors import PeerTimeoutError, UsageError
from p2pvoice.protocol.manifest import Release

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

MEASURED_FIRST = ("language", "gender", "age", "pitch_median", "speech_rate", "loudness", "snr")
"""Measured figures that most people understand; the others are one step away."""

LOOK_SECONDS = 20.0
"""Seconds for which a voice is looked for that is not known here."""


async def page(parts: "Parts", request: Request, view: View) -> Response:
    """Everything that can be said about a voice."""
    raw: bytes = request.scope["raw_path"]
    ref = unquote(raw.decode("ascii", "replace").removeprefix("/voice/"))
    if len(ref) > REF_LIMIT:
        raise UsageError("the name is too long")
    found: dict[str, Any] | None = None
    with trio.move_on_after(LOOK_SECONDS):
        found = await voices.show(parts, ref)
    if found is None:
        raise PeerTimeoutError("no node has answered yet with this voice", hint="load the page again")
    if found["revoked"]:
        return view.render("revoked.html", 410, voice=_tombstone(view, found))
    release: Release = await voices.resolve(parts, found["release"])

    def look() -> dict[str, Any]:
        card = shown.card(parts, view, release, found)
        return card | {"said": talk.of_voice(parts, view, found["author"], found["slug"], release.id)}

    card = await disk(parts, look)
    card["family"] = await family(parts, view, release.id)
    return view.render("voice.html", voice=card | _facts(view, found, release))


def _facts(view: View, found: dict[str, Any], release: Release) -> dict[str, Any]:
    """What the page of one voice says beyond its card."""
    t = view.words
    newest = found["newest"]
    return {
        "lines": found["description"].splitlines(),
        "speak": speaking.box(
            view, found["name"], found["slug"], found["languages"], found["engine"], voice=found["release"]
        )
        if found["installed"] and found["consent"]["state"] != "expired"
        else None,
        "languages": [t.language(code) for code in found["languages"]],
        "version": found["sequence"],
        "newer": view.voice(newest) if newest != found["release"] else None,
        "engine": f"{found['engine']['family']} {found['engine']['version']}",
        "rate": f"{found['sample_rate'] / 1000:g} kHz",
        "terms": _terms(view, found),
        "references": [
            t("voice.reference", lang=t.language(one.lang), length=t.length(one.milliseconds / 1000))
            for one in release.manifest.references
        ],
        "files": [{"path": file["path"], "size": t.size(file["size"])} for file in found["files"]],
        "parents": [
            {
                "kind": t.named("parent", one["kind"]),
                "release": one["release"],
                "url": view.voice(one["release"]),
            }
            for one in found["parents"]
        ],
        **made_of(view, found["training"], found["measured"]),
    }


def made_of(view: View, training: dict[str, Any] | None, measured: list[dict[str, Any]]) -> dict[str, Any]:
    """How a voice was made and measured, as voice_made.html shows it; a draft has the same to say."""
    return {
        "training": _training(view, training),
        "measured": [_measured(view, one) for one in measured],
    }


def _terms(view: View, found: dict[str, Any]) -> dict[str, Any]:
    """The consent, in words."""
    t, consent = view.words, found["consent"]
    key, said = consent["signed_by"], consent["signed_statement"] or {}
    whose = t.named("subject", consent["subject"])
    if consent["subject"] == "named" and consent["subject_name"]:
        whose = t("subject.named.who", name=consent["subject_name"])
    hint = t("consent.claimed.hint")
    if consent["state"] == "expired":
        hint = t("consent.expired.hint", day=t.day(consent["expires"] or 0))
    elif consent["signed"]:
        hint = t("consent.signed.author" if key == found["author"] else "consent.signed.subject")
    return {
        "whose": whose,
        "state": consent["state"],
        "hint": hint,
        "key": key if key and key != found["author"] else None,
        "until": t.day(consent["expires"]) if consent["expires"] else None,
        "scope": [t.named("scope", use) for use in consent["scope"]],
        "recordings": None
        if consent["subject"] == "synthetic"
        else t("consent.recordings." + ("travel" if consent["references_may_travel"] else "stay")),
        "words": said.get("statement") or consent["statement"],
        "sources": consent["data_sources"],
    }


def _training(view: View, record: dict[str, Any] | None) -> dict[str, Any] | None:
    if record is None:
        return None
    t, data = view.words, record["data"]
    return {
        "kind": t.named("made", record["kind"]),
        "base": record["base"],
        "steps": record["steps"],
        "time": t.length(record["seconds"]),
        "data": t("voice.training.data.n", clips=data["clips"], length=t.length(data["seconds"])),
        "declared": data["declaration"],
    }


def _measured(view: View, row: dict[str, Any]) -> dict[str, Any]:
    t = view.words
    value = row["value"]
    if row["field"] in ("gender", "age", "language"):
        value = t.tag(f"{row['field']}/{value}")
    return {
        "first": row["field"] in MEASURED_FIRST,
        "what": t.named("measured", row["field"]),
        "value": f"{value} {t.named('unit', row['unit'])}".strip(),
        "sure": f"{row['confidence']} %",
        "how": row["method"],
    }


def _tombstone(view: View, found: dict[str, Any]) -> dict[str, Any]:
    by = "subject" if found["by"] == "subject" else "author"
    return {
        "name": found["name"] or found["slug"],
        "said": view.words("voice.revoked.by." + by, day=view.words.day(found["created"])),
        "reason": found["reason"],
    }
