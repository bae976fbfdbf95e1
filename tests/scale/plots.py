"""The pictures of specs/scale.md, as SVG files without any library: ``python -m tests.scale.plots
SIMULATION.json``.

Writes ``lookups.svg``, ``day.svg`` and ``news.svg`` into specs/scale/. The x axis is the number of nodes,
each tenfold as wide as the one before it, so that what grows like log n is a straight line. Follows
specs/scale.md.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from .simulation import SIZES

PLACE = Path(__file__).parents[2] / "specs" / "scale"
WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 34, 44

STYLE = (
    ":root{color-scheme:light dark}.plot{color:#1b1f24;background:#ffffff}"
    "@media (prefers-color-scheme:dark){.plot{color:#e6e9ee;background:#14171c}}"
    "text{font:12px sans-serif;fill:currentColor}"
)
DASHES = ("", "7 4", "2 4", "9 3 2 3")
"""Lines are told apart by dashes and the words at their ends, not by colours."""


@dataclass(frozen=True)
class Line:
    """One line: what it shows, and (nodes, value) points."""

    name: str
    points: Sequence[tuple[float, float]]


def plot(title: str, unit: str, lines: Sequence[Line]) -> str:
    """A picture of lines over the number of nodes; values begin at 0."""
    nodes = [x for one in lines for x, _ in one.points]
    low, high = math.log10(min(nodes)), math.log10(max(nodes))
    top = nice(max(y for one in lines for _, y in one.points))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low) / (high - low) if high > low else 0.5
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text x="{LEFT}" y="18" font-weight="600">{escape(title)}</text>',
    ]
    for step in range(5):
        value = top * step / 4
        x, y = at(10**low, value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor"'
            ' opacity="0.2"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for power in range(math.ceil(low), math.floor(high) + 1):
        x, _ = at(10**power, 0)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{10**power:,}</text>'
        )
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 8}">nodes; {escape(unit)}</text>')
    ends = spread_out([at(*one.points[-1])[1] for one in lines])
    for one, dash, end in zip(lines, DASHES, ends, strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in one.points))
        marks = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="currentColor"/>'
            for x, y in (at(*p) for p in one.points)
        )
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="1.5"{dashed}/>{marks}'
            f'<text x="{WIDTH - RIGHT + 8}" y="{end + 4:.1f}">{escape(one.name)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def nice(value: float) -> float:
    """The next number that four steps divide well."""
    step = 10 ** math.floor(math.log10(value))
    return next(step * factor for factor in (1, 2, 4, 6, 8, 10) if step * factor >= value)


def spread_out(places: list[float], least: float = 15) -> list[float]:
    """The places of words, moved apart where they would cover each other."""
    order = sorted(range(len(places)), key=lambda n: places[n])
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    return moved


def pictures(result: dict[str, Any]) -> dict[str, str]:
    """File name -> picture."""
    hosts = (12, 25, 50, 100, *SIZES)

    def looked(name: str, gone: float) -> list[tuple[float, float]]:
        return [(n, result["lookups"][f"{n} {gone}"][name]) for n in hosts]

    def day(name: str) -> list[tuple[float, float]]:
        return [(n, result["days"][str(n)][name]) for n in SIZES]

    def news(name: str, gone: float) -> list[tuple[float, float]]:
        return [(one["keepers"], one[name]) for one in result["counted"] if one["gone"] == gone]

    return {
        "lookups.svg": plot(
            "DHT queries of one look-up",
            "queries",
            [
                Line("find, 30 % gone", looked("find_queries", 0.3)),
                Line("find", looked("find_queries", 0.0)),
                Line("walk, 30 % gone", looked("queries", 0.3)),
                Line("walk", looked("queries", 0.0)),
            ],
        ),
        "day.svg": plot(
            "What one node does in a day",
            "DHT queries",
            [
                Line("refreshing tables", day("refresh_queries")),
                Line("looking keepers up", day("shelf_lookup_queries")),
                Line("announcing", day("announce_queries")),
            ],
        ),
        "news.svg": plot(
            "News to 99 % of a tag's keepers",
            "seconds",
            [Line("30 % gone", news("most", 0.3)), Line("all there", news("most", 0.0))],
        ),
    }


def main() -> None:
    PLACE.mkdir(exist_ok=True)
    for name, picture in pictures(json.loads(Path(sys.argv[1]).read_text())).items():
        (PLACE / name).write_text(picture)


if __name__ == "__main__":
    main()
