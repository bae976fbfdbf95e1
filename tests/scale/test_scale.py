"""A small network of real hosts in three processes, a third of it killed: find brings what is left."""

from functools import partial
from typing import Any

import pytest
import trio

from .hosts import measure, summary
from .plan import Plan, zipf
from .shelf_world import spread
from .simulation import compare, heads, pace

SMALL = Plan(hosts=12, voices=40, group=4, dead=1)


@pytest.mark.scale
@pytest.mark.parametrize("how", ["killed", "silent"])
def test_find_after_a_third_of_the_hosts_is_gone(how: str) -> None:
    run = partial(
        measure,
        SMALL,
        each=2,
        how=how,
        within=120,
        together=6,
        tags_only=True,
        shelves=False,
        environment={"P2PVOICE_WIRE": "own"},
    )
    result: dict[str, Any] = trio.run(run)
    assert result["announcing"]["hosts_done"] == SMALL.hosts
    for phase in ("before", "after"):
        assert summary(result[phase])["recall"] == 1
    # Those that are gone cost time-outs at most, and a search waits for none of them for ever.
    assert max(row["took"] for row in result["after"]) < 25


def test_the_plan_is_skewed_and_kills_whole_groups() -> None:
    counts = zipf(1_000)
    assert sum(counts) == 1_000
    assert counts[0] > 250
    assert counts[-1] == 3
    plan = Plan(hosts=100, voices=1_000, group=10, dead=3)
    assert len(plan.killed) == 30
    assert sum(len(plan.kept_by(host)) for host in range(100)) == 1_000
    assert plan.wanted("tag/t1", 0, after=True) < plan.wanted("tag/t1", 0, after=False)


def test_traffic_of_a_comparison_follows_the_difference() -> None:
    small, large = compare(1_000, 4), compare(10_000, 4)
    assert large["bytes"] < 2 * small["bytes"]
    assert compare(10_000, 0)["bytes"] < 2_000


def test_the_pace_holds_for_a_day_and_heads_never_go_back() -> None:
    day = pace(100)
    assert day["most_in_10_s"] <= 8
    assert 190 <= day["a_day"] <= 330
    assert heads(100, gone=0.3)["after_one_look"] == 0


def test_news_reaches_keepers_at_once_and_the_rest_by_comparing() -> None:
    quick, torn = spread(20, 20), spread(20, 20, gone=0.3)
    assert quick.half is not None
    assert quick.half < 10
    assert torn.most is not None
