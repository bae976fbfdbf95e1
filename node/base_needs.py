"""Which bases a voice needs: pinning them when it is published, and whether they are here when it is used.

A voice.json names a base by its kind or by the content id of its weights; a manifest pins the very one. Not
for fetching one (base_fetching.py). All functions block. Follows specs/bases.md, "Bases as releases".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from p2pvoice.node.base_licences import BUNDLED
from p2pvoice.node.bases import installed_bases
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.base import ROLE_KINDS
from p2pvoice.protocol.manifest import Manifest, Pin, Release

#: Roles without which a voice speaks worse or not at all; the others are needed to make or to train one.
SPEAKING = ("bert",)


def pins_for(parts: Parts, bases: Mapping[str, str], parent: Release | None) -> dict[str, Pin]:
    """The bases of a voice that is published now: what is installed here, or what its parent's files pin."""
    rows = installed_bases(parts.home.bases)
    pins = {}
    for role, named in bases.items():
        row = _installed(rows, role, named, None)
        if row is not None and row["bundle"]:
            pins[role] = Pin(str(row["bundle"]), str(row["id"]))
    if parent is not None and dict(parent.manifest.engine.bases) == dict(bases):
        pins.update(parent.manifest.engine.pins)
    return pins


def needs(parts: Parts, manifest: Manifest) -> list[dict[str, Any]]:
    """What a voice needs: ``{role, kind, base, bundle, content, fetch, installed, name, instead, for}`` each.

    ``fetch`` is what `p2pvoice base fetch` takes, ``name`` that of the installed base, ``instead`` that of
    one of the same kind, which is used where the pinned one is not here.
    """
    rows = installed_bases(parts.home.bases)
    found = []
    for role, named in manifest.engine.bases.items():
        kind = ROLE_KINDS.get(role)
        if kind is None or named == BUNDLED["id"]:
            continue
        pin = manifest.engine.pins.get(role)
        row, other = _installed(rows, role, named, pin), _installed(rows, role, named, None)
        found.append(
            {
                "role": role,
                "kind": kind,
                "base": named,
                "bundle": pin.bundle if pin is not None else None,
                "content": pin.content if pin is not None else None,
                "fetch": pin.bundle if pin is not None else named,
                "installed": row is not None,
                "name": row["name"] if row is not None else None,
                "instead": other["name"] if row is None and other is not None else None,
                "for": "speaking Mandarin" if role in SPEAKING else "making and training",
            }
        )
    return found


def missing(parts: Parts, manifest: Manifest) -> list[dict[str, Any]]:
    """What speaking needs and is not here, nor anything that could stand in."""
    return [
        one
        for one in needs(parts, manifest)
        if one["role"] in SPEAKING and not one["installed"] and not one["instead"]
    ]


def folders(parts: Parts, release: Release | None) -> list[str]:
    """Where the worker finds bases for a voice: first those that it pins, then all.

    Which one a kind means is decided by what comes first.
    """
    pinned = []
    if release is not None and release.manifest.engine.pins:
        names = [one["name"] for one in needs(parts, release.manifest) if one["bundle"] and one["name"]]
        pinned = [str(parts.home.bases / name) for name in names]
    return [*pinned, *parts.bases()]


def _installed(
    rows: Sequence[Mapping[str, Any]], role: str, named: str, pin: Pin | None
) -> Mapping[str, Any] | None:
    """The installed base that fits, the first by name as the worker takes it."""
    kind = ROLE_KINDS.get(role)
    for row in rows:
        if row["kind"] != kind or (named != kind and row.get("id") != named):
            continue
        if pin is None or row["bundle"] == pin.bundle:
            return row
    return None
