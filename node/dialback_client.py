"""Whether others can dial this node: asking peers to dial back, and believing only what was seen to happen.

A peer that says yes is believed when a socket really came in from its address meanwhile. One that says no is
believed for a while; a lie costs no more than a place at a relay that was not needed. Not for dialing others
back (dialback_server.py) nor for relays (relay_client.py). Follows specs/reach.md, "AutoNAT".
"""

import logging
import time
from typing import Any

import trio
from libp2p.abc import IHost, INetStream
from libp2p.host.autonat.pb.autonat_pb2 import Message
from libp2p.peer.id import ID
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.dialback_server import ADDRESSES_READ, AUTONAT
from p2pvoice.node.door import Door
from p2pvoice.node.interfaces import IPAddress, parse_ip, spelled_out, split
from p2pvoice.node.links import DIRECT, kind_of_muxed
from p2pvoice.node.relay_wire import read_message, reset, write_message
from p2pvoice.node.wire import STREAM_ERRORS
from p2pvoice.protocol.errors import P2PVoiceError

OPEN, CLOSED, UNKNOWN = "open", "closed", "unknown"
"""What is known: others can dial this node; they cannot; nobody could say."""

ASK_TIMEOUT = 15.0
"""Seconds for one question and its answer."""

ASK_AGAIN = 900.0
"""Seconds after which what was answered is asked again, and a peer may be asked again."""

RETRY = 120.0
"""Seconds until a peer that did not say is asked again; it may have had enough to dial."""

KEEP = ASK_AGAIN + 60.0
"""Seconds an answer is believed; a little longer, so that it does not lapse while it is asked again."""

SERVERS = 4
"""Peers that are asked in ``ASK_AGAIN``, as long as none of them got through."""

log = logging.getLogger("p2pvoice.reach")


class Reachability:
    """What one host knows of whether it can be dialed. ``look`` asks when there is something to ask."""

    def __init__(self, host: IHost, door: Door) -> None:
        self._host = host
        self._door = door
        self._swarm: Any = host.get_network()
        #: Peer -> when it was asked, whether it got through (None: it did not say), and at which address.
        self._asked: dict[ID, tuple[float, bool | None, Multiaddr | None]] = {}
        self._named: list[Multiaddr] = []

    @property
    def verdict(self) -> str:
        """``open``, ``closed`` or ``unknown``."""
        said = [through for _, through, _ in self._fresh()]
        return OPEN if True in said else CLOSED if False in said else UNKNOWN

    def confirmed(self) -> list[Multiaddr]:
        """Addresses at which we were dialed back, without our peer id."""
        return list(dict.fromkeys(a for _, through, a in self._fresh() if through and a is not None))

    def can_be_dialed(self) -> bool:
        """What a peer found out; while none has, whether we listen at a public address."""
        found = self.verdict
        return self._listens_publicly() if found == UNKNOWN else found == OPEN

    def facts(self) -> dict[str, Any]:
        """What ``status`` and the check-up show."""
        said = [through for _, through, _ in self._fresh() if through is not None]
        return {
            "verdict": self.verdict,
            "asked": len(said),
            "through": said.count(True),
            "confirmed": [str(address) for address in self.confirmed()],
        }

    async def look(self) -> None:
        """Ask one peer to dial back, when that is due and there is one that can."""
        named = self._candidates()
        if named != self._named:
            # Another network, or another port: what was true of the old addresses says nothing.
            self._named = named
            self._asked.clear()
        now = time.monotonic()
        self._asked = {peer: found for peer, found in self._asked.items() if now - found[0] < KEEP}
        recent = [found for found in self._asked.values() if now - found[0] < ASK_AGAIN]
        if not named or len(recent) >= SERVERS or any(through for _, through, _ in recent):
            return
        for peer in self._host.get_connected_peers():
            if now - self._asked.get(peer, (now - ASK_AGAIN,))[0] >= ASK_AGAIN and (ip := self._server(peer)):
                await self._ask(peer, ip, named)
                return

    def _fresh(self) -> list[tuple[float, bool | None, Multiaddr | None]]:
        # Also called from threads, where addresses are asked for: no clock of trio's, and a copy.
        now = time.monotonic()
        return [found for found in list(self._asked.values()) if now - found[0] < KEEP]

    def _candidates(self) -> list[Multiaddr]:
        """Where others might dial us: public addresses we listen at, and our ports where peers see us.

        The port that a peer sees is not ours, since we dial from another one than we listen at; a port that
        the user forwards most often has the same number on both sides.
        """
        listening = [str(address) for address in self._host.get_transport_addrs()]
        found = [a for a in spelled_out(listening) if (apart := split(a)) is not None and apart[0].is_global]
        manager = getattr(self._host, "_observed_addr_manager", None)
        seen = [split(str(address)) for address in manager.addrs(1)] if manager is not None else []
        for apart in seen:
            if apart is None or not apart[0].is_global:
                continue
            ip = apart[0]
            for own in map(split, listening):
                # A listener at :: takes both kinds of addresses.
                if own is not None and (
                    own[0].version == ip.version or (own[0].version == 6 and own[0].is_unspecified)
                ):
                    found.append(f"/ip{ip.version}/{ip}/{own[1]}")
        return [Multiaddr(a) for a in sorted(dict.fromkeys(found))[:ADDRESSES_READ]]

    def _listens_publicly(self) -> bool:
        listening = spelled_out(str(a) for a in self._host.get_transport_addrs())
        return any((apart := split(a)) is not None and apart[0].is_global for a in listening)

    def _server(self, peer: ID) -> IPAddress | None:
        """The address of a connected peer that dials back and sees us from outside; None when it does not."""
        if not self._host.get_peerstore().supports_protocols(peer, [AUTONAT]):
            return None
        for connection in self._swarm.get_connections(peer):
            muxed = connection.muxed_conn
            if (
                not connection.is_closed
                and kind_of_muxed(muxed) == DIRECT
                and (end := muxed.get_remote_address())
            ):
                return parse_ip(end[0])
        return None

    async def _ask(self, peer: ID, ip: IPAddress, named: list[Multiaddr]) -> None:
        # Noted first: whoever keeps us waiting, or refuses, has had its turn for a while.
        self._asked[peer] = time.monotonic() - ASK_AGAIN + RETRY, None, None
        question = Message(type=Message.DIAL)
        question.dial.peer.id = self._host.get_id().to_bytes()
        question.dial.peer.addrs.extend(a.to_bytes() for a in named)
        stream: INetStream | None = None
        try:
            with trio.fail_after(ASK_TIMEOUT), self._door.expecting(ip) as came:
                stream = await self._host.new_stream(peer, [AUTONAT])
                await write_message(stream, question)
                answer = await read_message(stream, Message)
        except (trio.TooSlowError, P2PVoiceError, *STREAM_ERRORS) as error:
            log.debug("%s did not say whether we can be dialed: %r", peer, error)
            return
        finally:
            await reset(stream)
        status, where = answer.dialResponse.status, bytes(answer.dialResponse.addr)
        if answer.type != Message.DIAL_RESPONSE:
            return
        address = next((a for a in named if a.to_bytes() == where), None)
        if status == Message.OK and came.is_set() and address is not None:
            self._asked[peer] = time.monotonic(), True, address
        elif status == Message.E_DIAL_ERROR:
            self._asked[peer] = time.monotonic(), False, None
        log.info("asked whether others can dial us", extra={"peer": str(peer), "verdict": self.verdict})
