"""The graph as it is read, ordered and drawn: forwards, once each, escaped, and whatever a file claims."""

import random
import time
from xml.etree import ElementTree

import pytest

from p2pvoice.protocol.ids import release_id
from p2pvoice.protocol.lineage import (
    EDGES_LIMIT,
    KIND_WORDS,
    NODES_LIMIT,
    TEXT_LIMIT,
    Edge,
    Graph,
    Node,
    in_order,
    read_graph,
)
from p2pvoice.protocol.lineage_layout import HEIGHT
from p2pvoice.protocol.lineage_svg import COLUMNS, lineage_svg
from p2pvoice.protocol.manifest import PARENT_KINDS

SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = (
    "</text><script>alert(1)</script>",
    '" onload="alert(1)',
    "]]><!-- &amp; &lt;",
    "a\x00b\x1b[31m\ufffe\ud800",
    "\u202egnp.exe\u2066\u200b",
    "長" * 80,
)
"""Names that strangers might choose, and worse than a manifest lets through."""


def identifier(number: int) -> str:
    return release_id(number.to_bytes(4, "big"))


def node(number: int, name: str = "", **changed: object) -> Node:
    values: dict[str, object] = {
        "release": identifier(number),
        "author": "did:key:z6MkAda",
        "fingerprint": "z6MkAda",
        "slug": f"v{number}",
        "name": name or f"Voice {number}",
        "created": 1_790_000_000 + number,
        "license": "CC-BY-4.0",
        "consent": "synthetic claimed",
        "whose": "unknown",
        "known": True,
    }
    return Node(**(values | changed))  # type: ignore[arg-type]


def edge(child: int, parent: int, kind: str = "forked-from", **changed: bool) -> Edge:
    return Edge(identifier(child), identifier(parent), kind, **changed)


def graph_of(count: int, *edges: Edge, focus: int = 0) -> Graph:
    return Graph(tuple(node(number) for number in range(count)), edges, identifier(focus))


def check(graph: Graph, svg: str) -> ElementTree.Element:
    """Well-formed, every release once, every connection downward from box to box; the root."""
    root = ElementTree.fromstring(svg)
    boxes: dict[str, tuple[int, int]] = {}
    for box in root.iter(f"{SVG}g"):
        if box.get("class") != "lineage-node":
            continue
        release, rect = box.get("data-release"), box.find(f"{SVG}rect")
        assert release is not None
        assert rect is not None
        assert release not in boxes
        boxes[release] = (int(rect.get("x", "")), int(rect.get("y", "")))
    assert set(boxes) == {one.release for one in graph.nodes}
    assert len(set(boxes.values())) == len(boxes)
    for path in root.iter(f"{SVG}path"):
        child, parent = path.get("data-child", ""), path.get("data-parent", "")
        assert boxes[child][1] > boxes[parent][1], "a connection points backwards"
        start, end = path.get("d", "").split()[1], path.get("d", "").split()[-1]
        assert int(start) == boxes[parent][1] + HEIGHT
        assert int(end) == boxes[child][1]
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "desc", "style", "g", "a", "path", "rect", "text",
    }  # fmt: skip
    return root


def test_every_kind_of_parent_has_words() -> None:
    assert tuple(KIND_WORDS) == PARENT_KINDS


def test_a_lineage_is_drawn_with_its_kinds() -> None:
    edges = [edge(number + 1, number, kind) for number, kind in enumerate(PARENT_KINDS)]
    graph = graph_of(6, *edges, edge(5, 0, "merged-from", loosens=True), focus=2)
    svg = lineage_svg(graph)
    root = check(graph, svg)
    assert lineage_svg(graph) == svg
    assert lineage_svg(Graph(graph.nodes[::-1], graph.edges[::-1], graph.focus)) == svg
    texts = [text.text for text in root.iter(f"{SVG}text")]
    for words in KIND_WORDS.values():
        assert words in texts
    assert "merged from (loosened)" in texts
    assert root.findtext(f"{SVG}title") == "Lineage of Voice 2"
    said = root.findtext(f"{SVG}desc") or ""
    first, second, last = (identifier(number)[:17] for number in (0, 1, 5))
    assert f"Voice 1 ({second}), revision of Voice 0 ({first})." in said
    assert f"Voice 5 ({last}), merged from Voice 0 ({first}); it loosens what that one says." in said
    focused = [rect for rect in root.iter(f"{SVG}rect") if "lineage-focus" in rect.get("class", "")]
    assert len(focused) == 1


