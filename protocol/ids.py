"""Names of things: digests, release ids, bundle ids, author ids and slugs.

For turning bytes into the short texts people and peers pass around, and back, strictly: every id has exactly
one spelling. Not for deciding whether the bytes behind an id are any good; see manifest.py and envelope.py.
Follows specs/ids.md.
"""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import TypeAlias

from p2pvoice.protocol.canonical import encode
from p2pvoice.protocol.errors import UsageError

DIGEST_SIZE = 32
"""Bytes of a SHA-256 digest."""

PUBLIC_KEY_SIZE = 32
"""Bytes of an Ed25519 public key."""

SLUG_LIMIT = 63
"""Characters of a slug: the length of a DNS label, so that a slug fits wherever a host name does."""

RELEASE_ID_LENGTH = 61
"""Characters of a release id: the multibase letter and 37 bytes in base32."""

AUTHOR_ID_LENGTH = 56
"""Characters of an author id: ``did:key:z`` and 34 bytes in base58."""

RELEASE_ID_PREFIX = "bagaqiera"
"""What every release id and bundle id begins with; the 52 characters after it are the digest."""

Digest: TypeAlias = bytes
"""A SHA-256 digest, 32 bytes."""

# CIDv1 (0x01), multicodec messagepack (0x0201 as a varint), multihash sha2-256 (0x12) of 32 bytes (0x20).
_CID_PREFIX = bytes((0x01, 0x81, 0x04, 0x12, 0x20))
# The same of plain bytes, multicodec raw (0x55): the content ids of bases.
_RAW_PREFIX = bytes((0x01, 0x55, 0x12, 0x20))
# Multicodec ed25519-pub (0xed as a varint), as did:key asks for.
_ED25519_PREFIX = bytes((0xED, 0x01))
_DID_PREFIX = "did:key:z"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUE = {letter: value for value, letter in enumerate(_BASE58)}
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_CID_TEXT = re.compile(r"b[a-z2-7]{60}")
_RAW_TEXT = re.compile(r"b[a-z2-7]{58}")


def digest_of(data: bytes) -> Digest:
    """The SHA-256 digest by which chunks, files and payloads are named."""
    return hashlib.sha256(data).digest()


def release_id(manifest_payload: bytes) -> str:
    """The id of the release whose manifest has exactly these bytes: a CIDv1, codec messagepack, in base32."""
    return cid_of(digest_of(manifest_payload))


def cid_of(digest: Digest) -> str:
    """The CID text of a SHA-256 digest; the inverse of :func:`parse_release_id`."""
    check_digest(digest)
    return "b" + base64.b32encode(_CID_PREFIX + digest).decode("ascii").lower().rstrip("=")


def raw_cid(digest: Digest) -> str:
    """The CID text of plain bytes with this SHA-256 digest, by which bases are named (``bafkrei…``)."""
    check_digest(digest)
    return "b" + base64.b32encode(_RAW_PREFIX + digest).decode("ascii").lower().rstrip("=")


def parse_raw_cid(text: str) -> Digest:
    """The digest inside the CID text of plain bytes. UsageError unless it is the one canonical spelling."""
    if _RAW_TEXT.fullmatch(text):
        raw = base64.b32decode(text[1:].upper() + "=" * (-(len(text) - 1) % 8))
        if raw.startswith(_RAW_PREFIX) and raw_cid(raw[len(_RAW_PREFIX) :]) == text:
            return raw[len(_RAW_PREFIX) :]
    raise UsageError(
        f"{text[:80]!r} is not a content id", hint="a content id looks like bafkrei…, 59 characters long"
    )


def parse_release_id(text: str) -> Digest:
    """The digest inside a release id or bundle id. UsageError unless it is the one canonical spelling."""
    if len(text) == RELEASE_ID_LENGTH and _CID_TEXT.fullmatch(text):
        raw = base64.b32decode(text[1:].upper() + "=" * (-(len(text) - 1) % 8))
        # Base32 leaves four spare bits; re-encoding shows whether somebody put a second spelling there.
        if raw.startswith(_CID_PREFIX) and cid_of(raw[len(_CID_PREFIX) :]) == text:
            return raw[len(_CID_PREFIX) :]
    raise UsageError(
        f"{text[:80]!r} is not a release id", hint="a release id looks like bagaqiera…, 61 characters long"
    )


def bundle_id(entries: Iterable[tuple[str, int, Digest]]) -> str:
    """The id of a set of files given as (path, size, digest): equal files, equal id, whoever brings them."""
    rows = sorted([path, size, digest] for path, size, digest in entries)
    return cid_of(digest_of(encode(rows)))


def author_id(public_key: bytes) -> str:
    """The ``did:key:z6Mk…`` of an author's raw Ed25519 public key."""
    if len(public_key) != PUBLIC_KEY_SIZE:
        raise UsageError(f"an Ed25519 public key has {PUBLIC_KEY_SIZE} bytes, not {len(public_key)}")
    return _DID_PREFIX + _base58_encode(_ED25519_PREFIX + public_key)


def parse_author_id(text: str) -> bytes:
    """The raw public key inside an author id. Raises UsageError unless it is the one canonical spelling."""
    if len(text) == AUTHOR_ID_LENGTH and text.startswith(_DID_PREFIX):
        raw = _base58_decode(text[len(_DID_PREFIX) :])
        if raw is not None and len(raw) == 2 + PUBLIC_KEY_SIZE and raw.startswith(_ED25519_PREFIX):
            return raw[2:]
    raise UsageError(f"{text[:80]!r} is not an author id", hint="an author id looks like did:key:z6Mk…")


def check_slug(text: str) -> str:
    """The slug itself when it is one; UsageError with a proposal when it is not."""
    if _SLUG.fullmatch(text):
        return text
    proposal = slugify(text[:200])
    raise UsageError(
        f"{text[:80]!r} is not a slug: 1 to {SLUG_LIMIT} of a-z, 0-9 and -, not beginning with -",
        hint=f"for example {proposal}",
    )


def slugify(name: str, *, what: str = "voice") -> str:
    """A slug made from a display name; one without ASCII letters or digits is ``what`` and a short hash."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_LIMIT].rstrip("-")
    if slug:
        return slug
    normal = unicodedata.normalize("NFKC", name).encode("utf-8", "replace")
    return f"{what}-" + hashlib.sha256(normal).hexdigest()[:8]


def check_digest(value: object) -> Digest:
    """The digest itself when it is 32 bytes; UsageError otherwise."""
    if not isinstance(value, bytes) or len(value) != DIGEST_SIZE:
        raise UsageError(f"a digest is {DIGEST_SIZE} bytes")
    return value


def _base58_encode(raw: bytes) -> str:
    number = int.from_bytes(raw)
    letters = []
    while number:
        number, digit = divmod(number, 58)
        letters.append(_BASE58[digit])
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(letters))


def _base58_decode(text: str) -> bytes | None:
    number = 0
    for letter in text:
        value = _BASE58_VALUE.get(letter)
        if value is None:
            return None
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8)
