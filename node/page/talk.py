"""What people say of a voice, as its page shows it: stars, comments, issues and proposals.

What counts for the user (their own word, the author's, that of authors they follow) is shown; everybody
else's is folded under "others" and never counted with it. An issue and a proposal have a page of their own,
with the thread below. What is said is made by node/community; acting goes through the RPC. Follows
specs/page.md, "What people say".
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from p2pvoice.node.community.checking import find_thing
from p2pvoice.node.community.naming import find_operation
from p2pvoice.node.page import shown
from p2pvoice.node.page.view import View
from p2pvoice.node.voices import disk
from p2pvoice.protocol.errors import NotFoundError
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.operations import operation_id
from p2pvoice.protocol.replay import IssueState, Post

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

DEPTH = 4
"""Steps by which answers are set in, at most."""

QUOTE = 60
"""Characters of what is answered that stand above an answer."""

Row = dict[str, Any]


def of_voice(parts: "Parts", view: View, author: str, slug: str, ref: str) -> Row:
    """Everything that is said of a voice; ``ref`` names it to the RPC. Blocks."""
    line = parts.community.lines.of(author, slug)
    seen = parts.community.views.look(line)
    proposals = [_proposal(view, row) for row in seen.proposals()["proposals"]]
    facts = seen.facts()
    return {
        **_figures(facts),
        "ref": ref,
        "kept": parts.community.lines.keeps(line),
        "owner": bool(line.owners & parts.community.lines.own_keys()),
        "thread": thread(view, seen.comments()["comments"]),
        "issues": _split([_issue(view, row) for row in seen.issues()["issues"]], "open"),
        "proposals": _split(proposals, "open", "accepted"),
    }


async def page(parts: "Parts", request: Request, view: View) -> Response:
    """One issue or proposal with the thread below it; a comment leads to where it stands."""
    voice, digest = await disk(
        parts, lambda: find_operation(parts.community.logs, unquote(request.path_params["operation"]))
    )

    def look() -> Row | str:
        line = parts.community.lines.of_voice(voice)
        stone = parts.community.lines.revoked(line)
        if stone is not None:
            raise stone.error()
        ref = f"{line.authors[-1]}/{line.slug}"
        seen = parts.community.views.look(line)
        thing = find_thing(seen.state, digest)
        if thing is None:
            raise NotFoundError("this is no comment, issue or proposal that is known here")
        if isinstance(thing, Post):
            return view.voice(ref) + "#" + operation_id(digest)
        kind = "issue" if isinstance(thing, IssueState) else "proposal"
        found = seen.issue(thing) if isinstance(thing, IssueState) else seen.proposal(thing)
        row = (_issue if kind == "issue" else _proposal)(view, found[kind])
        release = _release(parts, *ref.rsplit("/", 1))
        return {
            "kind": kind,
            "one": row,
            "thread": thread(view, found["comments"]),
            "owner": bool(line.owners & parts.community.lines.own_keys()),
            "voice": {"name": release.manifest.name if release else line.slug, "url": view.voice(ref)},
        }

    found = await disk(parts, look)
    if isinstance(found, str):
        return RedirectResponse(found, status_code=303)
    return view.render("said.html", **found)


def _release(parts: "Parts", author: str, slug: str) -> Release | None:
    try:
        return parts.catalog.resolve(f"{author}/{slug}", prefer_installed=True)
    except NotFoundError:
        return None


def thread(view: View, rows: list[Row]) -> Row:
    """Comments in reading order, those that are shown apart from those that are folded."""
    by_name = {row["operation"]: row for row in rows}
    posts = []
    for row in rows:
        answered = by_name.get(row["target"] or "")
        posts.append(
            _signed(view, row)
            | {
                "text": row["text"],
                "depth": min(row["depth"], DEPTH),
                "answers": _quote(answered) if answered is not None else None,
            }
        )
    return _fold(posts)


def _signed(view: View, row: Row) -> Row:
    """Who said something and when, and what the user may do about it."""
    return {
        "id": row["operation"],
        "by": shown.person(view, row | {"author": row["signer"]}),
        "owner": row["owner"],
        "yours": row["yours"],
        "day": view.words.day(row["time"]),
        "edited": row.get("edited") is not None,
        "retracted": row.get("retracted", False),
        "shown": row.get("shown", True),
    }


def _quote(row: Row) -> Row:
    text = " ".join(row["text"].split())
    return {"id": row["operation"], "text": text[:QUOTE] + ("…" if len(text) > QUOTE else "")}


def _issue(view: View, row: Row) -> Row:
    closed = row["closed"]
    return _signed(view, row) | {
        "title": row["title"],
        "text": row["text"],
        "labels": row["labels"],
        "state": row["state"],
        "comments": row["comments"],
        "url": view.link(f"said/{row['operation']}"),
        "closed": None
        if closed is None
        else {
            "by": shown.person(view, closed | {"author": closed["signer"]}),
            "day": view.words.day(closed["time"]),
            "reason": closed["reason"],
        },
    }


def _proposal(view: View, row: Row) -> Row:
    merged = row["merged"]
    return _signed(view, row) | {
        "title": _first_line(row["text"]),
        "text": row["text"],
        "labels": [],
        "state": row["state"],
        "comments": row["comments"],
        "url": view.link(f"said/{row['operation']}"),
        "release": {"id": row["release"], "url": view.voice(row["release"])},
        "base": {"id": row["base"], "url": view.voice(row["base"])},
        "merged": {"id": merged["release"], "url": view.voice(merged["release"])} if merged else None,
        "reviews": [
            {
                "by": shown.person(view, one | {"author": one["signer"]}),
                "owner": one["owner"],
                "counted": one["counted"],
                "yours": one["yours"],
                "verdict": one["verdict"],
                "text": one["text"],
                "day": view.words.day(one["time"]),
            }
            for one in row["reviews"]
        ],
    }


def _first_line(text: str) -> str:
    line = (text.strip().splitlines() or [""])[0]
    return line[:QUOTE] + ("…" if len(line) > QUOTE else "")


def _figures(facts: Row) -> Row:
    return {"starred": facts["starred"], "totals": facts["totals"], "others": facts["others"]}


def _fold(rows: list[Row]) -> Row:
    """What is shown at once, and what is folded, with how many people said the latter."""
    hidden = [row for row in rows if not row["shown"]]
    return {
        "shown": [row for row in rows if row["shown"]],
        "folded": hidden,
        "people": len({row["by"]["id"] for row in hidden}),
    }


def _split(rows: list[Row], *current: str) -> Row:
    """Rows that are in one of these states, and those that are settled, each with its folded ones."""
    return {
        "current": _fold([row for row in rows if row["state"] in current]),
        "settled": _fold([row for row in rows if row["state"] not in current]),
    }
