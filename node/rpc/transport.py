"""Requests to the daemon of one home, over its unix socket, and the four kinds of answer.

It speaks HTTP/1.1 with the standard library alone. Errors arrive as the classes of
``p2pvoice.protocol.errors``; when nothing answers on the socket, DaemonUnavailableError says so. Every call
opens its own connection, so an iterator that is dropped half-way cancels the daemon's work, and ``close``
ends, from any thread, whatever is under way. Not for which endpoints there are: see client.py. Follows
specs/rpc.md.
"""

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import urlencode

from p2pvoice.node.paths import Home
from p2pvoice.protocol.errors import BugError, DaemonUnavailableError, P2PVoiceError, UsageError, from_dict

#: Seconds the daemon may stay silent before a short request is given up.
ANSWER_TIMEOUT = 60.0

#: Seconds between two lines of a stream, or until the audio of a long text is whole.
STREAM_TIMEOUT = 3_600.0

#: Bytes read from an upload's file at a time.
UPLOAD_PIECE = 1 << 20

#: Bytes taken at a time of sound that is being made: whatever is there is handed on at once.
AUDIO_PIECE = 64 * 1024

#: Longest line of a stream, in bytes.
LINE_LIMIT = 4 << 20

Event = dict[str, Any]

T = TypeVar("T")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        # Kept here as well: the library forgets its own once an answer has begun that ends the connection.
        self._link: socket.socket | None = None
        self._aborted = False

    def connect(self) -> None:
        self.sock = self._link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
            if self._aborted:
                raise ConnectionAbortedError("the call was given up")
        except OSError:
            self.sock.close()
            raise

    def abort(self) -> None:
        """End it, and wake up a thread that waits for it. May be called from any thread."""
        self._aborted = True
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._link.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Audio:
    """A whole audio file as the daemon sent it, with the headers that came along (lower-case names)."""

    data: bytes
    headers: Mapping[str, str]

    @property
    def release(self) -> str:
        """Id of the release that spoke."""
        return self.headers.get("x-release-id", "")

    @property
    def missing_base(self) -> str:
        """What `p2pvoice base fetch` takes to get the base that was lacking; empty when none was."""
        return self.headers.get("x-base-missing", "")

    @property
    def seconds(self) -> float:
        """Length of the audio in seconds."""
        return float(self.headers.get("x-audio-seconds", "0") or 0)


