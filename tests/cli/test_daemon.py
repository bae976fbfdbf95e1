"""Starting, asking and stopping a real daemon from the command line."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from p2pvoice.cli import daemon
from p2pvoice.node.peers import Fault, PeerBook
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import ConflictError, DaemonUnavailableError

from .conftest import Command

LOOPBACK = ("--listen", "/ip4/127.0.0.1/tcp/0")


@pytest.fixture
def started(p2pvoice: Command, home: Path) -> dict[str, object]:
    ran = p2pvoice("daemon", "start", *LOOPBACK, "--json")
    assert ran.code == 0, ran.err
    return dict(ran.json)


@pytest.fixture(autouse=True)
def _stopped(home: Path) -> object:
    yield
    try:
        daemon.stop(Client(home))
    except DaemonUnavailableError:
        return


def test_start_answers_when_the_daemon_does_and_stop_when_it_is_gone(
    p2pvoice: Command, home: Path, started: dict[str, object]
) -> None:
    assert started["home"] == str(home)
    assert str(started["peer_id"]).startswith("12D3KooW")
    addresses = started["addresses"]
    assert isinstance(addresses, list)
    assert all(str(address).startswith("/ip4/127.0.0.1/tcp/") for address in addresses)
    status = p2pvoice("status", "--json")
    assert status.code == 0
    assert status.json["pid"] == started["pid"]
    assert daemon.is_running(int(str(started["pid"])))
    stopped = p2pvoice("daemon", "stop", "--json")
    assert (stopped.code, stopped.json) == (0, {"stopped": True, "pid": started["pid"]})
    assert not daemon.is_running(int(str(started["pid"])))
    assert p2pvoice("status").code == 3


@pytest.mark.usefixtures("started")
def test_what_a_person_reads(p2pvoice: Command) -> None:
    status = p2pvoice("status")
    assert status.code == 0
    names = [line.split("  ")[0] for line in status.out.splitlines()]
    assert {"version", "peer id", "author", "addresses", "voices", "disk", "worker"} <= set(names)
    for words, note in [
        (["list"], "no voices yet"),
        (["peers"], "no peers yet"),
        (["find", "--tag", "yue", "--timeout", "0.5"], "no peer is connected"),
    ]:
        ran = p2pvoice(*words)
        assert (ran.code, ran.out) == (0, ""), words
        assert ran.err.splitlines()[0].startswith(note)
        assert p2pvoice("-q", *words).err == ""


@pytest.mark.usefixtures("started")
def test_json_of_every_query_is_json(p2pvoice: Command) -> None:
    for words in (["status"], ["list"], ["peers"], ["base", "list"]):
        before, after = p2pvoice("--json", *words), p2pvoice(*words, "--json")
        assert before.code == after.code == 0
        assert isinstance(before.json, dict)
        assert set(before.json) == set(after.json)
    assert p2pvoice("find", "--tag", "yue", "--timeout", "0.5", "--json").lines[-1]["event"] == "result"


@pytest.mark.usefixtures("started")
def test_errors_of_the_daemon_arrive_with_their_exit_code(p2pvoice: Command) -> None:
    for words, code in [
        (["show", "nobody/nothing"], 4),
        (["fetch", "ba" + "a" * 59], 4),
        (["speak", "nobody/nothing", "hello"], 4),
        (["rm", "nobody/nothing"], 4),
        (["publish", "nosuchdraft", "--license", "CC0-1.0", "--consent", "self"], 4),
        (["find", "--tag", "xyz/abc"], 2),
        (["connect", "not an address"], 2),
    ]:
        ran = p2pvoice(*words)
        assert ran.code == code, (words, ran.err)
        assert ran.err.splitlines()[-2 if "hint:" in ran.err else -1].startswith("error: ")


def test_a_second_daemon_is_refused(p2pvoice: Command, home: Path, started: dict[str, object]) -> None:
    again = p2pvoice("daemon", "start", *LOOPBACK)
    assert again.code == 1
    assert again.err.splitlines()[0] == f"error: a daemon already runs on {home}"
    in_front = p2pvoice("daemon", "run", *LOOPBACK)
    assert in_front.code == 1
    assert "another daemon" in in_front.err
    assert daemon.is_running(int(str(started["pid"])))


def test_start_tells_why_the_daemon_would_not(home: Path, p2pvoice: Command) -> None:
    (home / "config.toml").write_text("quota_bytes = 'many'\n")
    ran = p2pvoice("daemon", "start", *LOOPBACK)
    assert ran.code != 0
    assert "config.toml" in ran.err
    assert "Traceback" not in ran.err
    # The same when two starters race: the loser's reason is the daemon's own.
    (home / "config.toml").unlink()
    client = Client(home)
    first = daemon.spawn(client, [LOOPBACK[1]], [])
    daemon.wait_ready(client, first)
    second = subprocess.run(daemon.command([LOOPBACK[1]], []), capture_output=True, timeout=60, check=False)
    (home / "daemon.err").write_bytes(second.stderr)
    reason = daemon.failure(home / "daemon.err", second.returncode)
    assert isinstance(reason, ConflictError)
    assert "another daemon" in reason.message
    daemon.end(first)


@pytest.mark.parametrize(("number", "codes"), [(signal.SIGINT, {130, 0}), (signal.SIGTERM, {0, 143})])
def test_run_stays_in_front_until_it_is_interrupted(home: Path, number: int, codes: set[int]) -> None:
    line = [sys.executable, "-m", "p2pvoice.cli.main", "daemon", "run", *LOOPBACK]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        status = daemon.wait_ready(Client(home), process)  # type: ignore[arg-type]
        assert status["pid"] == process.pid
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in codes, err
    assert status["peer_id"] in out + err
    assert "Traceback" not in err
    with pytest.raises(DaemonUnavailableError):
        Client(home).status()


def test_a_home_too_deep_for_a_socket_works(p2pvoice: Command, home: Path) -> None:
    deep = home / ("d" * 60) / ("e" * 60)
    ran = p2pvoice("--home", str(deep), "daemon", "start", *LOOPBACK, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["home"] == str(deep)
    assert p2pvoice("--home", str(deep), "status").code == 0
    assert p2pvoice("--home", str(deep), "daemon", "stop").code == 0


def test_peers_tell_why_somebody_was_dropped(p2pvoice: Command, home: Path) -> None:
    liar, hanger = "12D3KooWLiar", "12D3KooWHanger"
    book = PeerBook()
    book.drop(liar, Fault.WRONG_BYTES, "chunk 3 of gpt.safetensors")
    book.drop(hanger, Fault.HUNG, "no answer in 15 s")
    book.save(home / "peers.json")
    assert p2pvoice("daemon", "start", *LOOPBACK).code == 0
    rows = {row["id"]: row for row in p2pvoice("peers", "--json").json["peers"]}
    assert rows[liar]["dropped"]["reason"] == "served wrong bytes: chunk 3 of gpt.safetensors"
    assert rows[hanger]["dropped"]["reason"].startswith("stopped answering")
    told = p2pvoice("peers", COLUMNS="200")
    assert told.code == 0
    assert "served wrong bytes: chunk 3 of gpt.safetensors" in told.out
    assert "stopped answering: no answer in 15 s" in told.out


def test_the_door_for_home_assistant_is_opened_when_asked_for(p2pvoice: Command) -> None:
    open_to_all = p2pvoice("daemon", "start", *LOOPBACK, "--wyoming", "0.0.0.0:0")
    assert open_to_all.code == 2
    assert "it needs the networks that may connect" in open_to_all.err
    assert "hint: --wyoming-network CIDR" in open_to_all.err
    assert p2pvoice("daemon", "start", "--wyoming", "127.0.0.1:0", *LOOPBACK).code == 0
    status = p2pvoice("status")
    (line,) = [line for line in status.out.splitlines() if line.startswith("wyoming")]
    assert "127.0.0.1:" in line
    assert line.endswith("for 127.0.0.0/8, ::1/128")
