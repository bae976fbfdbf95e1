"""What each node sends and how soon news is everywhere, at 10^3, 10^4 and 10^5 nodes: our own logic, a
modelled world.

``python -m tests.scale.simulation [--json FILE] [--hosts FILE]`` prints tables and how each figure grows with
each tenfold of nodes. ``--hosts`` is the result of hosts.py, whose bytes a query are used then. Which parts
run real code and which are counted stands in specs/scale.md, "What is real".
"""

import argparse
import json
import math
import random
import resource
import time
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Any

from p2pvoice.node.kad import REFRESH_EVERY
from p2pvoice.node.schedule import PACE_WINDOW, Allotment, Schedule
from p2pvoice.protocol.errors import StaleError
from p2pvoice.protocol.head import Head, advance
from p2pvoice.protocol.ids import cid_of, digest_of
from p2pvoice.protocol.reconcile import Pairs, Reconciliation, answer
from p2pvoice.protocol.shelf_peers import KEEPERS_LIVE, LOOKUP_EVERY, LOOKUP_RARELY

from . import epidemic, lookups, shelf_world
from .plan import zipf

SIZES = (1_000, 10_000, 100_000)
DAY = 86_400

VOICES_PER_NODE = 10
"""Voices a node offers, as in the network of real hosts."""

STOCK_REFRESH = 600.0
"""Seconds between two refreshes of the routing table as libp2p has them; kad.py says otherwise."""

QUERY_BYTES = 4_600.0
"""Bytes of a DHT query with its answer, as measured on real hosts; ``--hosts`` replaces it."""

ADD_BYTES = 420.0
"""Bytes of an ADD_PROVIDER: key, id, addresses and two signed records."""

BUCKET = 20


def pace(keys: int, days: float = 1.0) -> dict[str, float]:
    """A node's own schedule over a day, real code on a modelled clock: announcements, and the first round's
    length.
    """
    schedule, limit, now = Schedule(random.Random(1)), Allotment(), 0.0
    for number in range(keys):
        schedule.add(digest_of(b"key %d" % number), now)
    done, first, recent, most = 0, 0.0, deque[float](), 0
    while now < days * DAY:
        key = schedule.due(now)
        if key is None:
            now += schedule.wait(now)
            continue
        if (wait := limit.delay(now)) > 0:
            now += wait
            continue
        limit.spend(now)
        schedule.succeeded(key, now)
        done += 1
        if done == keys:
            first = now
        recent.append(now)
        while recent[0] <= now - PACE_WINDOW + 1:
            recent.popleft()
        most = max(most, len(recent))
    return {"keys": keys, "a_day": done / days, "first_round": first, "most_in_10_s": most}


