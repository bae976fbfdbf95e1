"""A small internet of network namespaces: a relay in the open, two homes behind NAT, links that lose packets.

Needs root, ``ip``, ``nft`` and /dev/net/tun. Nothing in it touches the machine's own network: every interface
lives in a namespace of its own, which goes with everything in it when the block ends. A guardian process does
that even when this one is killed. ``python tests/reach/nat.py`` runs the tests that need it.

    alice 10.1.0.2, bob 10.1.0.3 - home1 198.51.100.2 ~~ 40 ms, 1 % ~~ world 198.51.100.1
                  carol 10.2.0.2 - home2 198.51.100.3 ~~ 40 ms, 1 % ~~ world
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = "p2pv"
WORLD = "198.51.100.1"
HOMES = {"home1": "198.51.100.2", "home2": "198.51.100.3"}
DELAY = 0.040
"""Seconds each packet takes over one slow link, so that two nodes in different homes are 160 ms apart and a
node and the relay 80 ms."""

LOSS = 0.01

GUARD = "--guard"
"""Makes of this file the guardian of the mark that follows."""

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000


def missing() -> str:
    """What this needs and does not have here; "" when all is there."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"needs {program}"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    name = f"{PREFIX}{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"no namespaces here: {made.stderr.strip()}"
    run("ip", "netns", "del", name)
    return ""


def run(*command: str) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@dataclass(frozen=True)
class Internet:
    """The namespaces that stand, by their short names."""

    mark: str

    def space(self, name: str) -> str:
        return f"{self.mark}{name}"

    def inside(self, name: str, *command: str) -> None:
        """Run a command in a namespace."""
        run("ip", "netns", "exec", self.space(name), *command)

    def prefix(self, name: str) -> list[str]:
        """What a command line begins with to run in a namespace."""
        return ["ip", "netns", "exec", self.space(name)]


@contextlib.contextmanager
def internet(*, symmetric: bool = False) -> Iterator[Internet]:
    """Build the namespaces and the links; take everything away at the end.

    Behind a ``symmetric`` NAT each connection gets another port outside, so that nobody can be told where to
    dial; otherwise ports are kept where they can be, as most home routers do.
    """
    _sweep()
    net = Internet(f"{PREFIX}{os.getpid()}-")
    guardian = subprocess.Popen(
        [sys.executable, __file__, GUARD, net.mark], stdin=subprocess.PIPE, start_new_session=True
    )
    masquerade = "masquerade fully-random" if symmetric else "masquerade"
    stop = threading.Event()
    links: list[threading.Thread] = []
    members = {"home1": ("alice", "bob"), "home2": ("carol",)}
    try:
        for name in ("world", "home1", "home2", "alice", "bob", "carol"):
            run("ip", "netns", "add", net.space(name))
            net.inside(name, "ip", "link", "set", "lo", "up")
        net.inside("world", "ip", "address", "add", f"{WORLD}/32", "dev", "lo")
        for name in ("world", *HOMES):
            net.inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, (home, outside) in enumerate(HOMES.items(), 1):
            links.append(_slow_link(net, "world", f"to{home}", home, "out", stop, seed=number))
            net.inside("world", "ip", "link", "set", f"to{home}", "up", "mtu", "1400")
            net.inside("world", "ip", "route", "add", outside, "dev", f"to{home}", "src", WORLD)
            net.inside(home, "ip", "address", "add", f"{outside}/32", "dev", "out")
            net.inside(home, "ip", "link", "set", "out", "up", "mtu", "1400")
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
            for at, member in enumerate(members[home], 2):
                run(
                    *("ip", "link", "add", member, "netns", net.space(home), "type", "veth"),
                    *("peer", "name", "eth", "netns", net.space(member)),
                )
                net.inside(home, "ip", "link", "set", member, "master", "lan", "up")
                net.inside(member, "ip", "address", "add", f"10.{number}.0.{at}/24", "dev", "eth")
                net.inside(member, "ip", "link", "set", "eth", "up")
                net.inside(member, "ip", "route", "add", "default", "via", f"10.{number}.0.1")
        yield net
    finally:
        stop.set()
        for link in links:
            link.join(5)
        _delete(net.mark)
        guardian.communicate()


def _sweep() -> None:
    """Take away what runs that were killed have left."""
    for name in _spaces():
        number = name[len(PREFIX) :].partition("-")[0]
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            _delete(f"{PREFIX}{number}-")


def _spaces() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith(PREFIX)]


def _delete(mark: str) -> None:
    """End what still runs in the namespaces of this mark, and delete them."""
    for name in _spaces():
        if not name.startswith(mark):
            continue
        found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout
        for pid in found.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


# -- the slow link -------------------------------------------------------------------------------------------


def _slow_link(
    net: Internet, one: str, one_name: str, other: str, other_name: str, stop: threading.Event, *, seed: int
) -> threading.Thread:
    """Two tun devices in two namespaces and a thread that carries packets between, late or not at all."""
    ends = [_tun(net.space(one), one_name), _tun(net.space(other), other_name)]
    thread = threading.Thread(target=_carry, args=(*ends, stop, random.Random(seed)), daemon=True)
    thread.start()
    return thread


def _tun(space: str, name: str) -> int:
    """An open tun device in a namespace. A thread enters the namespace and ends there; we stay."""
    made: list[int] = []

    def make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{space}") as place:
            if libc.setns(place.fileno(), CLONE_NEWNET):
                return
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        made.append(tun)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if not made:
        raise RuntimeError(f"no tun device in {space}")
    return made[0]


def _carry(one: int, other: int, stop: threading.Event, chance: random.Random) -> None:
    waiting: list[tuple[float, int, int, bytes]] = []
    number = 0
    try:
        while not stop.is_set():
            rest = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.2
            for source in select.select([one, other], [], [], min(rest, 0.2))[0]:
                for _ in range(64):
                    try:
                        packet = os.read(source, 2048)
                    except OSError:
                        break
                    if chance.random() >= LOSS:
                        number += 1
                        target = other if source == one else one
                        heapq.heappush(waiting, (time.monotonic() + DELAY, number, target, packet))
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, target, packet = heapq.heappop(waiting)
                # A device that is down, or full, drops; so does a real one.
                with contextlib.suppress(OSError):
                    os.write(target, packet)
    finally:
        os.close(one)
        os.close(other)


if __name__ == "__main__":
    if sys.argv[1:2] == [GUARD]:
        # Ends when whoever started it closes the pipe, or is gone.
        sys.stdin.read()
        _delete(sys.argv[2])
        raise SystemExit
    here = Path(__file__).parent
    raise SystemExit(
        subprocess.call(
            [sys.executable, "-m", "pytest", "-m", "netns", "-s", str(here / "test_nat.py"), *sys.argv[1:]]
        )
    )
