"""Opening and closing the page: a TCP port on 127.0.0.1 that exists only while somebody wants it.

Each opening draws a token, which is a part of the address: whoever has the address may use the page. It is
kept in memory only. Not for what is served there: see gate.py and app.py. Follows specs/page.md.
"""

import secrets
from typing import TYPE_CHECKING, Any

import trio

from p2pvoice.node.page.app import build_page
from p2pvoice.node.page.gate import PREFIX
from p2pvoice.node.rpc.guard import TOKEN_SIZE
from p2pvoice.node.rpc.server import BACKLOG, serve
from p2pvoice.protocol.errors import ConflictError

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

HOST = "127.0.0.1"
"""Where the page listens: nothing else reaches it."""


class PageDoor:
    """The page's port, which is opened and closed any number of times while the daemon runs."""

    def __init__(self) -> None:
        self.url: str | None = None
        self._parts: Parts | None = None
        self._nursery: trio.Nursery | None = None
        self._stop = trio.Event()
        self._lock = trio.Lock()

    async def run(self, parts: "Parts", task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Own whatever is opened, until the daemon stops."""
        async with trio.open_nursery() as nursery:
            self._parts, self._nursery = parts, nursery
            task_status.started()
            await parts.stop.wait()
            # What is still being answered gets the same grace as on the unix socket.
            self._nursery, self.url = None, None
            self._stop.set()

    async def open(self, *, new: bool = False) -> str:
        """Open the page unless it is open; its address. ``new`` closes it first: the old address is dead."""
        async with self._lock:
            if self.url is not None and not new:
                return self.url
            self._shut()
            if self._nursery is None or self._parts is None:
                raise ConflictError("the daemon is stopping", hint="p2pvoice daemon start")
            (listener,) = await trio.open_tcp_listeners(0, host=HOST, backlog=BACKLOG)
            port = listener.socket.getsockname()[1]
            token = secrets.token_hex(TOKEN_SIZE)
            self._stop = trio.Event()
            app = build_page(self._parts, f"{HOST}:{port}", token)
            await self._nursery.start(serve, app, listener, self._stop)
            self.url = f"http://{HOST}:{port}{PREFIX}{token}/"
            return self.url

    async def close(self) -> bool:
        """Close the page; whether it was open."""
        async with self._lock:
            return self._shut()

    def _shut(self) -> bool:
        was_open = self.url is not None
        self._stop.set()
        self.url = None
        return was_open
