"""The endpoints that open and close the page. Reached on the unix socket only. Follows specs/page.md."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.requests import flag, json_body


async def show(parts: Parts, request: Request) -> Response:
    """Where the page is."""
    return JSONResponse({"url": parts.page.url})


async def open_page(parts: Parts, request: Request) -> Response:
    """Open the page, or say where it is open."""
    new = flag(await json_body(request), "new", default=False)
    return JSONResponse({"url": await parts.page.open(new=new)})


async def close_page(parts: Parts, request: Request) -> Response:
    """Close the page."""
    return JSONResponse({"closed": await parts.page.close()})
