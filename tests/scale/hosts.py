"""Find in a network of real hosts, before and after a part of it is killed: recall, latency, messages,
bytes.

``python -m tests.scale.hosts [--hosts 100 --voices 1000 --group 10 --dead 3] [--json FILE]`` takes some
minutes; ``--hosts 12 --voices 40 --group 4 --dead 1`` some seconds. Not for what is larger than one machine
can hold: see simulation.py. Follows specs/scale.md.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio

from .orchestra import Part, gather, orchestra
from .plan import Plan, zipf

BOOTSTRAPS = 3
"""Hosts the others are told of at the start, each in a process of its own where there are as many."""


MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where the catalogs stand: on no disk where that is possible, since a hundred of them sync at once."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def load() -> float:
    """The machine's load average of the last minute."""
    return round(os.getloadavg()[0], 2)


async def build(plan: Plan, parts: list[Part]) -> None:
    """Start all nodes; each joins through a few that were there before it."""
    place = {host: part for group, part in zip(plan.groups, parts, strict=True) for host in group}
    first = [group[0] for group in plan.groups][:BOOTSTRAPS]
    addresses: list[str] = []
    for host in first:
        addresses += (await place[host].tell("open", number=host, bootstrap=addresses[:1]))["addresses"]
    rest = [host for host in range(plan.hosts) if host not in first]
    chance = random.Random(plan.seed)
    opened = 0
    for turn in range(plan.group):
        calls = [
            partial(
                place[h].tell, "open", number=h, bootstrap=chance.sample(addresses, min(2, len(addresses)))
            )
            for h in rest
            if h - plan.groups[h // plan.group][0] == turn
        ]
        await gather(calls)
        opened += len(calls)
        say(f"{opened + len(first)} hosts, load {load()}")


async def total(parts: Sequence[Part]) -> dict[str, Any]:
    """Sums over all living processes; memory is the peak of the largest, in MiB."""
    states = await gather([partial(part.tell, "status") for part in parts if not part.dead])
    return {
        "connections": sum(state["connections"] for state in states),
        "cpu": sum(state["cpu"] for state in states),
        "memory": max(state["memory"] for state in states),
        "tables": [size for state in states for size in state["tables"]],
    }


async def announce(
    plan: Plan, parts: list[Part], within: float, *, together: int, tags_only: bool, shelves: bool
) -> dict[str, Any]:
    """Let all hosts announce at the documented pace, a few at a time: one machine does the work of all of
    them.
    """
    began = time.monotonic()
    done: list[dict[str, Any]] = []
    hosts = list(range(plan.hosts))
    random.Random(plan.seed + 2).shuffle(hosts)

    async def one(host: int) -> None:
        part = parts[host // plan.group]
        done.append(
            await part.tell("announce", number=host, tags_only=tags_only, shelves=shelves, within=within)
        )
        if len(done) % max(1, plan.hosts // 10) == 0:
            say(f"{len(done)} hosts announced {sum(a['keys'] for a in done)} keys, load {load()}")

    await gather([partial(one, host) for host in hosts], together)
    counts = [answer["counts"] for answer in done]
    return {
        "keys": sum(answer["keys"] for answer in done),
        "hosts_done": sum(answer["done"] for answer in done),
        "failed": sum(answer["failed"] for answer in done),
        "host_seconds": middle([answer["seconds"] for answer in done]),
        "queries": sum(count["queries"] for count in counts),
        "hops": [hop for count in counts for hop in count["hops"]],
        "streams": sum(sum(count["streams"].values()) for count in counts),
        "bytes": sum(sum(count["sent"].values()) + sum(count["received"].values()) for count in counts),
        "seconds": time.monotonic() - began,
        **await total(parts),
    }


def filled(plan: Plan, states: list[dict[str, Any]]) -> float:
    """Of all that should stand on the shelves of all keepers, how much does."""
    voices = Counter(tag for voice in plan.all_voices for tag in voice.tags)
    held = wanted = 0
    for state in states:
        for number, shelves in state["shelves"].items():
            for tag in {tag for voice in plan.kept_by(int(number)) for tag in voice.tags}:
                held += shelves.get(tag, 0)
                wanted += voices[tag]
    return held / max(1, wanted)


async def settle(plan: Plan, parts: list[Part], within: float = 240) -> dict[str, Any]:
    """Wait until the keepers' first talks have filled their shelves; how far they got."""
    began = moved = time.monotonic()
    share, talks = 0.0, 0
    # Looks at other processes' shelves: there is no event for them here. After a minute without
    # any change the rest comes with the next round of talks, in a quarter of an hour.
    with trio.move_on_after(within):
        while share < 0.999 and time.monotonic() - moved < (15 if plan.hosts < 20 else 60):
            states = await gather([partial(part.tell, "status") for part in parts])
            now, talks = filled(plan, states), sum(state["talks"] for state in states)
            if now > share:
                share, moved = now, time.monotonic()
                say(f"shelves are {share:.1%} full after {talks} talks, load {load()}")
            await trio.sleep(1 if plan.hosts < 20 else 5)
    return {"share": share, "talks": talks, "seconds": time.monotonic() - began}


async def search(plan: Plan, parts: list[Part], searches: list[tuple[str, int]], *, after: bool) -> list[Any]:
    """One search after the other, so that none waits for another."""
    rows = []
    for tag, host in searches:
        answer = await parts[host // plan.group].tell("find", number=host, tags=[tag])
        wanted = plan.wanted(tag, host, after=after)
        times = sorted(when for slug, when in answer["found"] if slug in wanted)
        counts = answer["counts"]
        enough = -(-99 * len(wanted) // 100)
        rows.append(
            {
                "tag": tag,
                "host": host,
                "wanted": len(wanted),
                "keepers": plan.keepers_of(tag, after=after),
                "recall": len(times) / len(wanted) if wanted else 1.0,
                "first": times[0] if times else None,
                "most": times[enough - 1] if enough and len(times) >= enough else None,
                "took": answer["took"],
                "answered": answer["answered"],
                "queries": counts["queries"],
                "unanswered": counts["unanswered"],
                "hops": counts["hops"],
                "dials": counts["dials"],
                "streams": sum(counts["streams"].values()),
                "catalog_streams": counts["streams"].get("catalog", 0),
                "bytes_dht": counts["sent"].get("dht", 0) + counts["received"].get("dht", 0),
                "bytes_catalog": counts["sent"].get("catalog", 0) + counts["received"].get("catalog", 0),
                "load": load(),
            }
        )
    return rows


def choose(plan: Plan, each: int) -> list[tuple[str, int]]:
    """Tags over the whole range of popularity, each searched from ``each`` hosts that survive."""
    chance = random.Random(plan.seed + 1)
    count = len(zipf(plan.voices))
    ranks = sorted({1, 2, 3, 6, 12, 24, 40, 50, 60} & set(range(1, count + 1)) | {count})
    living = [host for host in range(plan.hosts) if host not in plan.killed]
    searches = [(f"tag/t{rank}", chance.choice(living)) for rank in ranks for _ in range(each)]
    chance.shuffle(searches)
    return searches


async def measure(
    plan: Plan,
    *,
    each: int,
    how: str,
    within: float,
    together: int,
    tags_only: bool,
    shelves: bool,
    environment: dict[str, str],
) -> dict[str, Any]:
    """The whole run; see the module's docstring."""
    result: dict[str, Any] = {
        "hosts": plan.hosts,
        "voices": plan.voices,
        "dead": len(plan.killed),
        "how": how,
    }
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="scale-", dir=MEMORY) as folder:
        try:
            async with orchestra(plan, Path(folder), environment) as parts:
                await build(plan, parts)
                result["joined"] = time.monotonic() - began
                result["announcing"] = await announce(
                    plan, parts, within, together=together, tags_only=tags_only, shelves=shelves
                )
                if shelves:
                    result["shelves"] = await settle(plan, parts)
                searches = choose(plan, each)
                living = parts[: len(parts) - plan.dead]
                phases = [("", False)] if not shelves else [("plain ", False), ("", True)]
                for name, yes in phases:
                    await gather([partial(part.tell, "answer_from_shelves", yes=yes) for part in parts])
                    say(f"{len(searches)} {name}searches before the kill, load {load()}")
                    result[f"{name}before"] = await search(plan, parts, searches, after=False)
                for part in parts[len(living) :]:
                    part.stop(signal.SIGSTOP if how == "silent" else signal.SIGKILL)
                # The first searches after the kill are the ones that meet the dead, so shelves come last.
                for name, yes in phases if plan.dead else ():
                    await gather([partial(part.tell, "answer_from_shelves", yes=yes) for part in living])
                    say(f"{len(plan.killed)} hosts are gone; {len(searches)} {name}searches, load {load()}")
                    result[f"{name}after"] = await search(plan, parts, searches, after=True)
                result["end"] = await total(parts)
        except BaseException:
            for log in sorted(Path(folder).glob("*.log")):  # noqa: ASYNC240
                say(f"{log.name}: {log.read_text(errors='replace')[-1500:]}")
            raise
    result["seconds"] = time.monotonic() - began
    return result


def middle(values: Sequence[float]) -> tuple[float, float]:
    """Median and 90th percentile."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]


def summary(rows: list[Any]) -> dict[str, Any]:
    """What the rows of one phase come to; recall is over all that was wanted together."""
    wanted = sum(row["wanted"] for row in rows)
    most = [row["most"] for row in rows if row["most"] is not None]
    return {
        "searches": len(rows),
        "recall": sum(row["recall"] * row["wanted"] for row in rows) / wanted if wanted else 1.0,
        "worst": min(row["recall"] for row in rows),
        "first": middle([row["first"] for row in rows if row["first"] is not None] or [float("nan")]),
        "most": middle(most or [float("nan")]),
        "reached": len(most),
        "took": middle([row["took"] for row in rows]),
        "queries": statistics.mean(row["queries"] for row in rows),
        "unanswered": statistics.mean(row["unanswered"] for row in rows),
        "hops": statistics.mean([hop for row in rows for hop in row["hops"]] or [0]),
        "streams": statistics.mean(row["streams"] for row in rows),
        "bytes_dht": statistics.mean(row["bytes_dht"] for row in rows),
        "bytes_catalog": statistics.mean(row["bytes_catalog"] for row in rows),
        "load": (min(row["load"] for row in rows), max(row["load"] for row in rows)),
    }


def show(result: dict[str, Any]) -> None:
    """The tables, on standard output."""
    spent = result["announcing"]
    print(
        f"{result['hosts']} hosts, {result['voices']} voices, {result['dead']} killed ({result['how']}); "
        f"{result['seconds']:.0f} s in all, {result['joined']:.0f} s joining"
    )
    keys = max(1, spent["keys"])
    print(
        f"announcing: {spent['keys']} keys in {spent['seconds']:.0f} s ({spent['failed']} failed at first);"
        f" a key takes {spent['queries'] / keys:.1f} queries, {spent['streams'] / keys:.1f} streams,"
        f" {spent['bytes'] / keys / 1e3:.1f} kB, {statistics.mean(spent['hops']):.2f} hops;"
        f" routing tables hold {statistics.mean(spent['tables']):.0f} peers; peak {spent['memory']} MiB"
        f" a process"
    )
    if shelves := result.get("shelves"):
        print(
            f"shelves: {shelves['share']:.1%} of what should stand on them, {shelves['seconds']:.0f} s"
            f" after the"
            f" last announcement, {shelves['talks']} talks"
        )
    for phase in ("plain before", "before", "plain after", "after"):
        rows = result.get(phase)
        if not rows:
            continue
        print(
            f"\n{phase.removeprefix('plain ')} the"
            f" kill{', nobody answers from shelves' * phase.startswith('plain')}"
        )
        print(
            "tag        voices keepers  recall  first s   99% s  end s  queries (lost)  hops  asked  kB"
            " dht  kB catalog"
        )
        for tag in sorted({row["tag"] for row in rows}, key=lambda t: int(t[5:])):
            some = [row for row in rows if row["tag"] == tag]
            one = summary(some)
            most = f"{one['most'][0]:6.2f}" if one["reached"] else "     –"
            print(
                f"{tag:10} {max(r['wanted'] for r in some):6} {some[0]['keepers']:7} {one['recall']:7.1%} "
                f"{one['first'][0]:7.2f}  {most} {one['took'][0]:6.2f}  {one['queries']:6.1f}"
                f" ({one['unanswered']:4.1f})"
                f" {one['hops']:6.2f} {statistics.mean(r['catalog_streams'] for r in some):6.1f}"
                f" {one['bytes_dht'] / 1e3:7.1f} {one['bytes_catalog'] / 1e3:10.1f}"
            )
        one = summary(rows)
        print(
            f"all: recall {one['recall']:.2%} (worst search {one['worst']:.1%}), 99 % reached by"
            f" {one['reached']} of"
            f" {one['searches']} searches;\n     first median {one['first'][0]:.2f} p90"
            f" {one['first'][1]:.2f} s,"
            f" 99 % median {one['most'][0]:.2f} p90 {one['most'][1]:.2f} s, end median {one['took'][0]:.2f}"
            f" p90 {one['took'][1]:.2f} s at load {one['load'][0]}-{one['load'][1]}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--voices", type=int, default=1000)
    parser.add_argument("--group", type=int, default=10, help="hosts in one process")
    parser.add_argument("--dead", type=int, default=3, help="processes that are killed")
    parser.add_argument("--copies", type=int, default=1, help="hosts that keep each voice")
    parser.add_argument("--how", choices=("killed", "silent"), default="killed")
    parser.add_argument("--each", type=int, default=5, help="searches of each tag")
    parser.add_argument("--within", type=float, default=150, help="seconds one host's announcing may take")
    parser.add_argument("--together", type=int, default=6, help="hosts that announce at the same time")
    parser.add_argument(
        "--tags-only", action="store_true", help="announce tags and not releases: half the time"
    )
    parser.add_argument(
        "--shelves", action="store_true", help="keepers of a tag compare what they know of it"
    )
    parser.add_argument("--wire", choices=("stock", "own"), default="own")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    plan = Plan(given.hosts, given.voices, given.group, given.dead, given.copies, created=int(time.time()))
    call = partial(
        measure,
        plan,
        each=given.each,
        how=given.how,
        within=given.within,
        together=given.together,
        tags_only=given.tags_only,
        shelves=given.shelves,
        environment={"P2PVOICE_WIRE": given.wire},
    )
    result = trio.run(call)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))
    show(result)


if __name__ == "__main__":
    main()
