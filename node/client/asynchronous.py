"""The same client for asyncio and trio.

Each call is the synchronous one in a thread, so there is one transport. A call that is cancelled ends its
connection, which wakes its thread and cancels the work in the daemon. Not for what the calls mean: see
sync.py. Follows specs/python-client.md.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import anyio
import anyio.to_thread

from p2pvoice.node.client import calls
from p2pvoice.node.client.calls import Event
from p2pvoice.node.client.sync import Client, Work
from p2pvoice.node.rpc.transport import ANSWER_TIMEOUT
from p2pvoice.protocol.errors import DaemonUnavailableError, UsageError

#: Calls of one client that wait at the same time; each takes a thread. More wait for their turn.
THREADS = 64

T = TypeVar("T")


class AsyncClient:
    """The node of one home, as :class:`Client`, under asyncio or trio.

        >>> import anyio
        >>> from p2pvoice.node.client import AsyncClient
        >>> async def main():
        ...     async with AsyncClient() as client:
        ...         return [len(piece) > 0 async for piece in client.stream("Hello.", voice="storyteller")]
        >>> all(anyio.run(main))
        True

    Belongs to the event loop in which it is first used.
    """

    def __init__(self, home: Path | str | None = None, *, timeout: float = ANSWER_TIMEOUT) -> None:
        self._home, self._timeout = home, timeout
        self._calls: set[Client] = set()
        self._closed = False
        self._limiter: anyio.CapacityLimiter | None = None

    def close(self) -> None:
        """End whatever is under way. Afterwards nothing more can be asked. Does not wait."""
        self._closed = True
        for call in list(self._calls):
            call.close()

    async def aclose(self) -> None:
        """The same, for those who expect to wait."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    # -- what can be asked: see sync.py ---------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """What the node is and does."""
        return await self._ask(Client.status)

    def find(
        self, *tags: str, text: str = "", limit: int = 50, timeout: float = 10.0
    ) -> "AsyncStream[dict[str, Any]]":
        """Voices as they are found, here first and then in the network."""
        return AsyncStream(self, lambda one: one.find(*tags, text=text, limit=limit, timeout=timeout))

    async def voices(self) -> list[dict[str, Any]]:
        """The installed voices."""
        return await self._ask(Client.voices)

    async def show(self, voice: str) -> dict[str, Any]:
        """One voice in full."""
        return await self._ask(lambda one: one.show(voice))

    async def preview(self, voice: str) -> bytes:
        """The preview clip of a voice, as a WAV file."""
        return await self._ask(lambda one: one.preview(voice))

    def fetch(self, voice: str, *, seed: bool = True) -> "AsyncWork":
        """Fetch a voice; ``seed`` is whether to offer it to others."""
        return AsyncWork(self, lambda one: one.fetch(voice, seed=seed))

    def update(self, voice: str = "") -> "AsyncWork":
        """Bring one installed voice, or all of them, to its newest release."""
        return AsyncWork(self, lambda one: one.update(voice))

    async def remove(self, voice: str) -> dict[str, Any]:
        """Remove an installed voice."""
        return await self._ask(lambda one: one.remove(voice))

    async def speak(
        self,
        text: str,
        *,
        voice: str = "",
        draft: str = "",
        lang: str = "",
        format: str = "wav",
        **options: object,
    ) -> bytes:
        """Speak a text into one labelled audio file (``wav`` or ``flac``)."""
        return await self._ask(
            lambda one: one.speak(text, voice=voice, draft=draft, lang=lang, format=format, **options)
        )

    def stream(
        self,
        text: str,
        *,
        voice: str = "",
        draft: str = "",
        lang: str = "",
        format: str = "wav",
        **options: object,
    ) -> "AsyncStream[bytes]":
        """Speak a text, piece by piece as the daemon sends it."""
        return AsyncStream(
            self, lambda one: one.stream(text, voice=voice, draft=draft, lang=lang, format=format, **options)
        )

    async def drafts(self) -> list[dict[str, Any]]:
        """The voices of this home that are not published yet."""
        return await self._ask(Client.drafts)

    def import_voice(
        self,
        name: str,
        *,
        sovits: Path | str,
        gpt: Path | str,
        clip: Path | str,
        text: str,
        lang: str,
        slug: str = "",
        parents: Sequence[str] = (),
    ) -> "AsyncWork":
        """Make a draft of the two files that GPT-SoVITS writes and a clip with its text."""
        return AsyncWork(
            self,
            lambda one: one.import_voice(
                name, sovits=sovits, gpt=gpt, clip=clip, text=text, lang=lang, slug=slug, parents=parents
            ),
        )

    def import_bundled(self, name: str) -> "AsyncWork":
        """Make a draft of the small voice that comes with the package."""
        return AsyncWork(self, lambda one: one.import_bundled(name))

    def publish(
        self, draft: str, *, license: str, consent: str, tags: Sequence[str] = (), **more: object
    ) -> "AsyncWork":
        """Publish a draft."""
        return AsyncWork(
            self, lambda one: one.publish(draft, license=license, consent=consent, tags=tags, **more)
        )

    async def request(self, method: str, path: str, body: object = None) -> Any:
        """Any endpoint with a JSON answer, as GET /v1/openapi.json lists them."""
        return await self._ask(lambda one: one.request(method, path, body))

    def work(self, method: str, path: str, body: object = None) -> "AsyncWork":
        """Any endpoint that answers with a stream of events."""
        return AsyncWork(self, lambda one: one.work(method, path, body))

    # -- how it is asked ------------------------------------------------------------------------------

    def _begin(self) -> Client:
        """A client for one call: what ends it ends nothing else."""
        if self._closed:
            raise UsageError("the client is closed")
        call = Client(self._home, timeout=self._timeout)
        self._calls.add(call)
        return call

    def _end(self, call: Client) -> None:
        self._calls.discard(call)
        call.close()

    async def _wait(self, work: Callable[[], T]) -> T:
        """Run what blocks in a thread. Cancelled, it is left behind; whoever cancels ends its connection."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(THREADS)
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)

    async def _ask(self, work: Callable[[Client], T]) -> T:
        call = self._begin()
        try:
            return await self._wait(lambda: work(call))
        finally:
            self._end(call)


