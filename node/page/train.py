"""Training on the page: a form for recordings, the trainings of this home, and the drafts that came of them.

Uploading, starting and following a training is the RPC's (specs/rpc.md, "Training"); the script train.js
does it. Follows specs/page-making.md, "Training".
"""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from p2pvoice.node.bases import ASR, installed_bases
from p2pvoice.node.enrol import LANGUAGES
from p2pvoice.node.page.view import View
from p2pvoice.node.rpc.training import MINUTES_LIMIT
from p2pvoice.node.trainings import CLIP_ENDINGS, CLIPS_LIMIT
from p2pvoice.node.voices import disk
from p2pvoice.protocol.consent import SUBJECTS

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

MINUTES = 18
"""Minutes of computing that the form proposes, as the command line does."""

TEXTS = (".txt", ".lab")
"""Endings of a text beside a recording, as on the command line."""

FAULTS = (
    "unreadable", "too_short", "too_long", "silence", "low_rate", "clipping", "noise", "music",
    "two_speakers", "duplicate", "no_transcript", "wrong_language", "text_too_long", "text_too_short",
    "other_text", "unmatched_text",
)  # fmt: skip
"""Codes of specs/training-data.md, "Faults"."""


async def page(parts: "Parts", request: Request, view: View) -> Response:
    """The form, and what was trained before."""

    def look() -> dict[str, Any]:
        trainings = sorted(parts.trainings.rows(), key=lambda row: -row["created"])
        drafts = sorted(parts.drafts.all(), key=lambda draft: -draft.created)
        held = (parts.catalog.release(one.release) for one in parts.catalog.installed_voices())
        return {
            "trainings": [_training(parts, view, row) for row in trainings],
            "drafts": [
                {
                    "name": draft.name,
                    "url": view.link("draft/" + quote(draft.slug, safe="")),
                    "size": view.words.size(draft.size()),
                    "made": view.words.day(draft.created),
                }
                for draft in drafts
            ],
            "bases": [
                (
                    view.words("node.voices"),
                    [(release.id, release.manifest.name) for release in held if release is not None],
                ),
                (view.words("train.drafts"), [(draft.slug, draft.name) for draft in drafts]),
            ],
            "recognisers": [
                str(row["name"]) for row in installed_bases(parts.home.bases) if row["kind"] == ASR
            ],
        }

    t = view.words
    return view.render(
        "train.html",
        **await disk(parts, look),
        languages=[{"code": lang, "name": t.language(lang)} for lang in LANGUAGES],
        subjects=[(subject, t("whose." + subject)) for subject in SUBJECTS],
        faults=json.dumps({code: [t("fault." + code), t("fix." + code)] for code in FAULTS}),
        endings=",".join(CLIP_ENDINGS),
        accepted=",".join([*CLIP_ENDINGS, *TEXTS]),
        clips_limit=CLIPS_LIMIT,
        minutes=MINUTES,
        minutes_limit=round(MINUTES_LIMIT),
    )


def _training(parts: "Parts", view: View, row: dict[str, Any]) -> dict[str, Any]:
    """A training as a list shows it."""
    progress, state = row["progress"], row["state"]
    error = row["error"] or {}
    return {
        "slug": row["training"],
        "name": row["name"],
        "state": state,
        "kind": view.words.named("made", {"train": "train", "tune": "tune", "distil": "distil"}[row["kind"]]),
        "clips": view.words.count("train.clips.n", row["clips"]),
        "size": view.words.size(row["bytes"]),
        "made": view.words.day(row["created"]),
        "stage": str(progress.get("stage", "")),
        "step": int(progress.get("step") or 0),
        "steps": int(progress.get("steps") or 0),
        "running": parts.trainer.current == row["training"],
        "can_resume": state in ("stopped", "failed"),
        "draft": view.link("draft/" + quote(row["draft"], safe="")) if row["draft"] else None,
        "error": error.get("message", "") if state == "failed" else "",
    }
