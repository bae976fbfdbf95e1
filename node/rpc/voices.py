"""The endpoints for voices: find, list, show, preview, fetch, update, revoke, remove, speak.

Follows specs/rpc.md.
"""

import time
from collections.abc import Mapping
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from p2pvoice.node import (
    base_fetching,
    base_needs,
    fetching,
    forking,
    lineage,
    loadable,
    pins,
    removing,
    speech,
    updating,
    voices,
)
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import Parts
from p2pvoice.node.ranking import read_cursor
from p2pvoice.node.rpc import community, merging, proposals
from p2pvoice.node.rpc.errors import error_response, to_error
from p2pvoice.node.rpc.events import EventStream, Report, while_connected
from p2pvoice.node.rpc.keys import passphrase
from p2pvoice.node.rpc.requests import flag, json_body, number, text, voice_path
from p2pvoice.node.rpc.speaking import StreamedResponse
from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.label import read_label
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.revocation import REASON_LENGTH
from p2pvoice.protocol.tags import canonical_tag

#: Most voices one search tells of.
FIND_LIMIT = 1_000

#: Seconds a look-up of holders may take when nothing else is said.
HOLDERS_SECONDS = 30.0

#: Longest text of one request, in characters.
TEXT_LIMIT = 20_000


async def find(parts: Parts, request: Request) -> EventStream:
    """Search here and in the network."""
    query = request.query_params
    tags = query.getlist("tag")
    if len(tags) > 16:
        raise UsageError("at most 16 tags at once")
    limit = int(number(query.get("limit"), "limit", default=50, low=1, high=FIND_LIMIT))
    seconds = number(query.get("timeout"), "timeout", default=10.0, low=0.0, high=300.0)
    words = query.get("text", "")[:1_000]

    cursor = query.get("cursor", "")
    # A cursor that makes no sense is answered as such before the stream begins.
    read_cursor(cursor, [canonical_tag(tag) for tag in tags], words)

    async def work(report: Report) -> Mapping[str, Any]:
        found = await voices.find(parts, tags, words, limit, seconds, report, cursor)
        return {"count": found.count, "next": found.next or None}

    return EventStream(work)


async def installed(parts: Parts, request: Request) -> Response:
    """Installed and own voices."""

    def read() -> list[dict[str, Any]]:
        rows = []
        for held in parts.catalog.installed_voices():
            release = parts.catalog.release(held.release)
            if release is not None:
                source = "own" if held.author == parts.author else "local"
                row = voices.summary(parts, release, source=source)
                kept = parts.mirrors.kept(held.author, held.slug)
                rows.append(row | {"seed": held.seed, "installed_at": held.at, **kept})
        return rows

    return JSONResponse({"voices": await trio.to_thread.run_sync(read, limiter=parts.disk)})


async def read_voice(parts: Parts, request: Request) -> Response:
    """Show a voice or its lineage, give its preview, or tell what is said of it."""
    ref, action = voice_path(request)
    if action == "":
        return JSONResponse(await voices.show(parts, ref))
    if action == "lineage":
        fetch = request.query_params.get("fetch", "") == "1"
        return JSONResponse(await lineage.lineage(parts, ref, fetch=fetch))
    if action == "preview":
        release, data = await fetching.preview(parts, ref)
        label = read_label(data)
        headers = {"X-Release-Id": release.id, "X-AIGC-Label": "1" if label is not None else "0"}
        return Response(data, media_type="audio/wav", headers=headers)
    if action == "holders":
        given = request.query_params.get("timeout")
        within = number(given, "timeout", default=HOLDERS_SECONDS, low=0.1, high=60.0)
        return JSONResponse(await voices.holders(parts, ref, within))
    if action in ("log", "comments", "issues", "proposals"):
        return await community.read(parts, ref, action, request)
    raise NotFoundError(f"a voice has no {action!r}")


