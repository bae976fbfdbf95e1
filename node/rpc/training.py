"""The endpoints that make a voice: train, tune, distil, and the list of trainings.

Each stream belongs to a training: a caller that hangs up stops it after a checkpoint. Follows specs/rpc.md,
"Training", and specs/trainings.md.
"""

from collections.abc import Mapping
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node import enrol
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.events import EventStream, Report
from p2pvoice.node.rpc.requests import count, json_body, quantity, text, training_path
from p2pvoice.node.trainings import CLIP_NAME_LIMIT, CLIPS_LIMIT
from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.protocol.provenance import DECLARATION_LENGTH

#: Most passes over the clips that may be asked for.
EPOCHS_LIMIT = 10_000

#: Most minutes that may be asked for: a week.
MINUTES_LIMIT = 10_080.0

#: Parts that a training may be restricted to.
ONLY = ("all", "last-layers")


async def listed(parts: Parts, request: Request) -> Response:
    """Every training of this home."""
    rows = await trio.to_thread.run_sync(parts.trainings.rows, limiter=parts.disk)
    return JSONResponse({"trainings": rows})


async def train(parts: Parts, request: Request) -> EventStream:
    """Train a voice of clips."""
    return _started(parts, await json_body(request), "train")


async def tune(parts: Parts, request: Request) -> EventStream:
    """Tune a voice with sentences that it gets wrong."""
    body = await json_body(request)
    voice = text(body, "voice", limit=256)
    name = body.get("name") or voice.rpartition("/")[2][:60] + " tuned"
    return _started(parts, body | {"base": voice, "name": name}, "tune")


async def distil(parts: Parts, request: Request) -> EventStream:
    """Train a lite voice of another voice's speech."""
    body = await json_body(request)
    return _started(parts, body | {"base": text(body, "voice", limit=256)}, "distil")


def _started(parts: Parts, body: dict[str, Any], kind: enrol.Kind) -> EventStream:
    wanted = read_wanted(body, kind)

    async def work(report: Report) -> Mapping[str, Any]:
        return await enrol.start(parts, wanted, report)

    return EventStream(work)


def read_wanted(body: Mapping[str, Any], kind: enrol.Kind) -> enrol.Wanted:
    """A request's body as what is wanted; UsageError for whatever is not in form."""
    rows = body.get("clips", [])
    if not isinstance(rows, list) or len(rows) > CLIPS_LIMIT:
        raise UsageError(f"clips must be a list of at most {CLIPS_LIMIT}")
    clips = []
    for row in rows:
        if not isinstance(row, dict):
            raise UsageError("a clip is an upload and a name")
        clips.append((text(row, "name", limit=CLIP_NAME_LIMIT), text(row, "upload", limit=64)))
    lang = text(body, "lang", default="", limit=16)
    if lang not in enrol.LANGUAGES and (lang or kind != "distil"):
        raise UsageError(
            f"{lang!r} is no language of a training", hint="languages: " + " ".join(enrol.LANGUAGES)
        )
    only = text(body, "only", default="all", limit=16)
    if only not in ONLY:
        raise UsageError(f"{only!r} cannot be trained alone", hint="only: " + " ".join(ONLY))
    epochs = count(body, "epochs", low=1, high=EPOCHS_LIMIT)
    minutes = quantity(body, "minutes", low=0.05, high=MINUTES_LIMIT)
    return enrol.Wanted(
        kind=kind,
        name=text(body, "name", limit=200),
        lang=lang,
        base=text(body, "base", default="", limit=256),
        clips=tuple(clips),
        transcripts=text(body, "transcripts", default="", limit=64),
        asr=text(body, "asr", default="", limit=100),
        epochs=epochs,
        minutes=minutes,
        only=only,
        seed=count(body, "seed", low=0, high=2**31 - 1) or 0,
        declaration=text(body, "declaration", default="", limit=DECLARATION_LENGTH),
    )


async def change(parts: Parts, request: Request) -> EventStream | Response:
    """Resume a training or stop it."""
    name, action = training_path(request)
    if action == "stop":
        return JSONResponse(await enrol.stop(parts, name))
    if action == "resume":

        async def work(report: Report) -> Mapping[str, Any]:
            return await enrol.resume(parts, name, report)

        return EventStream(work)
    raise NotFoundError(f"a training has no {action!r}")


async def remove(parts: Parts, request: Request) -> Response:
    """Delete a training's folder."""
    name, action = training_path(request)
    if action:
        raise NotFoundError(f"a training has no {action!r}")
    return JSONResponse(await enrol.remove(parts, name))
