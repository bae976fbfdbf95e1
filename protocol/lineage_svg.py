"""A lineage as one SVG picture: parents above, children below, every connection with its kind in words.

A pure function of the graph, for the command line's file and for a page that shows it. It needs no script
and no font of its own; colours come from the page around it (``currentColor``, CSS variables), or in a file
of its own from the reader's light or dark scheme. Names are strangers' words: each is cleaned, cut and
escaped. Not for which releases are in the graph (lineage.py), nor where things lie
(lineage_layout.py). Follows specs/lineage.md, "The picture".
"""

import time
import unicodedata
from collections.abc import Callable, Mapping
from xml.sax.saxutils import escape, quoteattr

from p2pvoice.protocol.lineage import KIND_WORDS, Graph, Node, in_order
from p2pvoice.protocol.lineage_layout import HEIGHT, WIDTH, line, places_of, ports_of

COLUMNS = 34
"""Terminal columns of text that fit into a box; a Chinese character takes two."""

SENTENCES = 60
"""Connections that the picture's description tells of in words."""

DASHES: Mapping[str, str] = {
    "forked-from": "7 4",
    "merged-from": "2 4",
    "distilled-from": "9 3 2 3",
}
"""How a connection is dashed, by its kind, else it is plain; the words beside it say the same."""

WORDS: Mapping[str, str] = {
    **KIND_WORDS,
    "title": "Lineage of {name}",
    "connection": "{child}, {kind} {parent}",
    "loosens": "; it loosens what that one says",
    "loosened": " (loosened)",
    "count": "{releases} releases, {connections} connections.",
    "more": "And {n} more connections.",
    "truncated": "More releases are known than are shown.",
    "circles": "{n} connections that go in a circle are left out.",
    "unknown": "not known here",
    "revoked": "revoked",
    "here": "here",
    "whole": "{name}, {release}",
    "by": "{name}, {release}, by {author}",
}
"""What a picture says in English, by its key; a page gives the texts of another language."""

STYLE = (
    ":root{color-scheme:light dark}"
    ".lineage{color:#1b1f24;--lineage-paper:#ffffff;--lineage-accent:#0b57d0;background:#ffffff}"
    "@media (prefers-color-scheme:dark){"
    ".lineage{color:#e6e9ee;--lineage-paper:#14171c;--lineage-accent:#8ab4ff;background:#14171c}}"
    ".lineage-box{fill:var(--lineage-paper)}.lineage-kinds{stroke:var(--lineage-paper)}"
    ".lineage-focus{stroke:var(--lineage-accent)}"
)
"""What a file of its own says of colours."""


def lineage_svg(
    graph: Graph,
    *,
    standalone: bool = True,
    link: Callable[[str], str] | None = None,
    words: Mapping[str, str] = WORDS,
) -> str:
    """The graph as an SVG document, the same one for the same graph.

    ``standalone`` for a file: with its own colours. Else it is to be put into a page, whose text colour it
    takes, and whose ``--lineage-paper`` and ``--lineage-accent`` it follows. ``link`` gives the address that
    a known release leads to; with links it is no single image but a group of them. ``words`` are texts as in
    :data:`WORDS`.
    """
    order = in_order(graph)
    places = places_of(order)
    ports = ports_of(order, places)
    names = {node.release: _title(node) for node in order.nodes}
    title = words["title"].format(name=names.get(graph.focus) or _short(graph.focus))
    said = [
        words["connection"].format(
            child=f"{names[edge.child]} ({_short(edge.child)})",
            kind=words.get(edge.kind, edge.kind),
            parent=f"{names[edge.parent]} ({_short(edge.parent)})",
        )
        + (words["loosens"] if edge.loosens else "")
        for edge in order.edges[:SENTENCES]
    ]
    more = len(order.edges) - len(said)
    notes = [words["count"].format(releases=len(order.nodes), connections=len(order.edges))]
    notes += [f"{one}." for one in said]
    notes += [words["more"].format(n=more)] if more else []
    notes += [words["truncated"]] if graph.truncated else []
    notes += [words["circles"].format(n=order.left_out)] if order.left_out else []
    style = f"<style>{STYLE}</style>" if standalone else ""
    root = ' color="#1b1f24"' if standalone else ""
    width, height = places.width, places.height
    role = "img" if link is None else "group"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lineage" role="{role}"'
        f' viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13"'
        f' aria-labelledby="lineage-title lineage-desc"{root}>',
        f'<title id="lineage-title">{_escape(title)}</title>',
        f'<desc id="lineage-desc">{_escape(" ".join(notes))}</desc>',
        style,
        '<g fill="none" stroke="currentColor" stroke-width="1.5">',
    ]
    labels, told = [], dict[str, int]()
    for edge in order.edges:
        leaves, enters = ports[edge.parent, edge.child]
        points = [(leaves, places.tops[edge.parent][1] + HEIGHT)]
        for step in places.passing[edge.parent, edge.child]:
            x, y = places.tops[step]
            points += [(x, y), (x, y + HEIGHT)]
        points.append((enters, places.tops[edge.child][1]))
        dash = DASHES.get(edge.kind, "")
        marks = f' stroke-dasharray="{dash}"' if dash else ""
        marks += ' stroke-width="3"' if edge.loosens else ""
        parts.append(
            f'<path class="lineage-edge" data-child={_attribute(edge.child)}'
            f" data-parent={_attribute(edge.parent)} data-kind={_attribute(edge.kind)}"
            f' d="{line(points)}"{marks}/>'
        )
        kind = words.get(edge.kind, edge.kind) + (words["loosened"] if edge.loosens else "")
        # At the child's end, where connections from one parent have parted; neighbours take turns in height.
        turn = told[edge.child] = told.get(edge.child, 0) + 1
        y = points[-1][1] - 8 - 14 * ((turn - 1) % 3)
        labels.append(f'<text x="{enters}" y="{y}" text-anchor="middle">{_escape(kind)}</text>')
    parts.append("</g>")
    # A reader of files that knows no CSS variables takes the plain colour.
    paper = "#ffffff" if standalone else "var(--lineage-paper, none)"
    kinds = f'<g class="lineage-kinds" fill="currentColor" font-size="11" stroke="{paper}" stroke-width="4"'
    # The paper's colour around the words keeps them apart from the lines that they stand on.
    parts += [f'{kinds} stroke-linejoin="round" paint-order="stroke">', *labels, "</g>"]
    parts += [_box(node, places.tops[node.release], graph.focus, paper, link, words) for node in order.nodes]
    parts.append("</svg>")
    return "\n".join(part for part in parts if part) + "\n"


