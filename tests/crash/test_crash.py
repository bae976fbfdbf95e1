"""The campaigns of this folder, short: kills of real daemons, power cuts of the store.

At full count: `python -m tests.crash.kills --count 100`, `python -m tests.crash.power --count 5000`,
`python -m tests.crash.full_disk`.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ..node.conftest import clip, daemons, encoder
from ..node.nodes import Daemon, bring, install_encoder
from . import full_disk, kills, power

__all__ = ["clip", "daemons", "encoder"]


def test_killed_daemon_loses_nothing(daemons: Callable[[], Daemon], encoder: Path, clip: Path) -> None:
    """Five kills of one daemon; test_kill.py kills a fetching one, and the campaign all of them."""
    one = daemons().start()
    install_encoder(one, encoder)
    bring(one, clip)
    campaign = kills.Campaign(one, one, one, random.Random(4))
    kills.run(campaign, ["publish", "gc", "publish", "gc", "publish"])
    assert campaign.tried.total() == 5


@pytest.mark.slow
def test_killed_daemons_lose_nothing(
    daemons: Callable[[], Daemon], encoder: Path, clip: Path, tmp_path: Path
) -> None:
    with kills.prepared(daemons, encoder, clip, tmp_path, seed=4) as campaign:
        kills.run(campaign, kills.plan_of(100, campaign.chance))


def test_power_cut_loses_nothing_that_was_acknowledged() -> None:
    tried, calls = power.run(300, seed=7)
    assert tried == 300
    print(f"tried {tried} states of {calls} calls, lost: 0")


@pytest.mark.parametrize("deaf", ["sync", "sync folder"])
def test_power_cuts_are_noticed_where_a_sync_is_left_out(deaf: str) -> None:
    """The harness can fail: a store that did not sync its files, or its folders, would lose some."""
    with pytest.raises(AssertionError, match=r"lost|wrong bytes"):
        power.run(2000, seed=7, deaf=frozenset({deaf}))


def test_disk_full_at_any_write_is_said_and_the_work_completes_later(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried, refused = full_disk.run()
    assert tried - refused == len(full_disk.WORKS) + 1
    assert refused > 50
    assert "lost: 0" in capsys.readouterr().out
