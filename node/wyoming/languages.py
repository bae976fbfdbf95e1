"""Which language a tag means, and as what a language is told to Home Assistant.

Home Assistant writes BCP 47 tags and has no ``yue`` of its own: its Cantonese is ``zh-HK``. Pure tables; not
for which voice speaks: see speaking.py. Follows specs/wyoming.md, "Voices and languages".
"""

from collections.abc import Mapping

from p2pvoice.protocol.errors import UnsupportedLanguageError
from p2pvoice.protocol.vocabulary import FACETS

#: Longest tag that is looked at, in characters.
TAG_LIMIT = 35

#: What every voice reads, whatever language it was trained on; only version 1 has no Cantonese.
COMMON = ("yue", "zh", "en")

#: As what a language is told, the tag that Home Assistant knows among them; any other as itself.
TOLD: Mapping[str, tuple[str, ...]] = {"yue": ("yue", "zh-HK"), "zh": ("zh", "zh-CN", "zh-TW")}

_CANTONESE_PLACES = {"hk", "mo", "yue"}


def language_of(tag: str) -> str:
    """Our language for a tag; UnsupportedLanguageError for what is no tag at all."""
    parts = tag.lower().replace("_", "-").split("-")
    if len(tag) > TAG_LIMIT or not all(part.isascii() and part.isalnum() for part in parts):
        raise UnsupportedLanguageError("this is no language tag", hint="such as zh-HK, yue, zh-CN, en")
    first, rest = parts[0], set(parts[1:])
    if first == "cmn":
        return "zh"
    if first == "zh" and rest & _CANTONESE_PLACES:
        return "yue"
    return first


def spoken_by(version: str, own: tuple[str, ...]) -> tuple[str, ...]:
    """The languages of a voice of an engine version, its own first."""
    common = [one for one in COMMON if not (one == "yue" and version == "v1")]
    return tuple(dict.fromkeys([*own, *common]))


def told_as(language: str) -> list[str]:
    """The tags under which a language is offered."""
    return list(TOLD.get(language, (language,)))


def as_text(language: str) -> str:
    """A language as the worker is told it. English finds Chinese in a text too, as Chinese finds English."""
    return "auto" if language == "en" else language


def by_text(own: str) -> str:
    """What a text's language is called when nobody says which it is; ``own`` is the voice's."""
    return {"yue": "auto_yue", "zh": "auto", "en": "auto"}.get(own, own)


def name_of(language: str) -> str:
    """A language's English name."""
    names = FACETS["language"].get(language)
    return names.en[0] if names is not None else language
