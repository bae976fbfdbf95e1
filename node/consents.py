"""Consent at this node: signing one as a person, and turning what an author says into a declaration.

The author's key signs, for the own voice by itself and for another author when its owner asks to. What a
statement must be, and what may stand beside it, is protocol/consent_statement.py's. Follows specs/consent.md.
"""

import time
from dataclasses import dataclass, replace
from functools import partial

import trio

from p2pvoice.node.identity import Identity
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.consent import SIGNED_LIMIT, ConsentDeclaration, Licence
from p2pvoice.protocol.consent_statement import (
    ConsentStatement,
    check_commercial,
    check_signed,
    sign_statement,
    verify_statement,
)
from p2pvoice.protocol.errors import ConsentError, UsageError
from p2pvoice.protocol.ids import parse_author_id

#: What an author's own statement says, in words.
OWN_WORDS = "This is my own voice. I publish an AI voice of it under the licence that I name."

#: Subjects for whom somebody else signs.
SIGNED_FOR = ("named", "deceased-estate")

#: Subjects whose recordings travel when the author says so.
AUTHOR_DECIDES = ("self", "public-domain-corpus")


@dataclass(frozen=True)
class Permission:
    """What a person asks their node to sign; ``author`` is an author id, ``expires`` seconds since 1970."""

    author: str
    name: str
    statement: str
    language: str
    slug: str | None = None
    scope: tuple[str, ...] = ()
    clips_may_travel: bool = False
    data_sources: tuple[str, ...] = ()
    expires: int | None = None


@dataclass(frozen=True)
class Claim:
    """What an author says when publishing. ``signed`` is a statement's bytes, empty when there is none."""

    subject: str
    subject_name: str = ""
    permission: bool = False
    clips_may_travel: bool = False
    signed: bytes = b""


def sign(identity: Identity, wanted: Permission) -> bytes:
    """Sign a consent with the key of this home. Raises UsageError, ConsentError or ManifestError."""
    author = parse_author_id(wanted.author)
    if author == identity.author_public:
        raise UsageError(
            "that author is this node itself: its own voice needs no file",
            hint="p2pvoice publish DRAFT --consent self",
        )
    if not wanted.name:
        raise UsageError("a consent says whose voice it is for", hint='--name "…"')
    now = int(time.time())
    if wanted.expires is not None and wanted.expires <= now:
        raise UsageError("this consent would have expired already", hint="--expires 2y")
    statement = ConsentStatement(
        author=author,
        subject=identity.author_public,
        subject_name=wanted.name,
        slug=wanted.slug,
        scope=wanted.scope,
        references_may_travel=wanted.clips_may_travel,
        data_sources=wanted.data_sources,
        statement=wanted.statement,
        language=wanted.language,
        created=now,
        expires=wanted.expires,
    )
    return sign_statement(statement, identity.author)


async def received(parts: Parts, upload: str) -> bytes:
    """The bytes of a consent that was sent, within their limit. Raises UsageError."""
    path = parts.uploads.path(upload)

    def read() -> bytes:
        with path.open("rb") as file:
            return file.read(SIGNED_LIMIT + 1)

    data = await trio.to_thread.run_sync(read, limiter=parts.disk)
    if len(data) > SIGNED_LIMIT:
        raise UsageError(f"a signed consent has at most {SIGNED_LIMIT} bytes; this file is another one")
    return data


def declare(identity: Identity, claim: Claim, licence: Licence, slug: str, now: float) -> ConsentDeclaration:
    """The declaration to publish of what the author, and the person, said.

    Raises ConsentError when it would say too little or too much, or the person's consent has expired.
    """
    by_author = partial(_claimed, identity, claim, licence, slug, now)
    declaration = _borne_out(claim, now) if claim.signed else by_author()
    declaration.require_permission()
    check_signed(declaration, identity.author_public, slug)
    check_commercial(licence, declaration)
    return declaration


def renewed(consent: ConsentDeclaration, identity: Identity, now: float) -> ConsentDeclaration:
    """The declaration as the author's new key makes it: what an author signed as a person is signed again.

    What another person signed names the old key and stays as it is: only that person can name another one.
    """
    if consent.signed is None or consent.subject != "self":
        return consent
    key = identity.author_public
    again = replace(verify_statement(consent.signed), author=key, subject=key, created=int(now))
    return replace(consent, signed=sign_statement(again, identity.author))


def _borne_out(claim: Claim, now: float) -> ConsentDeclaration:
    """Another person's statement decides: the declaration repeats it."""
    if claim.subject not in SIGNED_FOR:
        raise ConsentError(
            f"a consent in a file is another person's, and {claim.subject!r} is not",
            hint="--consent named --consent-file FILE",
        )
    said = verify_statement(claim.signed)
    if claim.subject_name and claim.subject_name != said.subject_name:
        raise ConsentError(f"the consent is by {said.subject_name!r}, not by {claim.subject_name!r}")
    if said.expires is not None and said.expires <= now:
        raise ConsentError(
            f"the consent of {said.subject_name} has expired",
            hint="the speaker can sign another one: p2pvoice consent sign",
        )
    if claim.clips_may_travel and not said.references_may_travel:
        raise ConsentError(
            f"the consent of {said.subject_name} does not let recordings travel",
            hint="leave --clips-may-travel out: the voice then speaks its own reference clips",
        )
    return ConsentDeclaration(
        claim.subject,
        True,
        subject_name=said.subject_name,
        references_may_travel=said.references_may_travel,
        scope=said.scope,
        data_sources=said.data_sources,
        expires=said.expires,
        signed=claim.signed,
    )


def _claimed(identity: Identity, claim: Claim, licence: Licence, slug: str, now: float) -> ConsentDeclaration:
    """The author alone decides; for the author's own voice the author's key signs."""
    travel = claim.subject == "synthetic"
    if claim.clips_may_travel and not travel:
        if claim.subject not in AUTHOR_DECIDES:
            raise ConsentError(
                "whether recordings of another person travel is that person's to say",
                hint="they sign it: p2pvoice consent sign --clips-may-travel",
            )
        travel = True
    own = claim.subject == "self"
    scope = ("commercial",) if own and licence.commercial else ()
    signed = None
    if own and claim.permission:
        statement = ConsentStatement(
            author=identity.author_public,
            subject=identity.author_public,
            subject_name=claim.subject_name,
            slug=slug,
            scope=scope,
            references_may_travel=travel,
            statement=OWN_WORDS,
            language="en",
            created=int(now),
        )
        signed = sign_statement(statement, identity.author)
    return ConsentDeclaration(
        claim.subject,
        claim.permission,
        subject_name=claim.subject_name,
        references_may_travel=travel,
        scope=scope,
        signed=signed,
    )
