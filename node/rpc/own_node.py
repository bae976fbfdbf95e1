"""The few answers that concern the node as a whole: what it is and does, whom it knows, and its end.

Follows specs/rpc.md.
"""

import os
import sys
import time

import trio
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node.keys import facts as key_facts
from p2pvoice.node.parts import VERSION, Parts
from p2pvoice.node.process import resident_bytes
from p2pvoice.node.rpc.requests import count, json_body, text
from p2pvoice.protocol.amounts import AMOUNT_LIMIT, check_rate


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
            "shelves": parts.shelves.facts(),
            "key": {"locked": key["locked"], "heads_waiting": key["heads_waiting"], "forks": key["forks"]},
            "moved": len(moved),
            "lan": parts.lan.facts() if parts.lan is not None else None,
            "relay": parts.network.relay_facts(),
            "wyoming": parts.wyoming.facts() if parts.wyoming is not None else None,
            "limits": parts.network.limits.facts(),
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


async def limits(parts: Parts, request: Request) -> Response:
    """How fast chunks may leave and come, and do."""
    return JSONResponse(parts.network.limits.facts())


async def set_limits(parts: Parts, request: Request) -> Response:
    """Change the limits until the daemon stops; what is left out stays."""
    body = await json_body(request)
    wanted = {name: count(body, name, low=0, high=AMOUNT_LIMIT) for name in ("up", "down")}
    for rate in wanted.values():
        check_rate(rate or 0)
    for name, rate in wanted.items():
        if rate is not None:
            getattr(parts.network.limits, name).set_rate(rate)
    return JSONResponse(parts.network.limits.facts())
