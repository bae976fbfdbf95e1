"""The words around mirrors, pins and limits: what is said, and what is refused before the daemon is asked."""

from typing import Any

import pytest

from p2pvoice.cli.commands.limit import rate_line
from p2pvoice.cli.commands.mirror import called, note
from p2pvoice.cli.commands.show import holders_line
from p2pvoice.cli.daemon import doors
from p2pvoice.cli.voices import here
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import UsageError

from .conftest import Command


def test_rates_for_a_daemon_are_checked_before_it_starts() -> None:
    assert doors(up="2MB", down="0") == ["--up", "2000000", "--down", "0"]
    assert doors() == []
    for wrong in ("fast", "10kB", "-1"):
        with pytest.raises(UsageError):
            doors(up=wrong)


def test_lines() -> None:
    limits = {"up": 2_000_000, "up_now": 1500, "down": 0, "down_now": 0}
    assert rate_line(limits, "up") == "at most 2.0 MB/s, now 1.5 kB/s"
    assert rate_line(limits, "down") == "no limit, now 0 B/s"
    assert holders_line(None) is None
    assert holders_line({"peers": 3, "here": True}) == "3 peers (and you)"
    assert holders_line({"peers": 1, "here": False}) == "1 peer"
    assert holders_line({"peers": 0, "here": True}) == "you alone"
    assert here({"installed": True}) == "yes"
    assert here({"installed": True, "seed": False, "pinned": True}) == "yes, pinned, not offered"
    assert here({"pinned": True}) == "no"
    row: dict[str, Any] = {"left_out": {"limit": 2, "licence": 1}, "error": "the quota"}
    assert note(row) == "1 left out: licence; 2 left out: limit; the quota"
    author = "did:key:z6MkpkDhsT2TabcdEFGH"
    assert called({"kind": "author", "name": author, "author_name": "Ada"}) == "Ada z6MkpkDhsT2T"


def test_against_a_daemon(p2pvoice: Command, running: Client) -> None:
    assert p2pvoice("mirror").err.startswith("nothing is mirrored")
    assert p2pvoice("mirror", "--stop").code == 2
    assert p2pvoice("mirror", "yue", "--limit", "much").code == 2
    assert p2pvoice("mirror", "--stop", "yue").code == 4
    assert p2pvoice("mirror", "yue", "--replicas", "5", "--json").json["replicas"] == 5
    (row,) = p2pvoice("mirror", "--json").json["mirrors"]
    assert (row["name"], row["looked"], row["limit"]) == ("language/yue", None, 0)
    assert p2pvoice("mirror").out.splitlines()[1].split()[:5] == ["language/yue", "5", "0", "0", "0"]
    assert p2pvoice("limit", "--up", "34999").code == 2
    assert p2pvoice("limit", "--up", "35kB", "--json").json["up"] == 35_000
    assert "at most 35.0 kB/s" in p2pvoice("status").out
    for words in (["pin", "x"], ["unpin", "x"], ["seed", "x", "--on"]):
        assert p2pvoice(*words).code == 4
    assert p2pvoice("seed", "x").code == 2
