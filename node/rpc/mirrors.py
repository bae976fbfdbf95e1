"""The endpoints of mirrors: what is kept alive here, and how that stands. Follows specs/rpc.md."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node import pins
from p2pvoice.node.mirror_tables import REPLICAS_LIMIT
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.requests import REF_LIMIT, count, json_body, mirror_path, text
from p2pvoice.protocol.amounts import AMOUNT_LIMIT


async def listed(parts: Parts, request: Request) -> Response:
    """Every mirror."""
    return JSONResponse(await pins.mirrors(parts))


async def begin(parts: Parts, request: Request) -> Response:
    """Mirror an author or a tag."""
    body = await json_body(request)
    replicas = count(body, "replicas", low=1, high=REPLICAS_LIMIT)
    limit = count(body, "limit", low=0, high=AMOUNT_LIMIT)
    what = text(body, "what", limit=REF_LIMIT)
    found = await pins.mirror(parts, what, replicas=replicas or pins.REPLICAS, limit=limit or 0)
    return JSONResponse(found)


async def look(parts: Parts, request: Request) -> Response:
    """Look now what there is to keep alive; the answer does not wait for it."""
    parts.mirroring.ask()
    return JSONResponse({"looking": True})


async def stop(parts: Parts, request: Request) -> Response:
    """Mirror it no longer."""
    return JSONResponse(await pins.stop(parts, mirror_path(request)))
