"""Everything a caller may ask, in one table: the server's routes and the OpenAPI document are made of it.

A new endpoint is a row here and in specs/rpc.md. The rows stand in four files, by what they are about. Not
for what the answers mean: see the endpoints. Follows specs/openapi.md.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.openapi import document
from p2pvoice.node.rpc.operations_making import MAKING
from p2pvoice.node.rpc.operations_node import NODE
from p2pvoice.node.rpc.operations_voices import VOICES
from p2pvoice.node.rpc.operations_words import WORDS
from p2pvoice.node.rpc.schemas import Operation, Unbound


async def openapi(parts: Parts, request: Request) -> Response:
    """The document."""
    return JSONResponse(document(OPERATIONS))


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/v1/openapi.json", openapi, "This document"),
    *NODE,
    *MAKING,
    *VOICES,
    *WORDS,
)


def routes() -> list[tuple[str, str, Unbound]]:
    """Method, path pattern and endpoint, each once, in the order in which they are tried."""
    found: dict[tuple[str, str], Unbound] = {}
    for one in OPERATIONS:
        endpoint = found.setdefault((one.method, one.matched), one.endpoint)
        if endpoint is not one.endpoint:
            raise RuntimeError(f"{one.method} {one.matched} has two endpoints")
    return [(method, path, endpoint) for (method, path), endpoint in found.items()]
