"""Where it may listen, who may connect, and that an open door is refused before anything starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from p2pvoice.node.config import WYOMING_LISTEN, WyomingConfig, load_config
from p2pvoice.node.paths import Home
from p2pvoice.node.wyoming.place import place
from p2pvoice.protocol.errors import UsageError

from ..node.nodes import LOOPBACK


def test_it_is_off_until_asked_for(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert place(load_config(home).wyoming) is None
    assert load_config(home, wyoming="").wyoming.listen == WYOMING_LISTEN
    lines = ("[wyoming]", 'listen = "127.0.0.1:7"', 'networks = ["10.0.0.0/8"]', "advertise = false")
    home.config.write_text("\n".join(lines))
    assert load_config(home).wyoming == WyomingConfig("127.0.0.1:7", ("10.0.0.0/8",), advertise=False)
    assert load_config(home, wyoming="").wyoming.listen == "127.0.0.1:7"
    changed = load_config(home, wyoming="[::1]:8", wyoming_networks=["::1/128"]).wyoming
    assert (changed.listen, changed.networks) == ("[::1]:8", ("::1/128",))


@pytest.mark.parametrize("listen", ["127.0.0.1:10200", "127.9.9.9:0", "[::1]:65535", "localhost:1"])
def test_loopback_needs_no_list(listen: str) -> None:
    found = place(WyomingConfig(listen))
    assert found is not None
    assert found.is_loopback
    assert found.admits("127.0.0.1")
    assert found.admits("::1")
    assert found.admits("::ffff:127.0.0.1")
    assert not found.admits("192.168.1.10")


@pytest.mark.parametrize("listen", ["0.0.0.0:10200", "192.168.1.5:10200", "[::]:1", "[fd00::1]:1"])
def test_elsewhere_the_list_must_be_given(listen: str) -> None:
    with pytest.raises(UsageError) as caught:
        place(WyomingConfig(listen))
    assert "--wyoming-network" in caught.value.hint
    found = place(WyomingConfig(listen, ("192.168.1.10/32", "fe80::/10")))
    assert found is not None
    assert not found.is_loopback
    assert found.admits("192.168.1.10")
    assert found.admits("::ffff:192.168.1.10")
    assert found.admits("fe80::1%eth0")
    assert not found.admits("192.168.1.11")
    assert not found.admits("127.0.0.1")


@pytest.mark.parametrize(
    "listen",
    ["10200", ":10200", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:1٣", "::1:7",
     "[127.0.0.1]:7", "home.local:10200", "127.0.0.1:99999999999999999999"],
)  # fmt: skip
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(UsageError):
        place(WyomingConfig(listen, ("10.0.0.0/8",)))


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "home", "", "10.0.0.0-10.0.0.9"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(UsageError):
        place(WyomingConfig("127.0.0.1:1", (network,)))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--wyoming", "0.0.0.0:0"], 2, "hint: --wyoming-network"),
        (["--wyoming", "nonsense"], 2, "no HOST:PORT"),
        (["--wyoming", "203.0.113.9:0", "--wyoming-network", "10.0.0.0/8"], 2, "cannot listen"),
    ],
)
def test_a_daemon_refuses_to_start(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    base = [sys.executable, "-m", "p2pvoice.node.daemon", "--home", str(tmp_path), "--listen", LOOPBACK]
    ended = subprocess.run([*base, *arguments], capture_output=True, text=True, timeout=60)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_port_that_is_taken_is_a_conflict(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        base = [sys.executable, "-m", "p2pvoice.node.daemon", "--home", str(tmp_path), "--listen", LOOPBACK]
        ended = subprocess.run([*base, "--wyoming", where], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1, ended.stderr
    assert f"something else listens on {where}" in ended.stderr
