"""Why a base may be believed in when nobody has named it by its id.

A stranger's base changes what voices say, and no check finds that; so there has to be a reason. Not for
whether it is a base at all (admit.py), nor for its licence (base_licences.py). Follows specs/bases.md.
"""

from collections.abc import Collection
from dataclasses import dataclass

from p2pvoice.node.base_licences import KNOWN
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.base import ROLE_KINDS, VOCABULARY, base_ids, base_paths
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release


@dataclass(frozen=True)
class Trust:
    """Reasons to believe in a base: ids that pin it, authors whose word counts, what this program knows."""

    bundles: Collection[str]
    contents: Collection[str]
    authors: Collection[str]
    known: Collection[str] = tuple(KNOWN)

    def why(self, release: Release) -> str:
        """Why a base is believed in; empty when there is no reason.

        The content id of a BERT does not say which vocabulary belongs to it, so its bundle id has to.
        """
        ids = base_ids(release.manifest)
        whole = VOCABULARY not in base_paths(release.manifest.engine.version)
        if ids.bundle in self.bundles or (whole and ids.content in self.contents):
            return "pinned by a voice that is installed here"
        if ids.bundle in self.known or (whole and ids.content in self.known):
            return "its numbers are known to this program"
        if author_id(release.manifest.author) in self.authors:
            return "published by somebody you follow"
        return ""


def trust(parts: Parts) -> Trust:
    """What this node has reason to believe in; blocking."""
    bundles, contents = set[str](), set[str]()
    for held in parts.catalog.installed_voices():
        release = parts.catalog.release(held.release)
        for role, pin in release.manifest.engine.pins.items() if release is not None else ():
            if role in ROLE_KINDS:
                bundles.add(pin.bundle)
                contents.add(pin.content)
    followed = {one.author for one in parts.following.all()}
    return Trust(bundles, contents, {parts.author, *followed})


def pinned(parts: Parts, kind: str) -> set[str]:
    """The bundle ids that installed voices pin for a kind of base; blocking."""
    found = set()
    for held in parts.catalog.installed_voices():
        release = parts.catalog.release(held.release)
        pins = release.manifest.engine.pins if release is not None else {}
        found |= {pin.bundle for role, pin in pins.items() if ROLE_KINDS.get(role) == kind}
    return found
