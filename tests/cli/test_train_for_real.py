"""The whole way of a newcomer with the packaged voice: train, Ctrl-C, kill -9, resume, describe, publish.

Minutes of computing, hence slow: `python -m pytest -m slow tests/cli/test_train_for_real.py`.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.node.rpc.client import Client

from .conftest import Command

pytestmark = pytest.mark.slow

SENTENCES = (
    "The evening train was late again, so we walked home along the river.",
    "She opened the old wooden box and found a letter from her grandmother.",
    "We will need more apples, some flour and a little butter for the cake.",
    "The children played in the garden until the sun went down.",
)


def start(home: Path, *words: str) -> subprocess.Popen[bytes]:
    """A command in the background, its progress as NDJSON on stdout."""
    return subprocess.Popen(
        [sys.executable, "-m", "p2pvoice.cli.main", "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "P2PVOICE_HOME": str(home)},
    )


def wait_for_losses(process: subprocess.Popen[bytes]) -> None:
    """Read events until the training has learned something."""
    assert process.stdout is not None
    for line in process.stdout:
        if b'"losses": {"' in line:
            return
    assert process.stderr is not None
    raise AssertionError(process.stderr.read().decode())


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit code and what was said on stderr."""
    _, said = process.communicate(timeout=1200)
    return process.returncode, said.decode()


@pytest.fixture
def recordings(p2pvoice: Command, running: Client, tmp_path: Path) -> Path:
    """A folder of clips with their texts, spoken by the packaged voice."""
    assert p2pvoice("-q", "import", "--bundled", "--name", "storyteller").code == 0
    ran = p2pvoice("publish", "storyteller", "--license", "Apache-2.0", "--consent", "synthetic")
    assert ran.code == 0, ran.err
    release = ran.out.strip()
    folder = tmp_path / "clips"
    folder.mkdir()
    for number, said in enumerate(SENTENCES):
        clip = folder / f"{number}.wav"
        ran = p2pvoice("speak", release, said, "--lang", "en", "--seed", str(number), "-o", str(clip))
        assert ran.code == 0, ran.err
        clip.with_suffix(".txt").write_text(said)
    return folder


def test_a_newcomers_voice(p2pvoice: Command, running: Client, home: Path, recordings: Path) -> None:
    words = ["train", str(recordings), "--name", "me", "--lang", "en", "--minutes", "0.3"]
    process = start(home, *words, "--data", "Synthetic sentences.")
    wait_for_losses(process)
    process.send_signal(signal.SIGINT)
    code, said = end(process)
    assert code == 130, said
    assert "Traceback" not in said
    rows: list[dict[str, Any]] = p2pvoice("trainings", "--json").json["trainings"]
    assert [(row["training"], row["state"]) for row in rows] == [("me", "stopped")]
    assert "p2pvoice train --resume me" in p2pvoice("trainings").err

    process = start(home, "train", "--resume", "me")
    wait_for_losses(process)
    os.kill(running.status()["training"]["pid"], signal.SIGKILL)
    code, said = end(process)
    assert code == 1
    assert "p2pvoice train --resume me" in said

    process = start(home, "train", "--resume", "me")
    code, said = end(process)
    assert code == 0, said

    ran = p2pvoice("describe", "me", "--json")
    assert ran.code == 0, ran.err
    assert {"pitch_median", "snr", "training_seconds"} <= {row["field"] for row in ran.lines[-1]["measured"]}
    ran = p2pvoice("publish", "me", "--license", "CC-BY-4.0", "--consent", "synthetic")
    assert ran.code == 0, ran.err
    shown = p2pvoice("show", ran.out.strip(), "--json").json
    assert shown["training"]["data"]["declaration"] == "Synthetic sentences."
    assert shown["training"]["base"].startswith("bagaqiera")
    assert any(row["field"] == "pitch_median" for row in shown["measured"])
    card = p2pvoice("card", ran.out.strip())
    assert "## How it was made" in card.out
    assert "| pitch_median |" in card.out
    ran = p2pvoice("similarity", "me", str(recordings / "0.wav"), "--json")
    assert ran.code == 0, ran.err
    assert 0.5 < ran.lines[-1]["similarity"] <= 1
    assert p2pvoice("trainings", "rm", "me").code == 0
    assert not (home / "trainings" / "me").exists()
