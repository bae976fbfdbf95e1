"""`bench`: how fast this machine speaks, stage by stage. Follows specs/speed.md.

The measuring itself is a program of its own, `python -m p2pvoice.sovits.bench`, because the command line
loads no network; here its findings become a table.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.output import Output, json_option, size
from p2pvoice.protocol.errors import BugError, UsageError

VERSIONS, PRECISIONS = ("v2", "v2Pro"), ("exact", "fast")
CODES_PER_SECOND = 25
WHOLE = ("prefill", "steps", "decoder")
"""The stages that every side has: from phones to samples."""
GOALS = {"exact": 0.65, "fast": 0.40}
"""What share of the other package's time each precision is to take at most."""
INSTALL = "pip install --no-deps --target cpufast gpt-sovits-cpufast einops tqdm"

Found = Mapping[str, Any]


class Listed(click.ParamType[tuple[str, ...]]):
    """Words separated by commas."""

    name = "list"

    def __init__(self, choice: click.ParamType[Any]) -> None:
        self.choice = choice

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Each word once, in the order given."""
        words = value if isinstance(value, tuple) else tuple(str(value).split(","))
        return tuple(dict.fromkeys(str(self.choice.convert(word, param, ctx)) for word in words))


@click.group()
def bench() -> None:
    """Measure how fast this machine is."""


@bench.command()
@click.option(
    "--version", "versions", type=Listed(click.Choice(VERSIONS)), default=VERSIONS, help="v2, v2Pro or both."
)
@click.option(
    "--threads",
    type=Listed(click.IntRange(1, 64)),
    default=("1", "2"),
    show_default="1,2",
    help="Threads, e.g. 1,2.",
)
@click.option(
    "--tokens", type=click.IntRange(2, 1500), default=150, show_default=True, help="25 are a second of sound."
)
@click.option(
    "--precision",
    "precisions",
    type=Listed(click.Choice(PRECISIONS)),
    default=PRECISIONS,
    help="exact, fast or both.",
)
@click.option(
    "--against",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"A folder that holds gpt-sovits-cpufast: {INSTALL}",
)
@click.option(
    "--repeat", type=click.IntRange(1, 100), default=3, show_default=True, help="Runs of each side."
)
@json_option
@click.pass_obj
def speak(
    output: Output,
    versions: tuple[str, ...],
    threads: tuple[str, ...],
    tokens: int,
    precisions: tuple[str, ...],
    against: Path | None,
    repeat: int,
) -> None:
    """Measure speaking with full-size networks, stage by stage.

    The weights are made up, so nothing has to be installed and nothing is heard; time does not depend on
    them. No daemon is needed. With --against another package speaks the same in the same run, each side in
    turn.
    """
    if against is not None and not (against / "GPT_SoVITS").is_dir():
        raise UsageError(f"{against} does not hold gpt-sovits-cpufast", hint=INSTALL)
    options = [f"--tokens={tokens}", f"--repeat={repeat}"]
    for name, words in (("version", versions), ("threads", threads), ("precision", precisions)):
        options += [f"--{name}={word}" for word in words]
    if against is not None:
        options.append(f"--against={against.resolve()}")
    runs: dict[tuple[str, int], list[Found]] = {}
    for found in findings(options):
        if output.as_json:
            output.document(found)
        elif found["event"] == "stage":
            output.note(f"{found['text']} …")
        elif found["event"] == "machine":
            output.line(machine_line(found))
        elif found["event"] == "run":
            sides = runs.setdefault((found["version"], found["threads"]), [])
            sides.append(found)
            if len(sides) == len(precisions) + (against is not None):
                show(output, sides)
        elif found["event"] == "fidelity":
            output.line()
            for line in fidelity_lines(found):
                output.line(line)


def findings(options: Sequence[str]) -> Iterator[Found]:
    """What the benchmark says, as it says it; it ends when this is closed."""
    command = [sys.executable, "-P", "-m", "p2pvoice.sovits.bench", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for line in process.stdout:
                yield json.loads(line)
            said = process.stderr.read().strip()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise BugError(f"the benchmark failed: {said.splitlines()[-1] if said else process.returncode}")


def whole(found: Found, clock: str) -> list[float]:
    """Seconds of each run from phones to samples; ``clock`` is wall or cpu."""
    return [sum(spent) for spent in zip(*(found["stages"][stage][clock] for stage in WHOLE), strict=True)]


def both(spent: Sequence[float]) -> str:
    """The least and the median."""
    return f"{min(spent):.3f} / {statistics.median(spent):.3f}"


def rows(sides: Sequence[Found]) -> Iterator[tuple[str, ...]]:
    """The table of one version and number of threads: a row a stage, a column a side."""
    other = next((found for found in sides if found["side"] == "cpufast"), None)
    for stage in ("text", *WHOLE):
        cells = [found["stages"].get(stage) for found in sides]
        yield stage, *("" if cell is None else both(cell["wall"]) for cell in cells)
    walls = [whole(found, "wall") for found in sides]
    yield "whole", *map(both, walls)
    # One sentence that is not streamed is heard when all of it is there.
    own = [
        found["stages"].get("text", {"wall": [0.0] * len(wall)})["wall"]
        for found, wall in zip(sides, walls, strict=True)
    ]
    yield (
        "first audio",
        *(both([a + b for a, b in zip(*pair, strict=True)]) for pair in zip(walls, own, strict=True)),
    )
    seconds = sides[0]["tokens"] / CODES_PER_SECOND
    yield "real-time factor", *(both([spent / seconds for spent in wall]) for wall in walls)
    yield "CPU seconds", *(both(whole(found, "cpu")) for found in sides)
    yield "load", *(f"{found['load']:.2f}" for found in sides)
    yield "peak memory", *(size(found["peak_bytes"]) for found in sides)
    if other is None:
        return
    yield "ratio, time", *(ratio(wall, whole(other, "wall")) for wall in walls)
    yield "ratio, CPU", *(ratio(whole(found, "cpu"), whole(other, "cpu")) for found in sides)
    goals = [GOALS.get(found["side"]) for found in sides]
    yield "goal", *("" if goal is None else f"{goal:.2f}" for goal in goals)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The ratio of the least times and of the medians."""
    return f"{min(ours) / min(theirs):.2f} / {statistics.median(ours) / statistics.median(theirs):.2f}"


