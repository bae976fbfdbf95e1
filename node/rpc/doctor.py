"""The endpoint of `p2pvoice doctor`: the daemon's half, a row at a time. Follows specs/doctor.md."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from p2pvoice.node.checkup import checkup
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.events import EventStream, Report


async def doctor(parts: Parts, request: Request) -> EventStream:
    """Check this node; each row as it is found, then how many there were of each state."""

    async def work(report: Report) -> Mapping[str, Any]:
        states: Counter[str] = Counter({"ok": 0, "warn": 0, "fail": 0})
        async for found in checkup(parts):
            states[found.state] += 1
            await report({"event": "check", **found.to_dict()})
        return dict(states)

    return EventStream(work)
