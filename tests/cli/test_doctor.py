"""`doctor`: each thing that can be wrong with a home is made wrong, and found."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pvoice.node.checkup_reach import reach
from p2pvoice.node.rpc.client import Client

from .conftest import Command, Ran


def rows(ran: Ran) -> dict[str, tuple[str, str, str]]:
    """check -> (state, finding, what to do)."""
    found = [line for line in ran.lines if line["event"] == "check"]
    assert len({row["check"] for row in found}) == len(found)
    counted = {state: sum(row["state"] == state for row in found) for state in ("ok", "warn", "fail")}
    assert ran.lines[-1] == {"event": "result", **counted}
    assert ran.code == (1 if counted["fail"] else 0)
    assert all(row["todo"] for row in found if row["state"] != "ok")
    return {row["check"]: (row["state"], row["finding"], row["todo"]) for row in found}


def test_a_whole_node_and_what_can_be_wrong_with_it(p2pvoice: Command, running: Client) -> None:
    home = running.home
    found = rows(p2pvoice("doctor", "--json"))
    assert [check for check, (state, _, _) in found.items() if state == "fail"] == []
    for check in ("system", "packages", "home", "keys", "settings", "catalog", "index", "daemon"):
        assert found[check][0] == "ok", found[check]
    for check in ("addresses", "releases", "quota", "store", "kernel", "sandbox", "torch", "speech"):
        assert found[check][0] == "ok", found[check]
    assert found["reachable"][:2] == ("warn", "only this machine can connect")
    assert found["relay"][:2] == ("ok", "no place, and none is of use while only this machine can connect")
    assert found["lan"][:2] == ("ok", "mDNS is off: the node listens on loopback only")
    assert found["sandbox"][1] == "landlock+seccomp holds the worker"
    assert found["speech"][1].startswith("the packaged voice spoke ")
    assert list((home.root / "scratch" / "speaking").glob("checkup*")) == []

    # A voice of one's own is tried instead; then a file of it is damaged.
    assert p2pvoice("-q", "import", "--bundled", "--name", "teller").code == 0
    assert p2pvoice("publish", "teller", "--license", "Apache-2.0", "--consent", "synthetic").code == 0
    found = rows(p2pvoice("doctor", "--json"))
    assert found["speech"][:1] == ("ok",)
    assert found["speech"][1].startswith("teller spoke ")
    assert found["store"][1].startswith("4 of ")
    for file in (home.root / "store" / "files").iterdir():
        file.chmod(0o600)
        with file.open("r+b") as opened:
            opened.write(b"?")
    found = rows(p2pvoice("doctor", "--json"))
    assert found["store"][0] == "fail"
    assert found["store"][1].endswith("is damaged")
    assert found["store"][2] == "p2pvoice verify"


def open_key(home: Path) -> None:
    (home / "keys" / "author.key").chmod(0o644)


def lose_key(home: Path) -> None:
    (home / "keys" / "peer.key").unlink()


def cut_key(home: Path) -> None:
    (home / "keys" / "peer.key").write_bytes(b"short")


def open_home(home: Path) -> None:
    home.chmod(0o755)


def break_settings(home: Path) -> None:
    (home / "config.toml").write_text("listen = [")


def break_catalog(home: Path) -> None:
    (home / "catalog.sqlite").write_bytes(b"SQLite format 3\0" + bytes(4080))


def write_in_the_future(home: Path) -> None:
    later = time.time() + 7200 + 1800
    os.utime(home / "daemon.log", (later, later))


@pytest.mark.parametrize(
    ("spoil", "check", "state", "told", "todo"),
    [
        (open_key, "keys", "fail", "author.key can be reached by other users (mode 644)", "chmod 600 "),
        (lose_key, "keys", "fail", "peer.key is missing", "backup"),
        (cut_key, "keys", "fail", "peer.key is damaged", "backup"),
        (open_home, "home", "warn", "can be reached by other users (mode 755)", "chmod 700 "),
        (break_settings, "settings", "fail", "config.toml: ", "specs/home.md"),
        (break_catalog, "catalog", "fail", "catalog.sqlite is damaged", "daemon stop; mv "),
        (write_in_the_future, "clock", "fail", "written 2 h ", "set the clock"),
    ],
)
def test_what_is_wrong_is_found_without_a_daemon(
    p2pvoice: Command,
    home: Path,
    spoil: Callable[[Path], None],
    check: str,
    state: str,
    told: str,
    todo: str,
) -> None:
    for folder in ("keys", "store"):
        (home / folder).mkdir(mode=0o700)
    home.chmod(0o700)
    for name in ("author.key", "peer.key"):
        (home / "keys" / name).write_bytes(bytes(32))
        (home / "keys" / name).chmod(0o600)
    (home / "daemon.log").write_text("")
    before = rows(p2pvoice("doctor", "--json"))
    assert {name for name, row in before.items() if row[0] == "fail"} == {"daemon"}
    spoil(home)
    found = rows(p2pvoice("doctor", "--json"))
    assert found[check][0] == state
    assert told in found[check][1]
    assert todo in found[check][2]
    failed = {"daemon", check} if state == "fail" else {"daemon"}
    assert {name for name, row in found.items() if row[0] == "fail"} == failed


def test_a_person_reads_rows_and_what_to_do(p2pvoice: Command) -> None:
    ran = p2pvoice("doctor")
    assert ran.code == 1
    assert "fail  daemon" in ran.out
    assert "→ p2pvoice daemon start\n" in ran.out
    assert ran.err.startswith("1 wrong, ")
    assert p2pvoice("-q", "doctor").err == ""
    with pytest.raises(json.JSONDecodeError):
        json.loads(ran.out)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/ip4/127.0.0.1/tcp/1/p2p/x", "loopback"),
        ("/ip6/::1/tcp/1", "loopback"),
        ("/ip4/192.168.1.7/tcp/1", "private"),
        ("/ip4/100.64.0.1/tcp/1", "private"),
        ("/ip6/fe80::1/tcp/1", "private"),
        ("/ip4/8.8.8.8/tcp/4001", "public"),
        ("/ip6/2606:4700::1111/tcp/4001", "public"),
        ("/dns4/example.org/tcp/1", "name"),
        ("nonsense", "name"),
    ],
)
def test_from_where_an_address_can_be_dialed(address: str, expected: str) -> None:
    assert reach(address) == expected
