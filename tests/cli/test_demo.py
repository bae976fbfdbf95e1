"""The acceptance test: `p2pvoice demo` as a user types it, every figure of its report looked at."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from p2pvoice.cli.commands.inspect import inspect_audio
from p2pvoice.cli.daemon import is_running

DEMO_TIMEOUT = 540
"""Seconds the whole demo may take on a small busy machine; a quiet one needs about one minute."""

SIZE_LIMIT = 40_000_000
"""The bundled voice is at most 25 MB as files; nothing in the demo may be larger than this."""


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_demo(tmp_path: Path) -> None:
    into, user, scratch = tmp_path / "into", tmp_path / "user", tmp_path / "t"
    for folder in (into, user, scratch):
        folder.mkdir()
    own = {"HOME": str(user), "P2PVOICE_HOME": str(user / "node")}
    done = subprocess.run(
        [sys.executable, "-m", "p2pvoice.cli.main", "demo", "--json"],
        cwd=into,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=DEMO_TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *steps, result = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
    start, imported, published, cantonese, chinese, listened, fetched, updated, handed_on, spoken, labels = (
        steps
    )

    peers = {node["peer_id"] for node in start["nodes"].values()}
    assert len(peers) == 3
    assert imported["draft"]
    size = published["bytes"]
    assert 1_000_000 < size < SIZE_LIMIT
    for found in (cantonese, chinese):
        assert found["release"] == published["release"]
    assert listened["bytes"] > 10_000
    assert fetched["bytes_fetched"] > 0.5 * size
    assert fetched["bytes_fetched"] <= 1.02 * size

    # The second release shares its weights with the first: what travels is small, and counted.
    assert updated["release"] != published["release"]
    assert updated["bytes_fetched"] < 0.1 * updated["bytes"]
    assert updated["bytes_saved"] == updated["bytes"] - updated["bytes_fetched"]

    # B had nothing before, and C was the only one left to give.
    assert handed_on["bytes_fetched"] > 0.5 * updated["bytes"]
    assert len(handed_on["peers"]) == 1

    names = {f"demo-{lang}.wav" for lang in ("yue", "zh", "en")} | {"demo-preview.wav"}
    assert tree(into) == names
    for clip in spoken["files"]:
        assert 1.0 < clip["audio_seconds"] < 20.0
        label = inspect_audio(Path(into / clip["file"]))["label"]
        assert updated["release"] in label.values()
        assert not label.get("reserved1")
    assert len(labels["labels"]) == 3
    assert result["event"] == "result"
    assert result["release"] == updated["release"]

    assert tree(user) == set()
    assert not any(is_running(node["pid"]) for node in start["nodes"].values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_no_daemon(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "p2pvoice.cli.main", "demo", "--json", "--keep", str(tmp_path / "k")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        start = json.loads(process.stdout.readline())
        daemons = [os.pidfd_open(node["pid"]) for node in start["nodes"].values()]
        process.send_signal(number)
        process.wait(60)
    finally:
        process.kill()
    assert process.returncode in {130, 128 + signal.SIGTERM, -signal.SIGKILL}
    assert len(daemons) == 3
    for daemon in daemons:
        # Readable when the process has ended. After SIGKILL it is the kernel that tells the daemons to.
        ended, _, _ = select.select([daemon], [], [], 60)
        assert ended, "a daemon outlived the demo"
        os.close(daemon)
