"""A small internet of network namespaces: nodes in the open, two homes behind NAT, links that lose packets.

    alice 10.1.0.2, bob 10.1.0.3 - home1 11.0.1.2 ~~ 40 ms, 1 % ~~ world 11.0.0.1
                  carol 10.2.0.2 - home2 11.0.2.2 ~~ 40 ms, 1 % ~~ world
                                   dave 11.0.3.2, erin 11.0.4.2 - world

The addresses outside are of a network that is public by everybody's rules, and leave these namespaces never.
"""

import contextlib
from collections.abc import Iterator

from .link import MTU, slow_link
from .spaces import Spaces, run, spaces

WORLD = "11.0.0.1"
"""Where the relay is."""

OPEN = {"dave": "11.0.3.2", "erin": "11.0.4.2"}
"""Who has a public address."""

HOMES = {"home1": "11.0.1.2", "home2": "11.0.2.2"}
MEMBERS = {"home1": ("alice", "bob"), "home2": ("carol",)}


@contextlib.contextmanager
def internet(*, symmetric: bool = False, bandwidth: float = 0.0) -> Iterator[Spaces]:
    """Build the namespaces and the links; take everything away at the end.

    Behind a ``symmetric`` NAT each connection gets another port outside, so that nobody can be told where to
    dial; otherwise ports are kept where they can be, as most home routers do. ``bandwidth`` is that of each
    home, in bytes a second each way.
    """
    masquerade = "masquerade fully-random" if symmetric else "masquerade"
    everybody = [one for members in MEMBERS.values() for one in members]
    with spaces(["world", *OPEN, *HOMES, *everybody]) as net, contextlib.ExitStack() as links:
        net.inside("world", "ip", "address", "add", f"{WORLD}/32", "dev", "lo")
        for name, address in OPEN.items():
            run(
                *("ip", "link", "add", f"to{name}", "netns", net.space("world"), "type", "veth"),
                *("peer", "name", "eth", "netns", net.space(name)),
            )
            net.inside(name, "ip", "address", "add", f"{address}/32", "dev", "eth")
            net.inside(name, "ip", "link", "set", "eth", "up")
            net.inside(name, "ip", "route", "add", "default", "dev", "eth", "src", address)
            net.inside("world", "ip", "link", "set", f"to{name}", "up")
            net.inside("world", "ip", "route", "add", address, "dev", f"to{name}", "src", WORLD)
        for name in ("world", *HOMES):
            net.inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, (home, outside) in enumerate(HOMES.items(), 1):
            ends = ((net.space("world"), f"to{home}"), (net.space(home), "out"))
            links.enter_context(slow_link(*ends, seed=number, bandwidth=bandwidth))
            net.inside("world", "ip", "link", "set", f"to{home}", "up", "mtu", str(MTU))
            net.inside("world", "ip", "route", "add", outside, "dev", f"to{home}", "src", WORLD)
            net.inside(home, "ip", "address", "add", f"{outside}/32", "dev", "out")
            net.inside(home, "ip", "link", "set", "out", "up", "mtu", str(MTU))
            net.inside(home, "ip", "route", "add", "default", "dev", "out", "src", outside)
            net.inside(home, "ip", "link", "add", "lan", "type", "bridge")
            net.inside(home, "ip", "address", "add", f"10.{number}.0.1/24", "dev", "lan")
            net.inside(home, "ip", "link", "set", "lan", "up")
            net.inside(home, "nft", "add table ip nat")
            net.inside(home, "nft", "add chain ip nat post { type nat hook postrouting priority 100 ; }")
            net.inside(home, "nft", f"add rule ip nat post oifname out {masquerade}")
            # As a home router does: what was not asked for from within does not come in.
            net.inside(home, "nft", "add table ip guard")
            for hook in ("forward", "input"):
                net.inside(
                    home, "nft", f"add chain ip guard {hook} {{ type filter hook {hook} priority 0 ; }}"
                )
                net.inside(home, "nft", f"add rule ip guard {hook} iifname out ct state new drop")
            for at, member in enumerate(MEMBERS[home], 2):
                run(
                    *("ip", "link", "add", member, "netns", net.space(home), "type", "veth"),
                    *("peer", "name", "eth", "netns", net.space(member)),
                )
                net.inside(home, "ip", "link", "set", member, "master", "lan", "up")
                net.inside(member, "ip", "address", "add", f"10.{number}.0.{at}/24", "dev", "eth")
                net.inside(member, "ip", "link", "set", "eth", "up")
                net.inside(member, "ip", "route", "add", "default", "via", f"10.{number}.0.1")
        yield net


def forward(net: Spaces, home: str, port: int, to: str) -> None:
    """What a user sets in the router: connections from outside to this port go to one machine inside."""
    net.inside(home, "nft", "add chain ip nat pre { type nat hook prerouting priority -100 ; }")
    net.inside(home, "nft", f"add rule ip nat pre iifname out tcp dport {port} dnat to {to}:{port}")
    net.inside(home, "nft", "insert rule ip guard forward iifname out ct status dnat accept")


def close(net: Spaces, name: str) -> None:
    """A firewall on a machine with a public address: what was not asked for from within does not come in."""
    net.inside(name, "nft", "add table ip guard")
    net.inside(name, "nft", "add chain ip guard input { type filter hook input priority 0 ; }")
    net.inside(name, "nft", "add rule ip guard input iifname eth ct state new drop")


@contextlib.contextmanager
def parted(net: Spaces, home: str, other: str) -> Iterator[None]:
    """Two homes that reach everybody but each other, as long as the block runs."""
    net.inside(home, "nft", "add table ip parted")
    net.inside(home, "nft", "add chain ip parted forward { type filter hook forward priority -10 ; }")
    net.inside(home, "nft", f"add rule ip parted forward ip daddr {HOMES[other]} drop")
    net.inside(home, "nft", f"add rule ip parted forward ip saddr {HOMES[other]} drop")
    try:
        yield
    finally:
        net.inside(home, "nft", "delete table ip parted")
