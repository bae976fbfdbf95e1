"""A small synchronous client of the daemon's RPC, made for the CLI and for scripts.

It speaks HTTP/1.1 over the unix socket of one home with the standard library alone: importing it costs
milliseconds and pulls in neither torch nor libp2p nor trio. Errors arrive as the classes of
``p2pvoice.protocol.errors``; when nothing answers on the socket, DaemonUnavailableError says so. Every
call opens its own connection, so an iterator that is dropped half-way cancels the daemon's work.
Follows specs/rpc.md.
"""

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import quote, urlencode

from p2pvoice.node.paths import Home
from p2pvoice.protocol.errors import BugError, DaemonUnavailableError, P2PVoiceError, UsageError, from_dict

#: Seconds the daemon may stay silent before a short request is given up.
ANSWER_TIMEOUT = 60.0

#: Seconds between two lines of a stream, or until the audio of a long text is whole.
STREAM_TIMEOUT = 3_600.0

#: Bytes read from an upload's file at a time.
UPLOAD_PIECE = 1 << 20

#: Longest line of a stream, in bytes.
LINE_LIMIT = 4 << 20

Event = dict[str, Any]

T = TypeVar("T")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


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
    def seconds(self) -> float:
        """Length of the audio in seconds."""
        return float(self.headers.get("x-audio-seconds", "0") or 0)


