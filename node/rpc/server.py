"""Serving the RPC on the home's unix socket. The only file that knows the HTTP server by name."""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve

#: Only the user who runs the daemon may talk to it: the socket's mode is 0600.
SOCKET_UMASK = 0o177

#: Seconds that running requests get to end when the daemon stops.
GRACE_SECONDS = 3.0


async def serve_rpc(
    app: Any,
    socket_path: Path,
    stop: Callable[[], Awaitable[None]],
    task_status: Any = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` until ``stop`` returns; reports as started when the socket accepts connections."""
    config = ServerConfig()
    config.bind = [f"unix:{socket_path}"]
    config.umask = SOCKET_UMASK
    config.graceful_timeout = GRACE_SECONDS
    config.accesslog = None
    config.errorlog = logging.getLogger("p2pvoice.http")
    config.h11_max_incomplete_size = 64 * 1024
    config.keep_alive_timeout = 5
    try:
        async with trio.open_nursery() as nursery:

            async def run(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
                await serve(app, config, shutdown_trigger=stop, task_status=task_status, mode="asgi")

            await nursery.start(run)
            task_status.started()
    finally:
        with trio.CancelScope(shield=True), contextlib.suppress(FileNotFoundError):
            await trio.Path(socket_path).unlink()
