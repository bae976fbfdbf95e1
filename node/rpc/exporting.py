"""The endpoint that gives a voice back in another program's form: its answer is a tar archive.

Follows specs/rpc.md and specs/export.md.
"""

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from p2pvoice.node import exporting
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.errors import error_response, to_error
from p2pvoice.node.rpc.events import while_connected
from p2pvoice.node.rpc.requests import flag, json_body, text
from p2pvoice.protocol.errors import UsageError


async def export(parts: Parts, request: Request) -> "ArchiveResponse":
    """Export an installed voice or a draft."""
    body = await json_body(request)
    voice = text(body, "voice", default="", limit=256)
    draft = text(body, "draft", default="", limit=200)
    form, plain = text(body, "format", limit=32), flag(body, "plain", default=False)
    if bool(voice) == bool(draft):
        raise UsageError("name either a voice or a draft", hint="p2pvoice export --help")
    what = await exporting.exportable(parts, voice=voice, draft=draft)
    return ArchiveResponse(parts, what, form, plain)


class ArchiveResponse:
    """An archive that is sent while it is made; a caller that goes away cancels the making.

    What fails before the first piece is answered like any request; afterwards the answer breaks off, and the
    archive lacks its last file.
    """

    def __init__(self, parts: Parts, what: exporting.Export, form: str, plain: bool) -> None:
        self._parts, self._what, self._form, self._plain = parts, what, form, plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, failure = False, None

        async def forward(piece: bytes) -> None:
            nonlocal started
            if not started:
                started = True
                headers = [(b"content-type", b"application/x-tar")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        async def work() -> None:
            nonlocal failure
            try:
                await exporting.export(self._parts, self._what, self._form, self._plain, forward)
            except Exception as error:
                failure = error

        if not await while_connected(receive, work):
            return
        if failure is not None and not started:
            await error_response(to_error(failure))(scope, receive, send)
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
