"""A caller of the compatible APIs that sends exactly what it is told, and what is checked of sound."""

import http.client
import io
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy
import soundfile

from p2pvoice.protocol.label import read_label

from ..node.nodes import Daemon

TEXT = "Hello there."
"""Something short to say."""

SEED = 7

LONG = " ".join(
    f"This is sentence number {number}, and it goes on for a while, since nobody has stopped it yet."
    for number in range(1, 41)
)
"""What takes a node much longer than a caller has patience."""


class Answer:
    """Status, header fields and body of an answer that came whole."""

    def __init__(self, found: http.client.HTTPResponse, body: bytes) -> None:
        self.status, self.headers, self.body = found.status, found.headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"


class Caller:
    """A program on this machine that may use a node's APIs."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    @property
    def facts(self) -> dict[str, Any]:
        return self.daemon.client.api()

    @contextmanager
    def asking(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer while it comes; the connection is closed afterwards, read or not.

        ``token`` None sends the right one, an empty one none. A body that is no bytes is sent as JSON.
        """
        facts = self.facts
        token = facts["token"] if token is None else token
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            sent["Content-Type"] = "application/json"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", facts["port"], timeout=120)
        try:
            connection.request(method, path, data, {**sent, **(fields or {})})
            yield connection.getresponse()
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: object = None, **how: Any) -> Answer:
        """An answer that has come whole."""
        with self.asking(method, path, body, **how) as found:
            return Answer(found, found.read())

    def raw(self, request: bytes) -> bytes:
        """What comes back for these bytes until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.facts["port"]), timeout=30) as connection:
            connection.sendall(request)
            found = bytearray()
            while piece := connection.recv(65_536):
                found += piece
            return bytes(found)

    @property
    def worker(self) -> dict[str, Any]:
        """What the node says of its worker."""
        return dict(self.daemon.client.status()["worker"])


def heard(data: bytes, *, kind: str, rate: int | None = None) -> float:
    """The seconds of a sound file, after checking what it is, that it is heard, and its label."""
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert f"{file.format} {file.subtype}" == kind
        assert rate in (None, file.samplerate)
        samples = file.read(dtype="float32")
        seconds = len(samples) / file.samplerate
    assert seconds > 0.2
    assert numpy.abs(samples).max() > 0.02
    label = read_label(data)
    assert label is not None
    assert label.mark == "1"
    assert label.release
    assert label.producer.startswith("p2pvoice/")
    return seconds


MP3, OPUS, VORBIS = "MP3 MPEG_LAYER_III", "OGG OPUS", "OGG VORBIS"
WAV, FLAC = "WAV PCM_16", "FLAC PCM_16"