async def change_voice(parts: Parts, request: Request) -> EventStream | Response:
    """Fetch, fork, pin, offer, update, merge or revoke a voice, or say something of it."""
    ref, action = voice_path(request)
    body = await json_body(request)
    if action == "act":
        return await community.act_on_voice(parts, ref, body)
    if action == "fetch":
        seed, bases = flag(body, "seed", default=True), flag(body, "bases", default=False)

        async def fetch(report: Report) -> Mapping[str, Any]:
            found = await fetching.fetch(parts, ref, seed=seed, tell=report)
            return await base_fetching.with_needs(parts, found, bring=bases, seed=seed, tell=report)

        return EventStream(fetch)
    if action == "pin":
        return JSONResponse(await pins.pin(parts, ref, on=flag(body, "on", default=True)))
    if action == "seed":
        if "on" not in body:
            raise UsageError("on is missing")
        return JSONResponse(await pins.offer(parts, ref, on=flag(body, "on", default=True), now=time.time()))
    if action == "propose":
        return await proposals.propose(parts, ref, body)
    if action == "merge":
        return merging.merge(parts, ref, body)
    if action == "fork":
        name = text(body, "name", limit=200)
        slug = text(body, "slug", default="", limit=200) or None

        async def fork(report: Report) -> Mapping[str, Any]:
            return await forking.fork(parts, ref, name, slug, report)

        return EventStream(fork)
    if action == "update":

        async def update(report: Report) -> Mapping[str, Any]:
            return await updating.update(parts, ref, report)

        return EventStream(update)
    if action == "revoke":
        whole = flag(body, "all", default=False)
        reason = text(body, "reason", default="", limit=REASON_LENGTH).strip()
        words = passphrase(body)

        async def revoke(report: Report) -> Mapping[str, Any]:
            return await removing.revoke(
                parts, ref, whole=whole, reason=reason, passphrase=words, tell=report
            )

        return EventStream(revoke)
    raise NotFoundError(f"a voice has no {action!r}")


async def revocations(parts: Parts, request: Request) -> Response:
    """Every tombstone of this node."""
    rows = await trio.to_thread.run_sync(parts.catalog.tombstones.all, limiter=parts.disk)
    return JSONResponse({"revocations": [stone.facts() for stone in rows]})


async def update_all(parts: Parts, request: Request) -> EventStream:
    """Update every installed voice."""

    async def work(report: Report) -> Mapping[str, Any]:
        return await updating.update_all(parts, report)

    return EventStream(work)


async def remove_voice(parts: Parts, request: Request) -> Response:
    """Remove an installed voice."""
    ref, action = voice_path(request)
    if action:
        raise NotFoundError(f"a voice has no {action!r}")
    return JSONResponse(await removing.remove(parts, ref))


async def speak_text(parts: Parts, request: Request) -> "SpokenResponse | StreamedResponse":
    """Speak a text with an installed voice, or with a draft of the user's own: as a file, or as a stream."""
    body = await json_body(request)
    draft = text(body, "draft", default="", limit=200)
    if draft and body.get("voice") is not None:
        raise UsageError("a voice speaks, or a draft")
    ref = "" if draft else text(body, "voice", limit=256)
    words = text(body, "text", limit=TEXT_LIMIT)
    if not words.strip():
        raise UsageError("there is nothing to speak")
    voice = await (loadable.installed(parts, ref) if ref else loadable.draft(parts, draft))
    arguments = {
        "voice": voice,
        "text": words,
        "lang": text(body, "lang", default=voice.language, limit=16),
        "format": text(body, "format", default="wav", limit=8),
        "options": speech.check_options(body),
    }
    if flag(body, "stream", default=False):
        return StreamedResponse(parts, arguments)
    return SpokenResponse(parts, arguments)


async def _lacking(parts: Parts, release: Release) -> dict[str, str]:
    """A header that names the base that speaking lacked, as `p2pvoice base fetch` takes it."""
    found = await trio.to_thread.run_sync(base_needs.missing, parts, release.manifest, limiter=parts.disk)
    return {"X-Base-Missing": found[0]["fetch"]} if found else {}


class SpokenResponse:
    """Speaks while the caller waits; a caller that goes away cancels the synthesis."""

    def __init__(self, parts: Parts, arguments: dict[str, Any]) -> None:
        self._parts = parts
        self._arguments = arguments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: Response = error_response(UsageError("cancelled"))

        async def work() -> None:
            nonlocal response
            voice: LoadableVoice = self._arguments["voice"]
            try:
                spoken = await speech.speak(self._parts, **self._arguments)
            except Exception as error:
                response = error_response(to_error(error))
                return
            headers = {"X-Audio-Seconds": f"{spoken.seconds:.3f}", "X-AIGC-Label": "1"}
            if voice.release is not None:
                headers["X-Release-Id"] = voice.release.id
                headers["X-Author"] = author_id(voice.release.manifest.author)
                if spoken.notices:
                    headers |= await _lacking(self._parts, voice.release)
            response = Response(spoken.data, media_type=speech.FORMATS[spoken.format], headers=headers)

        if await while_connected(receive, work):
            await response(scope, receive, send)
