"""The gate in front of the page: the token in the address, and what every answer tells the browser.

A request whose path does not begin with the token gets an empty 404 and nothing else. From the others the
prefix is taken away, so that pages, static files and RPC see the paths they know. Host, Origin and body are
the RPC's own guard's to judge (rpc/guard.py), which stands behind this one. Follows specs/page.md.
"""

import hmac
from collections.abc import Iterable
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFIX = "/k/"
"""What stands in an address before the token."""

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Scripts, styles and requests: the page's own only. ``blob:`` is a sound that a script has received."""

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    # The address holds the token: no other place may learn it as a referrer.
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), display-capture=()"),
    (b"cache-control", b"no-store"),
)
"""Sent with every answer, refusals included."""


class Gate:
    """An ASGI application that lets through to another one what comes with the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._prefix = f"{PREFIX}{token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*_others(message.get("headers", ())), *HEADERS]
                message = {**message, "headers": headers}
            await send(message)

        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        given, rest = raw[: len(self._prefix)], raw[len(self._prefix) :]
        # Compared in constant time, so that the time of an answer does not tell how much of a guess is right.
        same = hmac.compare_digest(given, self._prefix)
        if not same or not rest.startswith(b"/"):
            await send_guarded({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        inner = {
            **scope,
            "raw_path": rest,
            "path": unquote(rest.decode("ascii", "replace")),
            "page_root": self._prefix.decode() + "/",
        }
        await self._app(inner, receive, send_guarded)


def _others(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    ours = {name for name, _ in HEADERS}
    return [(name, value) for name, value in headers if name.lower() not in ours]
