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
    waiting = deque(_parents(release.manifest))
    with trio.move_on_after(ASK_SECONDS):
        while waiting and len(found) < WALK_LIMIT:
            identifier = waiting.popleft()
            if identifier in found:
                continue
            found[identifier] = None
            known: Release | None = await disk(parts, partial(parts.catalog.release, identifier))
            if known is None and asked < ASK_LIMIT:
                asked += 1
                try:
                    known = await parts.network.find_release(identifier)
                except P2PVoiceError:
                    # Nobody has it, or it was revoked: its id is all that is known of it.
                    continue
            if known is not None:
                found[identifier] = known
                waiting += _parents(known.manifest)
    # What a walk that ran out of time or room had still to look at is an ancestor, too.
    for identifier in list(waiting)[: max(0, WALK_LIMIT - len(found))]:
        found.setdefault(identifier, None)
    return found


async def related(parts: Parts, a: Release, b: Release) -> bool:
    """Whether two releases are of one lineage."""
    left, right = await ancestors(parts, a), await ancestors(parts, b)
    return bool(_ids(left) & _ids(right))


def _ids(found: dict[str, Release | None]) -> set[str]:
    """The releases of a walk, and the bases of their trainings, which need not be releases."""
    roots = (_base(release.manifest) for release in found.values() if release is not None)
    return {*found, *filter(None, roots)}


def _parents(manifest: Manifest) -> list[str]:
    return [parent.release for parent in manifest.parents if parent.kind in SAME_WEIGHTS]


def _base(manifest: Manifest) -> str:
    """What a training started from: two who started from one base are related."""
    training = manifest.training
    return training.base if training is not None and training.kind != "distilled" else ""
