"""Consent as its own signed statement: what the person whose voice it is says, with a key of their own.

For making, reading and verifying an envelope of the kind ``consent``, and for judging whether the
declaration in a manifest says no more than the person did. A valid statement proves that the holder of a key
said so; who holds the key it does not prove. Whether a consent has expired is consent_state.py's. Follows
specs/consent.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.consent import (
    DATA_SOURCES_LIMIT,
    SCOPES,
    SIGNED_LIMIT,
    STATEMENT_LENGTH,
    SUBJECT_NAME_LENGTH,
    ConsentDeclaration,
    Licence,
    check_data_sources,
    check_scope,
)
from p2pvoice.protocol.envelope import ENVELOPE_OVERHEAD, open_envelope, public_key_of, seal
from p2pvoice.protocol.errors import ConsentError, ManifestError, SignatureError, UsageError
from p2pvoice.protocol.fields import KEY_LENGTH, Fields, check_text
from p2pvoice.protocol.ids import PUBLIC_KEY_SIZE, author_id, check_slug

STATEMENT_PAYLOAD_LIMIT = SIGNED_LIMIT - ENVELOPE_OVERHEAD
"""Bytes of a statement's payload."""

STATEMENT_ITEMS = 256
"""Values in a statement's payload."""

LANGUAGE_LENGTH = 16
"""Characters of the language that the statement's text is written in."""

TIME_LIMIT = 1 << 40
"""Times are seconds since 1970, below this."""

FORMAT_LIMIT = 1000
"""Formats a statement may claim to be written in."""

FORMAT = 1
"""The format this version writes, and the newest one it reads."""

KIND = "consent"
"""The kind of a statement's envelope."""

NC_LICENSE = "CC-BY-NC-4.0"
"""What is proposed where the person did not allow commercial use."""

