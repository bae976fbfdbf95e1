"""Heads: the signed records that say which release of a voice is the latest, and the keys peers look up.

For moving forward only: a node never accepts a lower sequence, and two releases at one sequence are a fork
that is shown, not resolved. The clock is the caller's. Not for storing heads. Follows specs/head.md.
"""

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.envelope import ENVELOPE_OVERHEAD, open_envelope, public_key_of, seal
from p2pvoice.protocol.errors import ManifestError, SignatureError, StaleError, UsageError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.ids import (
    DIGEST_SIZE,
    PUBLIC_KEY_SIZE,
    author_id,
    check_slug,
    cid_of,
    digest_of,
    parse_author_id,
    parse_release_id,
)

HEAD_PAYLOAD_LIMIT = 512
"""Bytes of a head's payload."""

HEAD_LIMIT = HEAD_PAYLOAD_LIMIT + ENVELOPE_OVERHEAD
"""Bytes of a signed head, as it is stored and sent."""

SEQUENCE_LIMIT = 1 << 53
"""Sequences lie below this, so that every language holds them exactly."""

LIFETIME = 30 * 24 * 3600
"""Seconds a head is valid by default after it was signed."""

LIFETIME_LIMIT = 400 * 24 * 3600
"""Seconds ahead of now that a head may expire at most: nobody signs for ever."""

FORMAT = 1
"""The format this version writes, and the newest one it reads."""

KIND = "head"
"""The kind of a head's envelope."""

HEAD_NAMESPACE = b"/p2pvoice/head/"
"""What the DHT keys of heads begin with."""

SLUG_IN_KEY = 56
"""Characters of a slug that stands in its head's DHT key as it is; of a longer one a hash stands there.

libp2p answers for no key of more than 128 bytes.
"""

_SLUG_DOMAIN = b"p2pvoice/key/slug/1\0"
_RELEASE_DOMAIN = b"p2pvoice/key/release/1\0"
_TAG_DOMAIN = b"p2pvoice/key/tag/1\0"


@dataclass(frozen=True)
class Head:
    """The latest release of a voice: ``sequence`` counts from 1, ``expires`` is in seconds since 1970."""

    author: bytes
    slug: str
    sequence: int
    release: str
    expires: int

    def __post_init__(self) -> None:
        if not isinstance(self.author, bytes) or len(self.author) != PUBLIC_KEY_SIZE:
            raise ManifestError("the author of a head is a 32-byte public key")
        try:
            check_slug(self.slug)
            parse_release_id(self.release)
        except UsageError as error:
            raise ManifestError(error.message) from error
        if type(self.sequence) is not int or not 1 <= self.sequence < SEQUENCE_LIMIT:
            raise ManifestError("the sequence of a head is out of range")
        if type(self.expires) is not int or not 1 <= self.expires < SEQUENCE_LIMIT:
            raise ManifestError("the expiry of a head is out of range")

    def payload(self) -> bytes:
        """The bytes that are signed."""
        return encode(
            {
                "v": FORMAT,
                "min_reader": FORMAT,
                "author": self.author,
                "slug": self.slug,
                "sequence": self.sequence,
                "release": parse_release_id(self.release),
                "expires": self.expires,
            }
        )


def sign_head(head: Head, key: Ed25519PrivateKey) -> bytes:
    """The signed head, ready to store and send. SignatureError when the key is not the author's."""
    if public_key_of(key) != head.author:
        raise SignatureError("the head names another author than the key that signs it")
    return seal(KIND, head.payload(), key).to_bytes()