class Transport:
    """Requests to the daemon of one home. Cheap to make; nothing is connected until a call is made."""

    def __init__(self, home: Path | str | None = None, *, timeout: float = ANSWER_TIMEOUT) -> None:
        self._home = Home.at(home)
        self._timeout = timeout
        self._calls: set[_UnixConnection] = set()
        self._closed = False

    @classmethod
    def of(cls, home: Home) -> Self:
        """The client of an already resolved home."""
        return cls(home.root)

    @property
    def home(self) -> Home:
        return self._home

    def close(self) -> None:
        """End whatever is under way; the daemon cancels it. Afterwards nothing more can be asked."""
        self._closed = True
        for call in list(self._calls):
            call.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def json(
        self, method: str, path: str, body: object = None, *, query: Mapping[str, object] | None = None
    ) -> Any:
        """One request with a JSON answer."""
        with self._answer(method, path, _encode(body), query, self._timeout) as response:
            return json.loads(_guard(response.read) or b"null")

    def stream(
        self, method: str, path: str, body: object = None, *, query: Mapping[str, object] | None = None
    ) -> Iterator[Event]:
        """The events of an NDJSON answer, as they come. An error event is raised as its class.

        A stream that ends without a result or an error means that the daemon died: DaemonUnavailableError.
        """
        with self._answer(method, path, _encode(body), query, STREAM_TIMEOUT) as response:
            last = ""
            while True:
                line = _guard(lambda: response.readline(LINE_LIMIT))
                if not line:
                    break
                event = json.loads(line)
                last = str(event.get("event", ""))
                if last == "error":
                    raise from_dict(event.get("error") or {})
                yield event
            if last != "result":
                raise DaemonUnavailableError("the daemon went away before it had finished")

    def audio(self, method: str, path: str, body: object = None) -> Audio:
        """One request with an audio answer."""
        with self._answer(method, path, _encode(body), None, STREAM_TIMEOUT) as response:
            data = _guard(response.read)
            return Audio(data, {name.lower(): value for name, value in response.getheaders()})

    def audio_stream(self, method: str, path: str, body: object = None) -> "AudioStream":
        """One request whose answer is sound that is still being made. Close it, or use it in a with block."""
        return AudioStream(self._answer(method, path, _encode(body), None, STREAM_TIMEOUT))

    def pieces(self, method: str, path: str, body: object = None) -> Iterator[bytes]:
        """One request whose answer is bytes, piece by piece as they come."""
        with self._answer(method, path, _encode(body), None, STREAM_TIMEOUT) as response:
            while piece := _guard(lambda: response.read1(UPLOAD_PIECE)):
                yield piece

    def upload(self, path: Path, *, progress: Callable[[int], None] | None = None) -> str:
        """Send a file of the caller's and return the upload's id. The daemon never opens a caller's path."""
        try:
            file = path.open("rb")
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from error
        with file:
            size = path.stat().st_size
            headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
            with self._answer(
                "PUT", "/v1/uploads", _pieces(file, progress), None, self._timeout, headers=headers
            ) as response:
                return str(json.loads(_guard(response.read))["upload"])

    def upload_text(self, text: str) -> str:
        """Send a short text as a file and return the upload's id."""
        body = text.encode()
        headers = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        with self._answer(
            "PUT", "/v1/uploads", iter([body]), None, self._timeout, headers=headers
        ) as response:
            return str(json.loads(_guard(response.read))["upload"])

    def _answer(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None,
        query: Mapping[str, object] | None,
        timeout: float,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> "_Answer":
        if query:
            path += "?" + urlencode({name: value for name, value in query.items() if value is not None})
        connection = _UnixConnection(self._home.find_socket(), timeout)
        self._calls.add(connection)
        if self._closed:
            self._calls.discard(connection)
            raise UsageError("the client is closed")
        sent = dict(headers or {})
        if isinstance(body, bytes):
            sent["Content-Type"] = "application/json"
        try:
            response = _guard(lambda: _exchange(connection, method, path, body, sent))
            if response.status >= 400:
                raise _error_of(response)
        except BaseException:
            self._calls.discard(connection)
            connection.close()
            raise
        return _Answer(connection, response, self._calls)


class _Answer:
    def __init__(
        self,
        connection: _UnixConnection,
        response: http.client.HTTPResponse,
        calls: set[_UnixConnection],
    ) -> None:
        self._connection = connection
        self._response = response
        self._calls = calls

    def __enter__(self) -> http.client.HTTPResponse:
        return self._response

    def __exit__(self, *_: object) -> None:
        self._calls.discard(self._connection)
        self._connection.close()


class AudioStream:
    """Sound as it comes; dropping it half-way cancels the daemon's work."""

    def __init__(self, answer: "_Answer") -> None:
        self._answer = answer
        self._response = answer.__enter__()
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}

    @property
    def rate(self) -> int:
        """Samples a second, 16 bit little-endian, mono."""
        return int(self.headers["x-sample-rate"])

    def __iter__(self) -> Iterator[bytes]:
        """The bytes; DaemonUnavailableError when they break off before the end."""
        while piece := _guard(lambda: self._response.read1(AUDIO_PIECE)):
            yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._answer.__exit__()


def _exchange(
    connection: _UnixConnection,
    method: str,
    path: str,
    body: bytes | Iterator[bytes] | None,
    headers: Mapping[str, str],
) -> http.client.HTTPResponse:
    connection.connect()
    # The daemon refuses a body that is too large before it has read all of it; its answer says why.
    with contextlib.suppress(BrokenPipeError):
        connection.request(method, path, body=body, headers=dict(headers))
    return connection.getresponse()


def _guard(call: Callable[[], T]) -> T:
    """Run one piece of traffic and turn the ways in which a daemon can be absent into our one error."""
    try:
        return call()
    except TimeoutError as error:
        raise DaemonUnavailableError("the daemon does not answer", hint="p2pvoice daemon stop") from error
    except (OSError, http.client.HTTPException) as error:
        raise DaemonUnavailableError from error


def _error_of(response: http.client.HTTPResponse) -> P2PVoiceError:
    body = _guard(response.read)
    try:
        return from_dict(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return BugError(f"the daemon answered {response.status} without saying why")


def _encode(body: object) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _pieces(file: BinaryIO, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    sent = 0
    while piece := file.read(UPLOAD_PIECE):
        yield piece
        sent += len(piece)
        if progress is not None:
            progress(sent)
