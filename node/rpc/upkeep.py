"""The endpoints that keep a store in order: gc and verify. Follows specs/rpc.md."""

from collections.abc import Mapping
from typing import Any

import trio
from starlette.requests import Request

from p2pvoice.node import quota, repair, tidy
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.events import EventStream, Report
from p2pvoice.node.rpc.requests import REF_LIMIT, flag, json_body, text


async def gc(parts: Parts, request: Request) -> EventStream:
    """Remove what nobody needs."""
    dry_run = flag(await json_body(request), "dry_run", default=False)

    async def work(report: Report) -> Mapping[str, Any]:
        found = await tidy.collect_garbage(parts, report, dry_run=dry_run)
        more = await quota.trim(parts, report, dry_run=dry_run, freed=found["freed"])
        usage = await trio.to_thread.run_sync(parts.store.layout.usage, limiter=parts.disk)
        kept = {"files": usage.files, "bytes": usage.bytes}
        return found | {name: found[name] + more[name] for name in more} | {"kept": kept}

    return EventStream(work)


async def verify(parts: Parts, request: Request) -> EventStream:
    """Check stored files and repair them."""
    body = await json_body(request)
    ref = text(body, "voice", default="", limit=REF_LIMIT)
    wanted = flag(body, "repair", default=True)

    async def work(report: Report) -> Mapping[str, Any]:
        return await repair.verify(parts, ref, report, repair=wanted)

    return EventStream(work)
