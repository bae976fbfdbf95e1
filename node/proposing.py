"""Proposals: offering a release of one's own for a voice, and what becomes of an offer.

A proposal is a signed operation that names the release and what it was made from; nothing is sent but that.
Whoever looks at one compares the releases themselves; the voice's author merges like any other release, and
publishing the merge says so in the voice's log. Not for the operations themselves (community/), nor for
merging (merging.py). Follows specs/proposals.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from p2pvoice.node import merging
from p2pvoice.node.community.acting import Acted
from p2pvoice.node.community.checking import find_thing
from p2pvoice.node.community.lines import Line
from p2pvoice.node.community.naming import find_operation
from p2pvoice.node.drafts import Draft
from p2pvoice.node.kinship import ancestors
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import Tell, disk, resolve
from p2pvoice.protocol.acts import Merge, Proposal
from p2pvoice.protocol.errors import (
    ConflictError,
    NotFoundError,
    P2PVoiceError,
    PolicyError,
    UsageError,
)
from p2pvoice.protocol.ids import author_id, cid_of, parse_release_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.operations import VoiceName, operation_id, parse_operation_id
from p2pvoice.protocol.replay import ProposalState

#: Releases that one list of proposals looks up in the network.
LOOKUPS_LIMIT = 8

#: States in which a proposal can be merged.
MERGEABLE = ("open", "accepted")


@dataclass(frozen=True)
class Offer:
    """What is to be proposed: our release, for which voice, and which of its releases it was made from."""

    voice: VoiceName
    line: Line
    release: Release
    base: Release
    head: Release


@dataclass(frozen=True)
class Named:
    """A proposal that somebody named, with the voice it is for."""

    voice: VoiceName
    line: Line
    proposal: ProposalState

    @property
    def id(self) -> str:
        """The id of its operation."""
        return operation_id(self.proposal.id)

    @property
    def release(self) -> str:
        """The release that is offered."""
        return cid_of(self.proposal.release)

    @property
    def reference(self) -> str:
        """The voice as its author publishes it now."""
        return f"{self.line.authors[-1]}/{self.line.slug}"


async def prepare(parts: Parts, ref: str, mine: str) -> Offer:
    """Check that a voice of ours can be proposed for another one.

    Raises NotFoundError or UsageError for one that is not published, PolicyError for somebody else's, and
    ConflictError, with the reason, for one that does not come from the voice or cannot be merged into it.
    """
    head = await resolve(parts, ref)
    manifest = head.manifest
    line = await disk(parts, lambda: parts.community.lines.of(author_id(manifest.author), manifest.slug))
    release = await _published(parts, mine)
    own = await disk(parts, parts.community.lines.own_keys)
    if release.manifest.author not in own:
        raise PolicyError(
            f"{release.manifest.name} is somebody else's: you can propose what you published",
            hint=f"p2pvoice fork {mine} --name …",
        )
    if _is_of(line, release):
        raise UsageError(f"{mine} is {manifest.name} itself", hint="--from takes a voice made from it")
    known = await ancestors(parts, release)
    base = next((one for one in known.values() if one is not None and _is_of(line, one)), None)
    if base is None:
        raise ConflictError(
            f"{release.manifest.name} does not come from {manifest.name}: no release of it is among its "
            "ancestors",
            hint=f"p2pvoice fork {ref} --name … or p2pvoice tune {ref} …, publish that, and propose it",
        )
    merging.require_same_kind(head, release)
    if _weights(base) == _weights(release):
        raise ConflictError(
            f"{release.manifest.name} has the weights of what it was made from: nothing changed",
            hint=f"p2pvoice diff {base.id[:17]} {release.id[:17]}",
        )
    return Offer(VoiceName(manifest.author, manifest.slug), line, release, base, head)


async def propose(parts: Parts, offer: Offer, text: str) -> Acted:
    """Sign the proposal, unless the same release is proposed already."""
    release, base = parse_release_id(offer.release.id), parse_release_id(offer.base.id)

    def standing() -> bool:
        state, own = parts.community.states.of(offer.line), parts.community.lines.own_keys()
        return any(
            one.release == release and one.signer in own and one.state in MERGEABLE and not one.retracted
            for one in state.proposals.values()
        )

    if await disk(parts, standing):
        return Acted(offer.line, None, "you have proposed this release already")
    return await parts.community.acting.act(offer.voice, Proposal(release, base, text))


async def _published(parts: Parts, mine: str) -> Release:
    try:
        return await resolve(parts, mine)
    except NotFoundError:
        draft = await disk(parts, partial(_draft, parts, mine))
        if draft is None:
            raise
        raise UsageError(
            f"{draft.name} is a draft: only what is published can be proposed",
            hint=f"p2pvoice publish {draft.slug} …",
        ) from None


def _draft(parts: Parts, name: str) -> Draft | None:
    return next((one for one in parts.drafts.all() if name in (one.slug, one.name)), None)


def _is_of(line: Line, release: Release) -> bool:
    return release.manifest.author in line.owners and release.manifest.slug == line.slug


def _weights(release: Release) -> set[bytes]:
    """The hashes of the weight files."""
    files = release.manifest.files
    return {file.digest for file in files if file.path.endswith(".safetensors") and "/" not in file.path}


async def named(parts: Parts, operation: str) -> Named:
    """The proposal that an operation's id, or its beginning, names. Raises NotFoundError or UsageError."""

    def look() -> Named:
        voice, digest = find_operation(parts.community.logs, operation)
        line = parts.community.lines.of_voice(voice)
        thing = find_thing(parts.community.states.of(line), digest)
        if not isinstance(thing, ProposalState):
            raise UsageError(f"{operation} is no proposal", hint="p2pvoice proposals VOICE")
        return Named(voice, line, thing)

    found: Named = await disk(parts, look)
    return found


