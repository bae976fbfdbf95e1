"""Where the boxes and connections of a lineage's picture lie: parents above, children below, few crossings.

A row a rank; a connection that spans several rows gets room of its own in each that it passes, so that it
runs beside the boxes and not behind them. The same graph has one layout. Not for what is drawn there
(lineage_svg.py). Follows specs/lineage.md, "The picture".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from p2pvoice.protocol.lineage import Order

WIDTH, HEIGHT = 300, 84
"""A release's box, in the picture's units."""

ACROSS, DOWN = 36, 72
"""Room between boxes side by side, and between rows."""

LANE = 12
"""Room that a connection takes where it passes a row."""

PASSES_LIMIT = 4000
"""Passages of rows that get room of their own; what is longer runs behind the boxes."""

MARGIN = 24
"""Room around the picture."""

SWEEPS = 4
"""Times that the rows are brought into an order in which fewer connections cross."""


@dataclass(frozen=True)
class Places:
    """Where the picture's parts lie.

    ``tops`` has the middle of the upper side of each box, and of each passage through a row, ``passing`` the
    passages that a connection takes, by (parent, child); ``width`` and ``height`` are the whole picture's.
    """

    tops: Mapping[str, tuple[int, int]]
    passing: Mapping[tuple[str, str], Sequence[str]]
    width: int
    height: int


def places_of(order: Order) -> Places:
    """Where every box lies, and every connection passes a row; work grows with both."""
    rows: list[list[str]] = [[] for _ in range(max(order.ranks.values(), default=0) + 1)]
    for node in order.nodes:
        rows[order.ranks[node.release]].append(node.release)
    near: dict[str, list[str]] = {node.release: [] for node in order.nodes}
    passing: dict[tuple[str, str], list[str]] = {}
    left = PASSES_LIMIT
    for edge in order.edges:
        low, high = order.ranks[edge.parent], order.ranks[edge.child]
        steps = []
        if high - low - 1 <= left:
            left -= high - low - 1
            steps = [f"{edge.parent} {edge.child} {rank}" for rank in range(low + 1, high)]
        for rank, step in enumerate(steps, low + 1):
            rows[rank].append(step)
            near[step] = []
        passing[edge.parent, edge.child] = steps
        way = [edge.parent, *steps, edge.child]
        for above, below in pairwise(way):
            near[above].append(below)
            near[below].append(above)
    rows = [row for row in rows if row]
    releases = {node.release for node in order.nodes}
    middle: dict[str, float] = {}

    def settle(row: list[str]) -> float:
        """Put a row's boxes and passages side by side, its middle at 0; how wide it is."""
        widths = [WIDTH if one in releases else LANE for one in row]
        whole = sum(widths) + ACROSS * (len(row) - 1)
        at = -whole / 2
        for one, width in zip(row, widths, strict=True):
            middle[one] = at + width / 2
            at += width + ACROSS
        return whole

    for row in rows:
        settle(row)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wished = {
                one: sum(middle[other] for other in near[one]) / len(near[one]) if near[one] else middle[one]
                for one in row
            }
            row[:] = [one for _, one in sorted((wished[one], one) for one in row)]
            settle(row)
    width = 2 * MARGIN + round(max((settle(row) for row in rows), default=WIDTH))
    height = 2 * MARGIN + max(1, len(rows)) * HEIGHT + max(0, len(rows) - 1) * DOWN
    places = {
        one: (width // 2 + round(middle[one]), MARGIN + number * (HEIGHT + DOWN))
        for number, row in enumerate(rows)
        for one in row
    }
    return Places(places, passing, width, height)


def ports_of(order: Order, places: Places) -> dict[tuple[str, str], tuple[int, int]]:
    """Where each connection leaves its parent and enters its child, so that no two do at one point."""
    leaving: dict[str, list[tuple[int, str]]] = {}
    entering: dict[str, list[tuple[int, str]]] = {}
    for edge in order.edges:
        way = [edge.parent, *places.passing[edge.parent, edge.child], edge.child]
        leaving.setdefault(edge.parent, []).append((places.tops[way[1]][0], edge.child))
        entering.setdefault(edge.child, []).append((places.tops[way[-2]][0], edge.parent))
    spread: list[dict[tuple[str, str], int]] = []
    for ends in (leaving, entering):
        found = {}
        for release, others in ends.items():
            start = places.tops[release][0] - WIDTH // 2
            for number, (_, other) in enumerate(sorted(others), 1):
                found[release, other] = start + WIDTH * number // (len(others) + 1)
        spread.append(found)
    return {
        (edge.parent, edge.child): (spread[0][edge.parent, edge.child], spread[1][edge.child, edge.parent])
        for edge in order.edges
    }


def line(points: Sequence[tuple[int, int]]) -> str:
    """A path from point to point: a bow between rows, straight past one."""
    (x, y), *rest = points
    drawn = f"M{x} {y}"
    for number, (right, below) in enumerate(rest):
        bend = (below - y) // 2
        bow = f" C{x} {y + bend} {right} {below - bend} {right} {below}"
        drawn += bow if number % 2 == 0 else f" L{right} {below}"
        x, y = right, below
    return drawn