class Client:
    """The daemon of one home. Cheap to make; nothing is connected until a call is made."""

    def __init__(self, home: Path | str | None = None, *, timeout: float = ANSWER_TIMEOUT) -> None:
        self._home = Home.at(home)
        self._timeout = timeout

    @classmethod
    def of(cls, home: Home) -> Self:
        """The client of an already resolved home."""
        return cls(home.root)

    @property
    def home(self) -> Home:
        return self._home

    # -- the four kinds of request ---------------------------------------------------------------

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

    # -- the endpoints by name ---------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What the node is and does."""
        return dict(self.json("GET", "/v1/status"))

    def doctor(self) -> Iterator[Event]:
        """The daemon's half of a check-up: a ``check`` event a row, then how many of each state."""
        return self.stream("GET", "/v1/doctor")

    def shutdown(self) -> None:
        """Ask the daemon to stop; it answers first and stops then."""
        self.json("POST", "/v1/shutdown")

    def peers(self) -> list[dict[str, Any]]:
        """The peers the node knows, with the reason for which any was dropped."""
        return list(self.json("GET", "/v1/peers")["peers"])

    def connect(self, multiaddr: str) -> dict[str, Any]:
        """Dial a peer."""
        return dict(self.json("POST", "/v1/connect", {"multiaddr": multiaddr}))

    def key(self) -> dict[str, Any]:
        """The author key: ids and states, nothing secret."""
        return dict(self.json("GET", "/v1/key"))

    def change_key(self, action: str, **body: object) -> dict[str, Any]:
        """``unlock``, ``lock``, ``passphrase``, ``export``, ``import``; bodies as in specs/rpc.md."""
        return dict(self.json("POST", "/v1/key/" + action, body))

    def rotate_key(self, *, passphrase: str = "", reason: str = "") -> Iterator[Event]:
        """Make a new author key and publish the own voices again under it."""
        return self.stream("POST", "/v1/key/rotate", {"passphrase": passphrase, "reason": reason})

    def following(self) -> dict[str, Any]:
        """Followed authors, and the moves that were not told of yet."""
        return dict(self.json("GET", "/v1/following"))

    def follow(self, author: str, name: str | None = None) -> dict[str, Any]:
        """Follow an author."""
        return dict(self.json("POST", "/v1/following", {"author": author, "name": name}))

    def unfollow(self, author: str) -> dict[str, Any]:
        """Follow an author no longer."""
        return dict(self.json("DELETE", "/v1/following/" + quote(author, safe="")))

    def told_of_move(self, old: str) -> None:
        """The user has seen that this followed key was given up."""
        self.json("POST", "/v1/following/told", {"old": old})

    def drafts(self) -> list[dict[str, Any]]:
        """The drafts of this home."""
        return list(self.json("GET", "/v1/drafts")["drafts"])

    def import_voice(
        self,
        *,
        name: str,
        sovits: str,
        gpt: str,
        clip: str,
        clip_name: str,
        text: str,
        lang: str,
        slug: str = "",
    ) -> Iterator[Event]:
        """Make a draft of three uploads (their ids)."""
        body = {
            "name": name,
            "slug": slug or None,
            "sovits": sovits,
            "gpt": gpt,
            "clip": clip,
            "clip_name": clip_name,
            "text": text,
            "lang": lang,
        }
        return self.stream("POST", "/v1/drafts", body)

    def import_bundled(self, name: str) -> Iterator[Event]:
        """Make a draft of the voice that comes with the package."""
        return self.stream("POST", "/v1/drafts/bundled", {"name": name})

    def publish(self, body: Mapping[str, object]) -> Iterator[Event]:
        """Publish a draft; the body is that of specs/rpc.md."""
        return self.stream("POST", "/v1/publish", dict(body))

    def sign_consent(self, body: Mapping[str, object]) -> dict[str, Any]:
        """Sign a consent with this node's author key; its bytes are base64 in ``consent``."""
        return dict(self.json("POST", "/v1/consent", dict(body)))

    def find(
        self, *, tags: tuple[str, ...] = (), text: str = "", limit: int = 50, timeout: float = 10.0
    ) -> Iterator[Event]:
        """Voices as they are found, here first and then in the network."""
        query = [*(("tag", tag) for tag in tags), ("text", text), ("limit", limit), ("timeout", timeout)]
        return self.stream("GET", "/v1/find?" + urlencode([pair for pair in query if pair[1] != ""]))

    def voices(self) -> list[dict[str, Any]]:
        """Installed voices and own ones."""
        return list(self.json("GET", "/v1/voices")["voices"])

    def show(self, ref: str) -> dict[str, Any]:
        """One voice in full."""
        return dict(self.json("GET", _voice(ref)))

    def preview(self, ref: str) -> Audio:
        """The preview clip of a voice, fetched from a peer when it is not here."""
        return self.audio("GET", _voice(ref) + "/preview")

    def fetch(self, ref: str, *, seed: bool = True) -> Iterator[Event]:
        """Fetch a voice; progress events, then a result."""
        return self.stream("POST", _voice(ref) + "/fetch", {"seed": seed})

    def update(self, ref: str = "") -> Iterator[Event]:
        """Bring one installed voice, or all of them, to its newest release."""
        return self.stream("POST", _voice(ref) + "/update" if ref else "/v1/update")

    def revoke(
        self, ref: str, *, whole: bool = False, reason: str = "", passphrase: str = ""
    ) -> Iterator[Event]:
        """Call a release back, or its whole voice; for its author and for the person whose voice it is."""
        body = {"all": whole, "reason": reason, "passphrase": passphrase}
        return self.stream("POST", _voice(ref) + "/revoke", body)

    def revocations(self) -> list[dict[str, Any]]:
        """The revocations known here."""
        return list(self.json("GET", "/v1/revocations")["revocations"])

    def remove(self, ref: str) -> dict[str, Any]:
        """Remove an installed voice from this home."""
        return dict(self.json("DELETE", _voice(ref)))

    def gc(self, *, dry_run: bool = False) -> Iterator[Event]:
        """Remove files that nobody needs; events of what is removed, then a result."""
        return self.stream("POST", "/v1/gc", {"dry_run": dry_run})

    def verify(self, ref: str = "", *, repair: bool = True) -> Iterator[Event]:
        """Check the files of one installed voice, or of all, and repair what is damaged."""
        return self.stream("POST", "/v1/verify", {"voice": ref, "repair": repair})

    def speak(self, body: Mapping[str, object]) -> Audio:
        """Speak a text; the body is that of specs/rpc.md."""
        return self.audio("POST", "/v1/speak", dict(body))

    def bases(self) -> list[dict[str, Any]]:
        """The installed helper networks."""
        return list(self.json("GET", "/v1/bases")["bases"])

    def bundled_base(self) -> dict[str, Any]:
        """The helper network that comes with the program."""
        return dict(self.json("GET", "/v1/bases")["bundled"])

    def add_base(
        self,
        name: str,
        files: Mapping[str, str],
        *,
        kind: str = "",
        license: str = "",
        license_upload: str = "",
    ) -> Iterator[Event]:
        """Install a helper network of uploads: file name -> upload id; ``kind`` is ``asr`` or empty.

        ``license`` is an SPDX id, ``license_upload`` the licence's text.
        """
        body = {"name": name, "files": dict(files), "kind": kind}
        return self.stream("POST", "/v1/bases", body | {"license": license, "license_upload": license_upload})

    def trainings(self) -> list[dict[str, Any]]:
        """The trainings of this home."""
        return list(self.json("GET", "/v1/trainings")["trainings"])

    def train(self, body: Mapping[str, object]) -> Iterator[Event]:
        """Train a voice of uploaded clips; dropping the iterator stops the training after a checkpoint."""
        return self.stream("POST", "/v1/trainings", dict(body))

    def resume_training(self, name: str) -> Iterator[Event]:
        """Go on with a training that was stopped or killed."""
        return self.stream("POST", _training(name) + "/resume")

    def stop_training(self, name: str) -> dict[str, Any]:
        """Stop a training; answers when its checkpoint is written."""
        return dict(self.json("POST", _training(name) + "/stop"))

    def remove_training(self, name: str) -> dict[str, Any]:
        """Delete a training with its clips and checkpoints."""
        return dict(self.json("DELETE", _training(name)))

    def tune(self, body: Mapping[str, object]) -> Iterator[Event]:
        """Tune a voice with recorded sentences; the body is that of specs/rpc.md."""
        return self.stream("POST", "/v1/tune", dict(body))

    def distil(self, body: Mapping[str, object]) -> Iterator[Event]:
        """Train a lite voice of another voice's speech."""
        return self.stream("POST", "/v1/distil", dict(body))

    def describe(self, body: Mapping[str, object]) -> Iterator[Event]:
        """Measure a draft or an uploaded recording."""
        return self.stream("POST", "/v1/describe", dict(body))

    def similarity(self, a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Event]:
        """Compare two speakers, each ``{"voice": …}``, ``{"draft": …}`` or ``{"upload": …}``."""
        return self.stream("POST", "/v1/similarity", {"a": dict(a), "b": dict(b)})

    def stability(self, subject: Mapping[str, str]) -> Iterator[Event]:
        """How well a voice, or a draft, stays itself."""
        return self.stream("POST", "/v1/stability", dict(subject))

    # -- plumbing ------------------------------------------------------------------------------------

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
        sent = dict(headers or {})
        if isinstance(body, bytes):
            sent["Content-Type"] = "application/json"
        try:
            response = _guard(lambda: _exchange(connection, method, path, body, sent))
        except BaseException:
            connection.close()
            raise
        if response.status >= 400:
            try:
                raise _error_of(response)
            finally:
                connection.close()
        return _Answer(connection, response)


class _Answer:
    def __init__(self, connection: _UnixConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response

    def __enter__(self) -> http.client.HTTPResponse:
        return self._response

    def __exit__(self, *_: object) -> None:
        self._connection.close()


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


def _voice(ref: str) -> str:
    return "/v1/voices/" + quote(ref, safe="", errors="surrogateescape")


def _training(name: str) -> str:
    return "/v1/trainings/" + quote(name, safe="", errors="surrogateescape")


def _pieces(file: BinaryIO, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    sent = 0
    while piece := file.read(UPLOAD_PIECE):
        yield piece
        sent += len(piece)
        if progress is not None:
            progress(sent)
