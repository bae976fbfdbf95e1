"""The endpoint by which a person signs a consent with the key of their own node.

Follows specs/rpc.md and specs/consent.md.
"""

import base64

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node import consents
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.requests import count, flag, json_body, text, texts
from p2pvoice.protocol.consent import DATA_SOURCES_LIMIT, SCOPES
from p2pvoice.protocol.consent_statement import TIME_LIMIT, verify_statement


async def sign(parts: Parts, request: Request) -> Response:
    """Sign a consent; the answer has its bytes in base64 beside what it says."""
    body = await json_body(request)
    wanted = consents.Permission(
        author=text(body, "author", limit=200),
        name=text(body, "name", limit=1_000),
        statement=text(body, "statement", limit=10_000),
        language=text(body, "language", limit=64),
        slug=text(body, "slug", default="", limit=200) or None,
        scope=tuple(texts(body, "scope", limit=len(SCOPES))),
        clips_may_travel=flag(body, "clips_may_travel", default=False),
        data_sources=tuple(texts(body, "data_sources", limit=DATA_SOURCES_LIMIT)),
        expires=count(body, "expires", low=1, high=TIME_LIMIT - 1),
    )
    signed = await trio.to_thread.run_sync(consents.sign, parts.identity, wanted, limiter=parts.disk)
    facts = verify_statement(signed).facts()
    return JSONResponse({"consent": base64.b64encode(signed).decode("ascii"), **facts})
