"""Revocations: signed records with which an author, or the person whose voice it is, calls a release back.

For signing and verifying them, and for deciding whom a revocation concerns: only the author of a voice, and
the subject who signed the consent inside its releases, can revoke. A revocation never expires and cannot be
taken back. Not for what a node does about one: see node/recall.py. Follows specs/recall.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.consent_statement import verify_statement
from p2pvoice.protocol.entries import check_number
from p2pvoice.protocol.envelope import ENVELOPE_OVERHEAD, open_envelope, public_key_of, seal
from p2pvoice.protocol.errors import ManifestError, SignatureError, UsageError
from p2pvoice.protocol.fields import Fields, check_text
from p2pvoice.protocol.ids import (
    DIGEST_SIZE,
    PUBLIC_KEY_SIZE,
    check_slug,
    cid_of,
    digest_of,
    parse_release_id,
)
from p2pvoice.protocol.manifest import TIME_LIMIT, Manifest, Release

REASON_LENGTH = 200
"""Characters of the reason a revocation may give."""

REVOCATION_PAYLOAD_LIMIT = 1536
"""Bytes of a revocation's payload."""

REVOCATION_LIMIT = REVOCATION_PAYLOAD_LIMIT + ENVELOPE_OVERHEAD
"""Bytes of a signed revocation, as it is stored and sent."""

FORMAT = 1
"""The format this version writes, and the newest one it reads."""

KIND = "revocation"
"""The kind of a revocation's envelope."""

REVOCATION_NAMESPACE = b"/p2pvoice/revocation/"
"""What the DHT keys of revocations begin with."""

_KEY_DOMAIN = b"p2pvoice/key/revocation/1\0"


@dataclass(frozen=True)
class Revocation:
    """What is revoked, by which key, when and why.

    ``signer`` is the key that signs: the author's own or the subject's. ``author`` and ``slug`` name the
    voice; ``release`` one release of it, or None for every release it has and will have. ``bundle`` names the
    files, so that they can be refused under another name too. ``created`` is in seconds since 1970.
    """

    signer: bytes
    author: bytes
    slug: str
    created: int
    release: str | None = None
    bundle: str | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        for key in (self.signer, self.author):
            if not isinstance(key, bytes) or len(key) != PUBLIC_KEY_SIZE:
                raise ManifestError("the signer and the author of a revocation are 32-byte public keys")
        try:
            check_slug(self.slug)
            for name in (self.release, self.bundle):
                if name is not None:
                    parse_release_id(name)
        except UsageError as error:
            raise ManifestError(error.message) from error
        check_number(self.created, 1, TIME_LIMIT - 1, "the time of a revocation")
        check_text(self.reason, "the reason", REASON_LENGTH)

    def payload(self) -> bytes:
        """The bytes that are signed."""
        body: dict[str, object] = {
            "v": FORMAT,
            "min_reader": FORMAT,
            "signer": self.signer,
            "author": self.author,
            "slug": self.slug,
            "created": self.created,
            "reason": self.reason,
        }
        for key, name in (("release", self.release), ("bundle", self.bundle)):
            if name is not None:
                body[key] = parse_release_id(name)
        return encode(body)

    def of_voice(self, author: bytes, slug: str) -> bool:
        """Whether this is about the voice."""
        return (self.author, self.slug) == (author, slug)


def sign_revocation(revocation: Revocation, key: Ed25519PrivateKey) -> bytes:
    """The signed revocation, ready to store and send. SignatureError when the key is not the signer's."""
    if public_key_of(key) != revocation.signer:
        raise SignatureError("the revocation names another signer than the key that signs it")
    return seal(KIND, revocation.payload(), key).to_bytes()


