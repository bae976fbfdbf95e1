"""Relays on one host: whether they are used, whether this is one, and what others are told of our addresses.

Joins relay_client.py and relay_server.py with the host. Follows specs/reach.md, "Relay".
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.abc import IHost
from libp2p.identity.identify_push.identify_push import push_identify_to_peers
from libp2p.peer.peerinfo import PeerInfo
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.config import NetworkConfig
from p2pvoice.node.dialback_client import Reachability
from p2pvoice.node.dialback_server import DialBackServer
from p2pvoice.node.dialing import Dialer
from p2pvoice.node.door import Door
from p2pvoice.node.interfaces import spelled_out
from p2pvoice.node.peers import PeerBook
from p2pvoice.node.punching import Puncher, keep_both
from p2pvoice.node.relay_client import RelayClient
from p2pvoice.node.relay_server import RelayLimits, RelayServer
from p2pvoice.node.wire import STREAM_ERRORS

PUSH_TIMEOUT = 10.0
"""Seconds for telling connected peers that our addresses have changed."""

log = logging.getLogger("p2pvoice.relay")


@dataclass(frozen=True)
class RelaySettings:
    """That relays are used; with limits, this node is one."""

    server: RelayLimits | None = None


def relay_settings(config: NetworkConfig) -> RelaySettings | None:
    """What the user's settings say; None when relays are off."""
    if config.relay == "off":
        return None
    limits = RelayLimits(config.relay_places, config.relay_bytes, config.relay_seconds)
    return RelaySettings(limits if config.relay == "server" else None)


class Relaying:
    """Relays on one host. Until :meth:`attach` it only spells our addresses out."""

    def __init__(self, settings: RelaySettings | None) -> None:
        self._settings = settings
        self._host: IHost | None = None
        self._reachability: Reachability | None = None
        self._client: RelayClient | None = None
        self._server: RelayServer | None = None

    def announce(self, listening: list[Multiaddr]) -> list[Multiaddr]:
        """The addresses that others are told: of the interfaces for 0.0.0.0, and those at relays."""
        found = [Multiaddr(a) for a in spelled_out(str(a) for a in listening)]
        if self._client is not None and self._host is not None:
            own = self._host.get_id()
            if self._reachability is not None:
                known = {str(a).partition("/p2p/")[0] for a in found}
                found += [
                    Multiaddr(f"{a}/p2p/{own}") for a in self._reachability.confirmed() if str(a) not in known
                ]
            found += [Multiaddr(f"{a}/p2p/{own}") for a in self._client.addresses()]
        return found

    def attach(
        self,
        host: IHost,
        door: Door,
        dialer: Dialer,
        book: PeerBook,
        reach: Callable[[PeerInfo], Awaitable[None]],
    ) -> None:
        """Begin to use relays, and to be one where the settings say so."""
        self._host = host
        self._reachability = Reachability(host, door)
        DialBackServer(host, book).attach()
        keep_both(host.get_network())
        client = self._client = RelayClient(host, door, self._reachability, self._tell)
        client.attach()
        dialer.call = lambda address, peer: client.call(address, peer, reach)
        if self._settings is not None and self._settings.server is not None:
            self._server = RelayServer(host, dialer, book, self._settings.server)
            self._server.attach()

    async def run(self) -> None:
        """Keep places at relays, and make relayed connections direct ones, for ever."""
        if self._client is not None and self._host is not None:
            async with background_trio_service(Puncher(self._host)):
                await self._client.run()

    def facts(self) -> dict[str, Any]:
        """What ``status`` shows: the relays we can be called through, and what we relay."""
        client = self._client.facts() if self._client is not None else {"relays": [], "refused": {}}
        reachability = self._reachability
        return client | {
            "serves": self._server.facts() if self._server is not None else None,
            "reach": reachability.facts() if reachability is not None else None,
            "needed": reachability is not None and not reachability.can_be_dialed(),
        }

    async def _tell(self) -> None:
        """Tell connected peers our new addresses; they tell others through the DHT."""
        if self._host is None:
            return
        with trio.move_on_after(PUSH_TIMEOUT):
            try:
                await push_identify_to_peers(self._host)
            except STREAM_ERRORS as error:
                log.debug("not everybody was told the new addresses: %r", error)
