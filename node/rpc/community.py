"""The endpoints for what people say of voices: acting, logs, comments, issues, proposals, credits.

Follows specs/rpc.md and specs/community.md.
"""

import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node import proposing, voices
from p2pvoice.node.community.acting import Acted
from p2pvoice.node.community.checking import find_thing
from p2pvoice.node.community.lines import Line
from p2pvoice.node.community.naming import find_operation
from p2pvoice.node.community.views import View
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc import proposals
from p2pvoice.node.rpc.events import EventStream
from p2pvoice.node.rpc.keys import author_named
from p2pvoice.node.rpc.requests import json_body, operation_path, text, texts
from p2pvoice.protocol.acts import (
    LABELS_LIMIT,
    TEXT_LENGTH,
    TITLE_LENGTH,
    Act,
    Close,
    Comment,
    Edit,
    Issue,
    Label,
    Proposal,
    Reopen,
    Retract,
    Review,
    Star,
    Unstar,
)
from p2pvoice.protocol.errors import ManifestError, NotFoundError, RevokedError, UsageError
from p2pvoice.protocol.ids import Digest, author_id, parse_release_id
from p2pvoice.protocol.operations import VoiceName, operation_id
from p2pvoice.protocol.replay import IssueState, Post

Body = Mapping[str, Any]


async def line_of(parts: Parts, ref: str) -> tuple[Line, VoiceName]:
    """The voice that a reference names, and the name under which operations on it are signed."""
    release = await voices.resolve(parts, ref, prefer_installed=True)
    manifest = release.manifest
    line = await voices.disk(
        parts, lambda: parts.community.lines.of(author_id(manifest.author), manifest.slug)
    )
    return line, VoiceName(manifest.author, manifest.slug)


async def read(parts: Parts, ref: str, action: str, request: Request) -> Response:
    """``log``, ``comments``, ``issues`` or ``proposals`` of a voice; ``sync=1`` asks the network first."""
    query = request.query_params
    try:
        line, _ = await line_of(parts, ref)
    except RevokedError as error:
        revoked = await voices.disk(parts, lambda: parts.catalog.tombstones.named(ref))
        if revoked is None or action != "log":
            raise
        facts = revoked[0].facts()
        named = {"author": facts["author"], "slug": facts["slug"]}
        return JSONResponse(named | {"revoked": error.to_dict() | facts, "entries": []})
    stone = await voices.disk(parts, lambda: parts.community.lines.revoked(line))
    if stone is not None:
        raise stone.error()
    asked = 0
    if query.get("sync") == "1":
        asked = await parts.community.telling.ask_about(line)
    views = parts.community.views
    found: dict[str, Any]
    if action == "log":
        everything = query.get("all") == "1"
        found = await voices.disk(parts, lambda: views.log(line, everything=everything))
    else:
        shape: Mapping[str, Callable[[View], dict[str, Any]]] = {
            "comments": View.comments,
            "issues": View.issues,
            "proposals": View.proposals,
        }
        found = await voices.disk(parts, lambda: shape[action](views.look(line)))
        if action == "proposals":
            ask = query.get("sync") == "1"
            found["proposals"] = await proposing.in_short(parts, found["proposals"], ask=ask)
    return JSONResponse(found | {"revoked": None, "asked": asked})


async def act_on_voice(parts: Parts, ref: str, body: Body) -> Response:
    """Star, comment on, open an issue of, or propose something for a voice."""
    _, voice = await line_of(parts, ref)
    return await perform(parts, voice, await _read_act(parts, body, None))


async def read_operation(parts: Parts, request: Request) -> Response:
    """A comment, an issue or a proposal with the thread below it, by the name of its operation."""
    name, action = operation_path(request)
    if action:
        raise NotFoundError(f"an operation has no {action!r}")
    voice, digest = await voices.disk(parts, partial(find_operation, parts.community.logs, name))

    def look() -> dict[str, Any]:
        line = parts.community.lines.of_voice(voice)
        stone = parts.community.lines.revoked(line)
        if stone is not None:
            raise stone.error()
        view = parts.community.views.look(line)
        thing = find_thing(view.state, digest)
        if thing is None:
            raise NotFoundError(f"{operation_id(digest)[:10]} is no comment, issue or proposal")
        if isinstance(thing, Post):
            return view.comment(thing)
        return view.issue(thing) if isinstance(thing, IssueState) else view.proposal(thing)

    found = await voices.disk(parts, look)
    if "proposal" in found:
        (found["proposal"],) = await proposing.in_short(parts, [found["proposal"]], ask=True)
    return JSONResponse(found)


