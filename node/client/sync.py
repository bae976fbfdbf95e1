"""The client for programs that wait: each method asks the daemon and returns, or gives an iterator.

Not the command line's client, which names every endpoint (rpc/client.py); this one is built on it. Follows
specs/python-client.md.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from p2pvoice.node.client import calls
from p2pvoice.node.client.calls import Event
from p2pvoice.node.rpc.client import Client as Rpc
from p2pvoice.node.rpc.transport import ANSWER_TIMEOUT
from p2pvoice.protocol.errors import DaemonUnavailableError


class Work(Iterator[Event]):
    """Something that takes its time: iterate over its events, or ask for its result.

    It begins with the first event that is asked for. The last event is ``{"event": "result", …}``, an error
    is raised. Dropping it, ``close`` and the end of a with block cancel it in the daemon.
    """

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events

    def __next__(self) -> Event:
        return next(self._events)

    def result(self) -> dict[str, Any]:
        """Wait for the end, and return what the result event says."""
        last: Event = {}
        for event in self:
            last = event
        if not last:
            raise DaemonUnavailableError("this work was given up or has ended already")
        return calls.result_of(last)

    def close(self) -> None:
        """Give it up."""
        close = getattr(self._events, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """The node of one home: ``home``, else P2PVOICE_HOME, else the platform's place.

    Nothing is connected until something is asked. ``timeout`` is how many seconds the daemon may take for a
    short answer. May be used by several threads. Every method raises the errors of
    ``p2pvoice.protocol.errors``, DaemonUnavailableError when no daemon runs.
    """

    def __init__(self, home: Path | str | None = None, *, timeout: float = ANSWER_TIMEOUT) -> None:
        self._rpc = Rpc(home, timeout=timeout)

    def close(self) -> None:
        """End whatever is under way. Afterwards nothing more can be asked."""
        self._rpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def status(self) -> dict[str, Any]:
        """What the node is and does."""
        return self._rpc.status()

    def find(
        self, *tags: str, text: str = "", limit: int = 50, timeout: float = 10.0
    ) -> Iterator[dict[str, Any]]:
        """Voices as they are found, here first and then in the network, for at most ``timeout`` seconds."""
        return calls.voices_of(self._rpc.find(tags=tags, text=text, limit=limit, timeout=timeout))

    def voices(self) -> list[dict[str, Any]]:
        """The installed voices."""
        return self._rpc.voices()

    def show(self, voice: str) -> dict[str, Any]:
        """One voice in full."""
        return self._rpc.show(voice)

    def preview(self, voice: str) -> bytes:
        """The preview clip of a voice, as a WAV file; fetched from a peer when it is not here."""
        return self._rpc.preview(voice).data

    def fetch(self, voice: str, *, seed: bool = True) -> Work:
        """Fetch a voice; ``seed`` is whether to offer it to others."""
        return Work(self._rpc.fetch(voice, seed=seed))

    def update(self, voice: str = "") -> Work:
        """Bring one installed voice, or all of them, to its newest release."""
        return Work(self._rpc.update(voice))

    def remove(self, voice: str) -> dict[str, Any]:
        """Remove an installed voice."""
        return self._rpc.remove(voice)

    def speak(
        self,
        text: str,
        *,
        voice: str = "",
        draft: str = "",
        lang: str = "",
        format: str = "wav",
        **options: object,
    ) -> bytes:
        """Speak a text into one labelled audio file (``wav`` or ``flac``).

        Without ``lang`` it is the voice's own language. The options are those of specs/rpc.md: ``seed``,
        ``speed``, ``temperature``, ``top_k``, ``top_p``, ``reference`` and so on.
        """
        return self._rpc.speak(calls.speak_body(text, voice, draft, lang, format, options)).data

    def stream(
        self,
        text: str,
        *,
        voice: str = "",
        draft: str = "",
        lang: str = "",
        format: str = "wav",
        **options: object,
    ) -> Iterator[bytes]:
        """Speak a text, piece by piece as the daemon sends it; dropping the iterator stops the speaking.

        Joined, the pieces are one file. ``format`` is ``wav``, or what else specs/rpc.md streams. When the
        pieces break off before the end: DaemonUnavailableError.
        """
        return calls.pieces(self._rpc, calls.speak_body(text, voice, draft, lang, format, options))

    def drafts(self) -> list[dict[str, Any]]:
        """The voices of this home that are not published yet."""
        return self._rpc.drafts()

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
    ) -> Work:
        """Make a draft of the two files that GPT-SoVITS writes and a clip with its text.

        The files are read here and sent: the daemon opens no path of a caller's.
        """
        return Work(calls.brought(self._rpc, name, sovits, gpt, clip, text, lang, slug, parents))

    def import_bundled(self, name: str) -> Work:
        """Make a draft of the small voice that comes with the package."""
        return Work(self._rpc.import_bundled(name))

    def publish(
        self, draft: str, *, license: str, consent: str, tags: Sequence[str] = (), **more: object
    ) -> Work:
        """Publish a draft. ``consent`` says whose voice it is: ``self``, ``synthetic``, ``named`` …

        ``more`` is as in specs/rpc.md: ``description``, ``subject``, ``ai_voice_permission`` and so on.
        """
        return Work(self._rpc.publish(calls.publish_body(draft, license, consent, tags, more)))

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Any endpoint with a JSON answer, as GET /v1/openapi.json lists them."""
        return self._rpc.json(method, path, body)

    def work(self, method: str, path: str, body: object = None) -> Work:
        """Any endpoint that answers with a stream of events."""
        return Work(self._rpc.stream(method, path, body))
