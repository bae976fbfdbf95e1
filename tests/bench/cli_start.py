"""Prints what the command line costs above Python's own start: `python tests/bench/cli_start.py`.

A bench, not a test: a busy machine must not fail a build. The budget is 0.3 s; what makes it hold (nothing
heavy is imported) is tested in tests/cli/test_start.py.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 11


def median_seconds(command: list[str], environment: dict[str, str] | None = None) -> float:
    """The median wall time of a command over a few runs."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, env=environment, check=False)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    program = shutil.which("p2pvoice", path=sys.prefix + "/bin")
    assert program, "p2pvoice is not installed in this environment"
    python = median_seconds([sys.executable, "-c", "pass"])
    print(f"{'python -c pass':24} {python * 1000:6.0f} ms")
    with tempfile.TemporaryDirectory() as home:
        for words in (["--help"], ["status"], ["status", "--json"], ["find", "--help"]):
            taken = median_seconds([program, "--home", home, *words])
            above = (taken - python) * 1000
            name = "p2pvoice " + " ".join(words)
            print(f"{name:24} {taken * 1000:6.0f} ms, {above:.0f} above python")


if __name__ == "__main__":
    main()
