"""The endpoints for collections: own lists, others' lists, and what is measured over all of one.

Follows specs/rpc.md and specs/collections.md.
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node import collecting, collection_facts, collection_fetching, evaluating
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.events import EventStream, Report
from p2pvoice.node.rpc.requests import collection_path, flag, json_body, text, texts
from p2pvoice.protocol.collection import CARD_LENGTH, ITEMS_LIMIT, NAME_LENGTH, NOTE_LENGTH
from p2pvoice.protocol.errors import NotFoundError, UsageError


async def listed(parts: Parts, request: Request) -> Response:
    """Drafts and kept collections."""
    return JSONResponse({"collections": await collection_facts.listed(parts)})


async def begin(parts: Parts, request: Request) -> Response:
    """Begin a draft."""
    body = await json_body(request)
    made = await collecting.begin(
        parts,
        text(body, "name", limit=NAME_LENGTH),
        text(body, "slug", default="", limit=200),
        text(body, "card", default="", limit=CARD_LENGTH),
        text(body, "license", default="", limit=200),
    )
    return JSONResponse(made)


async def read(parts: Parts, request: Request) -> Response:
    """Show a collection."""
    ref, action = collection_path(request)
    if action:
        raise NotFoundError(f"a collection has no {action!r}")
    return JSONResponse(await collection_facts.show(parts, ref))


async def forget(parts: Parts, request: Request) -> Response:
    """Forget a collection."""
    ref, action = collection_path(request)
    if action:
        raise NotFoundError(f"a collection has no {action!r}")
    return JSONResponse(await collecting.forget(parts, ref))


async def change(parts: Parts, request: Request) -> Response | EventStream:
    """Add, remove, edit; publish and fetch as streams."""
    ref, action = collection_path(request)
    body = await json_body(request)
    match action:
        case "edit":
            edited = await collecting.edit(
                parts,
                ref,
                name=text(body, "name", limit=NAME_LENGTH) if "name" in body else None,
                card=text(body, "card", limit=CARD_LENGTH) if "card" in body else None,
                license=text(body, "license", limit=200) if "license" in body else None,
            )
            return JSONResponse(edited)
        case "add":
            voices, note = _voices(body), text(body, "note", default="", limit=NOTE_LENGTH)
            return JSONResponse(await collecting.add(parts, ref, voices, note))
        case "remove":
            return JSONResponse(await collecting.remove(parts, ref, _voices(body)))
        case "publish":

            async def publish(report: Report) -> Mapping[str, Any]:
                return await collecting.publish(parts, ref, report)

            return EventStream(publish)
        case "fetch":
            voices_too, seed = flag(body, "voices", default=True), flag(body, "seed", default=True)

            async def fetch(report: Report) -> Mapping[str, Any]:
                return await collection_fetching.fetch(parts, ref, voices=voices_too, seed=seed, tell=report)

            return EventStream(fetch)
        case "evaluate":
            wish = evaluating.Wish(
                asr=text(body, "asr", default="", limit=100),
                sentences=_sentences(body),
                stability=flag(body, "stability", default=False),
                fetch=flag(body, "fetch", default=False),
                again=flag(body, "again", default=False),
            )

            async def evaluate(report: Report) -> Mapping[str, Any]:
                return await evaluating.evaluate(parts, ref, wish, report)

            return EventStream(evaluate)
    raise NotFoundError(f"a collection has no {action!r}")


def _sentences(body: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Test sentences by language, or None when there are none; their limits are the Wish's."""
    given = body.get("sentences")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise UsageError("sentences must map languages to lists of texts")
    return {str(lang): texts(given, str(lang), limit=evaluating.SENTENCES_LIMIT) for lang in given}


def _voices(body: Mapping[str, Any]) -> list[str]:
    voices = texts(body, "voices", limit=ITEMS_LIMIT)
    if not voices:
        raise UsageError("name at least one voice")
    return voices
