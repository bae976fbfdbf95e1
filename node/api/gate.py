"""The gate in front of the APIs: the token, the rules of every face, web pages that are listed, and places.

A token stands in the address or in a header; the rest is the RPC's own guard (rpc/guard.py). Listed pages get
CORS headers and answers to their preflights, all others neither. Not for what is asked: see app.py. Follows
specs/api.md, "Who may ask".
"""

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2pvoice.node.api import gpt_sovits, openai
from p2pvoice.node.api.asked import API_BODY
from p2pvoice.node.page.gate import PREFIX
from p2pvoice.node.rpc.guard import Face, check_head, loopback_face
from p2pvoice.protocol.errors import BusyError, P2PVoiceError, PolicyError, UsageError

REQUESTS_LIMIT = 16
"""Requests that are answered at the same time."""

ORIGINS_LIMIT = 16
"""Web pages that may be listed."""

ORIGIN_LENGTH = 200
"""Characters of each."""

PREFLIGHT_SECONDS = "600"
"""How long a browser may remember what a preflight said."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*?#@\\]+")


@dataclass(frozen=True)
class Admission:
    """Who may ask at one port, as it is now."""

    port: int
    token: str = field(repr=False)
    origins: frozenset[str] = frozenset()

    def face(self) -> Face:
        """The port as a face of the guard's; the token is compared before."""
        plain = loopback_face(self.port, self.token, origins=self.origins)
        return Face(plain.hosts, plain.origins, bodies={"application/json": API_BODY})


def check_origins(origins: list[str]) -> frozenset[str]:
    """Web pages as they are listed; UsageError for one that is no origin."""
    if len(origins) > ORIGINS_LIMIT:
        raise UsageError(f"at most {ORIGINS_LIMIT} origins are listed")
    for one in origins:
        if len(one) > ORIGIN_LENGTH or not _ORIGIN.fullmatch(one):
            raise UsageError(f"{one[:80]!r} is no origin", hint="one is http://127.0.0.1:8000")
    return frozenset(origins)


class Gate:
    """An ASGI application that lets through to another one what comes with the token, without its prefix."""

    def __init__(self, app: ASGIApp, admission: Callable[[], Admission]) -> None:
        self._app, self._admission = app, admission
        self._answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the APIs do not speak {scope['type']}")
        admission = self._admission()
        headers = Headers(raw=scope["headers"])
        origin = headers.get("origin")
        listed = origin is not None and origin in admission.origins

        async def send_to_page(message: Message) -> None:
            if message["type"] == "http.response.start" and listed and origin is not None:
                fields = [
                    (b"access-control-allow-origin", origin.encode("latin-1")),
                    (b"access-control-expose-headers", b"X-AIGC-Label, X-Release-Id, X-Author"),
                    (b"vary", b"Origin"),
                ]
                message = {**message, "headers": [*message.get("headers", ()), *fields]}
            await send(message)

        inner, known = _taken(scope, headers, admission.token)
        asks = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        try:
            if not (known or (asks and listed)):
                raise PolicyError("the request carries no valid token", hint="p2pvoice api shows it")
            check_head(inner, admission.face())
            if not asks and self._answering >= REQUESTS_LIMIT:
                raise BusyError(
                    f"{REQUESTS_LIMIT} requests are answered already", hint="try again in a moment"
                )
        except P2PVoiceError as error:
            refuse = openai.refusal if _is_openai(inner["path"]) else gpt_sovits.refusal
            status = 401 if not known and not (asks and listed) else None
            await refuse(error, status)(scope, receive, send_to_page)
            return
        if asks:
            allowed = {
                "access-control-allow-methods": "GET, POST",
                "access-control-allow-headers": "authorization, content-type",
                "access-control-max-age": PREFLIGHT_SECONDS,
            }
            await Response(status_code=204, headers=allowed)(scope, receive, send_to_page)
            return
        self._answering += 1
        try:
            await self._app(inner, receive, send_to_page)
        finally:
            self._answering -= 1


def _taken(scope: Scope, headers: Headers, token: str) -> tuple[Scope, bool]:
    """The request without a token in front of its path, and whether the right one came along."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    # Compared in constant time, so that the time of an answer does not tell how much of a guess is right.
    if not raw.startswith(PREFIX.encode()):
        scheme, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(), token.encode())
        return dict(scope), same and scheme.lower() == "bearer"
    given_raw, slash, rest = raw[len(PREFIX) :].partition(b"/")
    same = hmac.compare_digest(given_raw, token.encode())
    path = slash + rest or b"/"
    return {**scope, "raw_path": path, "path": unquote(path.decode("ascii", "replace"))}, same


def _is_openai(path: str) -> bool:
    return path.startswith("/v1/")
