"""What the author of a voice need not say again: licence, tags, description, consent of its newest release.

For publishing a draft that a merge made: its voice is published already, and what its author declared then
still holds unless it is declared anew. A first publication declares everything. Follows specs/merging.md,
"Publish".
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from p2pvoice.node.consents import AUTHOR_DECIDES, SIGNED_FOR
from p2pvoice.node.drafts import Draft
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.errors import ConflictError
from p2pvoice.protocol.manifest import Manifest

if TYPE_CHECKING:
    from p2pvoice.node.publish import Publication


def as_before(parts: Parts, draft: Draft, wanted: "Publication") -> "Publication":
    """What is asked for, with what a merged draft's voice said before where nothing is said; blocking.

    Raises ConflictError when the voice has got a newer release than the one that was merged into.
    """
    merge = draft.notes.get("merge")
    if not merge:
        return wanted
    head = parts.catalog.head(parts.author, draft.voice)
    newest = parts.catalog.release(head.release) if head is not None else None
    if newest is None or (newest.id != merge["ours"] and not _holds(newest.manifest, merge["theirs"])):
        raise ConflictError(
            f"{draft.voice} has had another release since this merge was made",
            hint=f"p2pvoice merge {draft.voice} --with {merge['theirs']} --mode {merge['mode']}",
        )
    return declared_in(newest.manifest, wanted)


def _holds(manifest: Manifest, theirs: str) -> bool:
    """Whether a release is this merge already: a draft may be published again, to declare something else."""
    return any((parent.release, parent.kind) == (theirs, "merged-from") for parent in manifest.parents)


def declared_in(manifest: Manifest, wanted: "Publication") -> "Publication":
    """What is asked for, completed by what the author declared in a manifest."""
    found = replace(
        wanted,
        tags=wanted.tags or manifest.tags,
        license=wanted.license or manifest.license,
        description=wanted.description or manifest.description,
    )
    if wanted.consent or wanted.consent_upload:
        return found
    consent = manifest.consent
    signed = consent.signed if consent.subject in SIGNED_FOR else None
    return replace(
        found,
        consent=consent.subject,
        subject=consent.subject_name if consent.subject in SIGNED_FOR else "",
        ai_voice_permission=consent.ai_voice_permission,
        clips_may_travel=wanted.clips_may_travel
        or (consent.subject in AUTHOR_DECIDES and consent.references_may_travel),
        consent_signed=signed or b"",
    )
