"""What every attack of this folder leaves behind: a line of counts, shown at the end of the run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .victim import Victim


@dataclass(frozen=True)
class Count:
    """One kind of attack: how often it was tried and refused, and what it cost."""

    attack: str
    tried: int
    refused: int
    cost: str


COUNTS = pytest.StashKey[list[Count]]()

Tally = Callable[..., None]


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Note an attack; one that got through fails the test."""
    counts = request.config.stash.setdefault(COUNTS, [])

    def note(attack: str, *, tried: int, refused: int, cost: str = "") -> None:
        counts.append(Count(attack, tried, refused, cost))
        assert tried > 0
        assert refused == tried, f"{attack}: {tried - refused} of {tried} got through"

    return note


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    counts = config.stash.get(COUNTS, [])
    if not counts:
        return
    tried, refused = sum(c.tried for c in counts), sum(c.refused for c in counts)
    terminalreporter.section("hostile peers")
    for count in counts:
        terminalreporter.line(f"{count.attack:<62} {count.tried:>6} tried  {count.cost}")
    terminalreporter.line(f"attacks: {tried} tried, {refused} refused, {tried - refused} lost")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A real daemon with one voice, shared by the floods of a module."""
    folder = Path(tmp_path_factory.mktemp("victim"))
    with Victim(folder) as running:
        yield running
