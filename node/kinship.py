"""Whether two releases are of one lineage: one comes from the other, or both from a third.

Walks the parents that manifests name, of the releases known here and, within a bound, of those the network
knows. A claim of their authors: what it is good for is telling a revision from a stranger's voice. Not for
what binds a release (inheriting.py), nor for the graph that is shown (lineage.py). Follows specs/merging.md,
"Definitions".
"""

from collections import deque
from functools import partial

import trio

from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import disk
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Manifest, Release

#: Releases that are looked at for each of the two.
WALK_LIMIT = 256

#: Releases that are asked for in the network, and seconds that may take in all.
ASK_LIMIT, ASK_SECONDS = 8, 20.0

#: Kinds of parents whose weights the child's are made of. A pupil's are its own.
SAME_WEIGHTS = frozenset({"revision-of", "forked-from", "fine-tuned-from", "merged-from"})


async def ancestors(parts: Parts, release: Release) -> dict[str, Release | None]:
    """A release and all it comes from, the nearest first; None for one of which only the id is known."""
    asked = 0
    found: dict[str, Release | None] = {release.id: release}
    waiting = deque(_parents(release))
    with trio.move_on_after(ASK_SECONDS):
        while waiting and len(found) < WALK_LIMIT:
            identifier, child = waiting.popleft()
            if identifier in found:
                continue
            found[identifier] = None
            known: Release | None = await disk(parts, partial(parts.catalog.release, identifier))
            if known is None and asked < ASK_LIMIT:
                asked += 1
                try:
                    known = await parts.network.find_release(identifier, child=child)
                except P2PVoiceError:
                    # Nobody has it, or it was revoked: its id is all that is known of it.
                    continue
            if known is not None:
                found[identifier] = known
                waiting += _parents(known)
    # What a walk that ran out of time or room had still to look at is an ancestor, too.
    for identifier, _ in list(waiting)[: max(0, WALK_LIMIT - len(found))]:
        found.setdefault(identifier, None)
    return found


async def related(parts: Parts, a: Release, b: Release) -> bool:
    """Whether two releases are of one lineage."""
    left, right = await ancestors(parts, a), await ancestors(parts, b)
    if _ids(left) & _ids(right):
        return True
    # Releases of one voice are one lineage, whether those between them are known or not.
    return bool(
        await disk(parts, partial(_voices, parts, left)) & await disk(parts, partial(_voices, parts, right))
    )


def _ids(found: dict[str, Release | None]) -> set[str]:
    """The releases of a walk, and the bases of their trainings, which need not be releases."""
    roots = (_base(release.manifest) for release in found.values() if release is not None)
    return {*found, *filter(None, roots)}


def _voices(parts: Parts, found: dict[str, Release | None]) -> set[tuple[str, str]]:
    """The voices of a walk, under the keys that their authors have now; blocking."""
    manifests = [release.manifest for release in found.values() if release is not None]
    return {(parts.successors.current(author_id(one.author)), one.slug) for one in manifests}


def _parents(child: Release) -> list[tuple[str, str]]:
    return [(parent.release, child.id) for parent in child.manifest.parents if parent.kind in SAME_WEIGHTS]


def _base(manifest: Manifest) -> str:
    """What a training started from: two who started from one base are related."""
    training = manifest.training
    return training.base if training is not None and training.kind != "distilled" else ""
