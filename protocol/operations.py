"""Operations: signed records of what people do to a voice, each chained to its signer's one before.

For signing and verifying one operation, and for its id. How operations join a chain is chain.py's, what
they add up to replay.py's. Follows specs/operations.md.
"""

import base64
import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.acts import Act, name_of, read_act
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.entries import check_number
from p2pvoice.protocol.envelope import ENVELOPE_OVERHEAD, open_envelope, public_key_of, seal
from p2pvoice.protocol.errors import ManifestError, SignatureError, UsageError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.ids import (
    DIGEST_SIZE,
    PUBLIC_KEY_SIZE,
    Digest,
    author_id,
    check_digest,
    check_slug,
    digest_of,
    parse_author_id,
)

OPERATION_PAYLOAD_LIMIT = 20 * 1024
"""Bytes of an operation's payload: the longest text in the widest script, and what is around it."""

OPERATION_LIMIT = OPERATION_PAYLOAD_LIMIT + ENVELOPE_OVERHEAD
"""Bytes of a signed operation, as it is stored and sent."""

OPERATION_ITEMS = 256
"""Values in an operation."""

CHAIN_LIMIT = 1024
"""Operations of one signer on one voice."""

CHAIN_BYTES = 512 * 1024
"""Signed bytes of them together."""

OWNER_CHAIN_LIMIT = 16_384
"""Operations of a voice's own author on it."""

OWNER_CHAIN_BYTES = 8 * 1024 * 1024
"""Signed bytes of them together."""

TIME_LIMIT = 1 << 50
"""Times are milliseconds since 1970, below this."""

AHEAD = 10 * 60 * 1000
"""Milliseconds that an operation's time may lie ahead of its reader's clock."""

FORMAT = 1
"""The format this version writes, and the newest one it reads."""

KIND = "operation"
"""The kind of an operation's envelope."""

ID_PREFIX = "op"
"""What operation ids begin with, so that nobody takes one for a release."""

ID_LENGTH = len(ID_PREFIX) + 52
"""Characters of an operation id."""

_ID_TEXT = re.compile(ID_PREFIX + "[a-z2-7]{52}")


class VoiceName(NamedTuple):
    """The voice an operation is about: its author's raw public key and its slug."""

    author: bytes
    slug: str

    def __str__(self) -> str:
        return f"{author_id(self.author)}/{self.slug}"

    @classmethod
    def of(cls, author: str, slug: str) -> "VoiceName":
        """The same of an author id. UsageError for what is no author id or no slug."""
        return cls(parse_author_id(author), check_slug(slug))


@dataclass(frozen=True)
class Operation:
    """One act of one signer on one voice.

    ``seq`` counts a signer's operations on the voice from 1, ``previous`` is the id of the one before, and
    ``time`` is in milliseconds since 1970, later than everything its signer had seen.
    """

    voice: VoiceName
    signer: bytes
    seq: int
    previous: Digest | None
    time: int
    act: Act

    def __post_init__(self) -> None:
        for key in (self.signer, self.voice.author):
            if not isinstance(key, bytes) or len(key) != PUBLIC_KEY_SIZE:
                raise ManifestError("the signer and the author of an operation are 32-byte public keys")
        try:
            check_slug(self.voice.slug)
        except UsageError as error:
            raise ManifestError(error.message) from error
        check_number(self.seq, 1, self.quota[0], "the place of an operation in its chain")
        check_number(self.time, 1, TIME_LIMIT - 1, "the time of an operation")
        if (self.previous is None) != (self.seq == 1):
            raise ManifestError("every operation but the first names the one before it")
        if self.previous is not None and len(self.previous) != DIGEST_SIZE:
            raise ManifestError(f"the operation before is named by {DIGEST_SIZE} bytes")

    @property
    def quota(self) -> tuple[int, int]:
        """How many operations its signer may make on the voice, and how many signed bytes they may take."""
        if self.signer == self.voice.author:
            return OWNER_CHAIN_LIMIT, OWNER_CHAIN_BYTES
        return CHAIN_LIMIT, CHAIN_BYTES

    @cached_property
    def payload(self) -> bytes:
        """The bytes that are signed and whose digest is the operation's id."""
        body: dict[str, object] = {
            "v": FORMAT,
            "min_reader": FORMAT,
            "signer": self.signer,
            "author": self.voice.author,
            "slug": self.voice.slug,
            "seq": self.seq,
            "time": self.time,
            "act": name_of(self.act),
            "body": self.act.body(),
        }
        if self.previous is not None:
            body["prev"] = self.previous
        return encode(body)


