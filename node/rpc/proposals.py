"""The endpoints for proposals: offering a release, comparing what is offered with the voice, merging it.

Lists, threads and reviews are community.py's, like those of issues. Follows specs/rpc.md, "Two voices", and
specs/proposals.md.
"""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from p2pvoice.node import diffing, proposing
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.events import EventStream, Report
from p2pvoice.node.rpc.merging import read_options, read_wanted
from p2pvoice.node.rpc.requests import REF_LIMIT, text
from p2pvoice.protocol.acts import TEXT_LENGTH
from p2pvoice.protocol.errors import ManifestError, UsageError


async def propose(parts: Parts, ref: str, body: Mapping[str, Any]) -> Response:
    """Offer a release of one's own for a voice."""
    # That file sends what is aimed at a proposal here.
    from p2pvoice.node.rpc.community import facts_of, plain

    words = plain(text(body, "text", default="", limit=2 * TEXT_LENGTH))
    mine = text(body, "from", limit=REF_LIMIT)
    if not words:
        raise UsageError("say what is better, or what it is for", hint='-m "…"')
    offer = await proposing.prepare(parts, ref, mine)
    try:
        acted = await proposing.propose(parts, offer, words)
    except ManifestError as error:
        raise UsageError(error.message) from error
    named = {"release": offer.release.id, "base": offer.base.id, "head": offer.head.id}
    return JSONResponse(await facts_of(parts, acted) | named)


def diff(parts: Parts, operation: str, body: Mapping[str, Any]) -> EventStream:
    """Compare what is offered with the voice as it is now."""
    options = read_options(body)

    async def work(report: Report) -> Mapping[str, Any]:
        found = await proposing.named(parts, operation)
        return await diffing.diff(parts, found.reference, found.release, **options, tell=report)

    return EventStream(work)


def merge(parts: Parts, operation: str, body: Mapping[str, Any]) -> EventStream:
    """Merge what is offered into the voice: a draft, as with any merge."""
    wanted = read_wanted(body)

    async def work(report: Report) -> Mapping[str, Any]:
        return await proposing.merge(parts, operation, wanted, report)

    return EventStream(work)
