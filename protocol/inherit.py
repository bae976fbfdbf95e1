"""What a release may say that was made from others: a descendant cannot loosen what its ancestors forbid.

For judging a declaration against the ancestors that bind it: whoever publishes asks before signing, whoever
reads asks too, since anybody can sign anything. Which ancestors bind is ancestry.py's. The answers are
stricter than a court's: what these tables do not know is refused, never guessed. Not legal advice. Follows
specs/lineage.md, "What is passed on".
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from p2pvoice.protocol.ancestry import Ancestor
from p2pvoice.protocol.consent import LICENSES, ConsentDeclaration, Licence
from p2pvoice.protocol.consent_statement import verify_statement
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Manifest

PERMISSIVE = (
    "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "CC-PDDC", "PDDL-1.0", "ODC-By-1.0", "CDLA-Permissive-2.0", "MIT",
    "MIT-0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "Unlicense", "Zlib", "MulanPSL-2.0",
    "OGL-UK-3.0",
)  # fmt: skip
"""Licences that leave a descendant free to choose; who is to be credited stands in the lineage."""

SHARE_ALIKE: Mapping[str, tuple[str, ...]] = {
    "CC-BY-SA-4.0": ("CC-BY-SA-4.0", "GPL-3.0-only"),
    "CC-BY-SA-3.0": ("CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    "CC-BY-NC-SA-4.0": ("CC-BY-NC-SA-4.0",),
    "CC-BY-NC-SA-3.0": ("CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0"),
    "ODbL-1.0": ("ODbL-1.0",),
    "CDLA-Sharing-1.0": ("CDLA-Sharing-1.0",),
    "MPL-2.0": ("MPL-2.0",),
    "EUPL-1.2": ("EUPL-1.2",),
    "LGPL-3.0-or-later": ("LGPL-3.0-or-later", "GPL-3.0-or-later", "GPL-3.0-only"),
    "GPL-2.0-or-later": ("GPL-2.0-or-later", "GPL-3.0-or-later", "GPL-3.0-only"),
    "GPL-3.0-or-later": ("GPL-3.0-or-later", "GPL-3.0-only"),
    "GPL-3.0-only": ("GPL-3.0-only",),
    "AGPL-3.0-or-later": ("AGPL-3.0-or-later", "AGPL-3.0-only"),
    "AGPL-3.0-only": ("AGPL-3.0-only",),
}
"""Licences that a descendant keeps, each with those that count as kept: itself, and what its text names."""

PERSONS = ("self", "named", "deceased-estate")
"""Subjects that are a person: whatever is made of such a voice is that person's voice."""

OTHERS = ("named", "deceased-estate")
"""Those among them who are somebody else than the author."""

INHERITED = ("synthetic", "public-domain-corpus")
"""Subjects that a fork may take over without a word: nobody's permission is in them."""

About = Literal["licence", "consent"]

Same = Callable[[bytes, bytes], bool]
"""Whether two keys are one author's, by what is known of successors."""


@dataclass(frozen=True)
class Fault:
    """What a declaration loosens: which ancestor says otherwise, in words, and what to do about it."""

    about: About
    ancestor: str
    author: bytes
    message: str
    hint: str


def allowed_licences(spdx: str) -> frozenset[str] | None:
    """The licences that something made under ``spdx`` may have; None for any, the empty set for none at all.

    Of a licence that is not known here, and of every ``LicenseRef-…`` (OpenRAIL's use restrictions among
    them), nobody but a reader of its text can tell: only the same one keeps what it says.
    """
    if spdx in PERMISSIVE:
        return None
    if spdx in SHARE_ALIKE:
        return frozenset(SHARE_ALIKE[spdx])
    if spdx not in LICENSES:
        return frozenset({spdx})
    if "-ND" in spdx:
        return frozenset()
    if Licence(spdx).commercial is False:
        return frozenset(name for name in LICENSES if Licence(name).commercial is False)
    return frozenset({spdx})


def person_key(consent: ConsentDeclaration, author: bytes) -> bytes | None:
    """The key of the person whose voice it is, as far as a declaration by ``author`` tells it."""
    if consent.signed is not None:
        return verify_statement(consent.signed).subject
    return author if consent.subject == "self" else None