def verify_revocation(data: bytes) -> Revocation:
    """Verify a revocation that came from anywhere: form, bounds and signature.

    Raises ManifestError or SignatureError. Whether its signer has any say is :func:`revokes`' answer.
    """
    envelope = open_envelope(data, kind=KIND, limit=REVOCATION_PAYLOAD_LIMIT)
    fields = Fields(decode(envelope.payload, limit=REVOCATION_PAYLOAD_LIMIT, max_items=64), "the revocation")
    fields.number("v")
    min_reader = fields.number("min_reader")
    if min_reader > FORMAT:
        raise ManifestError(
            f"the revocation needs a reader of format {min_reader}, this is format {FORMAT}",
            hint="a newer version of p2pvoice can read it",
        )
    revocation = Revocation(
        signer=fields.blob("signer", PUBLIC_KEY_SIZE),
        author=fields.blob("author", PUBLIC_KEY_SIZE),
        slug=fields.text("slug"),
        created=fields.number("created"),
        release=_optional_cid(fields, "release"),
        bundle=_optional_cid(fields, "bundle"),
        reason=fields.text("reason"),
    )
    if revocation.signer != envelope.author:
        raise SignatureError("the revocation is signed by another key than its signer's")
    return revocation


def subject_key(manifest: Manifest) -> bytes | None:
    """The key of the person whose voice it is, when the manifest carries a consent that this key signed."""
    signed = manifest.consent.signed
    return verify_statement(signed).subject if signed is not None else None


def has_say(revocation: Revocation, release: Release) -> bool:
    """Whether the signer may revoke in the name of this release's voice: as its author, or its subject.

    True of a release of the revocation's own voice only; for a revocation of one release, of that one only.
    """
    manifest = release.manifest
    if not revocation.of_voice(manifest.author, manifest.slug):
        return False
    if revocation.release is not None and revocation.release != release.id:
        return False
    return revocation.signer in (manifest.author, subject_key(manifest))


def is_subject(revocation: Revocation, release: Release) -> bool:
    """Whether the signer is the person whose voice the release is, by its signed consent."""
    return subject_key(release.manifest) == revocation.signer


def revokes(revocation: Revocation, release: Release) -> bool:
    """Whether a verified revocation takes this verified release out of use, by what the two say alone.

    That is so for the release or voice it names when its signer has a say in it, and for the same files
    under another name when that release's own signed consent names the signer as the subject. What the
    signer publishes is never hit by way of the files: to publish is to consent anew.
    """
    if has_say(revocation, release):
        return True
    manifest = release.manifest
    return (
        revocation.bundle is not None
        and revocation.bundle == manifest.bundle_id
        and manifest.author != revocation.signer
        and is_subject(revocation, release)
    )


def revocation_key(signer: bytes, author: bytes, slug: str, release: str | None = None) -> bytes:
    """The DHT key of one signer's revocation of a release, or of a whole voice.

    The signer is hashed into it, so nobody else's record can stand there. A hash, because libp2p answers for
    no key of more than 128 bytes.
    """
    if release is not None:
        what = b"release\0" + parse_release_id(release)
    else:
        what = b"voice\0" + author + check_slug(slug).encode("ascii")
    return REVOCATION_NAMESPACE + digest_of(_KEY_DOMAIN + signer + what).hex().encode("ascii")


def key_of(revocation: Revocation) -> bytes:
    """The DHT key under which a revocation stands."""
    return revocation_key(revocation.signer, revocation.author, revocation.slug, revocation.release)


def keys_to_ask(release: Release) -> tuple[bytes, ...]:
    """The DHT keys under which a revocation of the release could stand: two for each who has a say."""
    manifest = release.manifest
    signers: Iterable[bytes | None] = dict.fromkeys((manifest.author, subject_key(manifest)))
    return tuple(
        revocation_key(signer, manifest.author, manifest.slug, name)
        for signer in signers
        if signer is not None
        for name in (release.id, None)
    )


def _optional_cid(fields: Fields, key: str) -> str | None:
    digest = fields.any(key, None)
    if digest is None:
        return None
    if not isinstance(digest, bytes) or len(digest) != DIGEST_SIZE:
        raise ManifestError(f"{key!r} in the revocation is not a digest")
    return cid_of(digest)
