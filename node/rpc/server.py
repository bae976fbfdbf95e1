"""Serving the RPC on the home's unix socket. The only file that knows the HTTP server by name.

The server's own loop is not used: it ends, and the daemon with it, when a single connection fails in a way
its author did not think of, such as a caller that hangs up in the middle of a body. Here a connection
that fails is closed and noted, and nothing else happens. Follows specs/rpc.md.
"""

import contextlib
import logging
import os
import socket
import stat
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from p2pvoice.protocol.errors import ConflictError

log = logging.getLogger("p2pvoice.http")

#: Only the user who runs the daemon may talk to it: the socket's mode is 0600.
SOCKET_MODE = 0o600

#: Seconds that running requests get to end when the daemon stops.
GRACE_SECONDS = 0.5

#: Connections that may wait to be accepted.
BACKLOG = 64


async def serve_rpc(
    app: Any, socket_path: Path, stop: trio.Event, task_status: Any = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve ``app`` until ``stop`` is set; reports as started when the socket accepts connections."""
    config = ServerConfig()
    config.accesslog = None
    config.errorlog = log
    config.h11_max_incomplete_size = 64 * 1024
    config.keep_alive_timeout = 5
    context = WorkerContext(None)
    wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")

    # The server's types know only encrypted streams; at run time it tells the two apart by itself.
    async def serve_one(stream: Any) -> None:
        try:
            await TCPServer(wrapped, config, context, ConnectionState({}), stream)
        except Exception as error:
            log.info("a connection failed: %s", _reason(error))
            await trio.aclose_forcefully(stream)

    listener = trio.SocketListener(trio.socket.from_stdlib_socket(_bind(socket_path)))
    try:
        async with trio.open_nursery() as requests, trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(trio.serve_listeners, serve_one, [listener], handler_nursery=requests)
            )
            task_status.started()
            await stop.wait()
            requests.cancel_scope.deadline = trio.current_time() + GRACE_SECONDS
            accepting.cancel_scope.cancel()
            await context.terminated.set()
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket_path)


def _bind(path: Path) -> socket.socket:
    """A listening socket at ``path``; what an earlier daemon left there is removed first."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConflictError(f"{path} is in the way: it is no socket")
        path.unlink()
    except FileNotFoundError:
        pass
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Nobody may connect between bind and chmod: the daemon's umask already keeps others out.
    made.bind(str(path))
    path.chmod(SOCKET_MODE)
    made.listen(BACKLOG)
    return made


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
