"""A text of several languages cut into spans of one language each.

By script: Han characters are Chinese, Latin letters English; marks stay with what is before them, and digits
go to the Chinese text they touch. Whether Chinese is Mandarin or Cantonese is the caller's choice; only
``auto`` looks for characters that are written in Cantonese alone. Not a statistical language detector, so
Japanese without kana is taken as Chinese. Follows specs/text.md.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, NamedTuple

from ...protocol.errors import UnsupportedLanguageError
from .stand_ins import is_stand_in

LANGUAGES: Final = ("yue", "zh", "en", "auto", "auto_yue", "all_yue", "all_zh")
"""What a text's language may be given as."""
HINT: Final = "languages: yue zh en, or auto / auto_yue / all_yue / all_zh for mixed text"
"""What to do about a language that is not there."""

_CANTONESE: Final = ("yue", "all_yue", "auto_yue")
# Characters that only Cantonese is written with; one is enough.
_CANTONESE_ONLY: Final = frozenset("嘅咗喺冇佢哋唔啲嚟嘢嗰噉嚿瞓")
_HAN = re.compile(r"[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_KANA = re.compile(r"[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff9d]")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")
_DIGIT = re.compile(r"[0-9０-９]")


class Reading(NamedTuple):
    """What a language's front end makes of a span."""

    norm_text: str
    phones: list[str]
    word2ph: list[int] | None
    """Phonemes of each character of ``norm_text``; None where they do not belong to characters (English)."""


@dataclass(frozen=True)
class Span:
    """A piece of text in one language ("zh", "yue" or "en")."""

    language: str
    text: str


def _language_of(character: str, chinese: str) -> str | None:
    """The language a single character decides, or None for digits, marks and spaces."""
    if _HAN.match(character):
        return chinese
    if character.isalpha() and "LATIN" in unicodedata.name(character, ""):
        return "en"
    if is_stand_in(character):  # an English word of the dictionary
        return "en"
    return None


def chinese_language(text: str, lang: str) -> str:
    """ "zh" or "yue" for the Han characters of ``text``."""
    if lang == "auto" and not _CANTONESE_ONLY.isdisjoint(text):
        return "yue"
    return "yue" if lang in _CANTONESE else "zh"


def check_language(lang: str) -> None:
    """Refuse a language that this front end does not have."""
    if lang not in LANGUAGES:
        raise UnsupportedLanguageError(f"the language {lang[:20]!r} is not supported", hint=HINT)


def _check_scripts(text: str) -> None:
    for pattern, name in ((_KANA, "Japanese"), (_HANGUL, "Korean")):
        if pattern.search(text):
            raise UnsupportedLanguageError(f"the text has {name} in it: not supported yet", hint=HINT)


def spans(text: str, lang: str) -> list[Span]:
    """``text`` in order, in spans of one language; neighbours differ. Empty text has no span."""
    check_language(lang)
    if not text:
        return []
    if lang == "en":
        return [Span("en", text)]
    if lang.startswith("auto"):
        _check_scripts(text)
    chinese = chinese_language(text, lang)
    cuts: list[tuple[str, int]] = []  # language and where its span starts
    undecided = 0  # where the characters start that belong to no language by themselves
    for index, character in enumerate(text):
        language = _language_of(character, chinese)
        if language is None:
            continue
        if not cuts:
            cuts.append((language, 0))
        elif language != cuts[-1][0]:
            start = index
            if language != "en":
                digit = _DIGIT.search(text, undecided, index)
                start = digit.start() if digit else index
            cuts.append((language, start))
        undecided = index + 1
    if not cuts:
        return [Span(chinese, text)]
    ends = [start for _, start in cuts[1:]] + [len(text)]
    return [Span(language, text[start:end]) for (language, start), end in zip(cuts, ends, strict=True)]
