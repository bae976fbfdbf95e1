"""A fuzzing campaign: ``python -m tests.fuzz TARGET [--runs N] [--keep]``; without a target it lists them.

It prints one line a target: cases, seconds, new corpus entries, crashes. The corpus in the tree is only
changed with ``--keep``. Follows specs/fuzzing.md.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .engine import Finding, run_seeded, worth_keeping
from .targets import CORPUS, TARGETS, case_name, corpus

#: Seconds of waiting after which the engine calls a case stuck; the computing itself is bounded more tightly.
STUCK_SECONDS = 30

#: Most entries that one target keeps.
KEPT_LIMIT = 64


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the parsers.")
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], metavar="TARGET")
    parser.add_argument("--runs", type=int, default=100_000, help="cases of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blind", action="store_true", help="seeded mutations only; no atheris needed")
    parser.add_argument("--keep", action="store_true", help="put what reaches new code into the corpus")
    options = parser.parse_args()
    if not options.target:
        print("\n".join(TARGETS))
        return 0
    blind = options.blind or importlib.util.find_spec("atheris") is None
    crashes = 0
    for name in options.target:
        run = _blind if blind else _guided
        crashes += run(name, options.runs, options.seed, keep=options.keep)
    return 1 if crashes else 0


def _blind(name: str, runs: int, seed: int, *, keep: bool) -> int:
    start = time.monotonic()
    try:
        done = run_seeded(TARGETS[name], corpus(name), runs=runs, seed=f"{name} {seed}")
    except Finding as finding:
        path = Path(tempfile.mkdtemp(prefix="p2pv-fuzz-")) / f"crash-{case_name(finding.data)}"
        path.write_bytes(finding.data)
        print(f"{name}: crash after {time.monotonic() - start:.0f} s: {finding}\n  kept as {path}")
        return 1
    print(f"{name}: {done.cases} cases, {done.seconds:.0f} s, seeded, 0 crashes", flush=True)
    return 0


def _guided(name: str, runs: int, seed: int, *, keep: bool) -> int:
    target, known = TARGETS[name], corpus(name)
    folder = Path(tempfile.mkdtemp(prefix="p2pv-fuzz-"))
    work = folder / "corpus"
    work.mkdir()
    for data in known:
        (work / case_name(data)).write_bytes(data)
    flags = [f"-runs={runs}", f"-seed={seed}", f"-max_len={target.length}", f"-timeout={STUCK_SECONDS}"]
    flags += [
        "-rss_limit_mb=0",
        "-print_final_stats=1",
        "-reload=0",
        "-len_control=0",
        f"-artifact_prefix={folder}/",
    ]
    start = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz.guided", name, *flags, str(work)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    seconds = time.monotonic() - start
    crashes = [path for path in folder.iterdir() if path.is_file()]
    counted = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    if counted is None or (done.returncode and not crashes):
        print(f"{name}: the engine failed ({done.returncode}):\n{done.stderr[-4000:]}")
        return 1
    found = [path.read_bytes() for path in work.iterdir()]
    new = worth_keeping(target, known, found) if not crashes else []
    print(
        f"{name}: {counted[1]} cases, {seconds:.0f} s, {len(found) - len(known)} of them reached new code, "
        f"{len(new)} by lines, {len(crashes)} crashes",
        flush=True,
    )
    if crashes:
        print(f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n  kept as {crashes[0]}")
    if keep and new:
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        for data in new[:KEPT_LIMIT]:
            (CORPUS / name / case_name(data)).write_bytes(data)
    return len(crashes)


if __name__ == "__main__":
    raise SystemExit(main())
