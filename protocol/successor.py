"""Successor records: an author's old key says which key comes after it, and the new key agrees.

For signing and verifying one, completely and without a clock, so that the DHT can judge a record by itself.
A key has one successor: whoever believed one never believes another, and two different ones are a fork that
is shown. Not for storing records or for following them (node/successors.py). Follows specs/keys.md.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.entries import check_number
from p2pvoice.protocol.envelope import (
    ENVELOPE_OVERHEAD,
    SIGNATURE_SIZE,
    open_envelope,
    public_key_of,
    seal,
)
from p2pvoice.protocol.errors import ManifestError, SignatureError, UsageError
from p2pvoice.protocol.fields import Fields, check_text
from p2pvoice.protocol.ids import PUBLIC_KEY_SIZE, author_id, parse_author_id

SUCCESSOR_PAYLOAD_LIMIT = 1024
"""Bytes of a successor record's payload."""

SUCCESSOR_LIMIT = SUCCESSOR_PAYLOAD_LIMIT + ENVELOPE_OVERHEAD
"""Bytes of a signed successor record, as it is stored and sent."""

REASON_LENGTH = 120
"""Characters in which an author may say why the key changed."""

TIME_LIMIT = 1 << 40
"""Times are seconds since 1970, below this."""

FORMAT = 1
"""The format this version writes, and the newest one it reads."""

KIND = "successor"
"""The kind of a successor record's envelope."""

CHAIN_LIMIT = 8
"""Successors that are followed one after another."""

SUCCESSOR_NAMESPACE = b"/p2pvoice/successor/"
"""What the DHT keys of successor records begin with."""

_AGREEMENT = b"p2pvoice/successor/1\0"


@dataclass(frozen=True)
class Successor:
    """``new`` comes after ``old``; both are raw public keys. ``created`` is in seconds since 1970."""

    old: bytes
    new: bytes
    created: int
    reason: str = ""

    def __post_init__(self) -> None:
        for key in (self.old, self.new):
            if not isinstance(key, bytes) or len(key) != PUBLIC_KEY_SIZE:
                raise ManifestError("a successor record names two public keys of 32 bytes")
        if self.old == self.new:
            raise ManifestError("a key cannot succeed itself")
        check_number(self.created, 1, TIME_LIMIT - 1, "the time of a successor record")
        check_text(self.reason, "the reason of a successor record", REASON_LENGTH)

    @property
    def old_author(self) -> str:
        """The author id that is given up."""
        return author_id(self.old)

    @property
    def new_author(self) -> str:
        """The author id that comes after it."""
        return author_id(self.new)

    def agreement(self) -> bytes:
        """What the new key signs: that it comes after the old one. Fixed bytes, so nothing is re-encoded."""
        return _AGREEMENT + self.old + self.new


def sign_successor(record: Successor, old_key: Ed25519PrivateKey, new_key: Ed25519PrivateKey) -> bytes:
    """The signed record, ready to store and send. SignatureError when a key is not the one that is named."""
    if public_key_of(old_key) != record.old or public_key_of(new_key) != record.new:
        raise SignatureError("the successor record names other keys than those that sign it")
    payload = encode(
        {
            "v": FORMAT,
            "min_reader": FORMAT,
            "old": record.old,
            "new": record.new,
            "created": record.created,
            "reason": record.reason,
            "agreement": new_key.sign(record.agreement()),
        }
    )
    return seal(KIND, payload, old_key).to_bytes()


def verify_successor(data: bytes) -> Successor:
    """Verify a record that came from anywhere: signed by the old key, agreed to by the new one.

    Raises ManifestError for anything out of form or bounds, SignatureError when either signature is wrong.
    """
    envelope = open_envelope(data, kind=KIND, limit=SUCCESSOR_PAYLOAD_LIMIT)
    value = decode(envelope.payload, limit=SUCCESSOR_PAYLOAD_LIMIT, max_items=64)
    fields = Fields(value, "the successor record")
    fields.number("v")
    min_reader = fields.number("min_reader")
    if min_reader > FORMAT:
        raise ManifestError(
            f"the successor record needs a reader of format {min_reader}, this is format {FORMAT}",
            hint="a newer version of p2pvoice can read it",
        )
    record = Successor(
        old=fields.blob("old", PUBLIC_KEY_SIZE),
        new=fields.blob("new", PUBLIC_KEY_SIZE),
        created=fields.number("created"),
        reason=fields.text("reason"),
    )
    agreement = fields.blob("agreement", SIGNATURE_SIZE)
    if record.old != envelope.author:
        raise SignatureError("the successor record is signed by another key than the old one")
    try:
        Ed25519PublicKey.from_public_bytes(record.new).verify(agreement, record.agreement())
    except (InvalidSignature, ValueError) as error:
        raise SignatureError("the new key did not agree to succeed the old one") from error
    return record


def is_fork(one: Successor, other: Successor) -> bool:
    """Whether one key named two different successors: both are shown, the one believed first stays."""
    return one.old == other.old and one.new != other.new


def successor_key(author: bytes | str) -> bytes:
    """The DHT key of what comes after an author's key, given as public key or author id."""
    name = author_id(author) if isinstance(author, bytes) else author_id(parse_author_id(author))
    return SUCCESSOR_NAMESPACE + name.encode("ascii")


def parse_successor_key(key: bytes) -> bytes:
    """The old public key inside a successor record's DHT key. UsageError for any other key."""
    if not key.startswith(SUCCESSOR_NAMESPACE) or not key.isascii():
        raise UsageError("not the key of a successor record")
    return parse_author_id(key.removeprefix(SUCCESSOR_NAMESPACE).decode("ascii"))
