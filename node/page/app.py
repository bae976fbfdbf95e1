"""The page's application: its pages, its files, and the RPC as far as a browser may use it.

Read this to see which pages there are; each is a file of its own beside it, named after what it shows. The
RPC under /v1 is the very application of the unix socket behind a closed list (allowed.py). Follows
specs/page.md.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from p2pvoice.node.page import author, browse, draft, own_node, talk, train, voice
from p2pvoice.node.page.allowed import is_allowed
from p2pvoice.node.page.files import static
from p2pvoice.node.page.gate import Gate
from p2pvoice.node.page.view import View, chosen, error_page
from p2pvoice.node.rpc.errors import error_response, to_error
from p2pvoice.node.rpc.guard import Face, Guard
from p2pvoice.protocol.errors import NotFoundError

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

Page = Callable[["Parts", Request, View], Awaitable[Response]]

PAGES: tuple[tuple[str, Page], ...] = (
    ("/", browse.page),
    ("/card/{release}", browse.card),
    ("/voice/{ref:path}", voice.page),
    ("/author/{author}", author.page),
    ("/said/{operation}", talk.page),
    ("/train", train.page),
    ("/draft/{draft}", draft.page),
    ("/node", own_node.page),
)
"""Path and page. All are read with GET; what changes something is the RPC's."""


def build_page(parts: "Parts", host: str, token: str) -> ASGIApp:
    """The application at ``http://HOST/k/TOKEN/``; ``host`` is an address with its port."""
    # Here, because the RPC's application in its turn knows how the page is opened.
    from p2pvoice.node.rpc.app import build_app

    face = Face(frozenset({host}), frozenset({f"http://{host}"}), pages=True)
    rpc = build_app(parts, face)
    routes = [Route(path, _shown(parts, page), methods=["GET"]) for path, page in PAGES]
    routes.append(Route("/static/{name}", static, methods=["GET"]))

    async def unknown(request: Request, error: Exception) -> Response:
        return error_page(View.of(request), NotFoundError(f"there is nothing at {request.url.path[:80]}"))

    pages = Guard(Starlette(routes=routes, exception_handlers={404: unknown}), face)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await pages(scope, receive, send)
        elif is_allowed(scope["method"], scope["raw_path"]):
            await rpc(scope, receive, send)
        else:
            error = NotFoundError("the page may not ask this", hint="use p2pvoice on the command line")
            await error_response(error)(scope, receive, send)

    return Gate(dispatch, token)


def _shown(parts: "Parts", page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def run(request: Request) -> Response:
        changed = chosen(request)
        if changed is not None:
            return changed
        view = View.of(request)
        try:
            return await page(parts, request, view)
        except Exception as error:
            return error_page(view, to_error(error))

    return run
