"""Thousands of streams opened, used, half-closed, cancelled and reset on one connection; does anything stay?

`python -m tests.bench.wire_soak [--streams 1000]`: so many from each side, for every pairing in which one end
is ours. Printed are how they ended, and what our transport's objects (tracemalloc) and the process hold when
all have and the connection still stands. tests/net/wire/soak.py checks that no stream, place or task is left.
"""

import argparse
import gc
import time
import tracemalloc
from pathlib import Path

import trio

from tests.net.wire.peers import Kind
from tests.net.wire.soak import soak

LEFT = 64 * 1024
"""Bytes that our objects may hold at the end, of both ends: that many they need for themselves."""

OURS = tracemalloc.Filter(True, "*/node/transport/*")


def ours() -> int:
    """Bytes that were allocated in our transport and still live."""
    gc.collect()
    traces = tracemalloc.take_snapshot().filter_traces([OURS])
    return sum(trace.size for trace in traces.traces)


def resident() -> int:
    """MiB of the process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20


def main() -> None:
    """Print a line for each pairing; fails when something stays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pairs: list[tuple[Kind, Kind]] = [("own", "own"), ("own", "stock"), ("stock", "own")]
    for dialer, listener in pairs:
        tracemalloc.start()
        left: list[tuple[int, int]] = []
        before, began = resident(), time.monotonic()
        done = trio.run(
            soak,
            dialer,
            listener,
            options.streams,
            options.seed,
            lambda left=left: left.append((ours(), resident())),
        )
        took = time.monotonic() - began
        tracemalloc.stop()
        ((held, after),) = left
        print(f"{dialer} dials {listener}: {done.total()} streams in {took:.0f} s")
        for way, count in sorted(done.items()):
            print(f"  {count:>6} {way}")
        print(
            f"  ours hold {held / 1024:.1f} KiB; the process {before} MiB before, {after} MiB after",
            flush=True,
        )
        assert held < LEFT


if __name__ == "__main__":
    main()
