"""A daemon's life: start, what it holds while idle, who may talk to it, every way to stop."""

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pvoice.node.rpc.client import Client
from p2pvoice.node.rpc.requests import BODY_LIMIT
from p2pvoice.protocol.errors import DaemonUnavailableError, NotFoundError, UsageError

from .nodes import LOOPBACK, Daemon, bring, install_encoder, refusal, running

Make = Callable[[], Daemon]

#: What an idle daemon may hold, in bytes.
IDLE_LIMIT = 150_000_000


def test_idle_daemon_is_small_and_knows_no_torch(daemons: Make) -> None:
    daemon = daemons().start()
    status = daemon.client.status()
    assert status["debug"]["torch_imported"] is False
    assert status["debug"]["rss"] < IDLE_LIMIT
    assert status["worker"] == {"state": "stopped", "pid": None, "rss": 0, "starts": 0, "sandbox": None}
    assert daemon.process is not None
    maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert status["pid"] == daemon.process.pid
    assert status["peer_id"] == daemon.peer_id
    assert status["author"].startswith("did:key:z6Mk")
    assert status["addresses"] == daemon.addresses


def test_socket_and_keys_are_for_the_user_alone(daemons: Make) -> None:
    daemon = daemons().start()
    assert (daemon.home / "rpc.sock").stat().st_mode & 0o777 == 0o600
    for key in (daemon.home / "keys").iterdir():
        assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_it_cleanly(daemons: Make, number: signal.Signals) -> None:
    daemon = daemons().start()
    assert daemon.end(number) == 0
    for name in ("rpc.sock", "daemon.pid", "daemon.addresses"):
        assert not (daemon.home / name).exists()
    assert isinstance(refusal(daemon.client.status), DaemonUnavailableError)
    assert json.loads(daemon.log.splitlines()[-1])["message"] == "stopped"


def test_shutdown_is_answered_before_it_happens(daemons: Make) -> None:
    daemon = daemons().start()
    daemon.client.shutdown()
    assert daemon.process is not None
    assert daemon.process.wait(30) == 0


def test_second_daemon_on_one_home_is_a_conflict(daemons: Make) -> None:
    daemon = daemons().start()
    assert daemon.process is not None
    command = [sys.executable, "-m", "p2pvoice.node.daemon", "--home", str(daemon.home), "--listen", LOOPBACK]
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 1
    assert f"process {daemon.process.pid}" in second.stderr
    assert "hint: p2pvoice daemon status" in second.stderr
    assert second.stdout == ""
    assert daemon.client.status()["pid"] == daemon.process.pid


