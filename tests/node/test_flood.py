"""Smaller copies of tests/bench/flood.py: what floods on one facet leave of what honest authors publish."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from p2pvoice.node import eviction
from p2pvoice.node.fairness import Fairness, Limits, Row

from .flooding import FACET, flood, most_kept

START = 1_790_000_000


def test_a_flood_through_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,200 releases by 12 keys against a fiftieth of the limits; every one is signed and verified."""
    monkeypatch.setattr(eviction, "LIMITS", replace(eviction.LIMITS, places=600, facet=300, guests=20))
    found = flood(tmp_path, 1_200, 12, authors=20)
    assert (found.before, found.during, found.elsewhere) == (1.0, 1.0, 1.0)
    assert found.kept < found.places <= 600 + 20
    assert found.disk < 5_000_000
    assert most_kept() == 21_000


@pytest.mark.parametrize(("keys", "least"), [(10, 0.99), (100, 0.99), (10_000, 0.05)])
def test_a_flood_against_the_rules(keys: int, least: float) -> None:
    """10,000 releases against a tenth of the limits, with as many honest authors for the room."""
    rules = Fairness(b"salt", Limits(places=2_000, facet=1_000, guests=100))
    honest = [(f"h{n}", f"h{n} {voice}") for n in range(20) for voice in range(1 + n % 5)]

    def add(author: str, name: str, now: int) -> None:
        rules.add(Row(name, author, name, now, 900, (FACET,), now), now)

    def share(voices: list[tuple[str, str]]) -> float:
        return sum(name in rules for _, name in voices) / len(voices)

    before, during = honest[:30], honest[30:]
    for author, name in before:
        add(author, name, START)
    coming = during + [(f"k{n % keys}", f"junk {n}") for n in range(10_000)]
    random.Random(1).shuffle(coming)
    for author, name in coming:
        add(author, name, START + 4 * 86_400)
    assert share(before) == 1.0
    assert share(during) >= least
    assert len(rules) == 1_000
