"""The LAN: telling by mDNS that this node is here, hearing of others, and dialing them.

A stranger on the LAN is a stranger: what is heard is an address to try, within limits, and nothing else. The
package ``zeroconf`` runs a thread of its own; what waits for it waits in threads. Not for how a dial goes
(dialing.py). Follows specs/reach.md, "mDNS".
"""

import logging
import secrets
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import trio
import zeroconf
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.addresses import is_tcp, parse_peer
from p2pvoice.node.host import P2PHost
from p2pvoice.node.interfaces import is_local, machine_addresses, spelled_out, split
from p2pvoice.node.peers import ADDRESS_LENGTH, ADDRESS_LIMIT
from p2pvoice.protocol.errors import P2PVoiceError, UsageError

SERVICE = "_p2p._udp.local."

NAMES_WAITING = 64
"""Names heard and not yet looked up; more are dropped until there is room."""

LOOKUPS = 4
"""Names looked up, and peers dialed, at the same time."""

LOOKUP_SECONDS = 3.0
"""Seconds a name has to tell its addresses."""

BURST, EVERY = 10, 2.0
"""Names that are looked up at once, and after that one in so many seconds."""

PEERS_REMEMBERED = 64
"""Peers of the LAN that are remembered; the one heard longest ago is forgotten first."""

CONNECTIONS = 32
"""Peers of the LAN beyond which nobody new is dialed because of mDNS."""

TEXT_LIMIT = 4096
"""Bytes of a TXT record that is read."""

ATTEMPTS = 5
"""Failed dials after which a peer is forgotten until it is heard again."""

AGAIN = 60.0
"""Seconds between attempts to reach the remembered peers that are not connected."""

PREFIX = b"dnsaddr="

log = logging.getLogger("p2pvoice.lan")


def reachable(addresses: Iterable[str], *, loopback: bool = False) -> list[str]:
    """Of our own addresses (multiaddrs with the peer id) those that are told to the LAN, at most eight."""
    found = []
    for address in spelled_out(addresses):
        apart = split(address)
        if apart is not None and (is_local(apart[0]) or (loopback and apart[0].is_loopback)):
            found.append(address)
    return found[:ADDRESS_LIMIT]


def write_text(addresses: Iterable[str]) -> bytes:
    """The TXT record of these addresses: one string ``dnsaddr=MULTIADDR`` each."""
    entries = (PREFIX + address.encode() for address in addresses)
    return b"".join(bytes([len(entry)]) + entry for entry in entries)


def read_text(text: bytes, *, loopback: bool = False) -> PeerInfo | None:
    """The peer that a TXT record of a stranger tells of, with those of its addresses that may be dialed.

    Only TCP at a literal private or link-local address is taken (``loopback`` adds 127.0.0.0/8 and ::1), at
    most eight, all of the peer named first. None when nothing remains.
    """
    if len(text) > TEXT_LIMIT:
        return None
    peer: ID | None = None
    taken: list[Any] = []
    at = 0
    while at < len(text) and len(taken) < ADDRESS_LIMIT:
        entry = text[at + 1 : at + 1 + text[at]]
        at += 1 + text[at]
        if not entry.startswith(PREFIX) or len(entry) > len(PREFIX) + ADDRESS_LENGTH:
            continue
        address = entry[len(PREFIX) :].decode("ascii", "replace")
        apart = split(address)
        if apart is None or not (is_local(apart[0]) or (loopback and apart[0].is_loopback)):
            continue
        try:
            info = parse_peer(address)
        except UsageError:
            continue
        if not is_tcp(info.addrs[0]) or (peer is not None and info.peer_id != peer):
            continue
        peer = info.peer_id
        taken += info.addrs
    return PeerInfo(peer, taken) if peer is not None else None


