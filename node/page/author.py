"""One author: the key, whose it is to the user, and the voices by it that are known here.

Follows specs/page.md.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from p2pvoice.node.page import shown
from p2pvoice.node.page.view import View
from p2pvoice.node.voices import disk
from p2pvoice.protocol.errors import NotFoundError
from p2pvoice.protocol.ids import parse_author_id

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

VOICES_LIMIT = 200
"""Voices of an author that the page shows, the newest first."""


async def page(parts: "Parts", request: Request, view: View) -> Response:
    """An author and the voices by them."""
    author = unquote(request.path_params["author"])
    parse_author_id(author)

    def look() -> dict[str, Any]:
        rows = parts.catalog.names_of([author], VOICES_LIMIT)
        releases = [parts.catalog.release(identifier) for _, _, identifier in rows]
        whose = parts.names.whose(author)
        try:
            since = view.words.day(parts.following.get(author).since)
        except NotFoundError:
            since = ""
        now = parts.successors.current(author)
        return {
            "author": shown.person(view, {"author": author, **whose}),
            "since": since,
            "moved": view.author(now) if now != author else None,
            "cards": [shown.card(parts, view, release) for release in releases if release is not None],
        }

    return view.render("author.html", **await disk(parts, look))
