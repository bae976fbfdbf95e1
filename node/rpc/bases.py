"""The endpoints for helper networks: list, add, publish, fetch, remove. Follows specs/rpc.md."""

from collections.abc import Mapping
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node import base_fetching, base_publishing
from p2pvoice.node.base_licences import bundled
from p2pvoice.node.bases import add, installed_bases
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.events import EventStream, Report
from p2pvoice.node.rpc.making import steps
from p2pvoice.node.rpc.requests import base_path, flag, json_body, number, text, texts
from p2pvoice.protocol.errors import NotFoundError, UsageError


async def listed(parts: Parts, request: Request) -> Response:
    """List the helper networks."""

    def read() -> list[dict[str, Any]]:
        return [
            row | {"shared": bool(row["release"]) and parts.catalog.is_offered(str(row["release"]))}
            for row in installed_bases(parts.home.bases)
        ]

    found = await trio.to_thread.run_sync(read, limiter=parts.disk)
    return JSONResponse({"bases": found, "bundled": bundled()})


async def install(parts: Parts, request: Request) -> EventStream:
    """Install a helper network of uploads."""
    body = await json_body(request)
    name = text(body, "name", limit=200)
    kind = text(body, "kind", default="", limit=16)
    license = text(body, "license", default="", limit=200)
    license_upload = text(body, "license_upload", default="", limit=64)
    files = body.get("files")
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise UsageError("files must map file names to uploads")

    async def work(report: Report) -> Mapping[str, Any]:
        replaced = await base_publishing.shared_as(parts, name)
        made = await add(
            parts, name, files, steps(report), kind=kind, license=license, license_upload=license_upload
        )
        if replaced:
            await base_publishing.end_sharing(parts, replaced)
        return made

    return EventStream(work)


async def offered(parts: Parts, request: Request) -> EventStream:
    """Ask the network for helper networks."""
    kind = request.query_params.get("kind", "")[:100]
    seconds = number(request.query_params.get("timeout"), "timeout", default=10.0, low=0.0, high=300.0)

    async def work(report: Report) -> Mapping[str, Any]:
        return {"count": await base_fetching.offers(parts, kind, seconds, report)}

    return EventStream(work)


async def change(parts: Parts, request: Request) -> EventStream:
    """Publish a helper network, or fetch one."""
    ref, action = base_path(request)
    body = await json_body(request)
    if action == "publish":
        tags = texts(body, "tags")

        async def publish(report: Report) -> Mapping[str, Any]:
            return await base_publishing.publish(parts, ref, tags, steps(report))

        return EventStream(publish)
    if action == "fetch":
        seed = flag(body, "seed", default=True)

        async def fetch(report: Report) -> Mapping[str, Any]:
            return await base_fetching.fetch(parts, ref, seed=seed, tell=report)

        return EventStream(fetch)
    raise NotFoundError(f"a base has no {action!r}")


async def remove(parts: Parts, request: Request) -> Response:
    """Remove a helper network."""
    ref, action = base_path(request)
    if action:
        raise NotFoundError(f"a base has no {action!r}")
    return JSONResponse(await base_publishing.remove(parts, ref))
