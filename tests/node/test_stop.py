"""A daemon under load stops soon: requests running, a fetch under way, a voice speaking, peers asking."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from p2pvoice.protocol.errors import P2PVoiceError

from .nodes import Daemon, bring, install_encoder, large_gpt, publish, running

Make = Callable[[], Daemon]

#: Seconds a stop may take here. It is to take two; this machine may have other things to do.
BOUND = 5.0

#: A text that takes a minute to speak.
LONG = "這是一個很長的故事，說了很久還沒有說完。" * 400


def within(seconds: float, reached: Callable[[], bool]) -> None:
    """Wait until something is so; AssertionError when it never is."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


@pytest.mark.slow
def test_stop_under_load(daemons: Make, encoder: Path, clip: Path, tmp_path: Path) -> None:
    a = daemons().start()
    install_encoder(a, encoder)
    bring(a, clip, gpt=large_gpt(tmp_path / "gpt.ckpt", feed=60_000, seed=1, layers=3))
    large = publish(a)["release"]
    b = daemons().start(a)
    install_encoder(b, encoder)
    bring(b, clip)
    own = publish(b)["release"]
    client, under_way = b.client, threading.Event()
    ended: list[str] = []

    def fetch() -> None:
        for event in client.fetch(large):
            if event.get("have", 0) > 0:
                under_way.set()

    def hammer() -> None:
        while True:
            client.status()

    def work(name: str, task: Callable[[], object]) -> None:
        with suppress(P2PVoiceError):
            task()
        ended.append(name)

    tasks: dict[str, Callable[[], object]] = {
        "speak": lambda: client.speak({"voice": own, "text": LONG, "lang": "zh"}),
        "find": lambda: list(client.find(text="nothing of that name", timeout=120)),
        "status 1": hammer,
        "status 2": hammer,
    }
    threads = [threading.Thread(target=work, args=pair) for pair in [*tasks.items(), ("fetch", fetch)]]
    for thread in threads[:-1]:
        thread.start()
    within(60, lambda: client.status()["worker"]["state"] == "busy")
    worker = client.status()["worker"]["pid"]
    threads[-1].start()
    assert under_way.wait(60)
    assert "speak" not in ended
    assert "fetch" not in ended

    began = time.monotonic()
    assert b.end(signal.SIGTERM) == 0
    took = time.monotonic() - began
    print(f"stopped within {took:.2f} s")
    assert took < BOUND
    assert not running(worker)
    for thread in threads:
        thread.join(10)
    assert sorted(ended) == sorted([*tasks, "fetch"])
    assert '"message": "stopped"' in b.log.splitlines()[-1]
    # What was fetched is kept, and the fetch goes on from there.
    b.start(a)
    *_, result = b.client.fetch(large)
    assert result["bytes_reused"] > 0


def test_stop_kills_a_worker_that_does_not_listen(daemons: Make, encoder: Path, clip: Path) -> None:
    daemon = daemons().start()
    install_encoder(daemon, encoder)
    worker = daemon.client.status()["worker"]["pid"]
    os.kill(worker, signal.SIGSTOP)
    began = time.monotonic()
    assert daemon.end(signal.SIGTERM) == 0
    took = time.monotonic() - began
    print(f"stopped within {took:.2f} s")
    assert took < BOUND
    assert not running(worker)