async def act_on_operation(parts: Parts, request: Request) -> Response | EventStream:
    """Answer, edit, retract, label, close, reopen, review, compare or merge what an operation began."""
    name, action = operation_path(request)
    body: Body = await json_body(request)
    if action == "diff":
        return proposals.diff(parts, name, body)
    if action == "merge":
        return proposals.merge(parts, name, body)
    if action != "act":
        raise NotFoundError(f"an operation has no {action!r}")
    voice, digest = await voices.disk(parts, partial(find_operation, parts.community.logs, name))
    if body.get("act") == "edit" and body.get("text") is None:
        body = {**body, "text": await voices.disk(parts, partial(_words, parts, voice, digest))}
    return await perform(parts, voice, await _read_act(parts, body, digest))


def _words(parts: Parts, voice: VoiceName, digest: Digest) -> str:
    """What a thing says now: who edits only the title of an issue keeps its text."""
    thing = find_thing(parts.community.states.of(parts.community.lines.of_voice(voice)), digest)
    return thing.text if thing is not None else ""


async def credits(parts: Parts, request: Request) -> Response:
    """What can be counted of an author from signed things that are here."""
    ref = request.query_params.get("author", "")[:256]

    def count() -> dict[str, Any]:
        author = parts.successors.current(author_named(parts, ref)) if ref else parts.author
        return parts.community.credits.of(author) | parts.names.whose(author)

    return JSONResponse(await voices.disk(parts, count))


async def perform(parts: Parts, voice: VoiceName, act: Act) -> Response:
    """Sign an act, tell others of it, and answer with what became of it."""
    return JSONResponse(await facts_of(parts, await parts.community.acting.act(voice, act)))


async def facts_of(parts: Parts, acted: Acted) -> dict[str, Any]:
    """What became of an act, once others were told of it."""
    community = parts.community
    told = await community.tell(acted)
    answer: dict[str, Any] = {
        "operation": operation_id(acted.signed.id) if acted.signed is not None else None,
        "author": acted.line.authors[-1],
        "slug": acted.line.slug,
        "done": acted.signed is not None,
        "nothing": acted.nothing,
        "told": told,
    }
    figures = await voices.disk(parts, lambda: community.views.look(acted.line).facts())
    return answer | {"totals": figures["totals"], "others": figures["others"]}


async def _read_act(parts: Parts, body: Body, target: Digest | None) -> Act:
    """The act of a request's body; ``target`` is what the path names already."""
    kind = text(body, "act", limit=32)
    if target is None and (named := text(body, "target", default="", limit=64)):
        _, target = await voices.disk(parts, partial(find_operation, parts.community.logs, named))
    try:
        return _make(kind, body, target)
    except ManifestError as error:
        raise UsageError(error.message) from error


def _make(kind: str, body: Body, target: Digest | None) -> Act:
    words = plain(text(body, "text", default="", limit=2 * TEXT_LENGTH))
    if kind in ("comment", "proposal") and not words:
        raise UsageError("there is no text")
    match kind:
        case "star":
            return Star()
        case "unstar":
            return Unstar()
        case "comment":
            return Comment(words, target)
        case "issue":
            title = plain(text(body, "title", limit=2 * TITLE_LENGTH))
            return Issue(title, words)
        case "proposal":
            release = parse_release_id(text(body, "release", limit=128))
            return Proposal(release, parse_release_id(text(body, "base", limit=128)), words)
    if target is None:
        raise UsageError(f"there is no act {kind!r} on a voice" if kind not in _AIMED else "what at?")
    match kind:
        case "edit":
            title = plain(text(body, "title", default="", limit=2 * TITLE_LENGTH))
            return Edit(target, words, title or None)
        case "retract":
            return Retract(target)
        case "label":
            add, remove = (
                tuple(dict.fromkeys(map(plain, texts(body, key, limit=LABELS_LIMIT))))
                for key in ("add", "remove")
            )
            if not add and not remove:
                raise UsageError("no label is given", hint="p2pvoice issue label OP +ADDED -- -REMOVED")
            return Label(target, add, remove)
        case "close":
            return Close(target, words)
        case "reopen":
            return Reopen(target, words)
        case "review":
            return Review(target, text(body, "verdict", limit=16), words)
    raise UsageError(f"there is no act {kind!r}")


def plain(words: str) -> str:
    """The words in the form in which they are signed, whatever keyboard they came from."""
    return unicodedata.normalize("NFC", words.replace("\r\n", "\n").replace("\r", "\n")).strip()


_AIMED = ("edit", "retract", "label", "close", "reopen", "review")
"""Acts that are aimed at something: they need its operation's name."""
