"""Prints what 10⁵ releases on one facet leave of a catalog.

`python -m tests.bench.flood [--shelves] [OFFERED [KEYS]]`.

Floods by 10², 10³ and 10⁵ fresh keys, each in a process of its own against a fresh database, all at the same
time, with 200 honest authors of one to five voices: half of them known four days before, half coming during
the flood. Every release is signed and verified. `insertion` is of CPU, without making the flood. `nodes` is
how many catalogs of other nodes hold 99 % of what the honest bring during the flood, when each keeps another
part by lot. The limits are those of node/fairness.py; tests/node/test_flood.py holds smaller floods against
smaller ones.

With ``--shelves`` 10⁵ releases by 10³ keys come through shelves, from two attackers' keepers to six honest
ones, in memory and unsigned (tests/node/shelf_flooding.py).
"""

import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OFFERED = 100_000

HEAD = (
    f"{'keys':>7} {'offered':>8} {'kept':>6} {'before':>7} {'during':>7} {'nodes':>6} {'elsewhere':>9}"
    f" {'database':>9} {'memory':>8} {'insertion':>10}"
)


def flood_once(offered: int, keys: int) -> None:
    """One flood; a line of figures. Fails when a bound or the recall of those known before does not hold."""
    from ..node.flooding import flood, most_kept

    with tempfile.TemporaryDirectory() as folder:
        found = flood(Path(folder), offered, keys)
    nodes = 1 if found.during >= 0.99 else math.ceil(math.log(0.01) / math.log(1 - max(found.during, 1e-9)))
    print(
        f"{keys:>7} {offered:>8} {found.kept:>6} {found.before:>7.1%} {found.during:>7.1%} {nodes:>6}"
        f" {found.elsewhere:>9.1%} {found.disk / 1e6:>6.1f} MB {found.memory / 1e6:>5.1f} MB"
        f" {found.seconds * 1e3:>7.2f} ms",
        flush=True,
    )
    assert found.places <= most_kept(), found
    assert found.before >= 0.99, found
    assert found.elsewhere >= 0.99, found
    assert found.during >= 0.99 or keys > 1_000, found


def through_shelves(offered: int, keys: int) -> None:
    """One flood through shelves; a few lines of figures. Fails when recall or a bound does not hold."""
    from p2pvoice.node.pools import Limits
    from p2pvoice.node.process import resident_bytes
    from p2pvoice.protocol.shelf import ROOM

    from ..node import shelf_flooding as shelves
    from ..protocol.shelves import introduce

    chance, began = random.Random(1), time.process_time()
    honest, junk = shelves.honest_voices(200, chance), shelves.junk_voices(offered, keys, chance)
    nodes, bad = shelves.honest_nodes(6, ROOM, Limits()), shelves.flooders(2, junk)
    introduce(*nodes, *bad)
    for number, voice in enumerate(honest):
        nodes[number % len(nodes)].offer(voice)
    memory = resident_bytes(os.getpid())
    for number, sent in enumerate(shelves.rounds(nodes, bad, 10, chance)):
        print(f"round {number}: {sent / len(nodes) / 1e3:.1f} kB sent by an honest keeper", flush=True)
    memory = resident_bytes(os.getpid()) - memory
    found = shelves.share_of(nodes, honest)
    held = max(len(node.keeper.cards) for node in nodes)
    rooms = max(node.room.places for node in nodes)
    print(
        f"{offered} releases by {keys} keys: honest voices on each shelf {min(found):.1%}, at most {held}"
        f" voices and {rooms} places, {memory / 1e6:.0f} MB for all {len(nodes) + len(bad)} keepers,"
        f" {time.process_time() - began:.0f} s of CPU"
    )
    assert min(found) >= 0.99
    assert held <= ROOM + len(honest)
    assert rooms <= Limits().places


def main() -> None:
    if "--shelves" in sys.argv:
        given = [int(one) for one in sys.argv[1:] if one != "--shelves"]
        through_shelves(*(given + [OFFERED, 1_000][len(given) :]))
        return
    offered = int(sys.argv[1]) if len(sys.argv) > 1 else OFFERED
    if len(sys.argv) > 2:
        flood_once(offered, int(sys.argv[2]))
        return
    print(HEAD, flush=True)
    floods = [
        subprocess.Popen([sys.executable, "-m", "tests.bench.flood", str(offered), str(keys)])
        for keys in (100, 1_000, offered)
    ]
    sys.exit(max([one.wait() for one in floods]))


if __name__ == "__main__":
    main()
