"""The lineage of a release: what it was made from, and what is known here to be made from it.

Ancestors come from the manifests that are here; one that is not is shown by its id alone, and looked up only
when that is asked for. Descendants are those this node has seen: nobody keeps a list of all. The graph is
bounded, so that neither a long history nor a flood of forks costs more than a page. Not for drawing it
(protocol/lineage_svg.py). Follows specs/lineage.md, "The graph".
"""

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import trio

from p2pvoice.node.inheriting import loosens
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import resolve
from p2pvoice.protocol.consent_state import consent_facts
from p2pvoice.protocol.errors import NetworkError, NotFoundError, RevokedError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.lineage import NODES_LIMIT
from p2pvoice.protocol.manifest import Release

log = logging.getLogger("p2pvoice.lineage")

#: Releases of a graph that may be ancestors; the others are for what was made from the one in the middle.
ANCESTORS_LIMIT = NODES_LIMIT // 2

#: Steps from the release that was asked for.
DEPTH_LIMIT = 64

#: Children of one release.
CHILDREN_LIMIT = 64

#: Ancestors that one request looks up in the network.
LOOKUPS_LIMIT = 16

#: Seconds that these look-ups may take together.
LOOKUP_SECONDS = 30.0

_DID_KEY = "did:key:"

#: Characters of a key that stand for it, `z6Mk` among them.
FINGERPRINT = 12


@dataclass
class _Found:
    """A graph while it is gathered: releases by id, None for one that is not known here."""

    focus: str
    releases: dict[str, Release | None] = field(default_factory=dict)
    truncated: bool = False

    @property
    def unknown(self) -> list[tuple[str, str]]:
        """What is named as a parent and not known here, each with a release that names it."""
        held = [release for release in self.releases.values() if release is not None]
        named = {parent.release: child.id for child in held for parent in child.manifest.parents}
        return [(one, named[one]) for one, release in self.releases.items() if release is None]


async def lineage(parts: Parts, ref: str, *, fetch: bool = False) -> dict[str, Any]:
    """The graph around a release: ``{nodes, edges, focus, truncated}``. Raises as :func:`resolve` does.

    With ``fetch`` ancestors that are not here are asked of the network, so far as that is quick.
    """
    focus = await resolve(parts, ref, prefer_installed=False)
    found = await trio.to_thread.run_sync(_gather, parts, focus, limiter=parts.disk)
    if fetch:
        asked: set[str] = set()
        with trio.move_on_after(LOOKUP_SECONDS):
            while len(asked) < LOOKUPS_LIMIT:
                waiting = [one for one in found.unknown if one[0] not in asked]
                if not waiting:
                    break
                ancestor, child = waiting[0]
                asked.add(ancestor)
                try:
                    await parts.network.find_release(ancestor, child=child)
                except (NotFoundError, NetworkError, RevokedError) as error:
                    log.info("an ancestor is not found: %s", error.message)
                    continue
                found = await trio.to_thread.run_sync(_gather, parts, focus, limiter=parts.disk)
    return await trio.to_thread.run_sync(_tell, parts, found, limiter=parts.disk)


def _gather(parts: Parts, focus: Release) -> _Found:
    found = _Found(focus.id, {focus.id: focus})
    _ancestors(parts, focus, found)
    _descendants(parts, focus, found)
    return found


def _ancestors(parts: Parts, focus: Release, found: _Found) -> None:
    waiting = deque([(focus, 0)])
    while waiting:
        release, depth = waiting.popleft()
        for parent in release.manifest.parents:
            if parent.release in found.releases:
                continue
            if len(found.releases) >= ANCESTORS_LIMIT or depth >= DEPTH_LIMIT:
                found.truncated = True
                continue
            known = parts.catalog.release(parent.release)
            found.releases[parent.release] = known
            if known is not None:
                waiting.append((known, depth + 1))


def _descendants(parts: Parts, focus: Release, found: _Found) -> None:
    waiting = deque([(focus.id, 0)])
    while waiting:
        identifier, depth = waiting.popleft()
        children = parts.catalog.children(identifier, CHILDREN_LIMIT + 1)
        found.truncated |= len(children) > CHILDREN_LIMIT
        for child in children[:CHILDREN_LIMIT]:
            if child in found.releases:
                continue
            if len(found.releases) >= NODES_LIMIT or depth >= DEPTH_LIMIT:
                found.truncated = True
                continue
            release = parts.catalog.release(child)
            if release is not None:
                found.releases[child] = release
                waiting.append((child, depth + 1))


def _tell(parts: Parts, found: _Found) -> dict[str, Any]:
    edges = []
    for identifier, release in found.releases.items():
        for parent in release.manifest.parents if release is not None else ():
            if parent.release not in found.releases or release is None:
                continue
            known = found.releases[parent.release]
            edges.append(
                {
                    "child": identifier,
                    "parent": parent.release,
                    "kind": parent.kind,
                    "loosens": known is not None and loosens(parts, release.manifest, known, parent.kind),
                }
            )
    return {
        "focus": found.focus,
        "nodes": [_node(parts, identifier, release) for identifier, release in found.releases.items()],
        "edges": edges,
        "truncated": found.truncated,
    }


def _node(parts: Parts, identifier: str, release: Release | None) -> dict[str, Any]:
    revoked = parts.catalog.tombstones.of_release(identifier) is not None
    if release is None:
        return {
            "release": identifier, "author": "", "fingerprint": "", "slug": "", "name": "", "created": None,
            "license": "", "consent": None, "here": False, "known": False, "revoked": revoked,
            "own": False, "followed": False, "author_name": "",
        }  # fmt: skip
    manifest = release.manifest
    author = author_id(manifest.author)
    return {
        "release": identifier,
        "author": author,
        "fingerprint": author.removeprefix(_DID_KEY)[:FINGERPRINT],
        "slug": manifest.slug,
        "name": manifest.name,
        "created": manifest.created,
        "license": manifest.license,
        "consent": consent_facts(manifest, time.time()),
        "here": parts.catalog.is_installed(identifier),
        "known": True,
        "revoked": revoked,
        **parts.names.whose(author),
    }