_KNOWN = {
    "v", "min_reader", "author", "subject", "subject_name", "slug", "scope", "references_may_travel",
    "ai_voice_permission", "data_sources", "statement", "language", "created", "expires",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ConsentStatement:
    """What a person says: ``author`` may publish an AI voice of the holder of ``subject``.

    Both are raw 32-byte Ed25519 public keys. ``slug`` None means any voice of this author, ``expires`` None
    no end; times are in seconds since 1970. ``language`` is that of the text in ``statement``.
    """

    author: bytes
    subject: bytes
    created: int
    statement: str
    language: str
    subject_name: str = ""
    slug: str | None = None
    scope: tuple[str, ...] = ()
    references_may_travel: bool = False
    ai_voice_permission: bool = True
    data_sources: tuple[str, ...] = ()
    expires: int | None = None
    format: int = FORMAT
    min_reader: int = FORMAT
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for key, whose in ((self.author, "the author"), (self.subject, "the subject")):
            if not isinstance(key, bytes) or len(key) != PUBLIC_KEY_SIZE:
                raise ManifestError(f"{whose} of a consent is a 32-byte public key")
        if self.slug is not None:
            try:
                check_slug(self.slug)
            except UsageError as error:
                raise ManifestError(error.message) from error
        if type(self.ai_voice_permission) is not bool or type(self.references_may_travel) is not bool:
            raise ManifestError("a permission is either true or false")
        check_text(self.subject_name, "the name of the subject", SUBJECT_NAME_LENGTH)
        check_text(self.statement, "the consent statement", STATEMENT_LENGTH, minimum=1, lines=True)
        check_text(self.language, "the language of the statement", LANGUAGE_LENGTH, minimum=1)
        check_scope(self.scope)
        check_data_sources(self.data_sources)
        _check_number(self.created, TIME_LIMIT, "the time of a consent")
        if self.expires is not None:
            _check_number(self.expires, TIME_LIMIT, "the expiry of a consent")
            if self.expires <= self.created:
                raise ManifestError("a consent expires after it was given")
        _check_number(self.format, FORMAT_LIMIT + 1, "the format of a consent")
        _check_number(self.min_reader, FORMAT + 1, "min_reader of a consent")
        for name in self.extra:
            if name in _KNOWN or not 1 <= len(name) <= KEY_LENGTH:
                raise ManifestError(f"{name[:KEY_LENGTH]!r} cannot be an additional key of a consent")
        if len(self.payload()) > STATEMENT_PAYLOAD_LIMIT:
            raise ManifestError(f"a consent has at most {STATEMENT_PAYLOAD_LIMIT} bytes")

    def payload(self) -> bytes:
        """The bytes that are signed."""
        body: dict[str, Any] = dict(self.extra)
        body.update(
            v=self.format,
            min_reader=self.min_reader,
            author=self.author,
            subject=self.subject,
            subject_name=self.subject_name,
            scope=list(self.scope),
            references_may_travel=self.references_may_travel,
            ai_voice_permission=self.ai_voice_permission,
            data_sources=list(self.data_sources),
            statement=self.statement,
            language=self.language,
            created=self.created,
        )
        if self.slug is not None:
            body["slug"] = self.slug
        if self.expires is not None:
            body["expires"] = self.expires
        return encode(body)

    def facts(self) -> dict[str, Any]:
        """The statement as the RPC and the command line show it."""
        return {
            "author": author_id(self.author),
            "subject": author_id(self.subject),
            "subject_name": self.subject_name,
            "slug": self.slug,
            "scope": list(self.scope),
            "references_may_travel": self.references_may_travel,
            "ai_voice_permission": self.ai_voice_permission,
            "data_sources": list(self.data_sources),
            "statement": self.statement,
            "language": self.language,
            "created": self.created,
            "expires": self.expires,
        }


def sign_statement(statement: ConsentStatement, key: Ed25519PrivateKey) -> bytes:
    """The signed statement, ready to be handed to the author. SignatureError for a key not the subject's."""
    if public_key_of(key) != statement.subject:
        raise SignatureError("the consent names another subject than the key that signs it")
    return seal(KIND, statement.payload(), key).to_bytes()


@lru_cache(maxsize=256)
def verify_statement(data: bytes) -> ConsentStatement:
    """Verify a statement that came from anywhere: form, bounds, signature, and that the subject signed it.

    Raises ManifestError or SignatureError. Says nothing of what it permits, nor of whether it has expired.
    """
    if len(data) > SIGNED_LIMIT:
        raise ManifestError(f"a signed consent has at most {SIGNED_LIMIT} bytes")
    envelope = open_envelope(data, kind=KIND, limit=STATEMENT_PAYLOAD_LIMIT)
    fields = Fields(
        decode(envelope.payload, limit=STATEMENT_PAYLOAD_LIMIT, max_items=STATEMENT_ITEMS), "the consent"
    )
    written_by = fields.number("v")
    min_reader = fields.number("min_reader")
    if min_reader > FORMAT:
        raise ManifestError(
            f"the consent needs a reader of format {min_reader}, this is format {FORMAT}",
            hint="a newer version of p2pvoice can read it",
        )
    statement = ConsentStatement(
        author=fields.blob("author", PUBLIC_KEY_SIZE),
        subject=fields.blob("subject", PUBLIC_KEY_SIZE),
        subject_name=fields.text("subject_name"),
        slug=fields.optional_text("slug"),
        scope=fields.texts("scope", len(SCOPES)),
        references_may_travel=fields.flag("references_may_travel"),
        ai_voice_permission=fields.flag("ai_voice_permission"),
        data_sources=fields.texts("data_sources", DATA_SOURCES_LIMIT),
        statement=fields.text("statement"),
        language=fields.text("language"),
        created=fields.number("created"),
        expires=fields.optional_number("expires"),
        format=written_by,
        min_reader=min_reader,
        extra=fields.rest(),
    )
    if statement.subject != envelope.author:
        raise SignatureError("the consent is signed by another key than its subject's")
    return statement


def check_signed(declaration: ConsentDeclaration, author: bytes, slug: str) -> ConsentStatement | None:
    """The statement that a declaration carries, once it is found to bear it out; None when it carries none.

    ``author`` and ``slug`` are those of the manifest. Raises ManifestError or SignatureError for a statement
    that is none, and ConsentError for one that permits something else than what the declaration says.
    """
    if declaration.signed is None:
        return None
    said = verify_statement(declaration.signed)
    if not said.ai_voice_permission:
        raise ConsentError(
            "the person whose voice it is does not permit an AI voice",
            hint="owning a recording is not enough: ask the speaker",
        )
    _check_parties(declaration.subject, said, author, slug)
    if said.subject_name != declaration.subject_name:
        raise ConsentError("the signed consent gives another name than the release")
    beyond = [use for use in declaration.scope if use not in said.scope]
    if beyond:
        raise ConsentError(f"the signed consent does not allow {' '.join(beyond)} use")
    if declaration.references_may_travel and not said.references_may_travel:
        raise ConsentError("the signed consent does not let recordings travel")
    if said.expires is not None and (declaration.expires is None or declaration.expires > said.expires):
        raise ConsentError("the release claims that the consent lasts longer than its subject says")
    return said


def _check_parties(subject: str, said: ConsentStatement, author: bytes, slug: str) -> None:
    """Whether the right one signed for the right one."""
    if said.author != author:
        raise ConsentError(
            f"the signed consent is for the author {author_id(said.author)}, not for this one",
            hint="the speaker names the author: p2pvoice consent sign --author did:key:…",
        )
    if said.slug is not None and said.slug != slug:
        raise ConsentError(f"the signed consent is for the voice {said.slug!r} alone, not for {slug!r}")
    own = said.subject == author
    if subject == "self" and not own:
        raise ConsentError("a voice of the author's own has the author's own signature, not another one")
    if subject in ("named", "deceased-estate") and own:
        raise ConsentError(
            "the author's own key cannot sign for another person",
            hint="the speaker signs on a node of their own: p2pvoice consent sign",
        )
    if subject not in ("self", "named", "deceased-estate"):
        raise ConsentError(f"there is nobody to sign for a voice of the kind {subject!r}")


def check_commercial(licence: Licence, declaration: ConsentDeclaration) -> None:
    """ConsentError when a licence gives away what the person, in a signed statement, did not allow."""
    if declaration.signed is not None and licence.commercial and "commercial" not in declaration.scope:
        raise ConsentError(
            f"{licence.spdx} allows commercial use, and the signed consent does not",
            hint=f"--license {NC_LICENSE}, or ask the speaker for a consent with --scope commercial",
        )


def _check_number(value: object, limit: int, what: str) -> None:
    if type(value) is not int or not 1 <= value < limit:
        raise ManifestError(f"{what} is out of range")