def faults(
    author: bytes,
    license: str,
    consent: ConsentDeclaration,
    ancestors: Sequence[Ancestor],
    same: Same,
) -> list[Fault]:
    """Everything that a release by ``author`` with this licence and consent would loosen.

    ``ancestors`` are those that bind it. At most one fault of the licence and one of the consent each.
    """
    found = []
    for ancestor in ancestors:
        of, manifest = ancestor.release.id, ancestor.release.manifest
        if ancestor.own and manifest.consent.subject not in OTHERS:
            continue
        problem = None if ancestor.own else _licence_problem(manifest, license)
        if problem is not None:
            found.append(Fault("licence", of, manifest.author, *problem))
        problem = _consent_problem(manifest, consent, author, same, learned=ancestor.learned)
        if problem is not None:
            found.append(Fault("consent", of, manifest.author, *problem))
    return found


def _licence_problem(ancestor: Manifest, license: str) -> tuple[str, str] | None:
    allowed = allowed_licences(ancestor.license)
    name, under = ancestor.name, ancestor.license
    if allowed is None or license in allowed:
        return None
    if not allowed:
        return (
            f"{name} is under {under}, which lets nobody publish what is made of it",
            "keep it on this machine, or ask its author for another licence",
        )
    one = under if under in allowed else min(allowed)
    return f"{name} is under {under}, which {license} would loosen", f"--license {one}"


def _consent_problem(
    ancestor: Manifest, consent: ConsentDeclaration, author: bytes, same: Same, *, learned: bool
) -> tuple[str, str] | None:
    before = ancestor.consent
    if before.subject in PERSONS:
        person = person_key(before, ancestor.author)
        if consent.subject == "self" and person is not None and same(person, author):
            # The person publishes the own voice: no consent given to another binds the one who gave it.
            return None
        problem = _person_problem(ancestor, person, consent, author, same)
        return problem or _beyond(ancestor.name, before, consent)
    if not learned:
        # Nothing was learnt on the way, so it is still whose voice it was.
        if consent.subject != before.subject:
            return _subject_problem(ancestor.name, before.subject, consent.subject)
        return _beyond(ancestor.name, before, consent)
    if before.subject == "public-domain-corpus" and consent.subject == "synthetic":
        return _subject_problem(ancestor.name, before.subject, consent.subject)
    return None


def _subject_problem(name: str, before: str, now: str) -> tuple[str, str]:
    return f"{name} is declared as {before}, and what is made of it is not {now}", f"--consent {before}"


def _person_problem(
    ancestor: Manifest, person: bytes | None, consent: ConsentDeclaration, author: bytes, same: Same
) -> tuple[str, str] | None:
    before, name = ancestor.consent, ancestor.name
    who = before.subject_name or ("its author" if before.subject == "self" else "a person")
    kind = "deceased-estate" if before.subject == "deceased-estate" else "named"
    message = f"{name} is the voice of {who}, and so is what is made of it"
    if person is not None:
        said = person_key(consent, author) if consent.signed is not None else None
        estate = before.subject == "deceased-estate" and consent.subject != before.subject
        if said is not None and same(person, said) and not estate:
            return None
        hint = (
            f"--consent {kind} --consent-file FILE, signed by {author_id(person)}: "
            f"p2pvoice consent sign --author {author_id(author)}"
        )
        return f"{message}; it takes a consent signed by that person for this author", hint
    if consent.subject == before.subject and before.subject_name in ("", consent.subject_name):
        return None
    subject = f' --subject "{before.subject_name}"' if before.subject_name else ""
    return message, f"--consent {before.subject}{subject}"


def _beyond(name: str, before: ConsentDeclaration, now: ConsentDeclaration) -> tuple[str, str] | None:
    """What a declaration allows beyond the one before it: uses, time, recordings."""
    uses = [use for use in now.scope if use not in before.scope]
    if uses:
        return (
            f"the consent for {name} does not allow {' '.join(uses)} use",
            "a consent without it, and a licence for no commercial use where it is commercial use: "
            "--license CC-BY-NC-4.0"
            if "commercial" in uses
            else "a consent without it",
        )
    if before.expires is not None and (now.expires is None or now.expires > before.expires):
        return (
            f"the consent for {name} ends sooner than this one",
            "a consent that ends by " + time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(before.expires)),
        )
    if now.references_may_travel and not before.references_may_travel:
        return (
            f"the recordings behind {name} do not travel",
            "leave --clips-may-travel out, or bring a consent without it",
        )
    return None
