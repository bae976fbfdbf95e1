"""The RPC's application: every path, and the few answers that concern the node as a whole.

Read this to see what a caller may ask; what the answers mean stands in voices.py, making.py, training.py,
measuring.py, merging.py and upkeep.py beside it, and what must be true of a request before that in guard.py.
Each endpoint is wrapped once, so that every error leaves as its own status and body. Follows specs/rpc.md.
"""

import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from p2pvoice.node.keys import facts as key_facts
from p2pvoice.node.parts import VERSION, Parts
from p2pvoice.node.process import resident_bytes
from p2pvoice.node.rpc import (
    bases,
    collections,
    community,
    consents,
    exporting,
    keys,
    making,
    measuring,
    merging,
    pages,
    training,
    upkeep,
    voices,
)
from p2pvoice.node.rpc.doctor import doctor
from p2pvoice.node.rpc.errors import error_response, to_error
from p2pvoice.node.rpc.guard import UNIX, Face, Guard
from p2pvoice.node.rpc.metrics import CountedApp, metrics
from p2pvoice.node.rpc.requests import json_body, text
from p2pvoice.protocol.errors import NotFoundError, UsageError

Endpoint = Callable[[Request], Awaitable[Any]]

#: What an endpoint is before it is bound to a daemon.
Unbound = Callable[[Parts, Request], Awaitable[Any]]


def build_app(parts: Parts, face: Face = UNIX) -> ASGIApp:
    """The application over a daemon's parts, as it is reached at ``face``."""
    paths: list[tuple[str, str, Unbound]] = [
        ("GET", "/metrics", metrics),
        ("GET", "/v1/status", status),
        ("GET", "/v1/doctor", doctor),
        ("POST", "/v1/shutdown", shutdown),
        ("GET", "/v1/page", pages.show),
        ("POST", "/v1/page", pages.open_page),
        ("DELETE", "/v1/page", pages.close_page),
        ("GET", "/v1/peers", peers),
        ("POST", "/v1/connect", connect),
        ("GET", "/v1/key", keys.show),
        ("POST", "/v1/key/{action}", keys.change),
        ("GET", "/v1/following", keys.following),
        ("POST", "/v1/following", keys.follow),
        ("POST", "/v1/following/told", keys.told),
        ("DELETE", "/v1/following/{rest:path}", keys.unfollow),
        ("PUT", "/v1/uploads", making.upload),
        ("GET", "/v1/drafts", making.drafts),
        ("POST", "/v1/drafts", making.import_voice),
        ("POST", "/v1/drafts/bundled", making.import_bundled),
        ("DELETE", "/v1/drafts/{draft:path}", making.remove_draft),
        ("POST", "/v1/publish", making.publish_draft),
        ("POST", "/v1/consent", consents.sign),
        ("GET", "/v1/bases", bases.listed),
        ("POST", "/v1/bases", bases.install),
        ("GET", "/v1/bases/offered", bases.offered),
        ("POST", "/v1/bases/{rest:path}", bases.change),
        ("DELETE", "/v1/bases/{rest:path}", bases.remove),
        ("GET", "/v1/trainings", training.listed),
        ("POST", "/v1/trainings", training.train),
        ("POST", "/v1/trainings/{rest:path}", training.change),
        ("DELETE", "/v1/trainings/{rest:path}", training.remove),
        ("POST", "/v1/tune", training.tune),
        ("POST", "/v1/distil", training.distil),
        ("POST", "/v1/describe", measuring.describe),
        ("POST", "/v1/similarity", measuring.similarity),
        ("POST", "/v1/stability", measuring.stability),
        ("POST", "/v1/diff", merging.diff),
        ("GET", "/v1/samples/{sample}", merging.sample),
        ("GET", "/v1/collections", collections.listed),
        ("POST", "/v1/collections", collections.begin),
        ("GET", "/v1/collections/{rest:path}", collections.read),
        ("POST", "/v1/collections/{rest:path}", collections.change),
        ("DELETE", "/v1/collections/{rest:path}", collections.forget),
        ("POST", "/v1/speak", voices.speak_text),
        ("POST", "/v1/export", exporting.export),
        ("GET", "/v1/find", voices.find),
        ("GET", "/v1/voices", voices.installed),
        ("GET", "/v1/revocations", voices.revocations),
        ("GET", "/v1/credits", community.credits),
        ("GET", "/v1/operations/{rest:path}", community.read_operation),
        ("POST", "/v1/operations/{rest:path}", community.act_on_operation),
        ("POST", "/v1/update", voices.update_all),
        ("POST", "/v1/gc", upkeep.gc),
        ("POST", "/v1/verify", upkeep.verify),
        ("GET", "/v1/voices/{rest:path}", voices.read_voice),
        ("POST", "/v1/voices/{rest:path}", voices.change_voice),
        ("DELETE", "/v1/voices/{rest:path}", voices.remove_voice),
    ]
    routes = [
        Route(path, _guarded(parts, endpoint), methods=[method], name=f"{method} {path}")
        for method, path, endpoint in paths
    ]

    async def unknown(request: Request, error: Exception) -> Response:
        return error_response(NotFoundError(f"there is nothing at {request.url.path}"))

    async def wrong_method(request: Request, error: Exception) -> Response:
        return error_response(UsageError(f"{request.method} is not for {request.url.path}"))

    app = Starlette(routes=routes, exception_handlers={404: unknown, 405: wrong_method})
    kinds = ("/".join(path.split("/")[:3]) for _, path, _ in paths)
    # What the guard refuses is counted, too.
    return CountedApp(Guard(app, face), kinds, parts.requests)