@dataclass(frozen=True)
class Signed:
    """A verified operation: its id, taken from the payload as received, and the signed bytes."""

    id: Digest
    operation: Operation
    data: bytes

    @property
    def order(self) -> tuple[int, Digest]:
        """The place of the operation among all those on its voice."""
        return self.operation.time, self.id


def sign_operation(operation: Operation, key: Ed25519PrivateKey) -> Signed:
    """The signed operation, ready to store and send. SignatureError when the key is not the signer's."""
    if public_key_of(key) != operation.signer:
        raise SignatureError("the operation names another signer than the key that signs it")
    payload = operation.payload
    if len(payload) > OPERATION_PAYLOAD_LIMIT:
        raise ManifestError(f"an operation has at most {OPERATION_PAYLOAD_LIMIT} bytes")
    return Signed(digest_of(payload), operation, seal(KIND, payload, key).to_bytes())


def verify_operation(data: bytes) -> Signed:
    """Verify an operation that came from anywhere: form, bounds and signature.

    Raises ManifestError or SignatureError. Whether it may join its chain is chain.py's answer, and whether
    its signer may do such a thing replay.py's.
    """
    envelope = open_envelope(data, kind=KIND, limit=OPERATION_PAYLOAD_LIMIT)
    operation = _read(envelope.payload)
    if operation.signer != envelope.author:
        raise SignatureError("the operation is signed by another key than its signer's")
    return Signed(digest_of(envelope.payload), operation, data)


def reread_operation(data: bytes) -> Signed:
    """An operation out of bytes that were verified before and kept since; its signature is not looked at."""
    payload = decode(data, limit=OPERATION_LIMIT, max_depth=1, max_items=16)["payload"]
    return Signed(digest_of(payload), _read(payload), data)


def _read(payload: bytes) -> Operation:
    read = decode(payload, limit=OPERATION_PAYLOAD_LIMIT, max_items=OPERATION_ITEMS)
    fields = Fields(read, "the operation")
    fields.number("v")
    min_reader = fields.number("min_reader")
    if min_reader > FORMAT:
        raise ManifestError(
            f"the operation needs a reader of format {min_reader}, this is format {FORMAT}",
            hint="a newer version of p2pvoice can read it",
        )
    return Operation(
        voice=VoiceName(fields.blob("author", PUBLIC_KEY_SIZE), fields.text("slug")),
        signer=fields.blob("signer", PUBLIC_KEY_SIZE),
        seq=fields.number("seq"),
        previous=fields.optional_blob("prev"),
        time=fields.number("time"),
        act=read_act(fields.text("act"), fields.any("body")),
    )


def operation_id(digest: Digest) -> str:
    """The text of an operation's id; the inverse of :func:`parse_operation_id`."""
    return ID_PREFIX + base64.b32encode(check_digest(digest)).decode("ascii").lower().rstrip("=")


def parse_operation_id(text: str) -> Digest:
    """The digest inside an operation id. UsageError unless it is the one canonical spelling."""
    if len(text) == ID_LENGTH and _ID_TEXT.fullmatch(text):
        letters = text[len(ID_PREFIX) :].upper()
        digest = base64.b32decode(letters + "=" * (-len(letters) % 8))
        if operation_id(digest) == text:
            return digest
    raise UsageError(
        f"{text[:80]!r} is not an operation id", hint=f"an operation id has {ID_LENGTH} characters: op…"
    )
