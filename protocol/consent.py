"""Licence and consent: what must be said before a voice may be published.

For checking that a release names a licence everybody can look up, and that its author declared whose voice it
is and that this person permits an AI voice. A declaration is a claim: nothing here proves it. The statement
that the person signed, and a declaration may carry, is consent_statement.py's. Follows specs/consent.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pvoice.protocol.errors import ConsentError, ManifestError
from p2pvoice.protocol.fields import Fields, check_text

STATEMENT_LENGTH = 2000
"""Characters of a consent statement."""

SUBJECT_NAME_LENGTH = 80
"""Characters of the name of a person whose voice it is."""

DATA_SOURCES_LIMIT = 16
"""Data sources one declaration may list."""

DATA_SOURCE_LENGTH = 200
"""Characters of one data source."""

SIGNED_LIMIT = 8 * 1024
"""Bytes of a signed statement that a declaration carries."""

LICENSE_LENGTH = 64
"""Characters of a licence id."""

SUBJECTS: Mapping[str, str] = {
    "self": "the author's own voice",
    "named": "another person, who is named and gave permission",
    "synthetic": "no real person: trained from synthetic speech",
    "public-domain-corpus": "a corpus whose licence allows AI voices",
    "deceased-estate": "a deceased person, with the permission of the heirs",
}
"""Whose voice it can be, with what each word says."""

NO_VOICE = "no-voice"
"""The subject of a base, which is nobody's voice: no permission is in it, so no voice can be published so."""

SCOPES = ("commercial", "adult", "political", "singing")
"""Uses that a consent may allow beyond the ordinary; what is not listed is not allowed."""

LICENSES = (
    "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0",
    "CC-BY-NC-ND-4.0", "CC-BY-3.0", "CC-BY-SA-3.0", "CC-BY-NC-3.0", "CC-BY-NC-SA-3.0", "CC-PDDC",
    "PDDL-1.0", "ODC-By-1.0", "ODbL-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "MIT", "MIT-0",
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "Unlicense", "Zlib", "MPL-2.0",
    "EUPL-1.2", "LGPL-3.0-or-later", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later",
    "AGPL-3.0-only", "AGPL-3.0-or-later", "MulanPSL-2.0", "OGL-UK-3.0",
)  # fmt: skip
"""SPDX ids a release may be published under, besides ``LicenseRef-…`` for a licence of one's own."""

_LICENSE_REF = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
_SPDX_SHAPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_BY_LOWER = {name.lower(): name for name in LICENSES}
_HINT = "for example --license CC-BY-4.0, or LicenseRef-<name> for a licence of your own"


@dataclass(frozen=True)
class Licence:
    """A licence by its SPDX id."""

    spdx: str

    @classmethod
    def parse(cls, text: str) -> "Licence":
        """The licence somebody typed, in SPDX's own spelling. ConsentError unless it is one we know."""
        known = _BY_LOWER.get(text.strip().lower())
        if known is not None:
            return cls(known)
        if len(text) <= LICENSE_LENGTH and _LICENSE_REF.fullmatch(text):
            return cls(text)
        if not text.strip():
            raise ConsentError("a voice is published only with a licence", hint=_HINT)
        raise ConsentError(f"{text[:LICENSE_LENGTH]!r} is not a licence id known here", hint=_HINT)

    @property
    def commercial(self) -> bool | None:
        """Whether the licence allows commercial use; None when its text has to be read."""
        if self.spdx.startswith("LicenseRef-"):
            return None
        return "-NC" not in self.spdx


def check_license_shape(text: object) -> str:
    """A licence id as a manifest may carry it; looser than :meth:`Licence.parse`, for newer releases."""
    if text is None or text == "":
        raise ConsentError("the release names no licence", hint=_HINT)
    if not isinstance(text, str) or len(text) > LICENSE_LENGTH or not _SPDX_SHAPE.fullmatch(text):
        raise ManifestError("the licence is not an SPDX id")
    return text


def check_scope(scope: tuple[str, ...]) -> None:
    """ManifestError unless these are uses that a consent may allow, each at most once."""
    if len(set(scope)) != len(scope) or not set(scope) <= set(SCOPES):
        raise ManifestError("the scope of a consent lists each of " + ", ".join(SCOPES) + " at most once")


