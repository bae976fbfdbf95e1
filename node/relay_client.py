"""Using relays: a place at one, so that others can call this node through it, and calling others that way.

Not for being a relay (relay_server.py). Follows specs/reach.md, "Relay".
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from libp2p.abc import IHost, INetConn, INetStream
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, StopMessage
from libp2p.relay.circuit_v2.pb.circuit_pb2 import PeerId as PeerMessage
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.addresses import is_tcp, parse_peer
from p2pvoice.node.dialback_client import Reachability
from p2pvoice.node.door import Door
from p2pvoice.node.interfaces import split
from p2pvoice.node.links import RELAYED, kind_of_muxed
from p2pvoice.node.relay_wire import (
    DENIED,
    HOP,
    MESSAGE_TIMEOUT,
    OK,
    REFUSED,
    STOP,
    Circuit,
    read_message,
    reset,
    write_message,
)
from p2pvoice.node.voucher import check_voucher
from p2pvoice.node.wire import STREAM_ERRORS
from p2pvoice.protocol.errors import NetworkError, P2PVoiceError, UsageError

RELAYS = 2
"""Relays at which a node has a place."""

LOOK_EVERY = 5.0
"""Seconds between looks for a relay, and whether those that were found are still connected."""

REFUSED_PAUSE = 300.0
"""Seconds in which a relay that refused is not asked again."""

REASONS = {REFUSED: "it has no place free", DENIED: "it does not want to"}

RELAY_ADDRESSES = 4
"""Addresses of one relay that are told to others."""

log = logging.getLogger("p2pvoice.relay")


class RelayClient:
    """The side of one host that relays are used from. ``told`` is called when our addresses have changed."""

    def __init__(
        self, host: IHost, door: Door, reachability: Reachability, told: Callable[[], Awaitable[None]]
    ) -> None:
        self._host = host
        self._reachability = reachability
        self._door = door
        self._told = told
        self._swarm: Any = host.get_network()
        #: Relay -> when to renew the place there (seconds since 1970), and the addresses it gives us.
        self._places: dict[ID, tuple[float, list[Multiaddr]]] = {}
        #: Relay that gave no place -> until when it is not asked again, and why.
        self._refused: dict[ID, tuple[float, str]] = {}

    def attach(self) -> None:
        """Take calls that come through a relay where we have a place."""
        self._host.set_stream_handler(STOP, self._called)

    def addresses(self) -> list[Multiaddr]:
        """Our addresses at relays, without our own peer id."""
        return [address for _, found in self._places.values() for address in found]

    def facts(self) -> dict[str, Any]:
        """What ``status`` shows."""
        return {
            "relays": [str(relay) for relay in self._places],
            "refused": {str(relay): why for relay, (_, why) in list(self._refused.items())},
        }

    # -- a place -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a place at up to two of the connected relays, as long as nobody can dial us otherwise."""
        while True:
            before = self.addresses(), self._reachability.confirmed()
            await self._reachability.look()
            needed = not self._reachability.can_be_dialed()
            if not needed:
                self._places.clear()
            for relay in list(self._places):
                if not self._connected(relay):
                    del self._places[relay]
                elif time.time() >= self._places[relay][0]:
                    await self._reserve(relay)
            if needed:
                for relay in self._relays():
                    if len(self._places) < RELAYS:
                        await self._reserve(relay)
            if (self.addresses(), self._reachability.confirmed()) != before:
                log.info("places at relays", extra={"relays": self.facts()["relays"]})
                await self._told()
            await trio.sleep(LOOK_EVERY)

    def _connected(self, relay: ID) -> bool:
        open_ones = [c for c in self._swarm.get_connections(relay) if not c.is_closed]
        return any(kind_of_muxed(c.muxed_conn) != RELAYED for c in open_ones)

    def _relays(self) -> list[ID]:
        """Connected peers that said they are relays, and have not refused us a moment ago."""
        store = self._host.get_peerstore()
        now = trio.current_time()
        self._refused = {one: said for one, said in self._refused.items() if said[0] > now}
        return [
            peer
            for peer in self._host.get_connected_peers()
            if peer not in self._places
            and peer not in self._refused
            and self._connected(peer)
            and store.supports_protocols(peer, [HOP])
        ]

    async def _reserve(self, relay: ID) -> None:
        stream: INetStream | None = None
        try:
            with trio.fail_after(2 * MESSAGE_TIMEOUT):
                stream = await self._host.new_stream(relay, [HOP])
                await write_message(stream, HopMessage(type=HopMessage.RESERVE))
                answer = await read_message(stream, HopMessage)
            if answer.status != OK:
                raise NetworkError(REASONS.get(answer.status, f"status {answer.status}"))
            if answer.reservation.voucher:
                check_voucher(answer.reservation.voucher, relay, self._host.get_id())
        except (trio.TooSlowError, P2PVoiceError, *STREAM_ERRORS) as error:
            log.info("no place at relay %s: %s", relay, error)
            self._places.pop(relay, None)
            why = error.message if isinstance(error, P2PVoiceError) else "it stayed silent"
            self._refused[relay] = trio.current_time() + REFUSED_PAUSE, why
            return
        finally:
            await reset(stream)
        now = time.time()
        lasts = min(max(float(answer.reservation.expire) - now, 2 * LOOK_EVERY), 24 * 3600.0)
        self._places[relay] = now + lasts / 2, self._ways(relay, list(answer.reservation.addrs))

    def _ways(self, relay: ID, said: list[bytes]) -> list[Multiaddr]:
        """Addresses through the relay: by its own word, and at the address where we are connected to it."""
        found: list[str] = []
        for data in said[: 2 * RELAY_ADDRESSES]:
            try:
                info = parse_peer(str(Multiaddr(data)))
            except (UsageError, ValueError):
                continue
            if info.peer_id == relay and is_tcp(info.addrs[0]):
                found.append(str(info.addrs[0]))
        for connection in self._swarm.get_connections(relay):
            if "OUTBOUND" in str(connection.direction).upper():
                found += [str(a) for a in connection.muxed_conn.get_transport_addresses()]
        usable = [a for a in dict.fromkeys(found) if (s := split(a)) is not None and not s[0].is_unspecified]
        return [Multiaddr(f"{a}/p2p/{relay}/p2p-circuit") for a in usable[:RELAY_ADDRESSES]]

    # -- being called ------------------------------------------------------------------------------------

    async def _called(self, stream: INetStream) -> None:
        """Someone calls through a relay; from here on it is an inbound connection as any other."""
        relay = stream.muxed_conn.peer_id
        try:
            if relay not in self._places:
                raise NetworkError("a call through a peer at which we have no place")
            message = await read_message(stream, StopMessage)
            if message.type != StopMessage.CONNECT:
                raise NetworkError("not a call")
            caller = ID(message.peer.id)
            way = Multiaddr(f"/p2p/{relay}/p2p-circuit/p2p/{caller}")
            await write_message(stream, StopMessage(type=StopMessage.STATUS, status=OK))  # type: ignore[arg-type]
        except (P2PVoiceError, ValueError) as error:
            log.debug("a call through %s was refused: %s", relay, error)
            await reset(stream)
            return
        await self._door.admit(Circuit(stream, False, way), way)

    # -- calling -----------------------------------------------------------------------------------------

    async def call(
        self, address: Multiaddr, peer: ID, reach: Callable[[PeerInfo], Awaitable[None]]
    ) -> INetConn:
        """A connection to ``peer`` through the relay in ``address``. Raises ``SwarmException``."""
        relay = parse_peer(str(address).partition("/p2p-circuit")[0])
        if relay.peer_id in (peer, self._host.get_id()):
            raise SwarmException("a relay is another peer than its two ends")
        stream: INetStream | None = None
        try:
            await reach(relay)
            stream = await self._host.new_stream(relay.peer_id, [HOP])
            await write_message(
                stream, HopMessage(type=HopMessage.CONNECT, peer=PeerMessage(id=peer.to_bytes()))
            )
            answer = await read_message(stream, HopMessage)
            if answer.status != OK:
                raise SwarmException(f"the relay answered {answer.status}")
            way = Multiaddr(f"{address}/p2p/{peer}")
            connection: INetConn = await self._swarm.upgrade_outbound_raw_conn(
                Circuit(stream, True, way), peer
            )
        except P2PVoiceError as error:
            await reset(stream)
            raise SwarmException(f"no circuit: {error.message}") from error
        except BaseException:
            await reset(stream)
            raise
        return connection
