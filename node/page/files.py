"""The page's static files and templates: read once out of the package, served by name.

Only what was there when the daemon started is served; a name from outside is a key of a table and never a
path. Follows specs/page.md.
"""

from functools import lru_cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from p2pvoice.protocol.errors import NotFoundError

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Kinds of static files there are."""


@lru_cache(maxsize=1)
def static_files() -> dict[str, tuple[bytes, str]]:
    """Content and media type of each static file, by its name."""
    found = {}
    for entry in files("p2pvoice.node.page").joinpath("static").iterdir():
        kind = TYPES.get("." + entry.name.rpartition(".")[2])
        if kind is not None:
            found[entry.name] = (entry.read_bytes(), kind)
    return found


async def static(request: Request) -> Response:
    """One static file."""
    content, kind = static_files().get(request.path_params["name"], (b"", ""))
    if not kind:
        return Response(status_code=NotFoundError.http_status)
    # Not through media_type: it would add a charset to what already names one.
    return Response(content, headers={"content-type": kind})