def _guarded(parts: Parts, endpoint: Unbound) -> Endpoint:
    async def run(request: Request) -> Any:
        try:
            return await endpoint(parts, request)
        except Exception as error:
            return error_response(to_error(error))

    return run


async def status(parts: Parts, request: Request) -> Response:
    """What the node is and does."""
    disk = await trio.to_thread.run_sync(parts.store.layout.usage, limiter=parts.disk)
    known, installed = await trio.to_thread.run_sync(parts.catalog.counts, limiter=parts.disk)
    voices_here = await trio.to_thread.run_sync(parts.catalog.installed, limiter=parts.disk)
    key = await trio.to_thread.run_sync(key_facts, parts, limiter=parts.disk)
    moved = await trio.to_thread.run_sync(parts.following.untold, limiter=parts.disk)
    return JSONResponse(
        {
            "version": VERSION,
            "pid": os.getpid(),
            "home": str(parts.home.root),
            "peer_id": parts.network.peer_id,
            "author": parts.author,
            "addresses": parts.network.addresses(),
            "peers": parts.network.connected_count(),
            "voices": installed,
            "known": known,
            "serving": sum(voice.seed for voice in voices_here),
            "disk": {"files": disk.files, "bytes": disk.bytes},
            "worker": {
                "state": parts.engine.state,
                "pid": parts.engine.pid,
                "rss": parts.engine.rss(),
                "starts": parts.engine.starts,
                "sandbox": parts.engine.sandbox,
            },
            "training": {
                "current": parts.trainer.current,
                "pid": parts.training_engine.pid,
                "rss": parts.training_engine.rss(),
                "starts": parts.training_engine.starts,
                "sandbox": parts.training_engine.sandbox,
            },
            "dht": parts.network.dht_facts(),
            "key": {"locked": key["locked"], "heads_waiting": key["heads_waiting"], "forks": key["forks"]},
            "moved": len(moved),
            "uptime": round(time.monotonic() - parts.started, 3),
            "debug": {
                "rss": resident_bytes(os.getpid()),
                "torch_imported": "torch" in sys.modules,
                "served_bytes": parts.network.served_bytes(),
            },
        }
    )


async def shutdown(parts: Parts, request: Request) -> Response:
    """Answer, then stop."""

    async def stop() -> None:
        parts.stop.set()

    # Only when the answer has left: a daemon that is already ending would cut it off.
    return JSONResponse({"stopping": True}, background=BackgroundTask(stop))


async def peers(parts: Parts, request: Request) -> Response:
    """The peer book."""
    return JSONResponse({"peers": parts.network.peer_rows()})


async def connect(parts: Parts, request: Request) -> Response:
    """Dial a peer by hand."""
    body = await json_body(request)
    peer = await parts.network.connect(text(body, "multiaddr", limit=512))
    return JSONResponse({"peer": peer})
