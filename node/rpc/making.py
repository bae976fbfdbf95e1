"""The endpoints for a voice's author: uploads, drafts and publishing.

Follows specs/rpc.md.
"""

from collections.abc import Mapping
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node import importing, publish
from p2pvoice.node.parts import Parts
from p2pvoice.node.references import draft_key
from p2pvoice.node.rpc.events import EventStream, Report
from p2pvoice.node.rpc.requests import flag, json_body, text, texts
from p2pvoice.protocol.errors import UsageError

#: Longest transcript of a reference clip, in characters.
TRANSCRIPT_LIMIT = 1_000

#: Reference clips of one import.
CLIPS_LIMIT = 16

#: Longest description of a voice that is read; the manifest's own limit is checked when it is made.
DESCRIPTION_LIMIT = 20_000


def steps(report: Report) -> importing.Step:
    """A worker's progress as events."""

    async def on_progress(data: Mapping[str, Any]) -> None:
        await report({"event": "progress", **data})

    return on_progress


async def upload(parts: Parts, request: Request) -> Response:
    """Take a file."""
    received = await parts.uploads.receive(request.stream())
    return JSONResponse({"upload": received.id, "size": received.size})


async def drafts(parts: Parts, request: Request) -> Response:
    """List the drafts."""
    found = await trio.to_thread.run_sync(parts.drafts.all, limiter=parts.disk)
    return JSONResponse({"drafts": [draft.to_dict() for draft in found]})


async def import_voice(parts: Parts, request: Request) -> EventStream:
    """Make a draft of uploads."""
    body = await json_body(request)
    more = body.get("more") or []
    if not isinstance(more, list) or len(more) >= CLIPS_LIMIT or not all(isinstance(m, dict) for m in more):
        raise UsageError(f"more must list at most {CLIPS_LIMIT - 1} clips")
    wanted = importing.Import(
        name=text(body, "name", limit=200),
        slug=text(body, "slug", default="", limit=200) or None,
        sovits=text(body, "sovits", limit=64),
        gpt=text(body, "gpt", limit=64),
        clips=tuple(sent_clip(one) for one in (body, *more)),
        parents=tuple(texts(body, "parents")),
    )

    async def work(report: Report) -> Mapping[str, Any]:
        return (await importing.import_voice(parts, wanted, steps(report))).to_dict()

    return EventStream(work)


def sent_clip(body: Mapping[str, Any]) -> importing.SentClip:
    """A reference clip of a request."""
    return importing.SentClip(
        clip=text(body, "clip", limit=64),
        clip_name=text(body, "clip_name", default="clip.wav", limit=1024),
        text=text(body, "text", limit=TRANSCRIPT_LIMIT),
        lang=text(body, "lang", limit=16),
    )


async def remove_draft(parts: Parts, request: Request) -> Response:
    """Remove a draft of the user's own."""
    name = str(request.path_params["draft"])

    def work() -> dict[str, Any]:
        draft = parts.drafts.get(name)
        keys.append(draft_key(draft))
        return {"draft": draft.slug, "name": draft.name, "bytes": parts.drafts.remove(draft)}

    keys: list[str] = []
    async with parts.drafting:
        removed = await trio.to_thread.run_sync(work, limiter=parts.disk)
    parts.engine.forget(keys[0])
    return JSONResponse(removed)


async def import_bundled(parts: Parts, request: Request) -> EventStream:
    """Make a draft of the packaged voice."""
    body = await json_body(request)
    name = text(body, "name", limit=200)

    async def work(report: Report) -> Mapping[str, Any]:
        return (await importing.import_bundled(parts, name, steps(report))).to_dict()

    return EventStream(work)


async def publish_draft(parts: Parts, request: Request) -> EventStream:
    """Publish a draft."""
    body = await json_body(request)
    wanted = publish.Publication(
        draft=text(body, "draft", limit=200),
        tags=tuple(texts(body, "tags")),
        license=text(body, "license", default="", limit=200),
        consent=text(body, "consent", default="", limit=200),
        description=text(body, "description", default="", limit=DESCRIPTION_LIMIT),
        subject=text(body, "subject", default="", limit=1_000),
        ai_voice_permission=flag(body, "ai_voice_permission", default=False),
        consent_upload=text(body, "consent_upload", default="", limit=64),
        clips_may_travel=flag(body, "clips_may_travel", default=False),
    )

    async def work(report: Report) -> Mapping[str, Any]:
        return await publish.publish(parts, wanted, steps(report))

    return EventStream(work)
