"""Which releases a mirror may take, and in which order: the rarest first.

Not mirrored is what somebody took back or never gave: revoked releases, those whose consent has expired,
those of a licence that cannot be read as letting everybody pass it on. Not for fetching (mirroring.py) nor
for letting go (quota.py). Follows specs/mirror.md, "What is mirrored".
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from p2pvoice.node import inheriting
from p2pvoice.node.mirror_tables import Mirror
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.consent import LICENSES
from p2pvoice.protocol.consent_state import consent_state
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release


@dataclass(frozen=True)
class Candidate:
    """A release that may be mirrored: its bytes, how many others have it, and whether it is here and offered.

    ``renews`` says that an older release of the voice is here for a mirror's sake.
    """

    release: Release
    size: int
    others: int
    here: bool
    renews: bool

    @property
    def total(self) -> int:
        """Holders, this node included."""
        return self.others + self.here


def choose(candidates: Iterable[Candidate], replicas: int, salt: str) -> list[Candidate]:
    """Those to fetch, the rarest first: fewer than ``replicas`` others have them, or they renew what is here.

    Of equally rare ones each node, by its ``salt``, takes another first: so several mirrors that begin at
    once do not all bring the same one.
    """

    def order(one: Candidate) -> tuple[int, bytes]:
        return one.others, hashlib.sha256(f"{salt} {one.release.id}".encode()).digest()

    wanted = [one for one in candidates if not one.here and (one.others < replicas or one.renews)]
    return sorted(wanted, key=order)


def reason_against(parts: Parts, mirror: Mirror, release: Release, now: float) -> str:
    """Why a release is not mirrored, in a word or two; empty when it may be. Blocking."""
    manifest = release.manifest
    author, slug = author_id(manifest.author), manifest.slug
    if manifest.is_base:
        return "base"
    if author == parts.author:
        return "your own"
    if parts.catalog.tombstones.against(release) is not None:
        return "revoked"
    if consent_state(manifest, now) == "expired":
        return "consent"
    # Every licence on the list lets everybody pass unchanged copies on; of another nobody can tell.
    if manifest.license not in LICENSES or inheriting.warnings(parts, release):
        return "licence"
    if (author, slug) in parts.mirrors.unwanted():
        return "removed by you"
    held = parts.catalog.installed_release(author, slug)
    if held is not None and not held.seed:
        return "not offered by you"
    # What the user fetched stays at the release that the user wants.
    if held is not None and held.release != release.id and not parts.mirrors.is_mirrored(author, slug):
        return "another release is yours"
    return ""


def rows_of(parts: Parts, releases: Iterable[Release], counts: Mapping[str, int]) -> list[Candidate]:
    """The candidates among the releases whose holders were counted; blocking."""
    found = []
    for release in releases:
        if release.id in counts:
            author, slug = author_id(release.manifest.author), release.manifest.slug
            held = parts.catalog.installed_release(author, slug)
            found.append(
                Candidate(
                    release,
                    sum({file.digest: file.size for file in release.manifest.files}.values()),
                    counts[release.id],
                    held is not None and held.release == release.id and held.seed,
                    held is not None and held.release != release.id,
                )
            )
    return found
