"""The worker process: started when needed, one request at a time, survivable."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pvoice.node import jobs
from p2pvoice.node.config import WorkerConfig
from p2pvoice.node.engine import Engine
from p2pvoice.protocol.errors import NotFoundError, SynthesisError, UsageError


@asynccontextmanager
async def _engine(folder: Path, **settings: float) -> AsyncIterator[Engine]:
    engine = Engine(WorkerConfig(**settings), folder / "log")  # type: ignore[arg-type]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run)
            yield engine
            nursery.cancel_scope.cancel()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_worker_starts_on_first_use_and_without_torch(tmp_path: Path) -> None:
    async with _engine(tmp_path) as engine:
        assert (engine.state, engine.starts) == ("stopped", 0)
        assert await engine.call("ping", {}) == {"voices": [], "torch": False}
        assert (engine.state, engine.starts) == ("idle", 1)
        pid = engine.pid
        assert pid is not None
        assert engine.rss() > 0
        assert os.getsid(pid) != os.getsid(0)
        await engine.call("ping", {})
        assert engine.pid == pid
    assert not _alive(pid)


async def test_errors_come_back_as_their_class(tmp_path: Path) -> None:
    async with _engine(tmp_path) as engine:
        with pytest.raises(UsageError, match="no_such_thing"):
            await engine.call("no_such_thing", {})
        with pytest.raises(NotFoundError):
            await engine.call("inspect", {"folder": str(tmp_path / "nothing"), "bases": []})
        assert engine.starts == 1


async def test_worker_that_dies_fails_its_request_and_the_next_starts_another(tmp_path: Path) -> None:
    async with _engine(tmp_path) as engine:
        await engine.call("ping", {})
        first = engine.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        failed = trio.Event()

        async def ask() -> None:
            with pytest.raises(SynthesisError, match="SIGKILL"):
                await engine.call("ping", {})
            failed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            os.kill(first, signal.SIGKILL)
        assert failed.is_set()
        await engine.call("ping", {})
        assert engine.starts == 2
        assert engine.pid != first


async def test_cancelled_request_leaves_the_pipe_in_step(tmp_path: Path) -> None:
    async with _engine(tmp_path) as engine:
        await engine.call("ping", {})
        pid = engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                await engine.call("ping", {})

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            # The worker hears of the request and of its end in one go.
            os.kill(pid, signal.SIGCONT)
        assert await engine.call("ping", {}) == {"voices": [], "torch": False}
        assert engine.pid == pid


async def test_worker_that_does_not_let_go_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pvoice.node.engine.CANCEL_GRACE", 0.2)
    async with _engine(tmp_path) as engine:
        await engine.call("ping", {})
        pid = engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                await engine.call("ping", {})

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert not _alive(pid)
        await engine.call("ping", {})
        assert engine.starts == 2


async def test_idle_worker_leaves_by_itself(tmp_path: Path) -> None:
    async with _engine(tmp_path, idle_seconds=0.05) as engine:
        await engine.call("ping", {})
        process = engine._process
        assert process is not None
        await process.wait()
        assert engine.state == "stopped"
        await engine.call("ping", {})
        assert engine.starts == 2


async def test_too_many_waiting_requests_are_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pvoice.node.engine.WAITING_LIMIT", 2)
    async with _engine(tmp_path) as engine:
        await engine.call("ping", {})
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                await engine.call("ping", {})

            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(SynthesisError, match="waiting"):
                await engine.call("ping", {})
            os.kill(engine.pid, signal.SIGCONT)


def test_worker_ends_with_its_daemon() -> None:
    """The pipe's end is the only thing that ties them; a killed daemon closes it, too."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "p2pvoice.node.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(30) == 0
    assert worker.stdout is not None
    worker.stdout.close()


def test_what_a_library_prints_does_not_reach_the_pipe() -> None:
    code = (
        "import os, sys, runpy; from p2pvoice.node import worker;"
        "worker.OPERATIONS['shout'] = lambda w, a: (print('noise', flush=True), os.write(1, b'more'), {})[2];"
        "worker.main()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(jobs.frame(jobs.Request(7, "shout", {})))
    worker.stdin.flush()
    head = worker.stdout.read(4)
    assert isinstance(jobs.read_answer(worker.stdout.read(jobs.body_length(head))), jobs.Hello)
    head = worker.stdout.read(4)
    assert jobs.read_answer(worker.stdout.read(jobs.body_length(head))) == jobs.Result(7, {})
    _, errors = worker.communicate()
    assert b"noise" in errors
    assert b"more" in errors


def test_frame_is_bounded_before_it_is_read() -> None:
    assert jobs.body_length(jobs.LENGTH.pack(jobs.FRAME_LIMIT)) == jobs.FRAME_LIMIT
    with pytest.raises(ValueError, match="limit"):
        jobs.body_length(jobs.LENGTH.pack(jobs.FRAME_LIMIT + 1))
