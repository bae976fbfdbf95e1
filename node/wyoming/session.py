"""One connection: what it asks, what it is answered, and that its end ends what is spoken for it.

Two tasks: one always reads, so that a caller who hangs up is noticed at once; the other speaks what was asked
for, one request after the other. Not for the bytes (events.py) nor for voices (speaking.py). Follows
specs/wyoming.md, "Operations".
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import trio

from p2pvoice.node.rpc.errors import to_error
from p2pvoice.node.wyoming.events import Event, Events, Gone
from p2pvoice.node.wyoming.sentences import Sentences, is_spoken
from p2pvoice.node.wyoming.speaking import as_event
from p2pvoice.protocol.errors import BusyError, UsageError
from p2pvoice.protocol.label import Label

#: Characters of one request's text, all pieces of it together.
TEXT_LIMIT = 20_000

#: Requests that wait on one connection, beside the one that is being spoken.
WAITING_LIMIT = 4

#: Seconds without an event, while nothing is asked for, after which a connection is closed.
IDLE_SECONDS = 60.0

#: Bytes of samples in one event.
CHUNK = 16 * 1024

#: Longest text of a ping that is sent back, in characters.
PING_LIMIT = 256

WIDTH, CHANNELS = 2, 1


class Voices(Protocol):
    """What a session asks of the house it belongs to."""

    async def info(self) -> dict[str, Any]:
        """The data of an ``info`` event."""

    async def choose(self, wanted: Mapping[str, Any]) -> tuple[Any, str]:
        """A voice and the language it is to speak."""

    async def speak(self, voice: Any, text: str, language: str, listener: Any) -> None:
        """Speak to a listener."""


class _Request:
    """Something to speak, whose text may still be coming."""

    def __init__(self, data: Mapping[str, Any], *, streamed: bool) -> None:
        wanted = data.get("voice")
        if wanted is not None and not isinstance(wanted, dict):
            raise UsageError("voice is no JSON object")
        if data.get("text_format") not in (None, "text"):
            raise UsageError("only plain text is spoken", hint='text_format: "text"')
        self.wanted: Mapping[str, Any] = wanted or {}
        self.streamed = streamed
        self.sentences = Sentences()
        # What may wait in it is bounded by TEXT_LIMIT.
        self._send, self.texts = trio.open_memory_channel[str](TEXT_LIMIT)

    def add(self, data: Mapping[str, Any]) -> None:
        """Take a piece of the text."""
        text = data.get("text")
        if not isinstance(text, str) or any("\ud800" <= one <= "\udfff" for one in text):
            raise UsageError("text is missing, or no text")
        if self.sentences.length + len(text) > TEXT_LIMIT:
            raise UsageError(f"a request has at most {TEXT_LIMIT} characters of text")
        if not self.streamed:
            self._put([text])
            return
        self._put(self.sentences.add(text))

    def end(self) -> None:
        """Nothing more of it comes."""
        self._put(self.sentences.rest())
        self._send.close()

    def _put(self, texts: list[str]) -> None:
        for text in texts:
            self._send.send_nowait(text)


class _Player:
    """Passes samples on as events: a listener of speech.py."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._rate, self._samples = 0, 0

    async def begin(self, rate: int, label: Label) -> None:
        self._rate = rate
        await self._events.write("audio-start", self._format() | {"aigc": _facts(label)})

    async def take(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), CHUNK):
            piece = pcm[start : start + CHUNK]
            await self._events.write("audio-chunk", self._format(), piece)
            self._samples += len(piece) // WIDTH

    async def end(self) -> None:
        if self._rate:
            await self._events.write("audio-stop", {"timestamp": self._format()["timestamp"]})

    def _format(self) -> dict[str, Any]:
        milliseconds = self._samples * 1000 // self._rate
        return {"rate": self._rate, "width": WIDTH, "channels": CHANNELS, "timestamp": milliseconds}


class Session:
    """One connection, from its first event to its end."""

    def __init__(self, stream: trio.abc.Stream, voices: Voices) -> None:
        self._events = Events(stream)
        self._voices = voices
        self._send, self._requests = trio.open_memory_channel[_Request](WAITING_LIMIT)
        self._coming: _Request | None = None
        #: Ends the wait for an event when nothing is spoken for too long.
        self._idle = trio.CancelScope()
        self._speaking = False

    async def run(self) -> None:
        """Answer until either side ends the connection. What fails is told, and ends it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak_all)
                await self._listen()
                nursery.cancel_scope.cancel()
        except Exception as error:
            if _is_gone(error):
                return
            try:
                await self._events.write("error", as_event(to_error(error)))
            except Gone:
                return

    async def _listen(self) -> None:
        while await self._arrives():
            await self._answer(await self._events.read())

    async def _arrives(self) -> bool:
        with trio.CancelScope(deadline=self._patience()) as self._idle:
            return await self._events.arrives()
        return False

    def _patience(self) -> float:
        return float("inf") if self._speaking else trio.current_time() + IDLE_SECONDS

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """Somebody who listens has nothing to say: the silence counts from the end of what is spoken."""
        self._speaking = True
        self._idle.deadline = self._patience()
        try:
            yield
        finally:
            self._speaking = False
            self._idle.deadline = self._patience()

    async def _answer(self, event: Event) -> None:
        coming = self._coming
        match event.type:
            case "describe":
                await self._events.write("info", await self._voices.info())
            case "ping":
                text = event.data.get("text")
                said = text[:PING_LIMIT] if isinstance(text, str) else None
                await self._events.write("pong", {"text": said})
            case "synthesize" if coming is None:
                request = _Request(event.data, streamed=False)
                request.add(event.data)
                if not is_spoken(str(event.data["text"])):
                    raise UsageError("there is nothing to speak")
                request.end()
                self._ask(request)
            case "synthesize-start":
                if coming is not None:
                    raise UsageError("a streamed text has begun already", hint="synthesize-stop ends it")
                self._coming = _Request(event.data, streamed=True)
                self._ask(self._coming)
            case "synthesize-chunk" if coming is not None:
                coming.add(event.data)
            case "synthesize-stop" if coming is not None:
                coming.end()
                self._coming = None

    def _ask(self, request: _Request) -> None:
        try:
            self._send.send_nowait(request)
        except trio.WouldBlock:
            raise BusyError(f"{WAITING_LIMIT} requests wait on this connection already") from None

    async def _speak_all(self) -> None:
        async for request in self._requests:
            with self._busy():
                voice, language = await self._voices.choose(request.wanted)
            async for text in request.texts:
                with self._busy():
                    player = _Player(self._events)
                    await self._voices.speak(voice, text, language, player)
                    await player.end()
            if request.streamed:
                await self._events.write("synthesize-stopped", {})


def _facts(label: Label) -> dict[str, str]:
    """The label in the standard's words, and the release that speaks."""
    facts = {"Label": label.mark, "ContentProducer": label.producer, "ProduceID": label.produce_id}
    return facts | ({"Release": label.release} if label.release is not None else {})


def _is_gone(error: BaseException) -> bool:
    """Whether this is but the other side's end; of several reasons that one is not worth a word."""
    if isinstance(error, BaseExceptionGroup):
        return any(_is_gone(one) for one in error.exceptions)
    return isinstance(error, Gone)