def check_data_sources(sources: tuple[str, ...]) -> None:
    """ManifestError unless these are few and short enough."""
    if len(sources) > DATA_SOURCES_LIMIT:
        raise ManifestError(f"more than {DATA_SOURCES_LIMIT} data sources")
    for source in sources:
        check_text(source, "a data source", DATA_SOURCE_LENGTH, minimum=1)


@dataclass(frozen=True)
class ConsentDeclaration:
    """What the author says about the person behind the voice.

    ``subject`` is one of SUBJECTS and ``named`` needs ``subject_name``. ``expires`` is in seconds since 1970.
    ``signed`` is the person's own statement as it was signed; the manifest checks that it bears this out.
    """

    subject: str
    ai_voice_permission: bool
    subject_name: str = ""
    references_may_travel: bool = True
    scope: tuple[str, ...] = ()
    statement: str = ""
    data_sources: tuple[str, ...] = ()
    expires: int | None = None
    signed: bytes | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.subject == NO_VOICE:
            self._check_nobody()
        elif self.subject not in SUBJECTS:
            raise ConsentError(
                f"{str(self.subject)[:40]!r} does not say whose voice it is",
                hint="--consent takes one of: " + ", ".join(SUBJECTS),
            )
        if type(self.ai_voice_permission) is not bool or type(self.references_may_travel) is not bool:
            raise ManifestError("a permission is either true or false")
        check_text(self.subject_name, "the name of the subject", SUBJECT_NAME_LENGTH)
        check_text(self.statement, "the consent statement", STATEMENT_LENGTH, lines=True)
        if self.subject == "named" and not self.subject_name:
            raise ConsentError("a voice of a named person says the person's name")
        check_scope(self.scope)
        check_data_sources(self.data_sources)
        if self.signed is not None and not (
            isinstance(self.signed, bytes) and 1 <= len(self.signed) <= SIGNED_LIMIT
        ):
            raise ManifestError(f"a signed consent has 1 to {SIGNED_LIMIT} bytes")
        if self.expires is not None and (type(self.expires) is not int or not 0 < self.expires < 2**40):
            raise ManifestError("the expiry of a consent is a time in seconds")

    def _check_nobody(self) -> None:
        said = (self.subject_name, self.scope, self.statement, self.data_sources, self.expires, self.signed)
        if self.ai_voice_permission or self.references_may_travel or any(said):
            raise ConsentError("what is nobody's voice has nobody who could permit anything")

    def require_permission(self) -> None:
        """ConsentError unless the declaration permits an AI voice at all."""
        if not self.ai_voice_permission:
            raise ConsentError(
                "the consent does not permit an AI voice, so this voice stays private",
                hint="owning a recording is not enough: ask the speaker",
            )

    def to_map(self) -> dict[str, Any]:
        """The declaration as it stands in a manifest."""
        body: dict[str, Any] = dict(self.extra)
        body.update(
            subject=self.subject,
            ai_voice_permission=self.ai_voice_permission,
            references_may_travel=self.references_may_travel,
            subject_name=self.subject_name,
            scope=list(self.scope),
            statement=self.statement,
            data_sources=list(self.data_sources),
        )
        if self.expires is not None:
            body["expires"] = self.expires
        if self.signed is not None:
            body["signed"] = self.signed
        return body

    @classmethod
    def from_map(cls, value: object) -> "ConsentDeclaration":
        """Read a declaration out of a decoded manifest. ConsentError when it is missing or says nothing."""
        if value is None or value == {}:
            raise ConsentError("the release carries no consent declaration")
        fields = Fields(value, "the consent declaration")
        return cls(
            subject=fields.text("subject"),
            ai_voice_permission=fields.flag("ai_voice_permission"),
            subject_name=fields.text("subject_name"),
            references_may_travel=fields.flag("references_may_travel"),
            scope=fields.texts("scope", len(SCOPES)),
            statement=fields.text("statement"),
            data_sources=fields.texts("data_sources", DATA_SOURCES_LIMIT),
            expires=fields.optional_number("expires"),
            signed=fields.optional_blob("signed"),
            extra=fields.rest(),
        )
