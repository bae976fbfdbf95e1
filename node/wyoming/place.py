"""Where Wyoming listens and who may connect: the settings, checked before anything is opened.

A port that is open to a network needs a word on which; there is no default for that. Follows
specs/wyoming.md, "Who can use it" and "Settings".
"""

import ipaddress
from dataclasses import dataclass

from p2pvoice.node.config import WYOMING_LISTEN, WyomingConfig
from p2pvoice.protocol.errors import UsageError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True)
class Place:
    """An address to listen on, and the networks whose hosts may connect."""

    host: Address
    port: int
    networks: tuple[Network, ...]

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host.is_loopback

    def admits(self, host: str) -> bool:
        """Whether a connection from an address is answered. A scope (``%eth0``) does not matter."""
        found = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self.networks)


def place(config: WyomingConfig) -> Place | None:
    """Where to listen, or None for nowhere. UsageError for settings without sense, or for an open door."""
    if not config.listen:
        return None
    host, port = _split(config.listen)
    networks = tuple(_network(one) for one in config.networks)
    if not networks:
        if not host.is_loopback:
            raise UsageError(
                f"Wyoming has no password, so on {config.listen} it needs the networks that may connect",
                hint="--wyoming-network CIDR, such as Home Assistant's own address, 192.168.1.10/32",
            )
        networks = LOOPBACK
    return Place(host, port, networks)


def shown(host: str, port: int) -> str:
    """An address as it is written in the settings."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(text: str) -> tuple[Address, int]:
    host, colon, port = text.rpartition(":")
    bare = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    if not colon or not (port.isascii() and port.isdecimal() and int(port[:6]) <= 65535):
        raise UsageError(f"{text!r} is no HOST:PORT", hint=f"such as {WYOMING_LISTEN}")
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        hint = f"an address and no name, such as {WYOMING_LISTEN}"
        raise UsageError(f"{host!r} is no address", hint=hint) from None
    if (":" in bare) != host.startswith("["):
        raise UsageError(f"{text!r} is no HOST:PORT", hint="such as [::1]:10200")
    return found, int(port)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no network: {error}", hint="such as 192.168.1.0/24") from None