async def merge(parts: Parts, operation: str, wanted: merging.Wanted, tell: Tell) -> dict[str, Any]:
    """Merge what is proposed into the voice; what is asked for but the two voices stands in ``wanted``.

    Raises PolicyError for somebody else's voice, ConflictError for a proposal that is settled, and what
    :func:`merging.merge` raises.
    """
    found = await named(parts, operation)
    if parts.identity.author_public not in found.line.owners:
        raise PolicyError(
            "only the voice's author merges a proposal", hint=f"p2pvoice review {found.id[:10]} --accept -m …"
        )
    if found.proposal.state == "rejected":
        raise ConflictError("the proposal was rejected", hint=f"p2pvoice review {found.id[:10]} --accept")
    if found.proposal.state not in MERGEABLE:
        raise ConflictError(f"the proposal was {found.proposal.state}")
    whole = replace(wanted, voice=found.reference, theirs=found.release, proposal=found.id)
    return await merging.merge(parts, whole, tell) | {"proposal": found.id}


async def settle(parts: Parts, draft: Draft, release: Release) -> dict[str, Any] | None:
    """Say in the voice's log that a proposal became a release, once the merge of it is published.

    None for a draft that no proposal led to. The release is published whatever becomes of this: an error is
    told of in the answer.
    """
    merge = draft.notes.get("merge") or {}
    if not merge.get("proposal"):
        return None
    answer: dict[str, Any] = {"proposal": merge["proposal"], "operation": None, "told": 0, "error": None}
    act = Merge(parse_operation_id(merge["proposal"]), parse_release_id(release.id), merge["mode"])
    try:
        voice = VoiceName(release.manifest.author, release.manifest.slug)
        acted = await parts.community.acting.act(voice, act)
        if acted.signed is not None:
            answer["operation"] = operation_id(acted.signed.id)
            answer["told"] = await parts.community.telling.tell(acted.line, [acted.signed])
    except P2PVoiceError as error:
        answer["error"] = error.to_dict()
    return answer


async def in_short(parts: Parts, rows: Sequence[Mapping[str, Any]], *, ask: bool) -> list[dict[str, Any]]:
    """Rows of proposals, each with what its release is and how much of the files is new, by the manifests.

    ``ask`` looks releases up in the network that are not known here; what nobody has is null.
    """
    asked, found = 0, []
    for row in rows:
        pair: list[Release | None] = []
        for identifier in (str(row["release"]), str(row["base"])):
            release = await disk(parts, partial(parts.catalog.release, identifier))
            if release is None and ask and asked < LOOKUPS_LIMIT:
                asked += 1
                try:
                    release = await parts.network.find_release(identifier)
                except P2PVoiceError:
                    release = None
            pair.append(release)
        found.append(dict(row) | {"offer": _offer(pair[0], pair[1])})
    return found


def _offer(release: Release | None, base: Release | None) -> dict[str, Any] | None:
    if release is None:
        return None
    manifest = release.manifest
    said = {
        "name": manifest.name,
        "author": author_id(manifest.author),
        "slug": manifest.slug,
        "license": manifest.license,
        "consent": manifest.consent.subject,
        "changed": None,
        "new_bytes": None,
        "bytes": manifest.size,
    }
    if base is None:
        return said
    before = {file.path: file.digest for file in base.manifest.files}
    chunks = {chunk.digest for file in base.manifest.files for chunk in file.chunks}
    changed = [file for file in manifest.files if before.get(file.path) != file.digest]
    # A preview is spoken and labelled anew by every publication: that it differs says nothing.
    changed = [file for file in changed if not file.path.startswith("preview.")]
    return said | {
        "changed": sorted(file.path for file in changed),
        "new_bytes": sum(
            chunk.size for file in changed for chunk in file.chunks if chunk.digest not in chunks
        ),
    }
