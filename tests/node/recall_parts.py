"""Releases, signed consents and revocations for the tests of recall."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.consent_statement import ConsentStatement, sign_statement
from p2pvoice.protocol.ids import digest_of
from p2pvoice.protocol.manifest import Engine, FileEntry, Manifest, Release, sign_manifest
from p2pvoice.protocol.revocation import Revocation, sign_revocation

NOW = 1_790_000_000


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def signed_consent(subject: Ed25519PrivateKey, author: bytes) -> ConsentDeclaration:
    """A declaration with the consent that a subject signed for an author."""
    own = public(subject) == author
    said = ConsentStatement(
        author=author,
        subject=public(subject),
        subject_name="" if own else "Somebody",
        scope=("commercial",),
        references_may_travel=True,
        statement="I agree.",
        language="en",
        created=NOW,
    )
    return ConsentDeclaration(
        "self" if own else "named",
        True,
        subject_name=said.subject_name,
        scope=said.scope,
        signed=sign_statement(said, subject),
    )


def make_release(
    author: Ed25519PrivateKey,
    slug: str = "storyteller",
    *,
    subject: Ed25519PrivateKey | None = None,
    content: bytes = b"weights",
    created: int = NOW,
    tags: tuple[str, ...] = ("language/yue",),
) -> Release:
    """A small release; with ``subject`` its consent is signed."""
    digest = digest_of(content)
    plain = ConsentDeclaration("self", True)
    manifest = Manifest(
        author=public(author),
        slug=slug,
        name=slug.title(),
        created=created,
        license="CC-BY-4.0",
        consent=plain if subject is None else signed_consent(subject, public(author)),
        languages=("yue",),
        tags=tags,
        files=(FileEntry("gpt.safetensors", len(content), digest, (Chunk(len(content), digest),)),),
        engine=Engine("gpt-sovits", "v2", 32_000),
    )
    return sign_manifest(manifest, author)


def make_revocation(
    release: Release,
    signer: Ed25519PrivateKey,
    *,
    whole: bool = False,
    files: bool = False,
    reason: str = "",
    created: int = NOW,
) -> bytes:
    """A signed revocation of a release, of its whole voice, or of its files besides."""
    manifest = release.manifest
    revocation = Revocation(
        signer=public(signer),
        author=manifest.author,
        slug=manifest.slug,
        created=created,
        release=None if whole else release.id,
        bundle=manifest.bundle_id if files else None,
        reason=reason,
    )
    return sign_revocation(revocation, signer)
