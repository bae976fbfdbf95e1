"""``python -m p2pvoice.sovits.bench``: the benchmark's course; the command `p2pvoice bench speak` starts it.

For each version and number of threads every side is started as a process of its own, warmed up with one
short run that is thrown away, and then asked in turn with the others. What is found goes to stdout, one
JSON document a line, as soon as it is found. Follows specs/speed.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WARM = 10
"""Codes of the run that is thrown away."""
LIMIT_CODES = 1500
"""Most codes of one sentence: specs/sampling.md."""


def environment(threads: int) -> dict[str, str]:
    """What a side gets: the worker's way of waiting, and its number of threads."""
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    return {**os.environ, **waiting, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


class Side:
    """A side's process, and the runs it made."""

    def __init__(
        self, name: str, options: argparse.Namespace, folder: Path, version: str, threads: int
    ) -> None:
        self.name, self.peak = name, 0
        self.runs: list[Mapping[str, tuple[float, float]]] = []
        arguments = ["--folder", str(folder), "--version", version]
        arguments += ["--tokens", str(options.tokens), "--threads", str(threads)]
        if options.against is not None:
            arguments += ["--package", str(options.against)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "p2pvoice.sovits.bench.side", name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if options.verbose else subprocess.DEVNULL,
            text=True,
            env=environment(threads),
        )
        self.load = float(self._answer()["load"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(self, tokens: int) -> Mapping[str, tuple[float, float]]:
        """One run of so many codes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{tokens}\n")
        self._process.stdin.flush()
        return self._answer()["stages"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the side {self.name} ended; --verbose shows what it said")
        answer = json.loads(line)
        self.peak = max(self.peak, answer["peak"])
        return answer

    def found(self) -> dict[str, Any]:
        """Its runs as lists of seconds, stage by stage."""
        stages = {
            stage: {"wall": [run[stage][0] for run in self.runs], "cpu": [run[stage][1] for run in self.runs]}
            for stage in self.runs[0]
        }
        return {"side": self.name, "load": self.load, "peak_bytes": self.peak, "stages": stages}


def measure(options: argparse.Namespace, folder: Path, version: str, threads: int) -> None:
    """All sides of one version with one number of threads."""
    names = [*options.precision, *(["cpufast"] if options.against is not None else [])]
    with ExitStack() as stack:
        sides = [stack.enter_context(Side(n, options, folder, version, threads)) for n in names]
        for side in sides:
            side.run(min(WARM, options.tokens))
        for number in range(options.repeat):
            # Turned by one each time, so that no side always follows the same other.
            for side in sides[number % len(sides) :] + sides[: number % len(sides)]:
                side.runs.append(side.run(options.tokens))
        for side in sides:
            tell("run", version=version, threads=threads, tokens=options.tokens, **side.found())


def tell(event: str, **facts: Any) -> None:
    """One line on stdout."""
    print(json.dumps({"event": event, **facts}), flush=True)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    import torch

    from p2pvoice.sovits.packed import levels

    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "processor": names[0] if names else "",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "native": next(iter(levels()), ""),
    }


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="p2pvoice-bench")
    parser.add_argument("--version", action="append", choices=("v2", "v2Pro"), required=True)
    parser.add_argument("--threads", action="append", type=int, required=True)
    parser.add_argument("--precision", action="append", choices=("exact", "fast"), required=True)
    parser.add_argument("--tokens", type=int, choices=range(2, LIMIT_CODES + 1), metavar="N", default=150)
    parser.add_argument("--repeat", type=int, choices=range(1, 101), metavar="N", default=3)
    parser.add_argument("--against", type=Path, help="the folder that holds gpt-sovits-cpufast")
    parser.add_argument("--verbose", action="store_true", help="let the sides write to stderr")
    options = parser.parse_args()
    tell("machine", **machine())
    with tempfile.TemporaryDirectory(prefix="p2pvoice-bench-") as place:
        from p2pvoice.sovits.bench.work import write

        tell("stage", text="making the weights")
        write(Path(place), options.version)
        for version in options.version:
            for threads in options.threads:
                tell("stage", text=f"{version}, {threads} thread{'s' * (threads > 1)}")
                measure(options, Path(place), version, threads)
        if "fast" in options.precision:
            tell("stage", text="comparing fast with exact")
            tell("fidelity", **fidelity(options, Path(place)))


def fidelity(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What fidelity.py finds, in a process of its own."""
    versions = [word for version in options.version for word in ("--version", version)]
    command = [
        sys.executable,
        "-P",
        "-m",
        "p2pvoice.sovits.bench.fidelity",
        "--folder",
        str(folder),
        *versions,
    ]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=None if options.verbose else subprocess.DEVNULL,
        text=True,
        check=True,
        env=environment(max(options.threads)),
    )
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    main()
