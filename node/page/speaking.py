"""The speak box: what a voice on this machine can be asked to say, and in which languages.

The same box stands on the page of an installed voice and on that of a draft; speaking itself is the RPC's
(`POST /v1/speak`). Follows specs/page-making.md, "Speaking".
"""

from collections.abc import Sequence
from typing import Any

from p2pvoice.node.page import wave
from p2pvoice.node.page.view import View
from p2pvoice.node.rpc.voices import TEXT_LIMIT
from p2pvoice.node.speech import OPTIONS

SPOKEN = ("yue", "zh", "en", "ja", "ko")
"""Languages that the front end reads, the last two with an extra."""

UNSPOKEN = {"v1": ("yue", "ko"), "lite": ("ja", "ko")}
"""Versions of models -> languages that they have no sounds for."""

SPEEDS = (0.5, 2.0)
"""Slowest and fastest that the box offers; the RPC takes more."""


def box(
    view: View,
    name: str,
    slug: str,
    languages: Sequence[str],
    engine: dict[str, Any],
    *,
    voice: str = "",
    draft: str = "",
) -> dict[str, Any]:
    """The facts of a speak box; ``voice`` is a release id, ``draft`` a slug, one of them is given."""
    own = [lang for lang in languages if lang in SPOKEN]
    can = [lang for lang in SPOKEN if lang not in UNSPOKEN.get(engine["version"], ())]
    return {
        "name": name,
        # What files with its speech are called: the slug holds nothing that a file system could mind.
        "file": slug,
        "voice": voice,
        "draft": draft,
        "own": [{"code": lang, "name": view.words.language(lang)} for lang in own],
        "other": [{"code": lang, "name": view.words.language(lang)} for lang in can if lang not in own],
        "limit": f"{TEXT_LIMIT:,}",
        "most": TEXT_LIMIT,
        "slowest": SPEEDS[0],
        "fastest": SPEEDS[1],
        "last_seed": 2**53 - 1 if OPTIONS["seed"][2] > 2**53 else OPTIONS["seed"][2],
        "flat": wave.path(()),
    }
