"""The port: who is let in, how many at a time, and how it opens and closes with the daemon.

Not for what is said on a connection: see session.py. Follows specs/wyoming.md.
"""

import errno
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from p2pvoice.node.wyoming.advertise import Advertised
from p2pvoice.node.wyoming.place import Place, shown
from p2pvoice.node.wyoming.session import Session, Voices
from p2pvoice.protocol.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

log = logging.getLogger("p2pvoice.wyoming")

#: Connections that are open at the same time.
CONNECTIONS_LIMIT = 16

#: Connections that may wait to be accepted.
BACKLOG = 16


class WyomingDoor:
    """The port of one daemon, while it is open."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._advertised: Advertised | None = None
        self.listening = ""
        self.connections = 0

    def facts(self) -> dict[str, Any]:
        """What ``GET /v1/status`` tells of it."""
        told = self._advertised
        return {
            "listen": self.listening,
            "networks": [str(network) for network in self._place.networks],
            "connections": self.connections,
            "advertised": told.name if told is not None else None,
            "notice": told.notice if told is not None else "",
        }

    async def run(
        self, parts: "Parts", *, advertise: bool, task_status: Any = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen until the daemon stops; started when the port is open.

        Raises ConflictError when somebody else has the port, UsageError when the address is none of ours.
        """
        # Here: speaking needs the parts, which know this door.
        from p2pvoice.node.wyoming.speaking import House

        listener = await self._open()
        port = listener.socket.getsockname()[1]
        self.listening = shown(str(self._place.host), port)
        async with trio.open_nursery() as nursery:
            if advertise and not self._place.is_loopback:
                self._advertised = Advertised(self._place, port, parts.network.peer_id)
                nursery.start_soon(self._advertised.run)
            nursery.start_soon(self.serve, House(parts), listener)
            log.info("wyoming", extra={"listen": self.listening})
            task_status.started()
            await parts.stop.wait()
            nursery.cancel_scope.cancel()

    async def serve(self, voices: Voices, listener: trio.SocketListener) -> None:
        """Answer whoever may connect, until cancelled."""
        await trio.serve_listeners(partial(self._answer, voices), [listener])

    async def _open(self) -> trio.SocketListener:
        try:
            (listener,) = await trio.open_tcp_listeners(
                self._place.port, host=str(self._place.host), backlog=BACKLOG
            )
        except OSError as error:
            where = shown(str(self._place.host), self._place.port)
            if error.errno == errno.EADDRINUSE:
                raise ConflictError(
                    f"something else listens on {where}", hint="--wyoming HOST:PORT takes another port"
                ) from error
            raise UsageError(f"Wyoming cannot listen on {where}: {error.strerror}") from error
        return listener

    async def _answer(self, voices: Voices, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                host = str(stream.socket.getpeername()[0])
            except OSError:
                return
            if not self._place.admits(host):
                log.info("turned away", extra={"address": host})
                return
            if self.connections >= CONNECTIONS_LIMIT:
                log.info("too many connections", extra={"address": host})
                return
            self.connections += 1
            try:
                await Session(stream, voices).run()
            finally:
                self.connections -= 1
