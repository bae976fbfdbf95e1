"""The endpoints for two voices: diff, merge, and the samples both leave to be listened to.

Follows specs/rpc.md, "Two voices", and specs/merging.md.
"""

from collections.abc import Mapping
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import Response

from p2pvoice.node import diffing, merging
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.events import EventStream, Report
from p2pvoice.node.rpc.requests import REF_LIMIT, count, flag, json_body, quantity, text, texts

#: Thousandths of a whole.
WHOLE = 1000


async def diff(parts: Parts, request: Request) -> EventStream:
    """Tell what differs between two voices."""
    body = await json_body(request)
    a, b = (text(body, name, limit=REF_LIMIT) for name in ("a", "b"))
    options = read_options(body)

    async def work(report: Report) -> Mapping[str, Any]:
        return await diffing.diff(parts, a, b, **options, tell=report)

    return EventStream(work)


def read_options(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller says of a diff beside the two voices."""
    listed = count(body, "tensors", low=0, high=diffing.TENSORS_LIMIT)
    return {
        "samples": flag(body, "samples", default=False),
        "measure": flag(body, "measure", default=False),
        "text": text(body, "text", default="", limit=1_000),
        "lang": text(body, "lang", default="", limit=16),
        "tensors": diffing.TENSORS_SHOWN if listed is None else listed,
    }


def merge(parts: Parts, ref: str, body: Mapping[str, Any]) -> EventStream:
    """Merge another release into a voice of one's own."""
    wanted = read_wanted(body, voice=ref, theirs=text(body, "with", limit=REF_LIMIT))

    async def work(report: Report) -> Mapping[str, Any]:
        return await merging.merge(parts, wanted, report)

    return EventStream(work)


def read_wanted(body: Mapping[str, Any], *, voice: str = "", theirs: str = "") -> merging.Wanted:
    """How a caller wants two voices merged."""
    share = quantity(body, "weight", low=0.0, high=1.0)
    return merging.Wanted(
        voice=voice,
        theirs=theirs,
        mode=text(body, "mode", limit=16),
        share=merging.SHARE if share is None else round(share * WHOLE),
        parts=tuple(texts(body, "parts", limit=32)),
        asr=text(body, "asr", default="", limit=100),
        sentences=tuple(texts(body, "sentences", limit=32)),
        lang=text(body, "lang", default="", limit=16),
        unrelated=flag(body, "unrelated", default=False),
    )


async def sample(parts: Parts, request: Request) -> Response:
    """Give a sample."""
    name = str(request.path_params["sample"])
    data = await trio.to_thread.run_sync(parts.samples.get, name, limiter=parts.disk)
    return Response(data, media_type="audio/wav", headers={"X-AIGC-Label": "1", "Cache-Control": "no-store"})
