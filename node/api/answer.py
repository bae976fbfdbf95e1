"""Sound as an answer: spoken, compressed, labelled and sent while it is made.

Nothing leaves before the first piece is there, so whatever fails before is an error with its own status; what
fails later breaks the answer off. How far the worker may be ahead of a slow reader is speech.py's. Not for
what a request means: see openai.py and gpt_sovits.py. Follows specs/api.md, "What leaves".
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2pvoice.node import speech
from p2pvoice.node.api.encode import FORMATS, Encoder, encoder
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.errors import to_error
from p2pvoice.node.rpc.events import while_connected
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.label import Label

log = logging.getLogger("p2pvoice.api")

#: An error as the answer of one API.
Refuse = Callable[[P2PVoiceError], Response]


@dataclass(frozen=True)
class Wanted:
    """What is to be said by whom, and as what it is to leave. ``whole`` waits until all is said."""

    voice: LoadableVoice
    text: str
    lang: str
    format: str
    options: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False
    media_type: str = ""

    def headers(self) -> dict[str, str]:
        """What is said of the sound beside it."""
        said = {"content-type": self.media_type or FORMATS[self.format], "X-AIGC-Label": "1"}
        if self.voice.release is not None:
            said["X-Release-Id"] = self.voice.release.id
            said["X-Author"] = author_id(self.voice.release.manifest.author)
        return said


class Wrapping:
    """How pieces of sound stand in an answer: as they are."""

    media_type = ""

    def piece(self, sound: bytes) -> bytes:
        """A piece of sound."""
        return sound

    def end(self) -> bytes:
        """What comes behind the last one."""
        return b""

    def failure(self, error: P2PVoiceError) -> bytes | None:
        """What comes when the speech breaks off; None breaks the answer off as well."""
        return None


class SpokenAnswer:
    """An ASGI response that speaks while the caller waits; one that goes away cancels the synthesis."""

    def __init__(
        self, parts: Parts, wanted: Wanted, refuse: Refuse, wrapping: Wrapping | None = None
    ) -> None:
        self.parts, self.wanted, self._refuse = parts, wanted, refuse
        self._wrapping = wrapping or Wrapping()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = self.wanted
        failure: Exception | None = None
        listener = _Listener(self, send)
        # Who waits for the whole gets what a file would say, sentence by sentence.
        options = {"stream": not wanted.whole, **wanted.options}

        async def work() -> None:
            nonlocal failure
            try:
                await speech.stream(
                    self.parts, wanted.voice, wanted.text, wanted.lang, listener, options=options
                )
                await listener.end()
            except Exception as error:
                failure = error

        if not await while_connected(receive, work):
            return
        if failure is not None and not listener.begun:
            await self._refuse(to_error(failure))(scope, receive, send)
            return
        if failure is not None:
            last = self._wrapping.failure(to_error(failure))
            if last is None:
                # Left without its end, the answer is cut off by the server, and the caller sees that it was.
                log.info("speech broke off: %s", to_error(failure).code)
                return
        elif wanted.whole:
            await Response(bytes(listener.kept), headers=wanted.headers())(scope, receive, send)
            return
        else:
            last = self._wrapping.end()
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def send(self, sound: bytes, send: Send, *, first: bool) -> None:
        """Send a piece of encoded sound, and what stands before the ``first``."""
        if first:
            await self._start(send)
        body = self._wrapping.piece(sound)
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _start(self, send: Send) -> None:
        headers = self.wanted.headers()
        if self._wrapping.media_type:
            headers["content-type"] = self._wrapping.media_type
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})


class _Listener:
    """Encodes what it hears, in threads, and sends it at once; or keeps it, when it is wanted whole."""

    def __init__(self, answer: SpokenAnswer, send: Send) -> None:
        self._answer, self._send = answer, send
        self._encoder: Encoder | None = None
        self.begun, self.kept = False, bytearray()

    async def begin(self, rate: int, label: Label) -> None:
        wanted = self._answer.wanted

        def make() -> Encoder:
            return encoder(wanted.format, rate, label, whole=wanted.whole)

        self._encoder = await trio.to_thread.run_sync(make, limiter=self._answer.parts.disk)

    async def take(self, pcm: bytes) -> None:
        assert self._encoder is not None
        encode = partial(self._encoder.add, pcm)
        await self._pass_on(await trio.to_thread.run_sync(encode, limiter=self._answer.parts.disk))

    async def end(self) -> None:
        """Pass on what the encoder still holds."""
        assert self._encoder is not None
        await self._pass_on(await trio.to_thread.run_sync(self._encoder.end, limiter=self._answer.parts.disk))

    async def _pass_on(self, sound: bytes) -> None:
        if self._answer.wanted.whole:
            self.kept += sound
        elif sound:
            first, self.begun = not self.begun, True
            await self._answer.send(sound, self._send, first=first)
