"""The endpoints that measure: describe, similarity, stability.

Follows specs/rpc.md, "Measuring", and specs/measurement.md.
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from p2pvoice.node import measuring
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.events import EventStream, Report
from p2pvoice.node.rpc.requests import json_body, text
from p2pvoice.protocol.errors import UsageError

#: Longest transcript of a recording that is described, in characters.
TRANSCRIPT_LIMIT = 20_000


async def describe(parts: Parts, request: Request) -> EventStream:
    """Measure a draft or a recording."""
    body = await json_body(request)
    subject = read_subject(body, "the request", voices=False)
    asked = {
        "name": text(body, "name", default="", limit=200),
        "lang": text(body, "lang", default="", limit=16),
        "said": text(body, "text", default="", limit=TRANSCRIPT_LIMIT),
        "asr": text(body, "asr", default="", limit=100),
    }

    async def work(report: Report) -> Mapping[str, Any]:
        return await measuring.describe(parts, subject, **asked, tell=report)

    return EventStream(work)


async def similarity(parts: Parts, request: Request) -> EventStream:
    """Compare two speakers."""
    body = await json_body(request)
    a, b = (read_subject(body.get(name), name) for name in ("a", "b"))

    async def work(report: Report) -> Mapping[str, Any]:
        return await measuring.similarity(parts, a, b, report)

    return EventStream(work)


async def stability(parts: Parts, request: Request) -> EventStream:
    """Tell how well a voice stays itself."""
    body = await json_body(request)
    subject = read_subject(body, "the request")
    if subject.upload:
        raise UsageError("stability is a voice's: name a voice or a draft")

    async def work(report: Report) -> Mapping[str, Any]:
        return await measuring.stability(parts, subject, report)

    return EventStream(work)


def read_subject(value: object, what: str, *, voices: bool = True) -> measuring.Subject:
    """A subject of a JSON body: ``{"voice": …}``, ``{"draft": …}`` or ``{"upload": …}``."""
    if not isinstance(value, dict):
        raise UsageError(f"{what} must name one voice, draft or upload")
    return measuring.Subject(
        voice=text(value, "voice", default="", limit=256) if voices else "",
        draft=text(value, "draft", default="", limit=200),
        upload=text(value, "upload", default="", limit=64),
    )
