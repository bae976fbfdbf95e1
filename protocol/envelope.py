"""The signed envelope: who says so, of what kind, and the exact bytes that were signed.

For carrying manifests and heads between strangers. The signature covers a domain string, the kind and the
payload as received; nothing is ever re-encoded before it is verified. Not encryption: payloads are public.
Follows specs/envelope.md.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.errors import ManifestError, SignatureError
from p2pvoice.protocol.ids import PUBLIC_KEY_SIZE

ENVELOPE_OVERHEAD = 256
"""Bytes an envelope may add to its payload: key, signature, kind and the map around them."""

KIND_LIMIT = 32
"""Characters of a kind."""

SIGNATURE_SIZE = 64
"""Bytes of an Ed25519 signature."""

DOMAIN = b"p2pvoice/envelope/1\0"
"""Precedes every signed message: a signature made here means nothing elsewhere, nor the reverse."""

_KEYS = {"author", "kind", "payload", "signature", "v"}


@dataclass(frozen=True)
class Envelope:
    """A payload with its author's signature. ``seal`` and ``open_envelope`` make valid ones."""

    kind: str
    author: bytes
    payload: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """The bytes that travel; canonical, so two nodes store one release as the same bytes."""
        return encode(
            {
                "v": 1,
                "kind": self.kind,
                "author": self.author,
                "payload": self.payload,
                "signature": self.signature,
            }
        )


def signed_bytes(kind: str, payload: bytes) -> bytes:
    """What an author's key signs: the domain string, the kind, a zero byte and the payload."""
    return DOMAIN + _check_kind(kind).encode("ascii") + b"\0" + payload


def public_key_of(private_key: Ed25519PrivateKey) -> bytes:
    """The raw 32-byte public key of an author's private key."""
    return private_key.public_key().public_bytes_raw()


def seal(kind: str, payload: bytes, private_key: Ed25519PrivateKey) -> Envelope:
    """Sign a payload as its author."""
    return Envelope(kind, public_key_of(private_key), payload, private_key.sign(signed_bytes(kind, payload)))


def open_envelope(data: bytes, *, kind: str, limit: int) -> Envelope:
    """Verify an envelope that came from anywhere. ``limit`` bounds its payload, in bytes.

    Raises ManifestError when it is no envelope of this kind, SignatureError when the signature is wrong.
    """
    value = decode(data, limit=limit + ENVELOPE_OVERHEAD, max_depth=1, max_items=16)
    if not isinstance(value, dict) or set(value) != _KEYS or value["v"] != 1 or value["v"] is True:
        raise ManifestError("not a version 1 envelope")
    author, payload, signature = value["author"], value["payload"], value["signature"]
    if value["kind"] != kind:
        raise ManifestError(f"not an envelope of the kind {kind!r}")
    if not isinstance(author, bytes) or len(author) != PUBLIC_KEY_SIZE:
        raise ManifestError("the author of an envelope is a 32-byte public key")
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_SIZE:
        raise ManifestError("the signature of an envelope has 64 bytes")
    if not isinstance(payload, bytes) or len(payload) > limit:
        raise ManifestError(f"the payload of an envelope is at most {limit} bytes")
    try:
        Ed25519PublicKey.from_public_bytes(author).verify(signature, signed_bytes(kind, payload))
    except (InvalidSignature, ValueError) as error:
        raise SignatureError() from error
    return Envelope(kind, author, payload, signature)


def _check_kind(kind: str) -> str:
    if not 1 <= len(kind) <= KIND_LIMIT or not (kind.isascii() and kind.isalpha() and kind.islower()):
        raise ManifestError("the kind of an envelope is 1 to 32 lower-case letters")
    return kind
