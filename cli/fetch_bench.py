"""What a fetch between two daemons takes: time, CPU of both sides, memory of the one that fetches.

Both are real daemons with homes of their own, on loopback. What is fetched is a base of made-up weights
(sovits/bench/bulk.py): it travels, is verified, stored and admitted as a voice is, and can be published
without being spoken with. Contestants take turns, each round with fresh processes and a fresh home. Other
programs that move the same file are in fetch_rivals.py. Follows specs/exchange.md, "Figures".
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from p2pvoice.cli import daemon, fetch_rivals
from p2pvoice.node.rpc.client import Client, Event
from p2pvoice.protocol.errors import BugError, NotFoundError, UsageError

LISTEN = "/ip4/127.0.0.1/tcp/0"

GOALS = {"libtorrent": 0.5, "libtorrent-tuned": 0.5, "js": 0.6}
"""Share of each other's CPU-seconds per GB that ours is to take at most."""

MEMORY_GOAL = 250_000_000
"""Bytes that the daemon which fetches may have resident at its peak."""

FIND_SECONDS = 60.0
"""Seconds within which two daemons on loopback must have told each other of the release."""

KIND = "hubert"


@dataclass(frozen=True)
class Run:
    """One fetch. Seconds and bytes; a side's CPU is of its process, workers aside.

    ``size`` are the bytes of the file, ``wire`` those that were sent for it. ``fetching`` and ``serving`` are
    CPU-seconds from the request until every byte is on disk and verified. ``admission`` is the time after
    that, ``admission_cpu`` what the fetching daemon took in it, ``workers_cpu`` its workers. ``peak`` is the
    largest resident size of the process that fetches, over its whole life and without its workers.
    """

    contestant: str
    size: int
    wire: int
    wall: float
    fetching: float
    serving: float
    admission: float = 0.0
    admission_cpu: float = 0.0
    workers_cpu: float = 0.0
    peak: int = 0

    @property
    def per_gigabyte(self) -> float:
        """CPU-seconds per GB of the busier side."""
        return max(self.fetching, self.serving) / self.size * 1e9


def compare(
    mib: int, rounds: int, against: Sequence[str], deltas: bool, tell: Callable[[str], None]
) -> dict[str, Any]:
    """All contestants over ``rounds`` rounds; ``tell`` hears what is done just now.

    Raises what the daemons answer. What cannot be compared with here is told of in ``skipped``.
    """
    if sys.platform != "linux":
        raise UsageError("CPU and memory of other processes are read from /proc, which Linux has")
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="p2pv-", ignore_cleanup_errors=True) as place:
        root = Path(place)
        contestants: dict[str, Callable[[], Run]] = {}
        tell("making the weights")
        release = publish(root, mib, deltas)
        contestants["own"] = lambda: measure(root, "own", release)
        if "stock" in against:
            contestants["stock"] = lambda: measure(root, "stock", release)
        file = root / "weights" / "model.safetensors"
        for rival in ("libtorrent", "js"):
            if rival in against:
                made = fetch_rivals.make(rival, file, root, tell)
                if isinstance(made, str):
                    skipped[rival] = made
                else:
                    contestants |= {name: _run_of(name, work) for name, work in made.items()}
        runs: list[Run] = []
        names = list(contestants)
        for number in range(rounds):
            # Turned by one each time, so that nobody always follows the same other.
            for name in names[number % len(names) :] + names[: number % len(names)]:
                tell(f"round {number + 1}: {name}")
                runs.append(contestants[name]())
    return {
        "mib": mib,
        "rounds": rounds,
        "deltas": deltas,
        "memory_goal": MEMORY_GOAL,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "settings": fetch_rivals.settings(contestants),
        "runs": [asdict(run) | {"per_gigabyte": run.per_gigabyte} for run in runs],
        "summary": summary(runs),
        "skipped": skipped,
    }


