"""What a request must look like before any endpoint sees it: the one gate in front of every face of the RPC.

A web page that is open in the user's browser can send requests to loopback and can make a name of its own
point there; a program of another user can connect to a TCP port. So: the Host must be one of ours, no foreign
Origin and no cross-site marker may be there, a body must be of a type that no form can send, and on TCP a
token must come along. On the unix socket there is none: its mode 0600 already says who may connect. Time
limits are in connections.py, the errors' form in errors.py. Follows specs/rpc.md, "Security considerations".
"""

import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from p2pvoice.node.rpc.errors import error_response
from p2pvoice.node.rpc.requests import BODY_LIMIT
from p2pvoice.node.uploads import UPLOAD_LIMIT
from p2pvoice.protocol.errors import BusyError, CorruptError, P2PVoiceError, PolicyError, UsageError

#: Bytes of a request's path and query: a search with every tag and the longest text takes less.
URL_LIMIT = 32 * 1024

#: Bytes of all header fields, names and values.
HEADERS_LIMIT = 16 * 1024

#: Header fields of one request.
HEADERS_COUNT = 64

#: Bytes after which the HTTP server gives up on a head that has no end yet.
HEAD_LIMIT = URL_LIMIT + HEADERS_LIMIT + HEADERS_COUNT * 4 + 1024

#: Requests that are answered at the same time.
REQUESTS_LIMIT = 128

#: Types a body can have, with the most bytes of each. No HTML form can send one of them, so a browser asks
#: first whether it may, and is refused.
BODY_TYPES: Mapping[str, int] = {"application/json": BODY_LIMIT, "application/octet-stream": UPLOAD_LIMIT}

#: Random bytes of a token; it is written in hexadecimal.
TOKEN_SIZE = 32


@dataclass(frozen=True)
class Face:
    """Where an application is reached: the Hosts that mean it, web pages that may use it, and its token."""

    hosts: frozenset[str]
    origins: frozenset[str] = frozenset()
    token: str | None = field(default=None, repr=False)
    #: Whether web pages of our own come from here: what they only read arrives same-origin, without Origin.
    pages: bool = False
    #: Types a body can have here, with the most bytes of each.
    bodies: Mapping[str, int] = field(default_factory=lambda: BODY_TYPES)


UNIX = Face(frozenset({"localhost"}))
"""The unix socket. Programs name it ``localhost``, as the client of this package does."""


def loopback_face(port: int, token: str, *, origins: frozenset[str] = frozenset()) -> Face:
    """A TCP port on loopback, which anybody on this machine can reach: the token is not optional."""
    if not token:
        raise PolicyError("a TCP port without a token is open to every user of this machine")
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "[::1]", "localhost")}
    return Face(frozenset(hosts), origins, token)


def load_or_create_token(path: Path) -> str:
    """The token in the file ``path``, which is made with mode 0600 when it is not there.

    PolicyError when others can read it or it is not a file of its own, CorruptError when it holds no token.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return _read_token(path)
    with os.fdopen(handle, "w") as file:
        token = secrets.token_hex(TOKEN_SIZE)
        file.write(token + "\n")
    return token


def _read_token(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise PolicyError(f"{path} cannot be used: {error.strerror}", hint=f"remove {path}") from error
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PolicyError(f"{path} is not a file for you alone", hint=f"remove {path}")
        token = file.read(2 * TOKEN_SIZE + 2).decode("ascii", "replace").removesuffix("\n")
    if len(token) != 2 * TOKEN_SIZE or set(token) - set("0123456789abcdef"):
        raise CorruptError(f"{path} does not hold a token", hint=f"remove {path}; a new one is made")
    return token


class Guard:
    """An ASGI application that lets through to another one only what the face allows."""

    def __init__(self, app: ASGIApp, face: Face) -> None:
        self.inner = app
        self._face = face
        self._answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the RPC does not speak {scope['type']}")
        try:
            check_head(scope, self._face)
            if self._answering >= REQUESTS_LIMIT:
                raise BusyError(
                    f"the daemon answers {REQUESTS_LIMIT} requests already", hint="try again in a moment"
                )
        except P2PVoiceError as error:
            await error_response(error)(scope, receive, send)
            return
        self._answering += 1
        try:
            await self.inner(scope, receive, send)
        finally:
            self._answering -= 1


def check_head(scope: Scope, face: Face) -> None:
    """PolicyError or UsageError for a request that the face does not answer; its body is not read."""
    raw: list[tuple[bytes, bytes]] = scope["headers"]
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    if len(path) + len(scope["query_string"]) > URL_LIMIT:
        raise UsageError(f"the address of the request is longer than {URL_LIMIT} bytes")
    if len(raw) > HEADERS_COUNT or sum(len(name) + len(value) for name, value in raw) > HEADERS_LIMIT:
        raise UsageError(f"a request has at most {HEADERS_COUNT} header fields of {HEADERS_LIMIT} bytes")
    headers = Headers(raw=raw)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or hosts[0].lower() not in face.hosts:
        raise PolicyError(
            f"the host {', '.join(hosts)[:80]!a} is not this daemon",
            hint="hosts: " + " ".join(sorted(face.hosts)),
        )
    _check_browser(scope["method"], headers, face)
    if face.token is not None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Compared in constant time, so that the time of an answer does not tell how much of a guess is right.
        same = hmac.compare_digest(given.strip().encode(), face.token.encode())
        if scheme.lower() != "bearer" or not same:
            raise PolicyError(
                "the request carries no valid token",
                hint="send what is in the file rpc.token as Authorization: Bearer …",
            )
    _check_body(headers, face.bodies)


def _check_browser(method: str, headers: Headers, face: Face) -> None:
    """A request that a browser made for a web page tells so; only the pages that were listed may.

    A face with pages of its own lets them read without an Origin, and nobody change anything without one.
    """
    origins = headers.getlist("origin")
    listed = bool(origins) and all(origin in face.origins for origin in origins)
    site = headers.get("sec-fetch-site", "none")
    reading = method in ("GET", "HEAD")
    own = face.pages and reading and not origins and site == "same-origin"
    if (origins and not listed) or (site != "none" and not listed and not own):
        raise PolicyError("web pages may not use this daemon")
    if face.pages and not reading and not listed:
        raise PolicyError("only the page itself may change anything here")


def _check_body(headers: Headers, types: Mapping[str, int]) -> None:
    """The type of a body and its length, as far as it is told; who reads the body counts its bytes."""
    kind = headers.get("content-type")
    length = headers.get("content-length", "0")
    if kind is None and length == "0" and "transfer-encoding" not in headers:
        return
    name = (kind or "").partition(";")[0].strip().lower()
    limit = types.get(name)
    if limit is None:
        raise UsageError(
            f"a body of the type {name[:60]!a} is not read here",
            hint="Content-Type: " + " or ".join(types),
        )
    if not length.isdecimal() or len(length) > 20 or int(length) > limit:
        raise UsageError(f"the request's body is larger than {limit} bytes")
