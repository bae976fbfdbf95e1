"""Browsing: the voices this node knows, by facets and words; scripts add what other nodes have.

A filter is a link, so it works without a script and can be kept. Follows specs/page.md.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from p2pvoice.node.page import shown
from p2pvoice.node.page.view import View
from p2pvoice.node.voices import disk
from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.tags import TAGS_LIMIT, canonical_tag
from p2pvoice.protocol.vocabulary import FACETS

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

PAGE_SIZE = 24
"""Voices of one page, and how many more each step shows."""

SHOWN_LIMIT = 480
"""Most voices of one page."""

FIND_SECONDS = "8"
"""Seconds for which other nodes are asked when the page is opened."""

TEXT_LIMIT = 200
"""Characters of a search that are looked at."""


async def page(parts: "Parts", request: Request, view: View) -> Response:
    """The voices that fit, and what to narrow them by."""
    text, tags, bad = "", list[str](), False
    wanted = PAGE_SIZE
    for name, value in view.query:
        if name == "text":
            text = value[:TEXT_LIMIT]
        elif name == "show" and value.isdecimal() and len(value) < 6:
            wanted = min(max(int(value), PAGE_SIZE), SHOWN_LIMIT)
        elif name == "tag" and len(tags) < TAGS_LIMIT:
            try:
                tags.append(canonical_tag(value))
            except UsageError:
                bad = True
    tags = list(dict.fromkeys(tags))

    def look() -> tuple[list[dict[str, Any]], bool, int]:
        found = parts.catalog.search(tags, text, wanted + 1)
        cards = [shown.card(parts, view, release) for release in found[:wanted]]
        return cards, len(found) > wanted, parts.catalog.counts()[0]

    cards, more, known = await disk(parts, look)
    kept: list[tuple[str, str]] = [("text", text)] if text else []
    query = [*kept, *(("tag", tag) for tag in tags)]
    return view.render(
        "browse.html",
        text=text,
        tags=[
            {"key": tag, "name": view.words.tag(tag), "without": view.link("", _without(query, tag))}
            for tag in tags
        ],
        facets=_facets(view, tags, query),
        cards=cards,
        more=view.link("", [*query, ("show", str(wanted + PAGE_SIZE))]) if more else None,
        clear=view.link("", kept),
        known=known,
        find="v1/find?" + urlencode([*query, ("timeout", FIND_SECONDS), ("limit", str(wanted))]),
        bad=bad,
    )


async def card(parts: "Parts", request: Request, view: View) -> Response:
    """One voice as a card, for a script that puts it into a list."""

    def look() -> dict[str, Any] | None:
        release: Release | None = parts.catalog.release(request.path_params["release"])
        # The card will stand on the page that asks, which is the root.
        return shown.card(parts, view.at_root(), release) if release is not None else None

    found = await disk(parts, look)
    if found is None:
        raise NotFoundError("this voice is not known here")
    return view.at_root().render("card.html", voice=found)


def _facets(view: View, tags: list[str], query: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Every value of every facet, with the link that chooses it or takes it away."""
    facets = []
    for facet, values in FACETS.items():
        rows = []
        for value in values:
            tag = f"{facet}/{value}"
            on = tag in tags
            changed = _without(query, tag) if on else [*query, ("tag", tag)]
            rows.append({"name": view.words.tag(tag), "on": on, "url": view.link("", changed)})
        chosen = any(row["on"] for row in rows)
        facets.append({"name": view.words("facet." + facet), "values": rows, "open": chosen})
    return facets


def _without(query: list[tuple[str, str]], tag: str) -> list[tuple[str, str]]:
    return [pair for pair in query if pair != ("tag", tag)]
