"""The lineage as text: every release once, every connection told, columns that lead where they say."""

import random
import re

import pytest

from p2pvoice.cli.tree import COLUMNS_LIMIT, draw
from p2pvoice.protocol.ids import release_id
from p2pvoice.protocol.lineage import Edge, Graph, Node, in_order

NAMES = {letter: release_id(letter.encode()) for letter in "abcdefg"}


def node(letter: str, created: int, **changed: object) -> Node:
    values: dict[str, object] = {
        "release": NAMES[letter],
        "fingerprint": f"z6Mk{letter}",
        "name": f"Voice {letter}",
        "created": created,
        "license": "MIT",
        "whose": "unknown",
        "known": True,
    }
    return Node(**(values | changed))  # type: ignore[arg-type]


def edge(child: str, parent: str, kind: str = "forked-from", *, loosens: bool = False) -> Edge:
    return Edge(NAMES[child], NAMES[parent], kind, loosens)


def shapes(lines: list[str]) -> list[str]:
    """The lines without what is told beside the drawing, each release as its letter."""
    found = []
    for line in lines:
        for letter, release in NAMES.items():
            line = line.replace(release[:17], letter)
        if "  Voice " in line:
            line = line.split("  Voice ")[0]
        found.append(line)
    return found


def test_a_line_of_revisions() -> None:
    graph = Graph((node("a", 1), node("b", 2)), (edge("b", "a", "revision-of"),), NAMES["b"])
    first, second, third = draw(graph)
    assert first == f"◉  {NAMES['b'][:17]}  Voice b  z6Mkb (unknown)  1970-01-01 00:00 UTC  MIT  ← this one"
    assert second == f"│    revision of {NAMES['a'][:17]}"
    assert third.startswith(f"●  {NAMES['a'][:17]}  Voice a")


def test_branches_part_and_meet() -> None:
    nodes = (
        Node(NAMES["a"]),
        *(node(letter, number) for number, letter in enumerate("bcdefg", 2)),
    )
    edges = (
        edge("b", "a"),
        edge("c", "b", "fine-tuned-from"),
        edge("d", "b", "revision-of"),
        edge("e", "c", "merged-from"),
        edge("e", "d", "revision-of"),
        edge("f", "a", "distilled-from"),
        edge("g", "e"),
        edge("g", "f", "merged-from", loosens=True),
    )
    assert shapes(draw(Graph(nodes, edges, NAMES["e"]))) == [
        "●  g",
        "│    forked from e",
        "├─╮    merged from (and loosens it) f",
        "│ ●  f",
        "│ │    distilled from a",
        "◉ │  e",
        "│ │    revision of d",
        "├─┼─╮    merged from c",
        "● │ │  d",
        "│ │ │    revision of b",
        "│ │ ●  c",
        "├─┼─╯    tuned from b",
        "● │  b",
        "╰─┤    forked from a",
        "  ○  a  not known here",
    ]


def test_a_revoked_one_is_marked_and_nothing_drives_the_terminal() -> None:
    graph = Graph(
        (Node(NAMES["a"], revoked=True), node("b", 2, name="evil\x1b[31m\n●  x")),
        (edge("b", "a", "odd\x1bkind"),),
        NAMES["b"],
    )
    lines = draw(graph)
    assert len(lines) == 3
    assert lines[2] == f"✗  {NAMES['a'][:17]}  revoked"
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_graph_every_release_has_a_line(seed: int) -> None:
    chance = random.Random(seed)
    names = [release_id(bytes([number])) for number in range(40)]
    nodes = tuple(Node(name, name=name, created=number, known=True) for number, name in enumerate(names))
    edges = tuple(Edge(chance.choice(names), chance.choice(names), "forked-from") for _ in range(90))
    check(Graph(nodes, edges, names[0]))


def test_what_is_too_wide_is_told_in_words() -> None:
    for width in (COLUMNS_LIMIT, COLUMNS_LIMIT + 1, 2 * COLUMNS_LIMIT):
        names = [release_id(bytes([number])) for number in range(width + 1)]
        nodes = tuple(Node(name, name=name, created=number, known=True) for number, name in enumerate(names))
        edges = tuple(Edge(names[-1], name, "merged-from") for name in names[:-1])
        check(Graph(nodes, edges, names[-1]))


def check(graph: Graph) -> None:
    """Every release has one line with its mark, every connection that fits has one, and none is too wide."""
    lines = draw(graph)
    releases = [line for line in lines if any(mark in line for mark in "●◉")]
    found = [match.group() for line in releases if (match := re.search("ba[a-z2-7]{15}", line))]
    assert sorted(found) == sorted(node.release[:17] for node in graph.nodes)
    told = [line for line in lines if line not in releases]
    assert len(told) == len(in_order(graph).edges)
    assert all(len(re.split("    [fm]", line)[0]) < 2 * COLUMNS_LIMIT for line in told)
