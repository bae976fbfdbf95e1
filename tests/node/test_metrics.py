"""Figures, log levels and the service manager's datagrams, of real daemons."""

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from p2pvoice.node.notify import notify
from p2pvoice.protocol.errors import P2PVoiceError

from .nodes import Daemon, refusal

Make = Callable[[], Daemon]

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def figures(daemon: Daemon) -> Figures:
    """Every figure by its name and labels, as Prometheus' own parser reads them."""
    text = daemon.client.audio("GET", "/metrics").data.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_figures(daemons: Make) -> None:
    first = daemons().start()
    second = daemons().start(first)
    client = first.client
    client.voices()
    client.voices()
    assert isinstance(refusal(lambda: client.show("nobody")), P2PVoiceError)
    for path in ("/v1/private-name", "/secret/words"):
        assert isinstance(refusal(lambda path=path: client.json("GET", path)), P2PVoiceError)
    second.client.connect(first.addresses[0])
    # Without a tag the connected peers are asked themselves.
    list(second.client.find(text="anything", timeout=5))
    found = figures(first)

    def requests(endpoint: str, status: str, method: str = "GET") -> float:
        labels = (("endpoint", endpoint), ("method", method), ("status", status))
        return found.get(("p2pvoice_rpc_requests_total", labels), 0)

    assert requests("/v1/voices", "200") == 2
    assert requests("/v1/voices", "404") == 1
    assert requests("other", "404", "other") == 2
    assert found["p2pvoice_peers_connected", ()] == 1
    assert found["p2pvoice_voices_installed", ()] == 0
    assert found["p2pvoice_memory_bytes", ()] > 1e6
    assert found["p2pvoice_store_quota_bytes", ()] == 0
    assert found["p2pvoice_peer_bytes_total", (("direction", "in"),)] > 0
    assert found["p2pvoice_peer_bytes_total", (("direction", "out"),)] > 0
    assert found["p2pvoice_worker_state", (("state", "stopped"), ("worker", "speaking"))] == 1
    assert found["p2pvoice_worker_starts_total", (("worker", "training"),)] == 0
    drops = {labels for name, labels in found if name == "p2pvoice_peer_drops_total"}
    assert (("reason", "served wrong bytes"),) in drops
    text = first.client.audio("GET", "/metrics").data.decode()
    for word in ("secret", "private-name", second.peer_id, "127.0.0.1"):
        assert word not in text
    assert found["p2pvoice_worker_state", (("state", "busy"), ("worker", "training"))] == 0


def test_log_level(daemons: Make) -> None:
    quiet, wordy = daemons(), daemons()
    (quiet.home / "config.toml").write_text('log_level = "error"\n')
    for daemon in (quiet, wordy):
        daemon.start()
        assert daemon.end() == 0
    assert quiet.log == ""
    lines = [json.loads(line) for line in wordy.log.splitlines()]
    assert [line["message"] for line in lines if line["from"] == "daemon"] == ["ready", "stopping", "stopped"]
    assert {line["level"] for line in lines} == {"info"}


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(
    daemons: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    daemon = daemons()
    path = str(daemon.home / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + path if abstract else path)
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + path if abstract else path)
        daemon.start()
        assert manager.recv(4096).decode().splitlines() == [
            "READY=1",
            f"STATUS=listening, peer {daemon.peer_id}",
        ]
        assert daemon.end(signal.SIGTERM) == 0
        assert manager.recv(4096) == b"STOPPING=1"


def test_a_manager_that_does_not_listen_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "relative")
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify("READY=1")