def test_killed_daemon_leaves_nothing_in_the_way(daemons: Make) -> None:
    daemon = daemons().start()
    first = daemon.peer_id
    assert daemon.end(signal.SIGKILL) == -9
    daemon.start()
    assert daemon.peer_id == first
    assert daemon.client.status()["pid"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--listen", "nonsense"], 2),
        (["--bootstrap", "/ip4/127.0.0.1/tcp/1"], 2),
        (["--listen", "/ip4/192.0.2.1/tcp/1"], 6),
    ],
)
def test_bad_address_is_its_own_exit_code(tmp_path: Path, arguments: list[str], code: int) -> None:
    command = [sys.executable, "-m", "p2pvoice.node.daemon", "--home", str(tmp_path), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == code, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert "Traceback" not in ended.stderr


def test_long_home_gets_its_socket_elsewhere(daemons: Make) -> None:
    daemon = daemons()
    daemon.home = daemon.home / ("x" * 120)
    daemon.start()
    assert daemon.client.status()["pid"]
    place = Path((daemon.home / "rpc.path").read_text())
    assert place.parent.stat().st_mode & 0o777 == 0o700
    daemon.end()
    assert not place.exists()


def test_no_daemon_is_its_own_error(tmp_path: Path) -> None:
    error = refusal(Client(tmp_path).status)
    assert isinstance(error, DaemonUnavailableError)
    assert error.hint == "p2pvoice daemon start"


def test_errors_carry_code_hint_and_status(daemons: Make) -> None:
    client = daemons().start().client
    assert isinstance(refusal(lambda: client.show("nobody")), NotFoundError)
    assert isinstance(refusal(lambda: client.json("GET", "/v1/nothing")), NotFoundError)
    assert isinstance(refusal(lambda: client.json("PUT", "/v1/status")), UsageError)
    assert isinstance(refusal(lambda: client.json("POST", "/v1/connect", {})), UsageError)
    assert isinstance(refusal(lambda: client.json("POST", "/v1/connect", [])), UsageError)
    error = refusal(lambda: list(client.find(tags=("language/klingon",), timeout=0.1)))
    assert isinstance(error, UsageError)
    assert "klingon" in error.message


def test_json_body_ends_at_its_limit(daemons: Make) -> None:
    client = daemons().start().client
    frame = len(json.dumps({"multiaddr": ""}))
    fits = {"multiaddr": "x" * (BODY_LIMIT - frame)}
    assert "512" in refusal(lambda: client.json("POST", "/v1/connect", fits)).message
    over = {"multiaddr": "x" * (BODY_LIMIT - frame + 1)}
    assert str(BODY_LIMIT) in refusal(lambda: client.json("POST", "/v1/connect", over)).message


def test_broken_requests_do_not_hurt_it(daemons: Make) -> None:
    daemon = daemons().start()
    for raw in (
        b"\r\n\r\n",
        b"GET /v1/status",
        b"POST /v1/drafts HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ):
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(daemon.home / "rpc.sock"))
            link.sendall(raw)
    assert daemon.client.status()["pid"]


def test_uploads_end_with_the_daemon_and_are_named_by_the_daemon(daemons: Make, tmp_path: Path) -> None:
    daemon = daemons().start()
    source = tmp_path / "file"
    source.write_bytes(b"x" * 3_000_000)
    sent: list[int] = []
    upload = daemon.client.upload(source, progress=sent.append)
    assert sent[-1] == 3_000_000
    assert (daemon.home / "uploads" / upload).stat().st_size == 3_000_000
    outside = tmp_path / "outside"
    outside.write_text("not an upload")
    for forged in ("../keys/author.key", str(outside), "0" * 32):
        body = {"name": "x", "sovits": forged, "gpt": upload, "clip": upload, "text": "t", "lang": "en"}
        assert isinstance(
            refusal(lambda body=body: list(daemon.client.stream("POST", "/v1/drafts", body))), UsageError
        )
    assert (daemon.home / "keys" / "author.key").exists()
    assert outside.read_text() == "not an upload"
    daemon.client.upload(source)
    daemon.end()
    daemon.start()
    assert list((daemon.home / "uploads").iterdir()) == []


def test_files_of_no_release_are_gone_after_a_start(daemons: Make) -> None:
    daemon = daemons().start()
    daemon.end()
    left = daemon.home / "store" / "files" / ("ab" * 32)
    left.write_bytes(b"what a killed publication left")
    daemon.start()
    assert not left.exists()


def test_interrupted_upload_leaves_nothing(daemons: Make) -> None:
    daemon = daemons().start()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(daemon.home / "rpc.sock"))
        link.sendall(b"PUT /v1/uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    # A connection of its own, served after the first one was noticed to be gone.
    for _ in range(200):
        daemon.client.status()
        if not list((daemon.home / "uploads").iterdir()):
            break
    assert list((daemon.home / "uploads").iterdir()) == []


def test_worker_leaves_with_the_daemon(daemons: Make, encoder: Path, clip: Path) -> None:
    daemon = daemons().start()
    install_encoder(daemon, encoder)
    bring(daemon, clip)
    worker = daemon.client.status()["worker"]
    assert worker["starts"] == 1
    assert running(worker["pid"])
    assert daemon.client.status()["debug"]["torch_imported"] is False
    assert daemon.end() == 0
    assert not running(worker["pid"])


def test_client_uses_plain_http(daemons: Make) -> None:
    """Any HTTP client will do: the answer is JSON with a length, and the connection may be kept."""
    daemon = daemons().start()
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(daemon.home / "rpc.sock"))
    for _ in range(2):
        connection.request("GET", "/v1/status")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.getheader("content-type") == "application/json"
        json.loads(answer.read())
    connection.close()