class AsyncStream(AsyncIterator[T], Generic[T]):
    """Something that comes piece by piece. It begins with the first piece that is asked for.

    Dropping it, ``close``, the end of an async with block, and cancelling whoever waits for a piece cancel it
    in the daemon.
    """

    def __init__(self, client: AsyncClient, begin: Callable[[Client], Iterator[T]]) -> None:
        self._client, self._make = client, begin
        self._call: Client | None = None
        self._pieces: Iterator[T] | None = None
        self._over = False

    async def __anext__(self) -> T:
        if self._over:
            raise StopAsyncIteration
        if self._call is None:
            self._call = self._client._begin()
            self._pieces = self._make(self._call)
        pieces = self._pieces
        assert pieces is not None
        try:
            # A StopIteration cannot leave a thread: the end travels as an empty tuple.
            found = await self._client._wait(lambda: tuple(_first(pieces)))
        except BaseException:
            self.close()
            raise
        if not found:
            self.close()
            raise StopAsyncIteration
        return found[0]

    def close(self) -> None:
        """Give it up. Does not wait."""
        self._over = True
        if self._call is not None:
            self._client._end(self._call)
            self._call = None

    async def aclose(self) -> None:
        """The same, for those who expect to wait."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class AsyncWork(AsyncStream[Event]):
    """Something that takes its time, as :class:`Work`: iterate over its events, or ask for its result."""

    def __init__(self, client: AsyncClient, begin: Callable[[Client], Work]) -> None:
        super().__init__(client, begin)

    async def result(self) -> dict[str, Any]:
        """Wait for the end, and return what the result event says."""
        last: Event = {}
        async for event in self:
            last = event
        if not last:
            raise DaemonUnavailableError("this work was given up or has ended already")
        return calls.result_of(last)


def _first(pieces: Iterator[T]) -> Iterator[T]:
    """The next piece, if there is one."""
    for piece in pieces:
        yield piece
        return
