"""Starting, telling, killing and ending the processes that hold the nodes. Imports nothing of libp2p
itself.

Follows specs/scale.md.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import trio

from .plan import Plan

ROOT = Path(__file__).parents[2]

PATIENCE = 180.0
"""Seconds one command may take."""


class Part:
    """One process with a group of nodes."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._waiting: dict[int, trio.Event] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._tickets = 0
        self._writing = trio.Lock()
        self.dead = False

    async def tell(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for its answer; RuntimeError when it failed."""
        self._tickets += 1
        ticket = self._tickets
        told = self._waiting[ticket] = trio.Event()
        assert self._process.stdin is not None
        async with self._writing:
            line = json.dumps({"do": do, "with": arguments, "ticket": ticket})
            await self._process.stdin.send_all(line.encode() + b"\n")
        with trio.fail_after(PATIENCE):
            await told.wait()
        del self._waiting[ticket]
        answer = self._answers.pop(ticket)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    async def listen(self) -> None:
        """Take answers until the process ends."""
        pending = b""
        assert self._process.stdout is not None
        async for data in self._process.stdout:
            pending += data
            *lines, pending = pending.split(b"\n")
            for line in lines:
                answer = json.loads(line)
                ticket = answer.pop("ticket")
                self._answers[ticket] = answer
                if ticket in self._waiting:
                    self._waiting[ticket].set()
        if not self.dead:
            for ticket, event in self._waiting.items():
                self._answers[ticket] = {"error": "the process ended"}
                event.set()

    def stop(self, number: signal.Signals) -> None:
        """Kill the process (SIGKILL) or freeze it (SIGSTOP): its kernel then answers for it, and nobody
        else.
        """
        self.dead = True
        os.kill(self._process.pid, number)

    async def end(self) -> None:
        """Close the process's input, and kill it when it does not end then."""
        if self._process.stdin is not None:
            await self._process.stdin.aclose()
        with trio.move_on_after(1 if self.dead else 20):
            await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def orchestra(plan: Plan, folder: Path, environment: dict[str, str]) -> AsyncIterator[list[Part]]:
    """The processes of a plan, running and empty. All are ended with the block."""
    parts: list[Part] = []
    async with trio.open_nursery() as nursery:
        try:
            for number in range(len(plan.groups)):
                place = folder / f"group-{number}"
                place.mkdir()
                process = await trio.lowlevel.open_process(
                    [sys.executable, "-m", "tests.scale.process", json.dumps(asdict(plan)), str(place)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=(folder / f"group-{number}.log").open("wb"),
                    cwd=ROOT,
                    # A session of its own, as separate machines have a scheduler of their own.
                    start_new_session=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                )
                parts.append(Part(process))
                nursery.start_soon(parts[-1].listen)
            yield parts
        finally:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as ending:
                    for part in parts:
                        ending.start_soon(part.end)


async def gather(calls: list[Callable[[], Any]], width: int = 8) -> list[Any]:
    """Results of async calls, at most ``width`` at once, in order."""
    results: list[Any] = [None] * len(calls)
    limiter = trio.CapacityLimiter(width)

    async def one(place: int) -> None:
        async with limiter:
            results[place] = await calls[place]()

    async with trio.open_nursery() as nursery:
        for place in range(len(calls)):
            nursery.start_soon(one, place)
    return results
