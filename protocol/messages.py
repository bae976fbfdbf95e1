"""What every message between peers is: its type, its limit in bytes, and how it becomes bytes and back.

The version is in the stream's protocol id; inside one version, unknown keys are ignored, so a newer peer may
add some. Messages are canonical MessagePack maps with their type under ``t``. The messages themselves stand
by what they are about: catalog_messages.py, recall_messages.py, exchange_messages.py, collection_messages.py,
shelf_messages.py, conversation.py. Not for framing, nor for sending. Follows specs/messages.md.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.errors import (
    ManifestError,
    NetworkError,
    P2PVoiceError,
    ProtocolMismatchError,
    by_code,
)
from p2pvoice.protocol.fields import Fields

REQUEST_LIMIT = 4096
"""Bytes of any request."""

FAIL_MESSAGE_LENGTH = 200
"""Characters of a failure's message that are sent and shown."""

CODE_LENGTH = 32
"""Characters of an error code."""

SLACK = 512
"""Bytes of keys, numbers and lengths around the payload of a reply."""

_ITEMS = 1024
"""Values in one message."""


class Wire(Protocol):
    """What every message is, in whatever module it is written: a type, a limit in bytes, and its keys."""

    TYPE: ClassVar[str]
    LIMIT: ClassVar[int]

    def _body(self) -> dict[str, Any]: ...

    @classmethod
    def _read(cls, fields: Fields) -> Self: ...


@dataclass(frozen=True)
class Fail:
    """The request cannot be answered: a code of the error tree, and a message that a person may read.

    The message comes from a stranger, so what cannot be shown is taken out of it before it is believed.
    """

    code: str
    message: str = ""
    TYPE: ClassVar[str] = "fail"
    LIMIT: ClassVar[int] = 4 * FAIL_MESSAGE_LENGTH + SLACK

    def __post_init__(self) -> None:
        if not 1 <= len(self.code) <= CODE_LENGTH or not self.code.replace("_", "").isalnum():
            raise ManifestError("a failure carries an error code")
        if not self.code.isascii() or len(self.message) > FAIL_MESSAGE_LENGTH:
            raise ManifestError(f"the message of a failure has at most {FAIL_MESSAGE_LENGTH} characters")

    @classmethod
    def of(cls, error: P2PVoiceError) -> "Fail":
        """The failure a peer may be told of. Hints stay here: they are for our own user."""
        return cls(error.code, _shown(error.message))

    def error(self) -> P2PVoiceError:
        """The failure as an error on the asking side; NetworkError for a code this version does not know."""
        kind = by_code(self.code)
        # A bug on the other side is not a bug here.
        if kind.code != self.code or (kind.http_status >= 500 and not issubclass(kind, NetworkError)):
            kind = NetworkError
        return kind(f"the peer says: {_shown(self.message)}" if self.message else "")

    def _body(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message}

    @classmethod
    def _read(cls, fields: Fields) -> "Fail":
        return cls(fields.text("code"), fields.text("message", ""))


_Expected = TypeVar("_Expected", bound=Wire)


def encode_message(message: Wire) -> bytes:
    """The payload of the frame that carries a message."""
    data = encode(message._body() | {"t": message.TYPE})
    if len(data) > message.LIMIT:
        raise ManifestError(f"a {message.TYPE} message has at most {message.LIMIT} bytes")
    return data


def decode_message(data: bytes, *expected: type[_Expected]) -> _Expected:
    """Read a message, which must be one of the expected types.

    Raises ManifestError for anything malformed and ProtocolMismatchError for a message of another type.
    """
    value = decode(data, limit=message_limit(*expected), max_items=_ITEMS)
    fields = Fields(value, "the message")
    name = fields.text("t")
    for kind in expected:
        if name == kind.TYPE:
            if len(data) > kind.LIMIT:
                raise ManifestError(f"a {name} message has at most {kind.LIMIT} bytes")
            return kind._read(fields)
    raise ProtocolMismatchError(f"a message of type {name[:20]!r} came where it makes no sense")


def message_limit(*expected: type[_Expected]) -> int:
    """The longest frame to accept while waiting for one of these messages, in bytes."""
    return max(kind.LIMIT for kind in expected)


def _shown(text: str) -> str:
    kept = "".join(character if character.isprintable() else " " for character in text[:FAIL_MESSAGE_LENGTH])
    return " ".join(kept.split())
