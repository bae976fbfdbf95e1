"""Reading a request: JSON bodies within a limit, and parameters as the types they should be.

Follows specs/rpc.md.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from p2pvoice.protocol.errors import UsageError

#: Largest JSON body in bytes.
BODY_LIMIT = 1 << 20

#: Longest reference to a voice, in bytes.
REF_LIMIT = 256


async def json_body(request: Request, *, limit: int = BODY_LIMIT) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object. Only application/json is read as JSON."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > limit:
            raise UsageError(f"the request's body is larger than {limit} bytes")
    if not data:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UsageError("the request's body is not marked as JSON", hint="Content-Type: application/json")
    try:
        body = json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise UsageError("the request's body is not JSON") from error
    if not isinstance(body, dict):
        raise UsageError("the request's body is not a JSON object")
    return body


def text(body: Mapping[str, Any], name: str, *, default: str | None = None, limit: int = 4096) -> str:
    """A text field; UsageError when it is missing (without a default), too long or no text."""
    value = body.get(name)
    if value is None:
        if default is None:
            raise UsageError(f"{name} is missing")
        return default
    if not isinstance(value, str) or len(value) > limit or not _is_unicode(value):
        raise UsageError(f"{name} must be a text of at most {limit} characters")
    return value


def texts(body: Mapping[str, Any], name: str, *, limit: int = 64) -> list[str]:
    """A list of texts, empty when it is missing."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > limit:
        raise UsageError(f"{name} must be a list of at most {limit} texts")
    if not all(isinstance(item, str) and _is_unicode(item) for item in value):
        raise UsageError(f"{name} must be a list of at most {limit} texts")
    return value


def _is_unicode(text: str) -> bool:
    """Whether a text can be stored and sent: JSON can spell lone surrogates, which no encoding has."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def flag(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """A true or false field."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false")
    return value


def number(value: str | None, name: str, *, default: float, low: float, high: float) -> float:
    """A number of the query string, within its range."""
    if value is None:
        return default
    try:
        found = float(value)
    except ValueError:
        raise UsageError(f"{name} must be a number") from None
    if not low <= found <= high:
        raise UsageError(f"{name} must lie between {low:g} and {high:g}")
    return found


def quantity(
    body: Mapping[str, Any], name: str, *, low: float, high: float, whole: bool = False
) -> float | None:
    """A number of a JSON body within its range, or None when it is missing; ``whole`` asks for an integer."""
    value = body.get(name)
    if value is None:
        return None
    fits = isinstance(value, int) if whole else isinstance(value, int | float)
    if isinstance(value, bool) or not fits:
        raise UsageError(f"{name} must be a {'whole ' if whole else ''}number")
    if not low <= value <= high:
        raise UsageError(f"{name} must lie between {low:g} and {high:g}")
    return float(value)


def count(body: Mapping[str, Any], name: str, *, low: int, high: int) -> int | None:
    """A whole number of a JSON body within its range, or None when it is missing."""
    value = quantity(body, name, low=low, high=high, whole=True)
    return None if value is None else int(value)


def training_path(request: Request) -> tuple[str, str]:
    """The name and the action in ``/v1/trainings/<quoted name>[/<action>]``."""
    return _name_and_action(request, "/v1/trainings/")


def author_path(request: Request) -> str:
    """The author in ``/v1/following/<quoted author>``."""
    author, action = _name_and_action(request, "/v1/following/")
    if action:
        raise UsageError(f"an author has no {action!r}")
    return author


def mirror_path(request: Request) -> str:
    """The author or tag in ``/v1/mirrors/<quoted name>``."""
    what, action = _name_and_action(request, "/v1/mirrors/")
    if action:
        raise UsageError(f"a mirror has no {action!r}")
    return what


def collection_path(request: Request) -> tuple[str, str]:
    """The reference and the action in ``/v1/collections/<quoted reference>[/<action>]``."""
    return _name_and_action(request, "/v1/collections/")


def voice_path(request: Request) -> tuple[str, str]:
    """The reference and the action in ``/v1/voices/<quoted reference>[/<action>]``.

    The raw path is taken apart before it is unquoted: a reference may hold a quoted slash.
    """
    return _name_and_action(request, "/v1/voices/")


def base_path(request: Request) -> tuple[str, str]:
    """The reference and the action in ``/v1/bases/<quoted reference>[/<action>]``."""
    return _name_and_action(request, "/v1/bases/")


def operation_path(request: Request) -> tuple[str, str]:
    """The name and the action in ``/v1/operations/<name>[/<action>]``."""
    return _name_and_action(request, "/v1/operations/")


def _name_and_action(request: Request, prefix: str) -> tuple[str, str]:
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    rest = raw.split(b"?", 1)[0].removeprefix(prefix.encode()).split(b"/")
    if len(rest) > 2:
        raise UsageError("quote the slash in a name as %2F")
    if len(raw) > 3 * REF_LIMIT:
        raise UsageError("the name is too long")
    try:
        ref = unquote_to_bytes(rest[0]).decode()
    except UnicodeDecodeError:
        raise UsageError("the name is not UTF-8") from None
    if not ref:
        raise UsageError("the name is missing")
    return ref, rest[1].decode("ascii", "replace") if len(rest) == 2 else ""