def test_within_a_page_it_has_the_pages_colours() -> None:
    graph = graph_of(2, edge(1, 0))
    inside = lineage_svg(graph, standalone=False, link=lambda release: f"/voices/{release}?a=1&b=<")
    root = check(graph, inside)
    assert root.find(f"{SVG}style") is None
    assert "#" not in inside.replace("&#", "")
    assert [link.get("href") for link in root.iter(f"{SVG}a")] == [
        f"/voices/{identifier(number)}?a=1&b=<" for number in (0, 1)
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_strangers_words_are_words(name: str) -> None:
    hostile = node(0, name, slug=name, fingerprint=name, license=name, whose=name, consent=name, author=name)
    graph = Graph((hostile, node(1)), (edge(1, 0, name),), hostile.release)
    root = check(graph, lineage_svg(graph))
    for element in root.iter():
        assert not any(key.startswith("on") for key in element.attrib)
        for text in (element.text or "", *element.attrib.values()):
            assert not any(mark in text for mark in "\x00\x1b\ufffe\u202e\u2066\u200b")
    for text in root.iter(f"{SVG}text"):
        assert len(text.text or "") <= COLUMNS + len(name)


def test_a_release_that_is_not_known_is_a_place() -> None:
    away = Node(identifier(0))
    gone = Node(identifier(1), revoked=True)
    graph = Graph((away, gone, node(2)), (edge(2, 0), edge(2, 1)), identifier(2))
    root = check(graph, lineage_svg(graph, link=lambda release: release))
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert "not known here" in texts
    assert "revoked" in texts
    # What is not known here leads nowhere.
    assert [link.get("href") for link in root.iter(f"{SVG}a")] == [identifier(2)]


def test_circles_are_cut() -> None:
    graph = graph_of(4, edge(0, 1), edge(1, 2), edge(2, 0), edge(3, 3), edge(3, 0))
    order = in_order(graph)
    assert order.left_out == 1
    assert all(order.ranks[one.parent] < order.ranks[one.child] for one in order.edges)
    root = check(graph, lineage_svg(graph))
    assert "1 connections that go in a circle are left out" in (root.findtext(f"{SVG}desc") or "")


@pytest.mark.parametrize("shape", ["chain", "star", "random", "circle", "dense"])
def test_the_largest_graphs_are_drawn_in_time(shape: str) -> None:
    chance, count = random.Random(1), NODES_LIMIT
    edges = {
        "chain": [edge(number, number - 1) for number in range(1, count)],
        "star": [edge(number, 0) for number in range(1, count)],
        "random": [edge(chance.randrange(count), chance.randrange(count)) for _ in range(EDGES_LIMIT)],
        "circle": [edge(number, (number + 1) % count) for number in range(count)],
        "dense": [edge(b, a) for b in range(1, count) for a in range(max(0, b - 8), b)][:EDGES_LIMIT],
    }[shape]
    graph = graph_of(count, *edges)
    began = time.process_time()
    svg = lineage_svg(graph)
    # Some tenths of a second here; a layout that grows faster than its limits allow would take minutes.
    assert time.process_time() - began < 20
    check(graph, svg)


def test_a_document_is_read_within_its_limits() -> None:
    row = {"release": identifier(0), "known": True, "own": True, "name": "n" * (TEXT_LIMIT + 1), "created": 7}
    many = [{"release": identifier(number)} for number in range(1, NODES_LIMIT + 1)]
    graph = read_graph({"focus": identifier(0), "nodes": [row, *many[:-1]]})
    assert (len(graph.nodes), graph.truncated) == (NODES_LIMIT, False)
    assert (graph.nodes[0].name, graph.nodes[0].whose) == ("n" * TEXT_LIMIT, "you")
    graph = read_graph({"focus": identifier(0), "nodes": [row, *many]})
    assert (len(graph.nodes), graph.truncated) == (NODES_LIMIT, True)
    pairs = [(a, b) for a in range(70) for b in range(70) if a != b][: EDGES_LIMIT + 1]
    edges = [{"child": identifier(a), "parent": identifier(b), "kind": "forked-from"} for a, b in pairs]
    assert len(read_graph({"nodes": many, "edges": edges[: EDGES_LIMIT + 1]}).edges) <= EDGES_LIMIT
    assert len(read_graph({"nodes": [row, *many[:-1]], "edges": edges}).edges) == EDGES_LIMIT


def test_what_is_no_graph_is_an_empty_one() -> None:
    strange = {
        "nodes": [7, {"release": 7}, {"release": identifier(1), "created": -1, "name": 7, "consent": 7}],
        "edges": [7, {"child": identifier(1)}, {"child": identifier(1), "parent": identifier(9)}],
        "focus": None,
    }
    graph = read_graph(strange)
    assert graph == Graph((Node(identifier(1)),), (), "")
    for document in (strange, {}):
        ElementTree.fromstring(lineage_svg(read_graph(document)))
