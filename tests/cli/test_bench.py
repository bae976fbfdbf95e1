"""`bench speak`: its table is right, its documents are whole, and what it needs is said before it works."""

from pathlib import Path
from typing import Any

import pytest

from p2pvoice.cli.commands.bench import fidelity_lines, rows

from .conftest import Command


def side(name: str, *wholes: float, text: bool = True) -> dict[str, Any]:
    """What one side found: runs of so many seconds in all, half of them in the steps."""
    parts = {"prefill": 0.1, "steps": 0.5, "decoder": 0.4}
    walls = {stage: [share * whole for whole in wholes] for stage, share in parts.items()}
    if text:
        walls["text"] = [0.01] * len(wholes)
    stages = {stage: {"wall": wall, "cpu": [2 * spent for spent in wall]} for stage, wall in walls.items()}
    return {"side": name, "tokens": 150, "load": 1.5, "peak_bytes": 2_000_000_000, "stages": stages}


def test_the_table_has_stages_wholes_and_ratios() -> None:
    sides = [side("exact", 6.0, 5.0, 9.0), side("cpufast", 10.0, 12.0, 11.0, text=False)]
    table = {name: cells for name, *cells in rows(sides)}
    assert table["text"] == ["0.010 / 0.010", ""]
    assert table["steps"] == ["2.500 / 3.000", "5.000 / 5.500"]
    assert table["whole"] == ["5.000 / 6.000", "10.000 / 11.000"]
    assert table["first audio"] == ["5.010 / 6.010", "10.000 / 11.000"]
    assert table["real-time factor"] == ["0.833 / 1.000", "1.667 / 1.833"]
    assert table["CPU seconds"] == ["10.000 / 12.000", "20.000 / 22.000"]
    assert table["peak memory"] == ["2.0 GB", "2.0 GB"]
    assert table["ratio, time"] == ["0.50 / 0.55", "1.00 / 1.00"]
    assert table["ratio, CPU"] == ["0.50 / 0.55", "1.00 / 1.00"]
    assert table["goal"] == ["0.65", ""]


def test_alone_there_is_nothing_to_compare_with() -> None:
    names = [name for name, *_ in rows([side("fast", 1.0)])]
    assert "whole" in names
    assert not {"ratio, time", "ratio, CPU", "goal"} & set(names)


def test_what_fast_costs_is_said_in_full() -> None:
    shares = {"codes": 500, "forced": 0.99, "free": 0.9, "drawn": 0.8, "decibel": 0.25}
    full = {"codes": 150, "forced": 0.98, "decibel v2": 0.5, "decibel v2Pro": 0.75}
    said = "\n".join(fidelity_lines({"packaged": shares, "full size": full}))
    for figure in ("99.0% of 500", "0.25 dB", "90.0%", "80.0%", "98.0% of 150", "v2 0.50 dB, v2Pro 0.75 dB"):
        assert figure in said


@pytest.mark.parametrize(
    "words", [["--version", "v3"], ["--threads", "0"], ["--tokens", "1"], ["--precision", "exact,half"]]
)
def test_what_cannot_be_measured_is_refused(p2pvoice: Command, words: list[str]) -> None:
    ran = p2pvoice("bench", "speak", *words)
    assert (ran.code, ran.out) == (2, "")


def test_another_package_must_be_there(p2pvoice: Command, tmp_path: Path) -> None:
    ran = p2pvoice("bench", "speak", "--against", str(tmp_path))
    assert (ran.code, ran.out) == (2, "")
    assert "pip install --no-deps --target" in ran.err


@pytest.mark.slow
def test_a_short_run_measures_every_stage(p2pvoice: Command) -> None:
    words = ("--version", "v2", "--threads", "1", "--tokens", "4", "--repeat", "2")
    ran = p2pvoice("bench", "speak", *words, "--json")
    assert ran.code == 0, ran.err
    found = {(line["event"], line.get("side")): line for line in ran.lines if line["event"] != "stage"}
    assert found.keys() == {("machine", None), ("run", "exact"), ("run", "fast"), ("fidelity", None)}
    for name in ("exact", "fast"):
        stages = found["run", name]["stages"]
        assert stages.keys() == {"text", "prefill", "steps", "decoder"}
        assert all(len(spent[clock]) == 2 for spent in stages.values() for clock in ("wall", "cpu"))
        assert min(stages["decoder"]["cpu"]) > 0
    assert found["fidelity", None]["packaged"]["forced"] > 0.95
