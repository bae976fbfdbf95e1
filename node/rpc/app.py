"""The RPC's application: a route for each operation, and what every answer goes through.

What a caller may ask stands in operations.py; what the answers mean in voices.py, making.py, training.py,
measuring.py, merging.py, upkeep.py and the others beside it, and what must be true of a request before that
in guard.py. Each endpoint is wrapped once, so that every error leaves as its own status and body. Follows
specs/rpc.md.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.errors import error_response, to_error
from p2pvoice.node.rpc.guard import UNIX, Face, Guard
from p2pvoice.node.rpc.metrics import CountedApp
from p2pvoice.node.rpc.operations import routes
from p2pvoice.node.rpc.schemas import Unbound
from p2pvoice.protocol.errors import NotFoundError, UsageError

Endpoint = Callable[[Request], Awaitable[Any]]


def build_app(parts: Parts, face: Face = UNIX) -> ASGIApp:
    """The application over a daemon's parts, as it is reached at ``face``."""
    paths = routes()
    made = [
        Route(path, _guarded(parts, endpoint), methods=[method], name=f"{method} {path}")
        for method, path, endpoint in paths
    ]

    async def unknown(request: Request, error: Exception) -> Response:
        return error_response(NotFoundError(f"there is nothing at {request.url.path}"))

    async def wrong_method(request: Request, error: Exception) -> Response:
        return error_response(UsageError(f"{request.method} is not for {request.url.path}"))

    app = Starlette(routes=made, exception_handlers={404: unknown, 405: wrong_method})
    kinds = ("/".join(path.split("/")[:3]) for _, path, _ in paths)
    # What the guard refuses is counted, too.
    return CountedApp(Guard(app, face), kinds, parts.requests)


def _guarded(parts: Parts, endpoint: Unbound) -> Endpoint:
    async def run(request: Request) -> Any:
        try:
            return await endpoint(parts, request)
        except Exception as error:
            return error_response(to_error(error))

    return run
