"""Whether two releases are of one lineage: one comes from the other, or both from a third.

Walks the parents that manifests name, of the releases known here and, within a bound, of those the network
knows. A claim of their authors: what it is good for is telling a revision from a stranger's voice. Follows
specs/merging.md, "Definitions".
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


async def ancestry(parts: Parts, release: Release) -> frozenset[str]:
    """The ids of a release and of all it comes from, as far as they can be known; bases by their own ids."""
    asked = 0
    found, waiting = {release.id, *_roots(release.manifest)}, deque(_parents(release.manifest))
    with trio.move_on_after(ASK_SECONDS):
        while waiting and len(found) < WALK_LIMIT:
            identifier = waiting.popleft()
            if identifier in found:
                continue
            found.add(identifier)
            known: Release | None = await disk(parts, partial(parts.catalog.release, identifier))
            if known is None and asked < ASK_LIMIT:
                asked += 1
                try:
                    known = await parts.network.find_release(identifier)
                except P2PVoiceError:
                    # Nobody has it, or it was revoked: its id is all that is known of it.
                    continue
            if known is not None:
                found |= _roots(known.manifest)
                waiting += _parents(known.manifest)
    # What a walk that ran out of time or room had still to look at is an ancestor, too.
    return frozenset([*found, *waiting][:WALK_LIMIT])


async def related(parts: Parts, a: Release, b: Release) -> bool:
    """Whether two releases are of one lineage."""
    return bool(await ancestry(parts, a) & await ancestry(parts, b))


def _parents(manifest: Manifest) -> list[str]:
    return [parent.release for parent in manifest.parents if parent.kind in SAME_WEIGHTS]


def _roots(manifest: Manifest) -> set[str]:
    """The base of a training, which need not be a release: two who started from one base are related."""
    training = manifest.training
    return {training.base} if training is not None and training.kind != "distilled" else set()
