"""GPT-SoVITS's `api_v2`, and SillyTavern's two paths beside it, over the voices of this node.

A server of upstream's has one voice at a time and opens whatever path a caller names. Here paths are names:
the last component may be that of an installed voice, and nothing is opened. Not for who may ask: see gate.py.
Follows specs/api.md, "GPT-SoVITS".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from p2pvoice.node.api import choosing
from p2pvoice.node.api.answer import SpokenAnswer, Wanted
from p2pvoice.node.api.asked import API_BODY, PATH_LIMIT, Fields
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.requests import json_body
from p2pvoice.node.rpc.voices import TEXT_LIMIT
from p2pvoice.node.speech import OPTIONS
from p2pvoice.protocol.errors import NotFoundError, P2PVoiceError, PolicyError, UsageError

LANGUAGES = frozenset("auto auto_yue en zh ja yue ko all_zh all_ja all_yue all_ko".split())  # noqa: SIM905
"""Languages that upstream's server knows; whether a voice speaks them, the worker says."""

MEDIA_TYPES = ("wav", "raw", "ogg")
"""Formats of upstream's that are made here."""

MORE_MEDIA_TYPES = {"mp3": "mp3", "opus": "opus", "flac": "flac", "auto": "mp3"}
"""What SillyTavern may ask for as well, and what it gets."""

SPLITS = tuple(f"cut{number}" for number in range(6))
"""Ways to cut a text, by upstream's names."""

SETTINGS: Mapping[str, str] = {
    "top_k": "top_k",
    "top_p": "top_p",
    "temperature": "temperature",
    "repetition_penalty": "repetition_penalty",
    "speed_factor": "speed",
    "seed": "seed",
}
"""Their names of settings -> ours."""

PAUSE = (0.0, 10.0)
"""Seconds between sentences."""

FIELDS_LIMIT = 64
"""Fields of a query."""


@dataclass
class Selection:
    """Whom a caller has chosen by ``set_…``: a release, until the token changes."""

    release: str = ""


async def tts(parts: Parts, default: str, selection: Selection, request: Request) -> SpokenAnswer | Response:
    """`GET` and `POST /tts`."""
    return await _speak(parts, default, selection, await _fields(request), {one: one for one in MEDIA_TYPES})


async def root(parts: Parts, default: str, selection: Selection, request: Request) -> SpokenAnswer | Response:
    """`POST /`, as SillyTavern asks."""
    kinds = {one: one for one in MEDIA_TYPES} | MORE_MEDIA_TYPES
    return await _speak(parts, default, selection, await _fields(request), kinds)


async def _fields(request: Request) -> Fields:
    if request.method == "POST":
        return Fields(await json_body(request, limit=API_BODY), "body")
    if request.method != "GET":
        raise UsageError("HEAD speaks nothing")
    if len(request.query_params.multi_items()) > FIELDS_LIMIT:
        raise UsageError(f"a query has at most {FIELDS_LIMIT} fields")
    return Fields(dict(request.query_params), "query")


async def _speak(
    parts: Parts, default: str, selection: Selection, asked: Fields, kinds: Mapping[str, str]
) -> SpokenAnswer | Response:
    text = asked.text("text", limit=TEXT_LIMIT)
    if not text.strip():
        return message("text is required")
    lang = asked.text("text_lang", limit=16).lower()
    if lang and lang not in LANGUAGES:
        return message(f"text_lang: {lang} is not supported")
    kind = asked.text("media_type", "wav", limit=16)
    if kind not in kinds:
        return message(f"media_type: {kind} is not supported")
    split = asked.text("text_split_method", "cut5", limit=16)
    if split not in SPLITS:
        return message(f"text_split_method:{split} is not supported")
    streaming = asked.streaming("streaming_mode")
    if not streaming and asked.truth("return_fragment"):
        streaming = 1
    options = _options(asked) | {"split": split}
    voice = await _voice(parts, default, selection, asked)
    wanted = Wanted(
        voice,
        text,
        lang or choosing.language(voice),
        kinds[kind],
        options,
        whole=not streaming or kinds[kind] == "flac",
        media_type=f"audio/{kind}" if kind in MEDIA_TYPES else "",
    )
    return SpokenAnswer(parts, wanted, speech_failed)


def _options(asked: Fields) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for theirs, ours in SETTINGS.items():
        kind, low, high = OPTIONS[ours]
        value = asked.number(theirs, low, high, whole=kind is int)
        # Upstream's way to say "any seed".
        if value is not None and not (ours == "seed" and value < 0):
            options[ours] = kind(value)
    pause = asked.number("fragment_interval", *PAUSE)
    return options if pause is None else options | {"pause": float(pause)}


async def _voice(parts: Parts, default: str, selection: Selection, asked: Fields) -> LoadableVoice:
    target = asked.text("target_voice", limit=PATH_LIMIT)
    if target:
        return await choosing.named(parts, target)
    name = asked.name("ref_audio_path")
    if name:
        try:
            return await choosing.named(parts, name)
        except (NotFoundError, UsageError):
            # A clip of theirs that is no voice of ours: the voice that was set has clips of its own.
            pass
    if selection.release:
        return await choosing.named(parts, selection.release)
    return await choosing.unnamed(parts, default)


async def set_voice(
    parts: Parts, default: str, selection: Selection, request: Request
) -> SpokenAnswer | Response:
    """`GET /set_gpt_weights`, `/set_sovits_weights` and `/set_refer_audio`: from now on this voice speaks."""
    field, what, failed = _SETS[request.url.path]
    name = Fields(dict(request.query_params), "query").name(field)
    if not name:
        return message(f"{what} path is required")
    try:
        voice = await choosing.named(parts, name)
    except P2PVoiceError as error:
        return message(failed, error)
    assert voice.release is not None
    selection.release = voice.release.id
    return JSONResponse({"message": "success"})


_SETS = {
    "/set_gpt_weights": ("weights_path", "gpt weight", "change gpt weight failed"),
    "/set_sovits_weights": ("weights_path", "sovits weight", "change sovits weight failed"),
    "/set_refer_audio": ("refer_audio_path", "refer audio", "set refer audio failed"),
}


async def control(
    parts: Parts, default: str, selection: Selection, request: Request
) -> SpokenAnswer | Response:
    """`/control`: nobody stops or restarts a node from here."""
    raise PolicyError("this node is not controlled from here", hint="p2pvoice daemon stop")


async def speakers(
    parts: Parts, default: str, selection: Selection, request: Request
) -> SpokenAnswer | Response:
    """`GET /speakers`, as SillyTavern asks."""
    return JSONResponse([{"name": row.name, "voice_id": row.id} for row in await choosing.rows(parts)])


def message(text: str, error: P2PVoiceError | None = None, status: int = 400) -> Response:
    """An error in upstream's form."""
    body = {"message": text}
    if error is not None:
        body["Exception"] = f"{error.message} ({error.hint})" if error.hint else error.message
    return JSONResponse(body, status_code=status)


def speech_failed(error: P2PVoiceError) -> Response:
    """Speech that failed, as upstream says it: 400 whatever the reason, unless this node is at fault."""
    status = type(error).http_status
    return message("tts failed", error, 400 if status < 500 else status)


def refusal(error: P2PVoiceError, status: int | None = None) -> Response:
    """A request that was not even tried."""
    found = status or type(error).http_status
    text = f"{error.message} ({error.hint})" if error.hint else error.message
    return message(text, status=found if found in (401, 403) or found >= 500 else 400)
