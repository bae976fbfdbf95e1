"""OpenAI's speech API over the voices of this node: `/v1/audio/speech`, and the lists that clients ask for.

What is OpenAI's own and means nothing here (models, instructions) is accepted and changes nothing. Not for
who may ask: see gate.py. Follows specs/api.md, "OpenAI".
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node import speech
from p2pvoice.node.api import choosing
from p2pvoice.node.api.answer import SpokenAnswer, Wanted, Wrapping
from p2pvoice.node.api.asked import API_BODY
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.requests import json_body, text
from p2pvoice.node.rpc.voices import TEXT_LIMIT
from p2pvoice.protocol.errors import NotFoundError, P2PVoiceError, UsageError

MODEL = "p2pvoice"
"""The one model that the lists show; requests may name any."""

MADE = 1_767_225_600
"""When that model was made, which clients demand: the first of January 2026."""

RESPONSE_FORMATS = ("mp3", "opus", "flac", "wav", "pcm")
"""Formats of OpenAI's that are made here."""

OWN_VOICES = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()  # noqa: SIM905
)
"""Names of OpenAI's voices: clients send them unless they are told otherwise."""

STREAM_FORMATS = ("audio", "sse")


class Events(Wrapping):
    """Sound as server-sent events."""

    media_type = "text/event-stream"

    def __init__(self, characters: int) -> None:
        self._usage = {"input_tokens": characters, "output_tokens": 0, "total_tokens": characters}

    def piece(self, sound: bytes) -> bytes:
        return _event({"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()})

    def end(self) -> bytes:
        return _event({"type": "speech.audio.done", "usage": self._usage})

    def failure(self, error: P2PVoiceError) -> bytes | None:
        return _event({"type": "error", **error_body(error)})


async def speak(parts: Parts, default: str, request: Request) -> SpokenAnswer:
    """`POST /v1/audio/speech`; ``default`` speaks when nobody is named."""
    body = await json_body(request, limit=API_BODY)
    said = text(body, "input", limit=TEXT_LIMIT)
    if not said.strip():
        raise UsageError("input holds nothing to speak")
    form = text(body, "response_format", default="mp3", limit=20)
    if form not in RESPONSE_FORMATS:
        raise UsageError(
            f"the response_format {form!r} is not made here", hint="formats: " + " ".join(RESPONSE_FORMATS)
        )
    stream = text(body, "stream_format", default="audio", limit=20)
    if stream not in STREAM_FORMATS:
        raise UsageError(f"the stream_format {stream!r} is none of " + " ".join(STREAM_FORMATS))
    options = speech.check_options(body)
    voice = await _voice(parts, default, body.get("voice"))
    lang = text(body, "lang", default=choosing.language(voice), limit=16)
    wanted = Wanted(voice, said, lang, form, options, whole=form == "flac" and stream == "audio")
    return SpokenAnswer(parts, wanted, refusal, Events(len(said)) if stream == "sse" else None)


async def _voice(parts: Parts, default: str, named: object) -> LoadableVoice:
    """Who is meant by ``voice``: a name, or an object with an ``id``."""
    if isinstance(named, dict):
        named = named.get("id")
    if named is None:
        return await choosing.unnamed(parts, default)
    name = text({"voice": named}, "voice", limit=choosing.NAME_LIMIT)
    try:
        return await choosing.named(parts, name)
    except NotFoundError as missing:
        if name.lower() not in OWN_VOICES:
            raise
        try:
            return await choosing.unnamed(parts, default)
        except UsageError:
            raise missing from None


async def voices(parts: Parts, default: str, request: Request) -> Response:
    """`GET /v1/audio/voices`."""
    return JSONResponse(
        {
            "voices": [
                {"id": row.id, "name": row.name, "languages": list(row.languages)}
                for row in await choosing.rows(parts)
            ]
        }
    )


async def audio_models(parts: Parts, default: str, request: Request) -> Response:
    """`GET /v1/audio/models`."""
    return JSONResponse({"models": [{"id": MODEL}]})


async def models(parts: Parts, default: str, request: Request) -> Response:
    """`GET /v1/models`."""
    return JSONResponse({"object": "list", "data": [_model()]})


async def model(parts: Parts, default: str, request: Request) -> Response:
    """`GET /v1/models/p2pvoice`."""
    return JSONResponse(_model())


def _model() -> Mapping[str, Any]:
    return {"id": MODEL, "object": "model", "created": MADE, "owned_by": MODEL}


def refusal(error: P2PVoiceError, status: int | None = None) -> Response:
    """An error in OpenAI's form."""
    return JSONResponse(error_body(error), status_code=status or type(error).http_status)


def error_body(error: P2PVoiceError) -> dict[str, Any]:
    """An error as OpenAI's clients read it: one message, so what to do stands in it, too."""
    ours = type(error).http_status >= 500
    message = f"{error.message} ({error.hint})" if error.hint else error.message
    kind = "server_error" if ours else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": error.code}}


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
