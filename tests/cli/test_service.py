"""The systemd unit: its text, what systemd itself says of it, and who may be replaced."""

import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from p2pvoice.cli import daemon, service
from p2pvoice.protocol.errors import UsageError

from .conftest import Command


def parsed(text: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",))
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(text)
    return found


def test_unit(home: Path) -> None:
    made = parsed(service.unit(home, ["/ip4/0.0.0.0/tcp/4001"], ["/ip4/192.0.2.1/tcp/1/p2p/x"]))
    said = made["Service"]
    assert (said["Type"], said["NotifyAccess"], said["Restart"]) == ("notify", "main", "on-failure")
    assert int(said["TimeoutStopSec"]) > 22
    assert said["NoNewPrivileges"] == "yes"
    assert "MemoryDenyWriteExecute" not in said
    assert shlex.split(said["ExecStart"]) == [
        *(sys.executable, "-m", "p2pvoice.node.daemon", "--home", str(home)),
        *("--listen", "/ip4/0.0.0.0/tcp/4001", "--bootstrap", "/ip4/192.0.2.1/tcp/1/p2p/x"),
    ]
    assert made["Install"]["WantedBy"] == "default.target"
    doors = daemon.doors(wyoming="", wyoming_network=["10.0.0.0/8"])
    line = parsed(service.unit(home, doors=doors))["Service"]["ExecStart"]
    assert shlex.split(line)[-3:] == ["--wyoming-network", "10.0.0.0/8", "--wyoming"]


def test_words_are_quoted() -> None:
    assert service.quoted('a b"\\%$') == '"a b\\"\\\\%%$$"'
    with pytest.raises(UsageError):
        service.quoted("a\nExecStartPre=/bin/sh")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_it(tmp_path: Path) -> None:
    path = tmp_path / service.NAME
    path.write_text(service.unit(tmp_path / 'a "strange" 100% home'))
    command = ["systemd-analyze", "verify", "--user", "--man=no", str(path)]
    environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert service.NAME not in said.stderr, said.stderr
    # The same command finds a mistake.
    path.write_text(service.unit(tmp_path).replace("Type=notify", "Type=sometimes"))
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert service.NAME in said.stderr


def test_install_and_uninstall(p2pvoice: Command, home: Path, tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        ran = p2pvoice("daemon", *words, XDG_CONFIG_HOME=str(tmp_path))
        return ran.code, ran.out, ran.err

    path = tmp_path / "systemd" / "user" / service.NAME
    code, out, _ = run("install", "--print")
    assert (code, out, path.exists()) == (0, service.unit(home), False)
    assert run("uninstall")[0] == 4
    code, out, err = run("install", "--listen", "/ip4/0.0.0.0/tcp/4001")
    assert (code, out) == (0, f"installed {path}\n")
    assert "systemctl --user enable --now p2pvoice.service" in err
    assert path.read_text() == service.unit(home, ["/ip4/0.0.0.0/tcp/4001"])
    assert run("install")[0] == 0
    assert path.read_text() == service.unit(home)
    assert run("uninstall")[:2] == (0, f"removed {path}\n")
    assert not path.exists()

    path.write_text("[Service]\nExecStart=/bin/true\n")
    for word in ("install", "uninstall"):
        code, _, err = run(word)
        assert (code, "not written by p2pvoice" in err) == (1, True)
    assert path.read_text().startswith("[Service]")
