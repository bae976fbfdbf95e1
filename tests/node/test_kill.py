"""A fetching daemon is killed at twenty places of the file, and each time the fetch goes on from there."""

import contextlib
import random
import signal
from collections.abc import Callable
from pathlib import Path

from p2pvoice.node.pacing import WINDOW_BYTES
from p2pvoice.protocol.errors import DaemonUnavailableError

from .nodes import Daemon, bring, install_encoder, large_gpt, publish

KILLS = 20

LIMITED = '[network]\nmdns = false\nlimit_lan = true\nup = "8 MB"\n'
"""Of the one that serves, to this machine, too: a fetch is told of ten times a second, and must not go far
nor end between two tellings."""


def _offsets(size: int) -> list[int]:
    """One place in each twentieth of the file; the last one leaves room to be noticed in time."""
    chance = random.Random(20)
    step = size * 9 // 10 // KILLS
    return [number * step + chance.randrange(step) for number in range(KILLS)]


def test_fetch_survives_being_killed_at_twenty_offsets(
    daemons: Callable[[], Daemon], encoder: Path, clip: Path, tmp_path: Path
) -> None:
    a = daemons()
    a.home.joinpath("config.toml").write_text(LIMITED)
    a.start()
    install_encoder(a, encoder)
    bring(a, clip, gpt=large_gpt(tmp_path / "gpt.ckpt", feed=60_000, seed=1, layers=5))
    release = publish(a)["release"]
    files = a.client.show(release)["files"]
    total = sum(file["size"] for file in files)
    b, reached, places = daemons(), 0, set()
    for offset in _offsets(total):
        b.start(a)
        assert b.process is not None
        events = b.client.fetch(release)
        first = next(event for event in events if "have" in event)
        places.add(first["have"])
        # Nothing that was told to be here may be gone: its bit was set after its bytes were synced.
        assert first["have"] >= reached
        reached = first["have"]
        if reached < offset:
            reached = next(event["have"] for event in events if event.get("have", 0) >= offset)
        b.process.send_signal(signal.SIGKILL)
        with contextlib.suppress(DaemonUnavailableError):
            assert all(event["event"] != "result" for event in events), "the fetch ended before the kill"
        b.process.wait(30)
        assert b.end(signal.SIGKILL) == -9
    # Each fetch went on from a place of its own, so the kills did cut something short.
    assert len(places) > KILLS // 2
    b.start(a)
    *_, result = b.client.fetch(release)
    assert result["bytes_reused"] >= reached
    assert result["bytes_fetched"] + result["bytes_reused"] == total
    served = a.client.status()["debug"]["served_bytes"]
    assert served <= total + KILLS * WINDOW_BYTES
    for file in files:
        name = Path("store") / "files" / file["digest"]
        assert (b.home / name).read_bytes() == (a.home / name).read_bytes()
    assert [voice["release"] for voice in b.client.voices()] == [release]
    print(f"{total} bytes, {KILLS} kills at {len(places)} places, {served} bytes served")
