"""The endpoints of pronunciation dictionaries: the user's, and those of drafts and voices.

Follows specs/rpc.md and specs/pronunciation.md.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node import pronouncing
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.requests import flag, json_body, text
from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.pronunciation import USER_BYTES, USER_ENTRIES, Entry, entry, parse

#: Longest reference to a voice or a draft, in characters.
VOICE_LIMIT = 256


async def listed(parts: Parts, request: Request) -> Response:
    """The entries of a dictionary."""
    return JSONResponse(await pronouncing.listed(parts, _query(request, "voice")))


async def add(parts: Parts, request: Request) -> Response:
    """Add entries, given one by one or as a file's text."""
    body = await json_body(request)
    voice = text(body, "voice", default="", limit=VOICE_LIMIT)
    if "file" in body:
        entries = list(parse(text(body, "file", limit=USER_BYTES)))
    else:
        rows = body.get("entries")
        if not isinstance(rows, list) or len(rows) > USER_ENTRIES:
            raise UsageError(f"entries must be a list of at most {USER_ENTRIES}")
        entries = [_entry(row) for row in rows]
    if not entries:
        raise UsageError("there is nothing to add")
    return JSONResponse(await pronouncing.add(parts, entries, voice))


async def remove(parts: Parts, request: Request) -> Response:
    """Remove a word."""
    lang, word = _query(request, "lang"), _query(request, "word")
    return JSONResponse(await pronouncing.remove(parts, lang, word, _query(request, "voice")))


async def test(parts: Parts, request: Request) -> Response:
    """How a text is read."""
    body = await json_body(request)
    return JSONResponse(
        await pronouncing.test(
            parts,
            text(body, "text", limit=pronouncing.SHOWN_LIMIT),
            text(body, "lang", default="auto", limit=16),
            text(body, "voice", default="", limit=VOICE_LIMIT),
            upstream=flag(body, "upstream_text", default=False),
            plain=flag(body, "plain", default=False),
        )
    )


def _entry(row: Any) -> Entry:
    if not isinstance(row, dict):
        raise UsageError("an entry is {lang, word, reading}")
    return entry(text(row, "lang", limit=16), text(row, "word"), text(row, "reading"))


def _query(request: Request, name: str) -> str:
    return text(dict(request.query_params), name, default="", limit=VOICE_LIMIT)