def verify_head(data: bytes, now: float) -> Head:
    """Verify a head that came from anywhere; ``now`` is in seconds since 1970, 0 to accept expired ones.

    Raises ManifestError, SignatureError, or StaleError for a head that expired or expires implausibly late.
    """
    envelope = open_envelope(data, kind=KIND, limit=HEAD_PAYLOAD_LIMIT)
    fields = Fields(decode(envelope.payload, limit=HEAD_PAYLOAD_LIMIT, max_items=64), "the head")
    fields.number("v")
    min_reader = fields.number("min_reader")
    if min_reader > FORMAT:
        raise ManifestError(
            f"the head needs a reader of format {min_reader}, this is format {FORMAT}",
            hint="a newer version of p2pvoice can read it",
        )
    head = Head(
        author=fields.blob("author", PUBLIC_KEY_SIZE),
        slug=fields.text("slug"),
        sequence=fields.number("sequence"),
        release=cid_of(fields.blob("release", DIGEST_SIZE)),
        expires=fields.number("expires"),
    )
    if head.author != envelope.author:
        raise SignatureError("the head is signed by another key than its author's")
    if now and head.expires <= now:
        raise StaleError(f"the head of {head.slug} has expired")
    if now and head.expires > now + LIFETIME_LIMIT:
        raise StaleError(f"the head of {head.slug} claims to be valid for more than {LIFETIME_LIMIT} seconds")
    return head


def newer(candidate: Head, held: Head) -> bool:
    """Whether the candidate should replace the head that is held.

    True for a higher sequence, and for the same release at the same sequence with a later expiry. A fork does
    not replace what is held: see :func:`is_fork`. ManifestError when the two are heads of different voices.
    """
    _check_same_voice(candidate, held)
    if candidate.sequence != held.sequence:
        return candidate.sequence > held.sequence
    return candidate.release == held.release and candidate.expires > held.expires


def is_fork(one: Head, other: Head) -> bool:
    """Whether an author signed two different releases at one sequence: both are shown, neither wins."""
    _check_same_voice(one, other)
    return one.sequence == other.sequence and one.release != other.release


def advance(held: Head | None, candidate: Head) -> Head:
    """The head to hold once a candidate came in. StaleError for a lower sequence: the past is replayed."""
    if held is None:
        return candidate
    if newer(candidate, held):
        return candidate
    if candidate.sequence < held.sequence:
        raise StaleError(
            f"an old head of {held.slug}: sequence {candidate.sequence}, and {held.sequence} is known already"
        )
    return held


def head_key(author: bytes | str, slug: str) -> bytes:
    """The DHT key of a voice's head; ``author`` is a public key or an author id. At most 128 bytes."""
    name = author_id(author) if isinstance(author, bytes) else author_id(parse_author_id(author))
    last = check_slug(slug)
    if len(last) > SLUG_IN_KEY:
        # No slug begins with a tilde, so this is never the key of another voice.
        hashed = base64.b32encode(digest_of(_SLUG_DOMAIN + slug.encode("ascii")))
        last = "~" + hashed.decode("ascii").lower().rstrip("=")
    return HEAD_NAMESPACE + f"{name}/{last}".encode("ascii")


def parse_head_key(key: bytes) -> tuple[bytes, str]:
    """The author's public key and the slug inside a head's DHT key.

    UsageError for any other key, and for that of a slug so long that only its hash stands there.
    """
    name, slash, slug = key.removeprefix(HEAD_NAMESPACE).partition(b"/")
    if not key.startswith(HEAD_NAMESPACE) or not slash or not key.isascii() or len(slug) > SLUG_IN_KEY:
        raise UsageError("not the key of a head that names its slug")
    return parse_author_id(name.decode("ascii")), check_slug(slug.decode("ascii"))


def release_key(release: str) -> bytes:
    """The 32-byte DHT key under which a release's providers are found."""
    return digest_of(_RELEASE_DOMAIN + parse_release_id(release))


def tag_key(tag: str) -> bytes:
    """The 32-byte DHT key under which those who hold voices with a canonical tag are found."""
    return digest_of(_TAG_DOMAIN + tag.encode("utf-8"))


def _check_same_voice(one: Head, other: Head) -> None:
    if (one.author, one.slug) != (other.author, other.slug):
        raise ManifestError("these are heads of different voices")
