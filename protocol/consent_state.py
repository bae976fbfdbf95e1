"""What a release's consent is worth now: claimed, signed or expired. The one place that decides it.

For everything that publishes, offers, fetches or speaks, and for what is shown. The clock is the caller's.
Not for whether a statement is valid: a manifest with one that is not cannot be read. Follows
specs/consent.md.
"""

from typing import Any, Literal

from p2pvoice.protocol.consent_statement import verify_statement
from p2pvoice.protocol.errors import ConsentError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Manifest

ConsentState = Literal["claimed", "signed", "expired"]


def consent_state(manifest: Manifest, now: float) -> ConsentState:
    """The state of a release's consent at ``now``, in seconds since 1970."""
    if consent_end(manifest) <= now:
        return "expired"
    return "claimed" if manifest.consent.signed is None else "signed"


def consent_end(manifest: Manifest) -> float:
    """When a release's consent expires, in seconds since 1970; infinity when it does not."""
    # A declaration never outlasts the statement it carries, so its own expiry is the earlier one.
    return float("inf") if manifest.consent.expires is None else float(manifest.consent.expires)


def require_current(manifest: Manifest, now: float) -> None:
    """ConsentError when the consent has expired: no publishing, offering, fetching or speaking any more."""
    if consent_state(manifest, now) == "expired":
        raise ConsentError(
            f"the consent for the voice {manifest.name} has expired",
            hint="ask its author for a release with a new consent, and p2pvoice update",
        )


def consent_facts(manifest: Manifest, now: float) -> dict[str, Any]:
    """The consent as find, list and show give it: the author's words, and whose signature bears them out."""
    consent = manifest.consent
    statement = verify_statement(consent.signed) if consent.signed is not None else None
    return {
        "subject": consent.subject,
        "subject_name": consent.subject_name,
        "state": consent_state(manifest, now),
        "signed": statement is not None,
        "signed_by": author_id(statement.subject) if statement is not None else None,
        "scope": list(consent.scope),
        "references_may_travel": consent.references_may_travel,
        "expires": consent.expires,
    }
