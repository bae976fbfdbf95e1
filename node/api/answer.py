"""Sound as an answer: spoken, compressed, labelled and sent while it is made.

Nothing leaves before the first piece is there, so whatever fails before is an error with its own status; what
fails later breaks the answer off. Between the worker and the caller lies a bounded store: a reader that is
slower than the voice keeps the worker no longer than it must. Not for what a request means: see openai.py and
gpt_sovits.py. Follows specs/api.md, "What leaves".
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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

WAITING_LIMIT = 8 << 20
"""Bytes of one answer that wait for its reader; then the worker waits, too."""

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
        self._parts, self._wanted, self._refuse = parts, wanted, refuse
        self._wrapping = wrapping or Wrapping()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        store, failure, begun = _Store(), None, False

        async def speak() -> None:
            nonlocal failure
            wanted = self._wanted
            listener = _Encoding(self._parts, wanted.format, store, whole=wanted.whole)
            # Who waits for the whole gets what a file would say, sentence by sentence.
            options = {"stream": not wanted.whole, **wanted.options}
            try:
                await speech.stream(
                    self._parts, wanted.voice, wanted.text, wanted.lang, listener, options=options
                )
                await listener.end()
            except Exception as error:
                failure = error
            finally:
                store.close()

        async def work() -> None:
            nonlocal begun
            async with trio.open_nursery() as nursery:
                nursery.start_soon(speak)
                if self._wanted.whole:
                    await store.closed.wait()
                    return
                while (sound := await store.take()) is not None:
                    if not begun:
                        begun = True
                        await self._start(send)
                    body = self._wrapping.piece(sound)
                    await send({"type": "http.response.body", "body": body, "more_body": True})

        if not await while_connected(receive, work):
            return
        if failure is not None and not begun:
            await self._refuse(to_error(failure))(scope, receive, send)
            return
        if failure is not None:
            last = self._wrapping.failure(to_error(failure))
            if last is None:
                # Left without its end, the answer is cut off by the server, and the caller sees that it was.
                log.info("speech broke off: %s", to_error(failure).code)
                return
        elif self._wanted.whole:
            await Response(store.all(), headers=self._wanted.headers())(scope, receive, send)
            return
        else:
            last = self._wrapping.end()
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _start(self, send: Send) -> None:
        headers = self._wanted.headers()
        if self._wrapping.media_type:
            headers["content-type"] = self._wrapping.media_type
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})


class _Encoding:
    """A listener that compresses what it hears and stores it."""

    def __init__(self, parts: Parts, format: str, store: "_Store", *, whole: bool) -> None:
        self._parts, self._format, self._store, self._whole = parts, format, store, whole
        self._encoder: Encoder | None = None

    async def begin(self, rate: int, label: Label) -> None:
        def make() -> Encoder:
            return encoder(self._format, rate, label, whole=self._whole)

        self._encoder = await trio.to_thread.run_sync(make, limiter=self._parts.disk)

    async def take(self, pcm: bytes) -> None:
        assert self._encoder is not None
        made = await trio.to_thread.run_sync(self._encoder.add, pcm, limiter=self._parts.disk)
        await self._store.put(made, wait=not self._whole)

    async def end(self) -> None:
        """Store what is left."""
        assert self._encoder is not None
        made = await trio.to_thread.run_sync(self._encoder.end, limiter=self._parts.disk)
        await self._store.put(made, wait=not self._whole)


class _Store:
    """Pieces between one who makes them and one who takes them."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._changed = trio.Event()
        self.closed = trio.Event()

    async def put(self, piece: bytes, *, wait: bool) -> None:
        """Store a piece; with ``wait`` not before there is room for it, or nothing else is there."""
        if not piece:
            return
        while wait and self._size and self._size + len(piece) > WAITING_LIMIT:
            await self._changed.wait()
        self._pieces.append(piece)
        self._size += len(piece)
        self._tell()

    async def take(self) -> bytes | None:
        """The next piece, as soon as there is one; None behind the last."""
        while not self._pieces:
            if self.closed.is_set():
                return None
            await self._changed.wait()
        piece = self._pieces.popleft()
        self._size -= len(piece)
        self._tell()
        return piece

    def close(self) -> None:
        """No more pieces come."""
        self.closed.set()
        self._tell()

    def all(self) -> bytes:
        """Everything that is there."""
        return b"".join(self._pieces)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
