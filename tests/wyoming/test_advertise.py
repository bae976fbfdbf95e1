"""mDNS: another program on the network finds the port, and is told when it is gone."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable

from zeroconf import ServiceBrowser, ServiceListener, Zeroconf

from p2pvoice.node.wyoming.advertise import SERVICE

from ..node.nodes import PROGRAM, Daemon, eventually

PATIENCE = 30.0


class Seen(ServiceListener):
    """Which services came and went."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.came, self.went = threading.Event(), threading.Event()

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        if name == self.name:
            self.came.set()

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        pass

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        if name == self.name:
            self.went.set()


def test_it_is_told_of_and_taken_back(daemons: Callable[[], Daemon]) -> None:
    # On every address, for this machine alone: nothing of this test leaves it.
    daemon = daemons().start(
        program=(*PROGRAM, "--wyoming", "0.0.0.0:0", "--wyoming-network", "127.0.0.0/8"),
    )
    name = eventually(lambda: daemon.client.status()["wyoming"]["advertised"])
    assert name == f"p2pvoice-{daemon.peer_id[-8:]}.{SERVICE}"
    port = int(daemon.client.status()["wyoming"]["listen"].rpartition(":")[2])
    network = Zeroconf(interfaces=["127.0.0.1"])
    try:
        seen = Seen(name)
        browser = ServiceBrowser(network, SERVICE, seen)
        assert seen.came.wait(PATIENCE)
        info = network.get_service_info(SERVICE, name, 5000)
        assert info is not None
        assert (info.port, info.parsed_addresses()) == (port, ["127.0.0.1"])
        assert daemon.end() == 0
        assert seen.went.wait(PATIENCE)
        browser.cancel()
    finally:
        network.close()


def test_loopback_and_a_setting_keep_it_quiet(daemons: Callable[[], Daemon]) -> None:
    loopback = daemons().start(program=(*PROGRAM, "--wyoming", "127.0.0.1:0"))
    quiet = daemons()
    (quiet.home / "config.toml").write_text(
        '[wyoming]\nlisten = "0.0.0.0:0"\nnetworks = ["127.0.0.0/8"]\nadvertise = false\n'
    )
    quiet.start()
    for daemon in (loopback, quiet):
        door = daemon.client.status()["wyoming"]
        assert (door["advertised"], door["notice"], door["connections"]) == (None, "", 0)
        assert '"advertised"' not in daemon.log


def test_without_the_package_the_port_works_and_says_so() -> None:
    # Another library brings zeroconf along today; here it is as absent as it may be tomorrow.
    program = """
import sys, trio
sys.modules["zeroconf"] = None
from p2pvoice.node.config import WyomingConfig
from p2pvoice.node.wyoming.advertise import Advertised
from p2pvoice.node.wyoming.place import place
told = Advertised(place(WyomingConfig("0.0.0.0:1", ("10.0.0.0/8",))), 1, "peer")
async def main():
    with trio.move_on_after(0.5):
        await told.run()
trio.run(main)
print(told.name, told.notice)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env={**os.environ}
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("None ")
    assert "pip install 'p2pvoice[wyoming]'" in ended.stdout
