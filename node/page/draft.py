"""A draft: hear it, and publish it with tags, a licence and a consent in plain words.

Only the user's own node has drafts; this page is where one becomes public. Signing and announcing is the
RPC's (`POST /v1/publish`). Follows specs/page-making.md, "Publishing".
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from p2pvoice.node.drafts import Draft
from p2pvoice.node.page import speaking
from p2pvoice.node.page.view import View
from p2pvoice.node.page.voice import made_of
from p2pvoice.node.voices import disk
from p2pvoice.protocol.consent import LICENSE_LENGTH, SIGNED_LIMIT, SUBJECT_NAME_LENGTH, SUBJECTS
from p2pvoice.protocol.manifest import DESCRIPTION_LENGTH
from p2pvoice.protocol.tags import TAGS_LIMIT
from p2pvoice.protocol.vocabulary import FACETS

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

LICENCES = {
    "CC-BY-4.0": "by",
    "CC-BY-SA-4.0": "by-sa",
    "CC-BY-NC-4.0": "by-nc",
    "CC-BY-NC-SA-4.0": "by-nc-sa",
    "CC-BY-ND-4.0": "by-nd",
    "CC-BY-NC-ND-4.0": "by-nc-nd",
    "CC0-1.0": "cc0",
}
"""Licences that the form explains, with the key of the explanation; any other is typed in."""

NAMED = ("named", "deceased-estate")
"""Subjects that are a certain person other than the author: named, and perhaps with a signed consent."""

PERMISSION_IMPLIED = ("self", "synthetic")
"""Subjects for whom saying so is the permission, as on the command line."""

MAY_TRAVEL = ("self", "public-domain-corpus")
"""Subjects whose recordings travel when the author says so; of others a statement decides."""


async def page(parts: "Parts", request: Request, view: View) -> Response:
    """What is known of a draft, the speak box, and the form."""
    name = unquote(request.path_params["draft"])

    def look() -> tuple[Draft, int, str | None]:
        draft = parts.drafts.get(name)
        held = parts.catalog.installed_release(parts.author, draft.voice)
        return draft, draft.size(), held.release if held is not None else None

    draft, size, published = await disk(parts, look)
    facts = draft.facts
    proposed = [str(tag) for tag in draft.notes.get("tags", ())]
    return view.render(
        "draft.html",
        draft={
            "name": draft.name,
            "slug": draft.slug,
            "size": view.words.size(size),
            "made": view.words.day(draft.created),
            "languages": [view.words.language(lang) for lang in facts["languages"]],
            "engine": f"{facts['family']} {facts['version']}",
            "published": view.voice(published) if published else None,
            # What only a release has.
            **{"parents": [], "family": None, "references": [], "files": []},
            **made_of(view, draft.notes.get("training"), list(draft.notes.get("measured", ()))),
        },
        speak=speaking.box(view, draft.name, draft.slug, facts["languages"], dict(facts), draft=draft.slug),
        locked=parts.identity.locked,
        facets=_facets(view, proposed),
        proposed=bool(proposed),
        licences=[(licence, view.words("terms." + key)) for licence, key in LICENCES.items()],
        subjects=[
            {
                "value": subject,
                "name": view.words("whose." + subject),
                "says": view.words("publish.whose." + subject),
                "named": subject in NAMED,
                "asked": subject not in PERMISSION_IMPLIED,
                "travels": subject in MAY_TRAVEL,
            }
            for subject in SUBJECTS
        ],
        limits={
            "tags": TAGS_LIMIT,
            "description": DESCRIPTION_LENGTH,
            "subject": SUBJECT_NAME_LENGTH,
            "licence": LICENSE_LENGTH,
            "consent": SIGNED_LIMIT,
        },
    )


def _facets(view: View, proposed: list[str]) -> list[dict[str, Any]]:
    """Every value of every facet as a choice; what was measured is marked, and chosen by the author alone."""
    found = []
    for facet, values in FACETS.items():
        rows = [
            {
                "key": f"{facet}/{value}",
                "name": view.words.tag(f"{facet}/{value}"),
                "proposed": f"{facet}/{value}" in proposed,
            }
            for value in values
        ]
        opened = any(row["proposed"] for row in rows)
        found.append({"name": view.words("facet." + facet), "values": rows, "open": opened})
    return found