def heads(followers: int, *, gone: float, updates: int = 30, seed: int = 2) -> dict[str, float]:
    """One voice's heads put to 20 holders, of whom some miss each; followers look and take what is best:
    real ``advance``.

    How many are behind right after the last one, after one more look, and how often an old one was refused.
    """
    chance = random.Random(seed)
    author = digest_of(b"author")
    line = [
        Head(author, "voice", n, cid_of(digest_of(b"release %d" % n)), 2_000_000_000)
        for n in range(1, updates + 1)
    ]
    holders: list[Head | None] = [None] * BUCKET
    held: list[Head | None] = [None] * followers
    refused = 0

    def look(follower: int) -> None:
        nonlocal refused
        # An answer comes of each living holder; each is some head that was once put there.
        for said in holders:
            if said is None or chance.random() < gone:
                continue
            try:
                held[follower] = advance(held[follower], said)
            except StaleError:
                refused += 1

    for head in line:
        for place in range(BUCKET):
            if chance.random() >= gone:
                holders[place] = head
        for follower in chance.sample(range(followers), followers // 10):
            look(follower)
    behind = sum(one is None or one.sequence < updates for one in held)
    for follower in range(followers):
        look(follower)
    still = sum(one is None or one.sequence < updates for one in held)
    return {
        "followers": followers,
        "gone": gone,
        "before": behind,
        "after_one_look": still,
        "refused": refused,
    }


def compare(size: int, differences: int, seed: int = 4) -> dict[str, float]:
    """One reconciliation of two real sets: questions, and bytes of ranges both ways, nothing fetched."""
    chance = random.Random(seed)
    both = {chance.randbytes(32): chance.randbytes(32) for _ in range(size)}
    ours, theirs = dict(both), dict(both)
    for number in range(differences):
        (ours if number % 2 else theirs)[chance.randbytes(32)] = chance.randbytes(32)
    asking, other = Reconciliation(Pairs(ours)), Pairs(theirs)
    moved = 0

    def weigh(ranges: Any) -> int:
        return sum(36 + (16 if r.fingerprint else 0) + 64 * len(r.pairs or ()) for r in ranges)

    while asking.question:
        said = answer(other, asking.question)
        moved += weigh(asking.question) + weigh(said)
        asking.take(said)
    assert asking.complete
    assert len(asking.differences) == differences
    return {"size": size, "differences": differences, "questions": asking.rounds, "bytes": moved}


def node_day(size: int, cost: dict[str, float], query: float, idle: dict[str, float]) -> dict[str, float]:
    """What a middling node sends and is asked in a day, and what the holders of the most popular tag's key
    bear.
    """
    counts = zipf(1_000)
    share = [count / 1_000 for count in counts]
    kept = [1 - (1 - part) ** VOICES_PER_NODE for part in share]
    tags = sum(kept)
    keys = VOICES_PER_NODE + tags
    announcements = 2 * keys
    buckets = max(1.0, math.log2(size / BUCKET) + 1)
    refresh = DAY / REFRESH_EVERY * (1 + buckets) * cost["queries"]
    announcing = announcements * cost["queries"]
    adding = announcements * BUCKET
    # Of how many tags a node looks the keepers up hourly, since few keep them, and of how many daily.
    few = sum(part for part in kept if part * size <= KEEPERS_LIVE)
    shelves = DAY * (few / LOOKUP_EVERY + (tags - few) / LOOKUP_RARELY) * cost["find_queries"]
    keepers = kept[0] * size
    return {
        "keys": keys,
        "tags": tags,
        "stock_refresh_queries": refresh * REFRESH_EVERY / STOCK_REFRESH,
        "refresh_queries": refresh,
        "announce_queries": announcing,
        "add_messages": adding,
        "shelf_lookup_queries": shelves,
        "shelf_messages": idle["messages"] * 24 * tags,
        "messages": 2 * (refresh + announcing + shelves) + adding + idle["messages"] * 24 * tags,
        "megabytes": (
            (refresh + announcing + shelves) * query + adding * ADD_BYTES + idle["bytes"] * 24 * tags
        )
        / 1e6,
        "hot_keepers": keepers,
        "hot_adds_a_second": 2 * keepers / DAY,
        "hot_lookups_a_second": keepers / (LOOKUP_EVERY if keepers <= KEEPERS_LIVE else LOOKUP_RARELY),
    }


def growth(values: list[float]) -> str:
    """By what each tenfold of nodes multiplies, and what it adds: equal sums are log n, equal factors a
    power.
    """
    steps = list(pairwise(values))
    factors = " ".join(f"x{b / a:.2f}" if a else "–" for a, b in steps)
    return f"{factors} ({' '.join(f'{b - a:+.3g}' for a, b in steps)})"


def run(samples: int, hosts: Path | None) -> dict[str, Any]:
    """All parts; about five minutes of one processor."""
    began = time.monotonic()
    result: dict[str, Any] = {"lookups": {}, "days": {}}
    query = QUERY_BYTES
    if hosts is not None:
        spent = json.loads(hosts.read_text())["announcing"]
        adds = spent["streams"] - spent["queries"]
        query = (spent["bytes"] - adds * ADD_BYTES) / spent["queries"]
    result["query_bytes"] = query
    print(f"bytes of a DHT query with its answer: {query:.0f}\n")

    print("look-ups: real look-up code of libp2p and ours over modelled tables")
    print("   nodes  gone  table  walk: queries  hops  of the true 20  |  find: queries  lost")
    for gone in (0.0, 0.3):
        for size in (12, 25, 50, 100, *SIZES):
            one = lookups.sample(size, samples, dead=gone)
            result["lookups"][f"{size} {gone}"] = one
            print(
                f"{size:8} {gone:5.0%} {one['table']:6.0f} {one['queries']:14.1f} {one['hops']:5.2f}"
                f" {one['true']:15.0%}"
                f"  | {one['find_queries']:14.1f} {one['find_unanswered']:5.1f}",
                flush=True,
            )

    print(
        "\nkeepers of a tag: real keepers (run) and the same rules counted, time to half and 99 % of"
        " those present"
    )
    print(" keepers  gone  how      half s  99 % s  after 30 s  messages of an idle hour  bytes  busiest")
    result["run"], result["counted"] = [], []
    for keepers, voices in ((30, 60), (100, 200), (300, 300)):
        for gone in (0.0, 0.3):
            spread = shelf_world.spread(keepers, voices, gone=gone)
            result["run"].append(vars(spread))
            print(
                f"{keepers:8} {gone:5.0%}  run   {spread.half!s:>8} {spread.most!s:>7} {spread.hinted:11.1%}"
                f" {spread.idle_messages:25.1f} {spread.idle_bytes:6.0f} {spread.busiest:7.1f} x",
                flush=True,
            )
    for keepers in (100, 300, *SIZES):
        for gone in (0.0, 0.3):
            counted = [epidemic.count(keepers, gone, seed=seed) for seed in range(5)]
            most = sum(one.most or epidemic.LIMIT for one in counted) / len(counted)
            half = sum(one.half or epidemic.LIMIT for one in counted) / len(counted)
            hinted = sum(one.hinted for one in counted) / len(counted)
            result["counted"].append(
                {"keepers": keepers, "gone": gone, "half": half, "most": most, "hinted": hinted}
            )
            print(f"{keepers:8} {gone:5.0%}  counted {half:6.1f} {most:7.0f} {hinted:11.1%}", flush=True)

    print("\ncomparing two shelves: real reconciliation")
    result["compare"] = [compare(size, 10) for size in (100, *SIZES)] + [
        compare(10_000, d) for d in (0, 1, 100)
    ]
    for one in result["compare"]:
        print(
            f"{one['size']:8.0f} voices, {one['differences']:4.0f} differ: {one['questions']:.0f}"
            f" questions, {one['bytes']:.0f} bytes"
        )

    print("\nannouncing: the real schedule and pace over a day")
    result["pace"] = [pace(keys) for keys in (20, 200, 1_000)]
    for one in result["pace"]:
        print(
            f"{one['keys']:6.0f} keys: {one['a_day']:.0f} a day, the first round takes"
            f" {one['first_round'] / 60:.1f} min,"
            f" at most {one['most_in_10_s']:.0f} in 10 s"
        )

    print("\nheads: real advance")
    result["heads"] = [heads(2_000, gone=gone) for gone in (0.0, 0.3)]
    for one in result["heads"]:
        print(
            f"{one['followers']:.0f} followers, {one['gone']:.0%} of holders miss or are silent each"
            f" time: {one['before']:.0f} behind,"
            f" after one look {one['after_one_look']:.0f}; {one['refused']:.0f} old heads refused"
        )

    idle = {"messages": result["run"][-2]["idle_messages"], "bytes": result["run"][-2]["idle_bytes"]}
    print("\na node's day")
    names = (
        "messages", "megabytes", "stock_refresh_queries", "refresh_queries", "announce_queries",
        "add_messages", "shelf_lookup_queries",
        "shelf_messages", "hot_adds_a_second", "hot_lookups_a_second",
    )  # fmt: skip
    for size in SIZES:
        result["days"][size] = node_day(size, result["lookups"][f"{size} 0.0"], query, idle)
    one = result["days"][SIZES[0]]
    print(f"{one['keys']:.1f} keys of {VOICES_PER_NODE} voices and {one['tags']:.1f} tags a node")
    print(f"{'':22}" + "".join(f"{size:>12}" for size in SIZES) + "   each tenfold")
    for name in names:
        values = [result["days"][size][name] for size in SIZES]
        print(f"{name:22}" + "".join(f"{value:12.4g}" for value in values) + f"   {growth(values)}")
    for gone in (0.0, 0.3):
        for name, label in (("queries", "walk"), ("hops", "hops"), ("find_queries", "find")):
            values = [result["lookups"][f"{size} {gone}"][name] for size in SIZES]
            print(
                f"{label + f' {gone:.0%} gone':22}"
                + "".join(f"{v:12.4g}" for v in values)
                + f"   {growth(values)}"
            )
    result["seconds"] = time.monotonic() - began
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"\n{result['seconds']:.0f} s, {result['memory']} MiB")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=60, help="look-ups of each kind and size")
    parser.add_argument("--hosts", type=Path, help="the --json of hosts.py")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result = run(given.samples, given.hosts)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