def summary(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """By contestant: least and median of what it took, and ours as shares of it."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(run.contestant for run in runs):
        own = [run for run in runs if run.contestant == name]
        per, wall = [run.per_gigabyte for run in own], [run.wall / run.size * 1e9 for run in own]
        sides = {
            side: [getattr(run, side) / run.size * 1e9 for run in own] for side in ("fetching", "serving")
        }
        found[name] = {
            "cpu_per_gb": [min(per), statistics.median(per)],
            "wall_per_gb": [min(wall), statistics.median(wall)],
            **{f"{side}_per_gb": [min(one), statistics.median(one)] for side, one in sides.items()},
            "peak": max(run.peak for run in own),
        }
    ours = found["own"]
    for name, one in found.items():
        for what in ("cpu_per_gb", "wall_per_gb"):
            one[f"own_{what}_ratio"] = [a / b for a, b in zip(ours[what], one[what], strict=True)]
        if name in GOALS:
            one["goal"] = GOALS[name]
    return found


# -- our daemons -----------------------------------------------------------------------------------------


def publish(root: Path, mib: int, deltas: bool) -> tuple[str, ...]:
    """Publish the weights in the home ``server``; the release to fetch, and before it its base for deltas."""
    found = []
    with _daemon(root, "server", "own") as (client, _):
        for number, words in enumerate(([], ["--tuned"]) if deltas else ([],)):
            folder = root / ("tuned" if words else "weights")
            command = [sys.executable, "-P", "-m", "p2pvoice.sovits.bench.bulk", str(folder)]
            done = subprocess.run(
                [*command, "--mib", str(mib), *words], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise BugError(f"no weights: {done.stderr.strip().splitlines()[-1:]}")
            files = {path.name: client.upload(path) for path in folder.iterdir()}
            name = f"bulk-{number}"
            _last(client.add_base(name, files, license="CC0-1.0"))
            found.append(str(_last(client.publish_base(name))["release"]))
    return tuple(found)


def measure(root: Path, wire: str, releases: Sequence[str]) -> Run:
    """Fetch the last of ``releases`` from a daemon by another, which has the others already."""
    with contextlib.ExitStack() as stack:
        server, serving = stack.enter_context(_daemon(root, "server", wire))
        address = _address(server)
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="home-", dir=root))
        client, fetching = stack.enter_context(_daemon(root, Path(home).name, wire, address))
        _wait_for(client, releases)
        for release in releases[:-1]:
            _last(client.fetch_base(release))
        began, used = time.monotonic(), (cpu(fetching), cpu(serving))
        stopped: tuple[float, float, float, float] | None = None
        result: Event = {}
        for event in client.fetch_base(releases[-1]):
            if event.get("step") == "checking":
                stopped = time.monotonic(), cpu(fetching), cpu(serving), workers_cpu(fetching)
            result = event
        if stopped is None or not result.get("bytes_fetched"):
            raise BugError("the fetch was none: everything was there")
        ended = time.monotonic()
        workers = workers_cpu(fetching) - stopped[3]
        return Run(
            contestant=wire,
            size=int(result["bytes_fetched"]),
            wire=int(result["bytes_sent"]),
            wall=stopped[0] - began,
            fetching=stopped[1] - used[0],
            serving=stopped[2] - used[1],
            admission=ended - stopped[0],
            admission_cpu=cpu(fetching) - stopped[1],
            workers_cpu=workers,
            peak=peak(fetching),
        )


@contextlib.contextmanager
def _daemon(root: Path, name: str, wire: str, *bootstrap: str) -> Iterator[tuple[Client, int]]:
    """A daemon on a home below ``root``, and its process id; gone at the end."""
    client = Client(root / name)
    client.home.root.mkdir(exist_ok=True, mode=0o700)
    client.home.config.write_text(f'[network]\nwire = "{wire}"\nmdns = false\nrelay = "off"\n')
    process = daemon.spawn(client, [LISTEN], bootstrap, environment={"HOME": str(root)}, tied=True)
    try:
        daemon.wait_ready(client, process)
        yield client, process.pid
    finally:
        daemon.end(process)


def _address(client: Client) -> str:
    status = client.status()
    address, tail = str(status["addresses"][0]), f"/p2p/{status['peer_id']}"
    return address if address.endswith(tail) else address + tail


def _wait_for(client: Client, releases: Sequence[str]) -> None:
    """Ask the network until every release is known."""
    deadline = time.monotonic() + FIND_SECONDS
    while True:
        offers = client.offered_bases(KIND, timeout=2.0)
        if set(releases) <= {str(one.get("release")) for one in offers}:
            return
        if time.monotonic() > deadline:
            raise NotFoundError(f"the daemons did not find each other in {FIND_SECONDS:.0f} s")


def _last(events: Iterable[Event]) -> Event:
    return deque(events, maxlen=1)[0]


def _run_of(name: str, work: Callable[[], dict[str, Any]]) -> Callable[[], Run]:
    return lambda: Run(contestant=name, **work())


# -- what /proc says ---------------------------------------------------------------------------------------


def cpu(pid: int) -> float:
    """CPU-seconds of a process and its threads, not of other processes that it started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def workers_cpu(pid: int) -> float:
    """CPU-seconds of what a process started, ended ones included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    running = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            with contextlib.suppress(OSError):
                running += cpu(int(child)) + workers_cpu(int(child))
    return ended + running


def peak(pid: int) -> int:
    """The most bytes that a process had resident so far, what it shares with files included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise BugError("no VmHWM in /proc")
