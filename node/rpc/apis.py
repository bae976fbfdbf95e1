"""The endpoints that open and close the compatible APIs, on the unix socket only. Follows specs/api.md."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node.api.gate import ORIGINS_LIMIT
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.requests import count, json_body, text, texts


async def show(parts: Parts, request: Request) -> Response:
    """Whether the port is open, and its addresses and token."""
    return JSONResponse(parts.api.facts())


async def open_api(parts: Parts, request: Request) -> Response:
    """Open the port, or change what is given of it."""
    body = await json_body(request)
    port = count(body, "port", low=0, high=65_535)
    origins = None if body.get("origins") is None else texts(body, "origins", limit=ORIGINS_LIMIT)
    voice = None if body.get("voice") is None else text(body, "voice", limit=256)
    return JSONResponse(await parts.api.open(port=port, origins=origins, voice=voice))


async def close_api(parts: Parts, request: Request) -> Response:
    """Close the port."""
    return JSONResponse({"closed": await parts.api.close()})


async def renew_token(parts: Parts, request: Request) -> Response:
    """Make another token."""
    return JSONResponse(await parts.api.renew_token())
