"""The APIs' application: every path. Read this to see what a program may ask. Follows specs/api.md."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from p2pvoice.node.api import gpt_sovits, openai
from p2pvoice.node.api.asked import WrongTypeError
from p2pvoice.node.api.gate import Admission, Gate
from p2pvoice.node.api.gpt_sovits import Selection
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.errors import to_error
from p2pvoice.protocol.errors import NotFoundError, P2PVoiceError

OPENAI: tuple[tuple[str, str, Callable[[Parts, str, Request], Awaitable[Any]]], ...] = (
    ("POST", "/v1/audio/speech", openai.speak),
    ("GET", "/v1/audio/voices", openai.voices),
    ("GET", "/v1/audio/models", openai.audio_models),
    ("GET", "/v1/models", openai.models),
    ("GET", f"/v1/models/{openai.MODEL}", openai.model),
)
"""OpenAI's method, path and meaning."""

GPT_SOVITS: tuple[tuple[str, str, Callable[[Parts, str, Selection, Request], Awaitable[Any]]], ...] = (
    ("GET", "/tts", gpt_sovits.tts),
    ("POST", "/tts", gpt_sovits.tts),
    ("GET", "/set_gpt_weights", gpt_sovits.set_voice),
    ("GET", "/set_sovits_weights", gpt_sovits.set_voice),
    ("GET", "/set_refer_audio", gpt_sovits.set_voice),
    ("GET", "/control", gpt_sovits.control),
    ("POST", "/control", gpt_sovits.control),
    ("GET", "/speakers", gpt_sovits.speakers),
    ("POST", "/", gpt_sovits.root),
)
"""GPT-SoVITS's and SillyTavern's."""


def build_api(
    parts: Parts,
    admission: Callable[[], Admission],
    default: Callable[[], str],
    selection: Callable[[], Selection],
) -> ASGIApp:
    """The application behind its gate; the three functions say how things stand at each request."""

    def openai_route(method: str, path: str, endpoint: Callable[..., Awaitable[Any]]) -> Route:
        async def run(request: Request) -> Any:
            try:
                return await endpoint(parts, default(), request)
            except Exception as error:
                return openai.refusal(to_error(error))

        return Route(path, run, methods=[method])

    def gpt_sovits_route(method: str, path: str, endpoint: Callable[..., Awaitable[Any]]) -> Route:
        async def run(request: Request) -> Any:
            try:
                return await endpoint(parts, default(), selection(), request)
            except WrongTypeError as error:
                return JSONResponse({"detail": error.detail}, status_code=422)
            except Exception as error:
                return gpt_sovits.refusal(to_error(error))

        return Route(path, run, methods=[method])

    async def unknown(request: Request, error: Exception) -> Response:
        return _unknown(request, NotFoundError("there is nothing at this path"), 404)

    async def wrong_method(request: Request, error: Exception) -> Response:
        return _unknown(request, NotFoundError(f"{request.method} is not for this path"), 405)

    routes = [openai_route(*one) for one in OPENAI] + [gpt_sovits_route(*one) for one in GPT_SOVITS]
    app = Starlette(routes=routes, exception_handlers={404: unknown, 405: wrong_method})
    # A redirection would lead to the path without its token.
    app.router.redirect_slashes = False
    return Gate(app, admission)


def _unknown(request: Request, error: P2PVoiceError, status: int) -> Response:
    if request.url.path.startswith("/v1/"):
        return openai.refusal(error, status)
    return gpt_sovits.message(error.message, status=status)
