"""`bench speak` and `bench fetch`: tables are right, documents are whole, what is needed is said first."""

from pathlib import Path
from typing import Any

import pytest

from p2pvoice.cli.commands.bench_fetch import rows as fetch_rows
from p2pvoice.cli.commands.bench_speak import fidelity_lines, rows
from p2pvoice.cli.fetch_bench import Run, summary

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


def test_fetches_are_compared_by_the_busier_side() -> None:
    gigabyte = 10**9
    runs = [
        Run("own", gigabyte, gigabyte, wall=4.0, fetching=3.0, serving=2.0, peak=130_000_000),
        Run("own", gigabyte, gigabyte, wall=6.0, fetching=2.0, serving=2.5, peak=120_000_000),
        Run("libtorrent", gigabyte, gigabyte, wall=8.0, fetching=4.0, serving=5.0),
        Run("libtorrent", gigabyte, gigabyte, wall=8.0, fetching=4.0, serving=10.0),
    ]
    found = summary(runs)
    assert found["own"]["cpu_per_gb"] == [2.5, 2.75]
    assert found["own"]["fetching_per_gb"] == [2.0, 2.5]
    assert found["libtorrent"]["own_cpu_per_gb_ratio"] == [2.5 / 5.0, 2.75 / 7.5]
    assert found["libtorrent"]["own_wall_per_gb_ratio"] == [4.0 / 8.0, 5.0 / 8.0]
    own, other = fetch_rows({"summary": found})
    assert own == ["own", "2.50 / 2.75", "2.00 / 2.50", "2.00 / 2.25", "250 / 200", "", "", "", "130.0 MB"]
    assert other[5:8] == ["0.50 / 0.37", "0.50", "0.50 / 0.62"]


def test_a_small_fetch_is_counted_on_both_sides(p2pvoice: Command) -> None:
    ran = p2pvoice("bench", "fetch", "--mib", "8", "--rounds", "1", "--json")
    assert ran.code == 0, ran.err
    (run,) = ran.json["runs"]
    assert run["contestant"] == "own"
    assert 8 << 20 <= run["size"] < 9 << 20
    # Noise is sent as it is, or a tenth smaller.
    assert 0.8 * run["size"] < run["wire"] <= run["size"]
    assert min(run["fetching"], run["serving"], run["wall"], run["admission"]) > 0
    assert run["per_gigabyte"] == max(run["fetching"], run["serving"]) / run["size"] * 1e9
    assert 50_000_000 < run["peak"] < ran.json["memory_goal"]
    assert ran.json["summary"]["own"]["own_cpu_per_gb_ratio"] == [1.0, 1.0]
    assert ran.json["skipped"] == {}


@pytest.mark.slow
def test_an_update_sends_less_and_stays_small(p2pvoice: Command) -> None:
    ran = p2pvoice("bench", "fetch", "--mib", "64", "--rounds", "1", "--deltas", "--json")
    assert ran.code == 0, ran.err
    (run,) = ran.json["runs"]
    assert run["wire"] < 0.7 * run["size"]
    assert run["peak"] < ran.json["memory_goal"]


@pytest.mark.parametrize("words", [["--mib", "7"], ["--rounds", "0"], ["--against", "ftp"]])
def test_a_fetch_that_cannot_be_measured_is_refused(p2pvoice: Command, words: list[str]) -> None:
    ran = p2pvoice("bench", "fetch", *words)
    assert (ran.code, ran.out) == (2, "")
