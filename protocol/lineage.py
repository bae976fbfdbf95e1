"""The graph of releases and what they were made from, as the daemon tells it and as it is drawn.

Read from a document, brought into an order in which parents come before children, whatever a file claims: a
circle, which no chain of hashes can have, is cut and counted. Not for drawing (lineage_svg.py, and the
command line's tree) nor for finding out who descends from whom (the node's lineage.py). Follows
specs/lineage.md, "The graph".
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NODES_LIMIT = 500
"""Releases of one graph."""

EDGES_LIMIT = 4000
"""Connections of one graph."""

TEXT_LIMIT = 200
"""Characters of any one text of a node that are read; the rest is left out."""

KIND_WORDS: Mapping[str, str] = {
    "revision-of": "revision of",
    "forked-from": "forked from",
    "fine-tuned-from": "tuned from",
    "merged-from": "merged from",
    "distilled-from": "distilled from",
}
"""The kinds of parents, as they are said."""


@dataclass(frozen=True)
class Node:
    """A release in a graph. One that is not ``known`` has only its id, and perhaps that it was revoked.

    ``created`` is in seconds since 1970; ``whose`` says in words whose key the author's is to the reader.
    """

    release: str
    author: str = ""
    fingerprint: str = ""
    slug: str = ""
    name: str = ""
    created: int = 0
    license: str = ""
    consent: str = ""
    whose: str = ""
    here: bool = False
    known: bool = False
    revoked: bool = False


@dataclass(frozen=True)
class Edge:
    """That ``child`` was made from ``parent``; ``loosens`` when it gives what the parent does not."""

    child: str
    parent: str
    kind: str
    loosens: bool = False


@dataclass(frozen=True)
class Graph:
    """Releases and how they come from each other. ``focus`` is the one that was asked for."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    focus: str
    truncated: bool = False


@dataclass(frozen=True)
class Order:
    """A graph in order: parents before children, each with its rank, and the edges that fit.

    Every edge in ``edges`` leads from a lower rank to a higher one. ``left_out`` counts those that would have
    closed a circle.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    ranks: Mapping[str, int] = field(hash=False)
    left_out: int = 0


def read_graph(document: Mapping[str, Any]) -> Graph:
    """A graph out of the daemon's document; what is not in form is left out, what is too much cut off."""
    nodes: dict[str, Node] = {}
    rows = [row for row in document.get("nodes") or () if isinstance(row, dict)]
    for row in rows:
        node = _read_node(row)
        if node.release and node.release not in nodes and len(nodes) < NODES_LIMIT:
            nodes[node.release] = node
    edges: dict[tuple[str, str], Edge] = {}
    for row in document.get("edges") or ():
        if not isinstance(row, dict) or len(edges) >= EDGES_LIMIT:
            continue
        child, parent = _text(row, "child"), _text(row, "parent")
        if child in nodes and parent in nodes and child != parent:
            edges.setdefault(
                (child, parent), Edge(child, parent, _text(row, "kind"), row.get("loosens") is True)
            )
    cut = len(rows) > NODES_LIMIT
    return Graph(
        tuple(nodes.values()),
        tuple(edges.values()),
        _text(document, "focus"),
        cut or document.get("truncated") is True,
    )


def in_order(graph: Graph) -> Order:
    """Parents before children, older before newer, ids last: the same graph has one order.

    Work grows with edges and, where circles are cut, with the square of the nodes; both are bounded.
    """
    nodes = {node.release: node for node in graph.nodes}
    parents: dict[str, dict[str, Edge]] = {release: {} for release in nodes}
    children: dict[str, list[str]] = {release: [] for release in nodes}
    for edge in graph.edges:
        usable = edge.child in nodes and edge.parent in nodes and edge.child != edge.parent
        if usable and edge.parent not in parents[edge.child]:
            parents[edge.child][edge.parent] = edge
            children[edge.parent].append(edge.child)
    missing = {release: set(found) for release, found in parents.items()}
    ready = [_age(nodes[release]) for release, found in missing.items() if not found]
    heapq.heapify(ready)
    done: dict[str, int] = {}
    left_out = 0
    while len(done) < len(nodes):
        if not ready:
            # Only a circle is left: it is cut where the oldest in it names its parents.
            release = min((one for one in nodes if one not in done), key=lambda one: _age(nodes[one]))
            for parent in missing[release]:
                del parents[release][parent]
                left_out += 1
            missing[release] = set()
            ready.append(_age(nodes[release]))
        _, release = heapq.heappop(ready)
        done[release] = max((done[parent] + 1 for parent in parents[release]), default=0)
        for child in children[release]:
            if release in missing[child]:
                missing[child].discard(release)
                if not missing[child]:
                    heapq.heappush(ready, _age(nodes[child]))
    for release, found in parents.items():
        below = [done[child] for child in children[release] if release in parents[child]]
        if not found and below:
            # What has no parents here stands right above the first that was made from it.
            done[release] = min(below) - 1
    kept = tuple(parents[release][parent] for release in done for parent in sorted(parents[release]))
    return Order(tuple(nodes[release] for release in done), kept, done, left_out)


def _age(node: Node) -> tuple[int, str]:
    return node.created, node.release


def _read_node(row: Mapping[str, Any]) -> Node:
    created, consent = row.get("created"), row.get("consent")
    return Node(
        release=_text(row, "release"),
        author=_text(row, "author"),
        fingerprint=_text(row, "fingerprint"),
        slug=_text(row, "slug"),
        name=_text(row, "name"),
        created=created if type(created) is int and 0 <= created < 1 << 40 else 0,
        license=_text(row, "license"),
        consent=_consent(consent) if isinstance(consent, dict) else "",
        whose=_whose(row),
        here=row.get("here") is True,
        known=row.get("known") is True,
        revoked=row.get("revoked") is True,
    )


def _consent(facts: Mapping[str, Any]) -> str:
    words = [_text(facts, "subject"), _text(facts, "subject_name"), _text(facts, "state")]
    return " ".join(word for word in words if word)


def _whose(row: Mapping[str, Any]) -> str:
    if row.get("known") is not True:
        return ""
    if row.get("own") is True:
        return "you"
    if row.get("followed") is True:
        return _text(row, "author_name") or "followed"
    return "unknown"


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value[:TEXT_LIMIT] if isinstance(value, str) else ""