def show(output: Output, sides: Sequence[Found]) -> None:
    """One version with one number of threads."""
    first = sides[0]
    threads, tokens = first["threads"], first["tokens"]
    output.line()
    output.line(
        f"{first['version']}, {threads} thread{'s' * (threads > 1)}, {tokens} codes = "
        f"{tokens / CODES_PER_SECOND:g} s of sound; seconds, least / median of {len(whole(first, 'wall'))}"
    )
    output.table(["", *(f">{found['side']}" for found in sides)], rows(sides))


def machine_line(found: Found) -> str:
    """What it was measured on, in one line."""
    native = f"native step {found['native']}" if found["native"] else "no native step"
    cores = f"{found['cores']} cores, load {found['load']:.1f}"
    return f"{found['processor']}, {cores}, torch {found['torch']}, {native}"


def fidelity_lines(found: Found) -> Iterator[str]:
    """What fast costs, beside what it gains."""
    yield "fast beside exact: greedy codes equal when fast is fed exact's, and the sound of equal codes; then"
    yield "codes equal when each draws alone, the likeliest or by chance with one seed"
    voice, full = found["packaged"], found["full size"]
    yield (
        f"  the packaged voice  {voice['forced']:.1%} of {voice['codes']}, {voice['decibel']:.2f} dB apart; "
        f"{voice['free']:.1%}, {voice['drawn']:.1%}"
    )
    sounds = ", ".join(
        f"{name.split()[1]} {value:.2f} dB" for name, value in full.items() if name.startswith("decibel")
    )
    yield f"  full size, made up  {full['forced']:.1%} of {full['codes']}, {sounds} apart"
