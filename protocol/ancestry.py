"""Which ancestors bind a release: the walk from its parents through own revisions to everybody's else.

An author may change the terms of the own voice, so a release by the same author does not bind its successor;
what went into it from others still does, and so does the word of another person whose voice it is. For
publishing and for reading alike: what is known of releases and keys is asked of the caller, and nothing here
reads or fetches. Not for what binding means (inherit.py). Follows specs/lineage.md, "Who binds".
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2pvoice.protocol.manifest import Parent, Release

ANCESTORS_LIMIT = 256
"""Releases that one walk looks at; what lies beyond binds through those nearer to it."""

LEARNED = ("fine-tuned-from", "merged-from")
"""Kinds of parents beside which something else went into the weights: recordings, or another voice."""

OWN_STEP = "revision-of"
"""The kind that a node gives to the release before, when the same author publishes a voice again."""


@dataclass(frozen=True)
class Ancestor:
    """A release that binds another one; ``learned`` when something else went into the weights on the way.

    ``own`` is one by the same author as what was made of it: it binds by the consent of another person alone.
    """

    release: Release
    learned: bool
    own: bool = False


@dataclass(frozen=True)
class Ancestry:
    """What a walk found: who binds, nearest first; and parents that must be known and are not.

    ``unknown`` are parents of the release itself, or of own releases before it. A revision whose predecessor
    is not known is not among them: that kind is the author's own.
    """

    binding: tuple[Ancestor, ...]
    unknown: tuple[str, ...]


def ancestry(
    author: bytes,
    parents: Sequence[Parent],
    known: Callable[[str], Release | None],
    same: Callable[[bytes, bytes], bool],
) -> Ancestry:
    """Walk up from a release by ``author`` with these parents, whether it is signed yet or not.

    ``known`` gives a release by its id, ``same`` tells whether two keys are one author's.
    """
    binding: dict[str, Ancestor] = {}
    unknown: dict[str, None] = {}
    releases: dict[str, Release | None] = {}
    # A release is looked at once for each author that names it: one of them may be its own.
    seen: set[tuple[str, bytes, bool, bool]] = set()
    # A parent, by whom the release is that names it, whether that one is still the author's own, and
    # whether anything was learnt on the way.
    waiting = deque((parent, author, True, False) for parent in parents)
    while waiting:
        parent, child_author, own, learned = waiting.popleft()
        learned = learned or parent.kind in LEARNED
        step = (parent.release, child_author, own, learned)
        if step in seen:
            continue
        seen.add(step)
        if parent.release not in releases:
            if len(releases) >= ANCESTORS_LIMIT:
                continue
            releases[parent.release] = known(parent.release)
        release = releases[parent.release]
        if release is None:
            if own and parent.kind != OWN_STEP:
                unknown[parent.release] = None
            continue
        manifest = release.manifest
        kin = same(child_author, manifest.author) or same(author, manifest.author)
        if not kin or parent.kind != OWN_STEP:
            held = binding.get(release.id, Ancestor(release, learned, kin))
            # When one way leads past something that was learnt, that went into it by whichever way; and what
            # a stranger names binds in full, whoever else names it.
            binding[release.id] = Ancestor(release, learned or held.learned, kin and held.own)
        own = own and same(author, manifest.author)
        waiting.extend((one, manifest.author, own, learned) for one in manifest.parents)
    return Ancestry(tuple(binding.values()), tuple(unknown))
