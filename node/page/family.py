"""What a voice was made from and what is made from it, as a picture and as links.

The graph is node/lineage.py's, the drawing protocol/lineage_svg.py's: a pure function that escapes what it is
given, so its text is put into the page as it is. Not for looking ancestors up in the network: a script asks
for that. Follows specs/page.md and specs/lineage.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from p2pvoice.node.lineage import lineage
from p2pvoice.node.page.view import View
from p2pvoice.protocol.lineage import Graph, Node, read_graph
from p2pvoice.protocol.lineage_svg import WORDS, lineage_svg

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

DRAWN_LIMIT = 60
"""Releases of a graph that is drawn on a page; a larger one is for `p2pvoice lineage --svg`."""


async def family(parts: "Parts", view: View, release: str) -> dict[str, Any] | None:
    """The relatives of a release; None for one that has none."""
    graph = read_graph(await lineage(parts, release))
    if len(graph.nodes) < 2:
        return None
    t = view.words
    names = {node.release: node for node in graph.nodes}
    children = [
        {
            "name": names[edge.child].name or edge.child,
            "kind": t.named("child", edge.kind),
            "url": view.voice(edge.child),
        }
        for edge in graph.edges
        if edge.parent == release
    ]
    return {
        "picture": _picture(view, graph) if len(graph.nodes) <= DRAWN_LIMIT else None,
        "children": children,
        "unknown": any(not node.known and not node.revoked for node in graph.nodes),
    }


def _picture(view: View, graph: Graph) -> Markup:
    said = replace(graph, nodes=tuple(_said(view, node) for node in graph.nodes))
    return Markup(lineage_svg(said, standalone=False, link=view.voice, words=_words(view)))


def _said(view: View, node: Node) -> Node:
    """A node with what it says of author and consent in the reader's language."""
    t = view.words
    subject, _, state = node.consent.partition(" ")
    known = {"you": t("trust.own"), "followed": t("trust.followed"), "unknown": t("trust.unknown")}
    return replace(
        node,
        whose=known.get(node.whose, node.whose),
        consent=t.named("consent", state.rpartition(" ")[2]) if subject else "",
    )


def _words(view: View) -> Mapping[str, str]:
    t = view.words
    return {key: t(f"lineage.{key}") if t.has(f"lineage.{key}") else t.named("parent", key) for key in WORDS}
