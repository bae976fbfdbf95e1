"""What the daemon and its worker process say to each other, and how it is framed.

One frame is a big-endian u32 length and a MessagePack body; the daemon writes requests to the worker's
stdin, the worker answers on what was its stdout. Both ends are ours and run as the same user, so this is
a format and not a protocol: both sides come from one installation. No torch here, and no trio.
Follows specs/worker.md.
"""

import struct
from typing import Any

import msgspec

#: Largest body of one frame, in bytes: a long text as one FLAC file stays far below it.
FRAME_LIMIT = 128 << 20

LENGTH = struct.Struct(">I")


class Request(msgspec.Struct, frozen=True, tag="request"):
    """Do something; exactly one Result or Failure with the same id follows."""

    id: int
    operation: str
    arguments: dict[str, Any]


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop working on a request; its Failure or Result still follows."""

    id: int


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A worker is there: the first thing it says, before any request, with the sandbox that holds it."""

    sandbox: dict[str, Any]


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far a request has come."""

    id: int
    data: dict[str, Any]


class Piece(msgspec.Struct, frozen=True, tag="piece"):
    """Some audio of a request: PCM, 16-bit little-endian, mono."""

    id: int
    data: bytes


class Result(msgspec.Struct, frozen=True, tag="result"):
    """A request is done."""

    id: int
    data: dict[str, Any]


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """A request failed; the body is that of an error of the tree. Request 0 is the start itself."""

    id: int
    error: dict[str, Any]


ToWorker = Request | Cancel
FromWorker = Hello | Progress | Piece | Result | Failure

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_answers: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def frame(message: ToWorker | FromWorker) -> bytes:
    """A message as it travels."""
    body = _encoder.encode(message)
    if len(body) > FRAME_LIMIT:
        raise ValueError(f"a frame of {len(body)} bytes is over the limit of {FRAME_LIMIT}")
    return LENGTH.pack(len(body)) + body


def body_length(head: bytes) -> int:
    """The length a frame announces; ValueError when it is over the limit."""
    length = int(LENGTH.unpack(head)[0])
    if length > FRAME_LIMIT:
        raise ValueError(f"a frame of {length} bytes is over the limit of {FRAME_LIMIT}")
    return length


def read_request(body: bytes) -> ToWorker:
    """What the daemon said."""
    return _requests.decode(body)


def read_answer(body: bytes) -> FromWorker:
    """What the worker said."""
    return _answers.decode(body)
