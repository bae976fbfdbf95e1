"""Opening and closing the APIs' port on 127.0.0.1, and what is true of it while it is open.

The token lives in the home, since other programs keep it in their settings. Origins, default voice and token
take effect at once: the gate asks for them at every request. Not for what is served: see gate.py and app.py.
Follows specs/api.md, "Opening".
"""

import errno
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from p2pvoice.node.api.app import build_api
from p2pvoice.node.api.gate import Admission, check_origins
from p2pvoice.node.api.gpt_sovits import Selection
from p2pvoice.node.page.gate import PREFIX
from p2pvoice.node.rpc.guard import load_or_create_token
from p2pvoice.node.rpc.server import BACKLOG, serve
from p2pvoice.protocol.errors import ConflictError, P2PVoiceError

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

log = logging.getLogger("p2pvoice.api")

HOST = "127.0.0.1"
"""Where the port listens: nothing else reaches it."""


class ApiDoor:
    """The APIs' port, which is opened and closed any number of times while the daemon runs."""

    def __init__(self) -> None:
        #: Why the port is not open though it should be; empty when all is well.
        self.problem = ""
        self.voice = ""
        self._admission: Admission | None = None
        self._selection = Selection()
        self._parts: Parts | None = None
        self._nursery: trio.Nursery | None = None
        self._stop = trio.Event()
        self._lock = trio.Lock()

    @property
    def port(self) -> int | None:
        """The port, while it is open."""
        return self._admission.port if self._admission is not None else None

    async def run(self, parts: "Parts", task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Own whatever is opened, until the daemon stops; open it now where the settings say so."""
        async with trio.open_nursery() as nursery:
            self._parts, self._nursery = parts, nursery
            if parts.config.api.enabled:
                try:
                    await self.open()
                except P2PVoiceError as error:
                    # Peers and the command line need the node all the same.
                    self.problem = error.message
                    log.error("the API's port is closed: %s", error.message)
            task_status.started()
            await parts.stop.wait()
            # What is still being answered gets the same grace as on the unix socket.
            self._nursery = None
            self._stop.set()

    async def open(
        self, *, port: int | None = None, origins: list[str] | None = None, voice: str | None = None
    ) -> dict[str, Any]:
        """Open the port, or change what is given of it; what ``facts`` gives.

        What is not given stays, or is as the settings say. ConflictError when the port is taken.
        """
        async with self._lock:
            if self._nursery is None or self._parts is None:
                raise ConflictError("the daemon is stopping", hint="p2pvoice daemon start")
            settings, now = self._parts.config.api, self._admission
            given = list(settings.origins) if origins is None else origins
            pages = now.origins if now is not None and origins is None else check_origins(given)
            chosen = settings.voice if now is None else self.voice
            if now is None or (port is not None and port != now.port):
                await self._listen(settings.port if port is None else port, pages)
            else:
                self._admission = Admission(now.port, now.token, pages)
            self.voice, self.problem = chosen if voice is None else voice, ""
            return self.facts()

    async def _listen(self, port: int, pages: frozenset[str]) -> None:
        assert self._nursery is not None
        assert self._parts is not None
        path = self._parts.home.api_token
        token = await trio.to_thread.run_sync(load_or_create_token, path, limiter=self._parts.disk)
        try:
            (listener,) = await trio.open_tcp_listeners(port, host=HOST, backlog=BACKLOG)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "is taken by another program" if taken else f"cannot be opened: {error.strerror}"
            raise ConflictError(f"port {port} {reason}", hint="p2pvoice api on --port 0") from error
        self._stop.set()
        self._stop = trio.Event()
        self._admission = Admission(listener.socket.getsockname()[1], token, pages)
        own = self._admission

        def admission() -> Admission:
            # A port that is closing goes on answering by what was true of it.
            return self._admission if self._admission and self._admission.port == own.port else own

        app = build_api(self._parts, admission, lambda: self.voice, lambda: self._selection)
        await self._nursery.start(partial(serve, app, listener, self._stop))

    async def close(self) -> bool:
        """Close the port; whether it was open."""
        async with self._lock:
            was_open = self._admission is not None
            self._stop.set()
            self._admission, self.problem, self._selection = None, "", Selection()
            return was_open

    async def renew_token(self) -> dict[str, Any]:
        """Make another token; the old one is dead at once. What ``facts`` gives."""
        async with self._lock:
            assert self._parts is not None
            path = self._parts.home.api_token

            def renew() -> str:
                path.unlink(missing_ok=True)
                return load_or_create_token(path)

            token = await trio.to_thread.run_sync(renew, limiter=self._parts.disk)
            self._selection = Selection()
            if self._admission is not None:
                self._admission = Admission(self._admission.port, token, self._admission.origins)
            return self.facts()

    def facts(self) -> dict[str, Any]:
        """Addresses, token and settings while it is open; otherwise that it is not, and why."""
        now = self._admission
        if now is None:
            return {"on": False, "problem": self.problem}
        url = f"http://{HOST}:{now.port}"
        return {
            "on": True,
            "problem": "",
            "port": now.port,
            "url": url,
            "openai": f"{url}/v1",
            "capability_url": f"{url}{PREFIX}{now.token}",
            "token": now.token,
            "origins": sorted(now.origins),
            "voice": self.voice,
        }
