"""A lineage as lines of text: children above their parents, as a log of changes is shown.

Each release is a line with a mark in its column; each connection is a line that says its kind and leads on to
the parent further down. A pure function of the graph. Not for a picture (protocol/lineage_svg.py). Follows
specs/lineage.md, "In the terminal".
"""

from collections.abc import Sequence

from p2pvoice.cli.output import date, printable, short_id
from p2pvoice.protocol.lineage import KIND_WORDS, Graph, Node, in_order

COLUMNS_LIMIT = 24
"""Columns of connections that a line draws; what lies further right is only told of in words."""

MARKS = {"focus": "◉", "known": "●", "unknown": "○", "revoked": "✗"}
"""The sign before a release: the one that was asked for, others, not known here, revoked."""


def draw(graph: Graph) -> list[str]:
    """The graph, a line each."""
    order = in_order(graph)
    parents: dict[str, list[tuple[str, str, bool]]] = {node.release: [] for node in order.nodes}
    for edge in order.edges:
        parents[edge.child].append((edge.parent, edge.kind, edge.loosens))
    lines: list[str] = []
    # What each column leads down to; None for one that is free.
    columns: list[str | None] = []
    for node in reversed(order.nodes):
        if node.release not in columns:
            _take(columns, node.release)
        at = columns.index(node.release)
        lines.append(f"{_row(columns, {at: _mark(node, graph.focus)})}  {_told(node, graph.focus)}")
        columns[at] = None
        waiting = sorted(parents[node.release], key=lambda one: (_place_of(one[1]), one[0]))
        # One parent goes on in this column, when it has no column yet; the others branch off.
        straight = next((one for one in waiting if one[0] not in columns), None)
        if straight is not None:
            columns[at] = straight[0]
        others = [one for one in waiting if one is not straight]
        rows = [*([straight] if straight is not None else []), *others]
        for number, (parent, kind, loosens) in enumerate(rows):
            ends = straight is None and number == len(rows) - 1
            if parent == columns[at]:
                drawn = _row(columns, {at: "│"})
            else:
                came = parent not in columns
                if came:
                    _take(columns, parent, avoid=at)
                drawn = _branch(columns, at, columns.index(parent), ends=ends, begins=came)
            words = KIND_WORDS.get(kind, printable(kind)) + (" (and loosens it)" if loosens else "")
            lines.append(f"{drawn}    {words} {short_id(printable(parent))}")
        while columns and columns[-1] is None:
            columns.pop()
    return [line.rstrip() for line in lines]


def _place_of(kind: str) -> int:
    """Which kinds go straight on where there is a choice: what a voice was before, then what it came from."""
    return list(KIND_WORDS).index(kind) if kind in KIND_WORDS else len(KIND_WORDS)


def _take(columns: list[str | None], release: str, *, avoid: int = -1) -> None:
    for number, held in enumerate(columns):
        if held is None and number != avoid:
            columns[number] = release
            return
    columns.append(release)


def _row(columns: Sequence[str | None], signs: dict[int, str]) -> str:
    drawn = " ".join(
        signs.get(number, "│" if held is not None else " ")
        for number, held in enumerate(columns[:COLUMNS_LIMIT])
    )
    return drawn + "".join(f" …{sign}" for number, sign in signs.items() if number >= COLUMNS_LIMIT)


def _branch(columns: Sequence[str | None], at: int, to: int, *, ends: bool, begins: bool) -> str:
    """A line from one column to another: it ends in its own or goes on, and begins the other or joins it."""
    low, high = min(at, to), max(at, to)
    signs = {number: "┼" if columns[number] is not None else "─" for number in range(low + 1, high)}
    right = to > at
    if ends:
        signs[at] = "╰" if right else "╯"
    else:
        signs[at] = "├" if right else "┤"
    if begins:
        signs[to] = "╮" if right else "╭"
    else:
        signs[to] = "┤" if right else "├"
    drawn = ""
    for number in range(min(len(columns), COLUMNS_LIMIT)):
        held = columns[number] is not None
        drawn += signs.get(number, "│" if held else " ")
        drawn += "─" if low <= number < high else " "
    return drawn[:-1]


def _mark(node: Node, focus: str) -> str:
    if node.revoked:
        return MARKS["revoked"]
    if not node.known:
        return MARKS["unknown"]
    return MARKS["focus" if node.release == focus else "known"]


def _told(node: Node, focus: str) -> str:
    """One release in words. Its author's key stands beside its name, as everywhere."""
    if not node.known:
        words = [short_id(node.release), "revoked" if node.revoked else "not known here"]
    else:
        words = [
            short_id(node.release),
            node.name or node.slug,
            f"{node.fingerprint} ({node.whose})",
            date(node.created) or "",
            node.license,
            *(["here"] if node.here else []),
        ]
    if node.release == focus:
        words.append("← this one")
    return "  ".join(printable(word) for word in words if word)
