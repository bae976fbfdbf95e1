"""Running a target: one case within its bounds, a seeded run, and which cases of a corpus are worth keeping.

The seeded run needs nothing but the target and always does the same; guided.py searches by coverage instead.
Follows specs/fuzzing.md.
"""

import random
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from p2pvoice import protocol, sovits

from .targets import Target

#: Seconds of computing that one case may take.
SECONDS_LIMIT = 2.0

#: Bytes of address space that all cases of one run may add to the process.
MEMORY_LIMIT = 500 << 20

#: Where the code under test stands: lines elsewhere are no coverage.
PACKAGES = tuple(str(Path(str(module.__file__)).parent) for module in (protocol, sovits))


class Finding(AssertionError):
    """A case that does what no case may do; ``data`` is the case."""

    def __init__(self, data: bytes, reason: str) -> None:
        super().__init__(f"{reason}; the case has {len(data)} bytes: {data[:200].hex()}")
        self.data = data


@dataclass(frozen=True)
class Run:
    """What a run did: cases tried and seconds taken."""

    cases: int
    seconds: float


def try_case(target: Target, data: bytes) -> None:
    """Run one case. Raises Finding for whatever comes out, and for a case that computes too long."""
    start = time.thread_time()
    try:
        target.check(data)
    except Exception as error:
        raise Finding(data, f"{type(error).__name__}: {error}") from error
    spent = time.thread_time() - start
    if spent > SECONDS_LIMIT:
        raise Finding(data, f"it took {spent:.1f} s of computing")


@contextmanager
def bounded_memory() -> Iterator[None]:
    """While this runs, taking more than MEMORY_LIMIT on top of what the process has is a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def run_seeded(target: Target, corpus: Sequence[bytes], *, runs: int, seed: str) -> Run:
    """Every case of the corpus, then mutations of it up to ``runs`` cases; the same for the same seed."""
    rng = random.Random(seed)
    start = time.monotonic()
    with bounded_memory():
        for data in corpus:
            try_case(target, data)
        for _ in range(runs - len(corpus)):
            data = rng.choice(corpus)
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                data = target.mutate(data, corpus, rng)[: target.length]
            try_case(target, data)
    return Run(max(runs, len(corpus)), time.monotonic() - start)


def worth_keeping(target: Target, seeds: Iterable[bytes], found: Iterable[bytes]) -> list[bytes]:
    """Of what was found, the shortest cases that reach steps of the code which the seeds do not reach."""
    known: set[tuple[str, int, int]] = set()
    for data in seeds:
        known |= _steps(target, data)
    kept = []
    for data in sorted(set(found), key=lambda case: (len(case), case)):
        steps = _steps(target, data)
        if not steps <= known:
            known |= steps
            kept.append(data)
    return kept


def _steps(target: Target, data: bytes) -> set[tuple[str, int, int]]:
    """The pairs of lines that follow each other while a case runs, in the code under test only."""
    steps: set[tuple[str, int, int]] = set()

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGES):
            return None
        last = 0

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            if event == "line":
                steps.add((file, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    sys.settrace(call)
    try:
        try_case(target, data)
    finally:
        sys.settrace(None)
    return steps
