"""A process with a group of nodes in it, driven over its standard input and output: one JSON object a line.

``python -m tests.scale.process PLAN FOLDER GROUP`` is started by hosts.py and ends when its input does, or is
killed. Not for deciding what to measure. Follows specs/scale.md.
"""

import json
import os
import resource
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node.seeking import Found, find_releases

from .counting import counted
from .keeper import Keeper, keeper, sign_voice
from .plan import Plan

LINE_LIMIT = 1 << 20
"""Bytes of one command."""


class Group:
    """The nodes of one process, and what they can be told to do."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._disk = trio.CapacityLimiter(4)
        self._keepers: dict[int, Keeper] = {}
        self._stack = AsyncExitStack()

    async def open(self, number: int, bootstrap: list[str]) -> dict[str, Any]:
        """Start a node; answers when it has joined the others, or at once when there are none."""
        one = await self._stack.enter_async_context(
            keeper(self._plan, number, self._folder, bootstrap, self._disk)
        )
        if bootstrap:
            with trio.fail_after(120):
                await one.host.joined.wait()
        self._keepers[number] = one
        return {"addresses": one.host.addresses()}

    async def announce(self, number: int, tags_only: bool, shelves: bool, within: float) -> dict[str, Any]:
        """Announce what a node offers, at the documented pace; answers when each key was announced."""
        one = self._keepers[number]
        keys = one.announce(
            [sign_voice(voice, self._plan.created) for voice in self._plan.kept_by(number)],
            tags_only=tags_only,
        )
        began = trio.current_time()
        with counted(one.counting) as counts:
            done = await one.announcer.done(keys, within)
        if shelves:
            one.keep_shelves()
        return {
            "keys": len(keys),
            "done": done,
            "seconds": trio.current_time() - began,
            "counts": counts.as_dict(),
            "failed": one.announcer.failed,
        }

    async def status(self) -> dict[str, Any]:
        """Sums over the nodes here, and the peak memory of the process in MiB."""
        return {
            "tables": [one.host.kad.table_size() for one in self._keepers.values()],
            "connections": sum(len(one.host.connected()) for one in self._keepers.values()),
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "shelves": {number: one.shelves() for number, one in self._keepers.items()},
            "talks": sum(one.shelving.facts()["talks"] for one in self._keepers.values()),
            "cpu": time.process_time(),
        }

    async def answer_from_shelves(self, yes: bool) -> dict[str, Any]:
        """Whether searches are answered from the shelves, too, or only with what each node offers itself."""
        for one in self._keepers.values():
            one.offer.shelves = one.shelving.reader if yes else None
        return {}

    async def find(self, number: int, tags: list[str]) -> dict[str, Any]:
        """One search from one node: what was found and when, in seconds, and what it took."""
        one = self._keepers[number]
        found: list[tuple[str, float]] = []
        began = trio.current_time()

        async def deliver(item: Found) -> None:
            found.append((item.release.manifest.slug, trio.current_time() - began))

        with counted(one.counting) as counts:
            answered = await find_releases(one.host, tags, deliver)
        took = trio.current_time() - began
        return {"found": found, "took": took, "answered": answered, "counts": counts.as_dict()}

    async def run(self, lines: trio.abc.ReceiveStream, answers: trio.abc.SendStream) -> None:
        """Take commands until there are no more, several at once."""
        writing = trio.Lock()

        async def obey(command: dict[str, Any]) -> None:
            name, arguments, ticket = command["do"], command.get("with", {}), command["ticket"]
            try:
                answer = await getattr(self, name)(**arguments)
            except Exception as error:
                answer = {"error": f"{name}: {error!r}"}
            async with writing:
                await answers.send_all(json.dumps({**answer, "ticket": ticket}).encode() + b"\n")

        async with trio.open_nursery() as outer:
            # Nodes are opened in one task, which closes their nurseries in order; the rest goes side by side.
            send, opening = trio.open_memory_channel[dict[str, Any]](1000)

            async def open_all() -> None:
                async with self._stack, trio.open_nursery() as held:
                    async for command in opening:
                        await obey(command)
                    held.cancel_scope.cancel()

            outer.start_soon(open_all)
            async with trio.open_nursery() as nursery:
                pending = b""
                while data := await lines.receive_some(65536):
                    pending += data
                    *whole, pending = pending.split(b"\n")
                    for line in whole:
                        command = json.loads(line)
                        if command["do"] == "open":
                            await send.send(command)
                        else:
                            nursery.start_soon(obey, command)
                nursery.cancel_scope.cancel()
            send.close()
            outer.cancel_scope.deadline = trio.current_time() + 10


async def main() -> None:
    """Run one group until the parent closes our input."""
    plan, folder = Plan(**json.loads(sys.argv[1])), Path(sys.argv[2])
    answers = os.dup(1)
    os.dup2(2, 1)
    async with trio.lowlevel.FdStream(os.dup(0)) as lines, trio.lowlevel.FdStream(answers) as out:
        await Group(plan, folder).run(lines, out)


if __name__ == "__main__":
    trio.run(main)
