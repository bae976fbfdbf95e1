"""The console examples of README and of the pages beside this file, run for real."""

import contextlib
import re
from pathlib import Path

import pytest

from p2pvoice.cli import daemon
from p2pvoice.cli.main import COMMANDS
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import DaemonUnavailableError

from .transcript import Names, elided, matches, nodes_of, run_page

HERE = Path(__file__).parent
PAGES = [HERE.parent.parent / "README.md", *sorted(HERE.glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page: Path, home: Path) -> None:
    try:
        assert run_page(page, home) > 0
    finally:
        # A page that starts daemons stops them; if it failed half-way, they are stopped here.
        for place in nodes_of(home):
            with contextlib.suppress(DaemonUnavailableError):
                daemon.stop(Client(place))


def test_every_command_of_the_help_is_shown_somewhere() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    shown = set(re.findall(r"p2pvoice (?:-q )?(?:--home \S+ )?([a-z]+)", text))
    assert set(COMMANDS) - shown == set()


def test_the_comparison_notices_differences() -> None:
    short = "baaaaaaaaaaaaaaaa"
    other = "bbaaaaaaaaaaaaaaa".replace("bb", "ba", 1)
    assert matches(["took 1.2 s  from 3 MB"], ["took 90 ms from 12.5 kB"], Names())
    assert matches(["a", "…", "z"], ["a", "b", "c", "z"], Names())
    assert not matches(["a", "z"], ["a", "b", "z"], Names())
    assert not matches(["found 3 voices"], ["found no voices"], Names())
    names = Names()
    assert matches([f"id {short}"], [f"id {other}x"], names)
    assert names.translate(f"show {short}") == f"show {other}x"
    with pytest.raises(AssertionError, match="was"):
        matches([f"id {short}"], ["id baqqqqqqqqqqqqqqq"], names)


def test_what_a_page_leaves_out_is_left_out_when_it_is_written_again() -> None:
    found = ["a 1", "b", "c 7 MB", "d"]
    assert elided(["…", "c 5 MB", "…"], found) == ["…", "c 7 MB", "…"]
    assert elided(["a 2", "…"], found) == ["a 1", "…"]
    assert elided(["a 2", "b", "c 1 MB", "d"], found) == found
    assert elided(["…", "e"], found) is None
    assert elided(["a 2"], found) is None
