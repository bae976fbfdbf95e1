"""Bases on the command line: shared by one node, chosen and fetched by another, and what each says of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from p2pvoice.node.rpc.client import Client

from ..node.conftest import daemons
from ..node.nodes import Daemon
from ..sovits import bench
from .conftest import Command, Ran

__all__ = ["daemons"]


@pytest.fixture
def sharer(daemons: Callable[[], Daemon], running: Client) -> Daemon:
    """A second node that this test's node is connected to."""
    other = daemons().start()
    running.connect(other.addresses[0])
    return other


def test_a_base_is_shared_listed_chosen_and_removed(
    p2pvoice: Command, running: Client, sharer: Daemon, tmp_path: Path
) -> None:
    folder = bench.published_bert(tmp_path / "chinese-bert", 32)

    def theirs(*words: str) -> Ran:
        return p2pvoice(*words, P2PVOICE_HOME=str(sharer.home))

    assert theirs("base", "add", str(folder)).code == 0
    ran = theirs("base", "publish", "bert")
    assert (ran.code, ran.out) == (5, "")
    assert "error: nobody said under which licence this base stands" in ran.err
    assert "p2pvoice base add FOLDER --name chinese-bert --license SPDX" in ran.err
    assert theirs("base", "add", str(folder), "--license", "Apache-2.0").code == 0
    ran = theirs("base", "publish", "bert", "--tag", "mandarin")
    assert (ran.code, ran.err.count("error")) == (0, 0)
    bundle = ran.out.strip()
    assert bundle.startswith("bagaqiera")
    assert "chinese-bert (bert, " in ran.err
    assert f"p2pvoice base fetch {bundle}" in ran.err
    (row,) = [line for line in theirs("base", "list").out.splitlines() if "chinese-bert" in line]
    assert "Apache-2.0" in row
    assert theirs("base", "list", "--json").json["bases"][0]["shared"] is True

    # Nobody vouches for it, so the kind alone is not enough: what is offered is told, and what to type.
    ran = p2pvoice("base", "fetch", "bert")
    assert (ran.code, ran.out) == (5, "")
    assert "offered: bert chinese-bert by z6Mk" in ran.err
    assert "(unknown)" in ran.err
    assert f"p2pvoice base fetch {bundle}" in ran.err
    ran = p2pvoice("base", "list", "--network")
    assert ran.code == 0
    assert bundle in ran.out
    listed = p2pvoice("base", "list", "--network", "--kind", "bert", "--json").lines
    assert [one["event"] for one in listed] == ["offer", "result"]
    assert p2pvoice("base", "list", "--kind", "bert").code == 2
    assert p2pvoice("base", "fetch", "parrot").code == 2
    assert p2pvoice("base", "fetch", "speaker").code == 4
    # It is nothing that the commands for voices know.
    assert p2pvoice("find").out == p2pvoice("list").out == ""
    assert p2pvoice("show", listed[0]["release"]).code == 2

    ran = p2pvoice("base", "fetch", bundle)
    assert (ran.code, ran.out) == (0, "chinese-bert\n")
    assert "bert, licence Apache-2.0 as its publisher says; fetched" in ran.err
    assert [row["bundle"] for row in running.bases()] == [bundle]
    ran = p2pvoice("base", "rm", "chinese-bert", "--json")
    assert (ran.code, ran.json["kind"]) == (0, "bert")
    ran = p2pvoice("base", "fetch", bundle, "--no-seed", "--json")
    assert (ran.code, ran.lines[-1]["seeding"]) == (0, False)
    ran = p2pvoice("base", "rm", bundle)
    assert (ran.code, ran.out) == (0, "chinese-bert\n")
    assert p2pvoice("base", "rm", bundle).code == 4