def _box(
    node: Node,
    top: tuple[int, int],
    focus: str,
    paper: str,
    link: Callable[[str], str] | None,
    words: Mapping[str, str],
) -> str:
    """One release: its name, whose it is, when, under which terms, and its id."""
    x, y = top[0] - WIDTH // 2, top[1]
    focused = node.release == focus
    marks = ' stroke-width="3"' if focused else ""
    marks += "" if node.known else ' stroke-dasharray="5 4"'
    lines = [(_cut(_title(node)), ' font-weight="600"')]
    if node.known:
        when = time.strftime("%Y-%m-%d", time.gmtime(node.created))
        lines.append((_cut(f"{node.fingerprint} ({node.whose})  {when}"), ""))
        lines.append((_cut(f"{node.license}, {node.consent}"), ""))
    else:
        lines.append((words["revoked" if node.revoked else "unknown"], ""))
    place = words["revoked"] if node.revoked and node.known else words["here"] if node.here else ""
    lines.append((_cut("  ".join(word for word in (_short(node.release), place) if word)), ' opacity="0.75"'))
    text = "".join(
        f'<text x="{x + 12}" y="{y + 20 + 18 * number}" fill="currentColor"{style}>{_escape(line)}</text>'
        for number, (line, style) in enumerate(lines)
    )
    whole = words["by" if node.author else "whole"].format(
        name=_title(node), release=node.release, author=node.author
    )
    # In a page there are no styles of ours, which its policy may forbid: the attributes say it all.
    stroke = "var(--lineage-accent, currentColor)" if focused and "var(" in paper else "currentColor"
    classes = "lineage-box lineage-focus" if focused else "lineage-box"
    box = (
        f'<g class="lineage-node" data-release={_attribute(node.release)}><title>{_escape(whole)}</title>'
        f'<rect class="{classes}" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8"'
        f' fill="{paper}" stroke="{stroke}"{marks}/>{text}</g>'
    )
    if link is None or not node.known:
        return box
    return f"<a href={_attribute(link(node.release))}>{box}</a>"


def _title(node: Node) -> str:
    return node.name or node.slug or _short(node.release)


def _short(release: str) -> str:
    return release[:17]


def clean(text: str) -> str:
    """The text as one line that XML can hold and that no invisible character turns round or hides."""
    return "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )


def _cut(text: str) -> str:
    """The beginning that fits into a box."""
    text, used = clean(text), 0
    for number, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > COLUMNS:
            return text[: max(0, number - 1)] + "…"
    return text


def _escape(text: str) -> str:
    return escape(clean(text))


def _attribute(text: str) -> str:
    return quoteattr(clean(text))
