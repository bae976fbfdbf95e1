"""Serving the RPC on the home's unix socket. The only file that knows the HTTP server by name.

The server's own loop is not used: it ends, and the daemon with it, when a single connection fails in a way
its author did not think of, such as a caller that hangs up in the middle of a body. Here a connection
that fails is closed and noted, and nothing else happens. Only HTTP/1.1 is spoken: offers to switch to
HTTP/2 are left unanswered. How long a caller may take is in connections.py. Follows specs/rpc.md.
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
from hypercorn.events import Closed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import EventWrapper, WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from p2pvoice.node.rpc.connections import HEAD_SECONDS, Connection, Connections
from p2pvoice.node.rpc.guard import HEAD_LIMIT
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
    """Serve ``app`` on a unix socket until ``stop`` is set; started when the socket accepts connections."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(_bind(socket_path)))
    try:
        await serve(app, listener, stop, task_status)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket_path)


async def serve(
    app: Any, listener: trio.SocketListener, stop: trio.Event, task_status: Any = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve ``app`` on a socket that listens, until ``stop`` is set."""
    config = ServerConfig()
    config.accesslog = None
    config.errorlog = log
    config.include_server_header = False
    config.h11_max_incomplete_size = HEAD_LIMIT
    config.keep_alive_timeout = HEAD_SECONDS
    context = WorkerContext(None)
    connections = Connections()

    async def serve_one(stream: Any) -> None:
        # The server's types know neither an application of Starlette's nor a stream of ours.
        connection: Any = Connection(stream)
        wrapped = wrap_app(connection.watched(app), config.wsgi_max_body_size, "asgi")
        try:
            with connections.admitted(connection):
                await _Server(wrapped, config, context, ConnectionState({}), connection)
        except Exception as error:
            log.info("a connection failed: %s", _reason(error))
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as requests, trio.open_nursery() as accepting:
        accepting.start_soon(partial(trio.serve_listeners, serve_one, [listener], handler_nursery=requests))
        task_status.started()
        await stop.wait()
        deadline = trio.current_time() + GRACE_SECONDS
        requests.cancel_scope.deadline = deadline
        connections.hurry(deadline)
        accepting.cancel_scope.cancel()
        await context.terminated.set()


class _Turn(EventWrapper):
    """When the next request of a connection may be read: after the answer, never when its caller is gone."""

    over = False

    async def wait(self) -> None:
        if not self.over:
            await super().wait()
        if self.over:
            raise trio.BrokenResourceError("the caller is gone")


class _Http11(H11Protocol):
    """HTTP/1.1 and nothing else: one request at a time on every connection."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._turn = _Turn()
        self.can_read = self._turn

    async def _check_protocol(self, event: Any) -> None:
        """Leave offers to switch to another protocol unanswered."""

    async def handle(self, event: Any) -> None:
        await super().handle(event)
        if isinstance(event, Closed):
            # A reader that holds back the caller's next request would otherwise wait for its turn for ever.
            self._turn.over = True
            await self._turn.set()


class _Server(TCPServer):
    async def _read_data(self) -> None:
        made: Any = self.protocol
        plain: Any = _Http11(
            made.app, made.config, made.context, made.task_group, made.state, made.ssl, made.client,
            made.server, made.send,
        )  # fmt: skip
        self.protocol = plain
        await super()._read_data()


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
