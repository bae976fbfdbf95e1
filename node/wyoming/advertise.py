"""Telling Home Assistant by mDNS where Wyoming listens.

The package ``zeroconf`` is synchronous here: it runs a thread of its own, and what waits for it waits in
threads. Nothing that goes wrong with it hurts the port; ``notice`` says what it was. Not for listening: see
server.py. Follows specs/wyoming.md, "mDNS".
"""

import ipaddress
import logging
import socket
from typing import Any

import trio

from p2pvoice.node.wyoming.place import Place

log = logging.getLogger("p2pvoice.wyoming")

SERVICE = "_wyoming._tcp.local."

#: Letters of the peer id that the name ends in.
NAME_LETTERS = 8

ABSENT = "the package zeroconf is not installed, so Home Assistant does not find this by itself"
HINT = "pip install 'p2pvoice[wyoming]'"


class Advertised:
    """What the network is told; ``name`` is None as long as it is not told."""

    def __init__(self, place: Place, port: int, peer_id: str) -> None:
        self._place, self._port = place, port
        self._label = f"p2pvoice-{peer_id[-NAME_LETTERS:]}"
        self.name: str | None = None
        self.notice = ""

    async def run(self) -> None:
        """Tell until cancelled, and take it back then."""
        made: Any = None
        try:
            made = await trio.to_thread.run_sync(self._register)
            if made is not None:
                log.info("advertised", extra={"service": self.name})
            await trio.sleep_forever()
        finally:
            if made is not None:
                self.name = None
                # Saying goodbye takes a quarter of a second.
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(_leave, made)

    def _register(self) -> Any:
        """The running responder, or None with a notice. Blocks for seconds: the name is asked for first."""
        try:
            import zeroconf
        except ImportError:
            self.notice = f"{ABSENT} ({HINT})"
            log.warning(ABSENT, extra={"hint": HINT})
            return None
        found = None
        try:
            addresses = self._addresses()
            if not addresses:
                raise OSError("no address of this machine lies in the allowed networks")
            found = zeroconf.Zeroconf(interfaces=addresses)
            info = zeroconf.ServiceInfo(
                SERVICE,
                f"{self._label}.{SERVICE}",
                port=self._port,
                server=f"{self._label}.local.",
                addresses=[_packed(one) for one in addresses],
            )
            found.register_service(info, allow_name_change=True)
            self.name = info.name
        except (OSError, zeroconf.Error) as error:
            self.notice = f"not advertised: {error or type(error).__name__}"
            log.warning("not advertised", extra={"reason": repr(error)})
            if found is not None:
                found.close()
            return None
        return found

    def _addresses(self) -> list[str]:
        """The addresses under which those who may connect reach the port."""
        if not self._place.host.is_unspecified:
            return [str(self._place.host)]
        import ifaddr

        version = self._place.host.version
        found = [
            str(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            for adapter in ifaddr.get_adapters()
            for ip in adapter.ips
        ]
        able = [one for one in found if ipaddress.ip_address(one).version == version]
        return [one for one in able if self._reaches(one)]

    def _reaches(self, address: str) -> bool:
        """Whether an address shares a network with somebody who may connect, as far as can be told here."""
        found = ipaddress.ip_address(address)
        if any(found in network for network in self._place.networks):
            return True
        # A single host may be allowed: then any address but loopback may be on its network.
        single = any(network.num_addresses == 1 for network in self._place.networks)
        return single and not found.is_loopback and not found.is_link_local


def _leave(made: Any) -> None:
    """Say goodbye and end the thread."""
    made.unregister_all_services()
    made.close()


def _packed(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address)