class Lan:
    """One node on its LAN. ``loopback`` keeps it on 127.0.0.1, for nodes of one machine."""

    def __init__(self, host: P2PHost, *, loopback: bool = False) -> None:
        self._host = host
        self._loopback = loopback
        #: A random name, as the specification asks: the same node is another one after each start.
        self.name = f"{secrets.token_hex(20)}.{SERVICE}"
        self.told: list[str] = []
        """The addresses that are announced; empty as long as nothing is."""
        self.notice = ""
        #: Peers heard of, the newest last, with the failed dials of each.
        self._heard: dict[ID, tuple[PeerInfo, int]] = {}
        self._send, self._names = trio.open_memory_channel[str](NAMES_WAITING)
        self._tokens, self._filled = float(BURST), 0.0

    def facts(self) -> dict[str, Any]:
        """What ``status`` shows."""
        connected = set(self._host.connected())
        return {
            "addresses": list(self.told),
            "notice": self.notice,
            "heard": len(self._heard),
            "connected": sum(str(peer) in connected for peer in list(self._heard)),
        }

    async def run(self) -> None:
        """Announce, listen and dial until cancelled; then say goodbye."""
        made: Any = None
        self._filled = trio.current_time()
        try:
            made = await trio.to_thread.run_sync(self._open, trio.lowlevel.current_trio_token())
            if made is None:
                log.warning("not on the LAN", extra={"reason": self.notice})
                return
            log.info("on the LAN", extra={"addresses": self.told})
            async with trio.open_nursery() as nursery:
                for _ in range(LOOKUPS):
                    nursery.start_soon(self._follow, made)
                nursery.start_soon(self._again)
        finally:
            if made is not None:
                self.told = []
                # Saying goodbye takes a quarter of a second.
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(_leave, made)

    def _open(self, token: trio.lowlevel.TrioToken) -> Any:
        """The running responder, or None with a notice. Blocks for about a second."""
        told = reachable(self._host.addresses(), loopback=self._loopback)
        ours = [apart[0] for address in told if (apart := split(address)) is not None]
        # The packets are IPv4, whichever addresses they tell of.
        here = [one for one in machine_addresses() if (one.is_loopback if self._loopback else is_local(one))]
        both = (*ours, *(() if any(one.version == 4 for one in ours) else here))
        interfaces = list(dict.fromkeys(str(one) for one in both if one.version == 4))
        if not ours or not interfaces:
            what = "on a private address" if not ours else "where it has a private IPv4 address"
            self.notice = f"the node does not listen {what}, so mDNS is quiet"
            return None
        found = None
        try:
            found = zeroconf.Zeroconf(interfaces=interfaces)
            label = self.name.partition(".")[0]
            info = zeroconf.ServiceInfo(
                SERVICE,
                self.name,
                port=int(told[0].split("/")[4]),
                properties=write_text(told),
                server=f"{label}.local.",
                addresses=[one.packed for one in dict.fromkeys(ours)],
            )
            found.register_service(info)
            self.told = told
            zeroconf.ServiceBrowser(found, SERVICE, _Ear(self._hear, token))
        except (OSError, zeroconf.Error) as error:
            self.notice = f"mDNS does not work here: {error or type(error).__name__}"
            if found is not None:
                found.close()
            self.told = []
            return None
        return found

    def _hear(self, name: str) -> None:
        if name != self.name:
            with suppress(trio.WouldBlock):
                self._send.send_nowait(name)

    async def _follow(self, made: Any) -> None:
        async for name in self._names:
            await self._pace()
            text = await trio.to_thread.run_sync(_look_up, made, name)
            info = read_text(text, loopback=self._loopback) if text is not None else None
            if info is not None and str(info.peer_id) != self._host.id:
                self._remember(info, 0)
                await self._reach(info)

    async def _pace(self) -> None:
        """Wait until one more name may be looked up."""
        while True:
            now = trio.current_time()
            self._tokens = min(float(BURST), self._tokens + (now - self._filled) / EVERY)
            self._filled = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            await trio.sleep((1 - self._tokens) * EVERY)

    def _remember(self, info: PeerInfo, failed: int) -> None:
        self._heard.pop(info.peer_id, None)
        if failed >= ATTEMPTS:
            return
        while len(self._heard) >= PEERS_REMEMBERED:
            del self._heard[next(iter(self._heard))]
        self._heard[info.peer_id] = (info, failed)

    async def _reach(self, info: PeerInfo) -> None:
        connected = set(self._host.connected())
        name = str(info.peer_id)
        if name in connected or self._host.peers.is_shunned(name):
            return
        if sum(str(peer) in connected for peer in self._heard) >= CONNECTIONS:
            return
        try:
            await self._host.reach(info)
        except P2PVoiceError as error:
            log.info("peer %s of the LAN: %s", name, error.message)
            if info.peer_id in self._heard:
                self._remember(info, self._heard[info.peer_id][1] + 1)
            return
        log.info("met on the LAN", extra={"peer": name})
        if not self._host.joined.is_set():
            # The first query tells our addresses, and only the second puts us into the others' tables.
            await self._host.kad.refresh()
            await self._host.kad.refresh()
            self._host.joined.set()

    async def _again(self) -> None:
        """Reach for those who were heard of and are not connected, one after another."""
        while True:
            await trio.sleep(AGAIN)
            for info, _ in list(self._heard.values()):
                await self._reach(info)


def open_lan(host: P2PHost, wanted: bool | None) -> Lan | None:
    """The LAN as the setting ``mdns`` wants it; None when it is off. It does not run yet."""
    apart = [split(address) for address in host.addresses()]
    loopback = all(one is not None and one[0].is_loopback for one in apart)
    if wanted is False or (wanted is None and loopback):
        return None
    return Lan(host, loopback=loopback)


class _Ear(zeroconf.ServiceListener):
    """Hands names from zeroconf's thread over to trio's."""

    def __init__(self, hear: Any, token: trio.lowlevel.TrioToken) -> None:
        self._hear, self._token = hear, token

    def add_service(self, zc: zeroconf.Zeroconf, type_: str, name: str) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._hear, name, idempotent=True)

    def update_service(self, zc: zeroconf.Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: zeroconf.Zeroconf, type_: str, name: str) -> None:
        """A goodbye is no reason to hang up, and anybody can say it for another."""


def _look_up(made: zeroconf.Zeroconf, name: str) -> bytes | None:
    """The TXT record under a name; blocks until it came or the time is up."""
    try:
        info = zeroconf.ServiceInfo(SERVICE, name)
        return info.text if info.request(made, LOOKUP_SECONDS * 1000) else None
    except (OSError, ValueError, zeroconf.Error) as error:
        log.debug("%r was heard on the LAN and tells nothing: %r", name, error)
        return None


def _leave(made: zeroconf.Zeroconf) -> None:
    """Say goodbye and end the thread."""
    made.unregister_all_services()
    made.close()
