"""The answer to `POST /v1/speak` with `stream: true`: sound that is sent while it is made.

The status goes out with the first sound, so what fails before that is answered like any request. What fails
later ends the body without its end, so that the caller knows that something is missing. Not for whole files:
see voices.py. Follows specs/rpc.md, "Speak", and specs/streaming.md.
"""

from typing import Any

from starlette.types import Receive, Scope, Send

from p2pvoice.node import speech
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.errors import error_response, to_error
from p2pvoice.node.rpc.events import while_connected
from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.label import Label, wav_stream_beginning

#: What can be sent without knowing its length; `pcm` has no container, so its label is in the headers alone.
STREAM_FORMATS = {"wav": "audio/wav", "pcm": "audio/pcm"}


class StreamedResponse:
    """Speaks to whoever asked; a caller that goes away cancels the synthesis."""

    def __init__(self, parts: Parts, arguments: dict[str, Any]) -> None:
        self._parts, self._arguments = parts, dict(arguments)
        self._format = str(self._arguments.pop("format"))
        if self._format not in STREAM_FORMATS:
            raise UsageError(
                f"{self._format!r} is not for streams", hint="formats: " + " ".join(STREAM_FORMATS)
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: Exception | None = None
        listener = _Caller(send, self._format, self._arguments["voice"].release)

        async def work() -> None:
            nonlocal failure
            try:
                await speech.stream(self._parts, listener=listener, **self._arguments)
            except Exception as error:
                failure = error

        if not await while_connected(receive, work):
            return
        if failure is None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif not listener.begun:
            await error_response(to_error(failure))(scope, receive, send)
        else:
            # A response that is left unfinished makes the server cut the connection.
            to_error(failure)


class _Caller:
    """The caller as a listener."""

    def __init__(self, send: Send, format: str, release: Any) -> None:
        self._send, self._format, self._release = send, format, release
        self.begun = False

    async def begin(self, rate: int, label: Label) -> None:
        self.begun = True
        headers = {
            "content-type": STREAM_FORMATS[self._format],
            "x-aigc-label": "1",
            "x-sample-rate": str(rate),
        }
        if self._release is not None:
            headers["x-release-id"] = self._release.id
            headers["x-author"] = author_id(self._release.manifest.author)
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        if self._format == "wav":
            await self.take(wav_stream_beginning(rate, label))

    async def take(self, pcm: bytes) -> None:
        await self._send({"type": "http.response.body", "body": pcm, "more_body": True})
