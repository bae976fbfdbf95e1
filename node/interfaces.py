"""This machine's addresses: what an unspecified listening address stands for, and which are on a LAN.

Not for what others say of us (host.py, ``observed``). Follows specs/reach.md.
"""

import ipaddress
from collections.abc import Iterable
from pathlib import Path

import ifaddr

V6ONLY = Path("/proc/sys/net/ipv6/bindv6only")
"""Says 1 where a socket at :: takes no IPv4 connections."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def machine_addresses() -> list[IPAddress]:
    """Addresses of this machine's interfaces; not the IPv6 link-local ones, which need a zone."""
    found = [
        ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
    return [one for one in dict.fromkeys(found) if not (one.version == 6 and one.is_link_local)]


def parse_ip(text: str) -> IPAddress | None:
    """The IP address of a socket's end: without a zone, and an IPv4 one in IPv6's dress as what it is."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def site(address: IPAddress) -> str:
    """Whom an address counts as: itself, or with IPv6 its /64, of which one machine has every address."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def split(address: str) -> tuple[IPAddress, str] | None:
    """The IP address a multiaddr text begins with, and all that follows it; None when it begins otherwise."""
    parts = address.split("/", 3)
    if len(parts) < 4 or parts[0] or parts[1] not in ("ip4", "ip6"):
        return None
    try:
        found = ipaddress.ip_address(parts[2])
    except ValueError:
        return None
    return (found, parts[3]) if found.version == int(parts[1][-1]) else None


def spelled_out(addresses: Iterable[str]) -> list[str]:
    """Multiaddr texts with each unspecified address (0.0.0.0, ::) replaced by those of the interfaces.

    A listener at :: takes IPv4 as well, unless the system says otherwise.
    """
    found: list[str] = []
    for address in addresses:
        apart = split(address)
        if apart is None or not apart[0].is_unspecified:
            found.append(address)
            continue
        versions = (6, 4) if apart[0].version == 6 and _takes_both() else (apart[0].version,)
        same = [one for version in versions for one in machine_addresses() if one.version == version]
        # Loopback is of use only where there is nothing else.
        same = [one for one in same if not one.is_loopback] or same
        found += [f"/ip{one.version}/{one}/{apart[1]}" for one in same]
    return list(dict.fromkeys(found))


def is_local(address: IPAddress) -> bool:
    """Whether an address lies in somebody's own network: private (RFC 1918, fc00::/7) or link-local."""
    if isinstance(address, ipaddress.IPv6Address):
        return address.is_link_local or address in _UNIQUE_LOCAL
    return address.is_link_local or any(address in network for network in _PRIVATE)


def _takes_both() -> bool:
    """Whether sockets at :: take IPv4 connections on this machine, which nobody told otherwise."""
    try:
        return V6ONLY.read_text().strip() == "0"
    except OSError:
        return False


_PRIVATE = tuple(ipaddress.IPv4Network(one) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")
