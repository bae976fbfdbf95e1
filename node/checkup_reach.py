"""The rows of `p2pvoice doctor` that tell whether and how others can reach this node.

They say what the node knows already; nobody is asked for them. Not for the other rows (checkup.py). Follows
specs/doctor.md.
"""

import ipaddress

from p2pvoice.node.dialback_client import CLOSED, OPEN
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.findings import Finding

LISTEN = 'set listen = ["/ip4/0.0.0.0/tcp/4001"]'


async def addresses(parts: Parts) -> Finding:
    """Where this node listens, and what others are told."""
    listening, told = parts.network.listening_addresses(), parts.network.addresses()
    if not listening:
        return Finding("addresses", "fail", "the node listens nowhere", "set listen in config.toml")
    own = f"/p2p/{parts.network.peer_id}"
    bare = [one.removesuffix(own) for one in told]
    text = "listens at " + ", ".join(listening)
    if bare != listening:
        text += "; others are told " + (", ".join(bare) or "none")
    return Finding("addresses", "ok", text)


async def reachable(parts: Parts) -> Finding:
    """Whether the internet could reach us: by who dialed us back, who came in, and where we listen."""
    told = [reach(address) for address in parts.network.addresses() if "/p2p-circuit" not in address]
    facts = (parts.network.relay_facts() or {}).get("reach") or {}
    if facts.get("verdict") == OPEN:
        places = ", ".join(facts["confirmed"])
        return Finding("reachable", "ok", f"was dialed back from outside at {places}")
    if facts.get("verdict") == CLOSED:
        return Finding(
            "reachable",
            "warn",
            f"nobody outside gets through: {_peers(facts['asked'])} dialed back in vain",
            f"forward TCP port {_port(parts)} of the router to this machine, or let it through the firewall",
        )
    come = [
        row
        for row in parts.network.peer_rows()
        if row["connected"] and row["direction"] == "inbound" and "public" in map(reach, row["addresses"])
    ]
    if come:
        return Finding("reachable", "ok", f"{_peers(len(come))} of the internet came in")
    if "public" in told:
        return Finding("reachable", "ok", "listens at a public address; nobody dialed it back yet")
    if set(told) <= {"loopback"}:
        return Finding("reachable", "warn", "only this machine can connect", LISTEN)
    observed = parts.network.observed_addresses()
    seen = f"; others see this node at {', '.join(observed)}" if observed else "; no peer said how it sees us"
    return Finding(
        "reachable",
        "warn",
        f"only private addresses, so most likely behind NAT{seen}",
        "connect to a peer outside, which then dials back: p2pvoice connect MULTIADDR",
    )


async def relay(parts: Parts) -> Finding:
    """At which relays this node has a place, or why at none; and what it relays itself."""
    facts = parts.network.relay_facts()
    if facts is None:
        todo = 'relay = "client" under [network] in config.toml, where nobody can dial this node'
        return Finding("relay", "ok", f"relays are off; to use them: {todo}")
    serves = facts["serves"]
    also = (
        f"; is a relay itself: {serves['reservations']} places given, {serves['circuits']} circuits"
        if serves is not None
        else ""
    )
    if facts["relays"]:
        return Finding("relay", "ok", f"has a place at {', '.join(facts['relays'])}{also}")
    if not facts["needed"]:
        return Finding("relay", "ok", f"needs none: others can dial this node{also}")
    if {reach(one) for one in parts.network.listening_addresses()} == {"loopback"}:
        text = "no place, and none is of use while only this machine can connect"
        return Finding("relay", "ok", text + also)
    if facts["refused"]:
        why = "; ".join(f"…{peer[-6:]}: {reason}" for peer, reason in list(facts["refused"].items())[:3])
        text = f"no place, so nobody outside can begin a connection: {why}"
    else:
        text = "no place, so nobody outside can begin a connection: no connected peer is a relay"
    return Finding("relay", "warn", text + also, "p2pvoice connect MULTIADDR of a node that relays")


async def lan(parts: Parts) -> Finding:
    """What mDNS does, and whom it found."""
    if parts.lan is None:
        if parts.config.network.mdns is False:
            return Finding("lan", "ok", "mDNS is off, by mdns = false under [network]")
        return Finding("lan", "ok", "mDNS is off: the node listens on loopback only")
    facts = parts.lan.facts()
    if facts["notice"]:
        todo = "set listen to an address of this LAN, or mdns = false under [network]"
        return Finding("lan", "warn", facts["notice"], todo)
    return Finding(
        "lan", "ok", f"mDNS is on; {_peers(facts['heard'])} found so, {facts['connected']} connected"
    )


def reach(address: str) -> str:
    """From where a multiaddress can be dialed: ``loopback``, ``private``, ``public``, or ``name``."""
    try:
        _, _, text, *_ = address.split("/")
        found = ipaddress.ip_address(text)
    except ValueError:
        return "name"
    if found.is_loopback:
        return "loopback"
    return "public" if found.is_global else "private"


def _peers(count: int) -> str:
    return f"{count} peer" if count == 1 else f"{count} peers"


def _port(parts: Parts) -> str:
    return parts.network.listening_addresses()[0].rpartition("/")[2]
