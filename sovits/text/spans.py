"""A text of several languages cut into spans of one language each.

By script: Latin letters are English, and in a named language all else is that language; marks stay with what
is before them, and digits go to the text they touch. ``auto`` tells the others apart: hangul is Korean, kana
and the Han characters written together with it are Japanese, other Han characters Chinese. Whether that is
Mandarin or Cantonese is the caller's choice; only ``auto`` looks for characters that are written in Cantonese
alone. Not a statistical language detector, so Japanese without kana is taken as Chinese. Follows
specs/text.md.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from ...protocol.errors import UnsupportedLanguageError
from .scripts import CANTONESE_ONLY, DIGIT, HAN, HAN_RUN, HANGUL, KANA, STRETCH, is_chinese_only, is_latin

LANGUAGES: Final = (
    "yue", "zh", "en", "ja", "ko", "auto", "auto_yue", "all_yue", "all_zh", "all_ja", "all_ko",
)  # fmt: skip
"""What a text's language may be given as."""
HINT: Final = "languages: yue zh en ja ko, or auto / auto_yue / all_yue / all_zh / all_ja / all_ko if mixed"
"""What to do about a language that is not there."""

_CANTONESE: Final = ("yue", "all_yue", "auto_yue")
_SCRIPTS: Final = {"zh": (HAN,), "yue": (HAN,), "ja": (HAN, KANA), "ko": (HAN, HANGUL)}
"""What decides for a language that was named; other scripts stay with what is before them."""


class Reading(NamedTuple):
    """What a language's front end makes of a span."""

    norm_text: str
    phones: list[str]
    word2ph: list[int] | None
    """Phonemes of each character of ``norm_text``; None where they do not belong to characters (English)."""


@dataclass(frozen=True)
class Span:
    """A piece of text in one language ("zh", "yue", "en", "ja" or "ko")."""

    language: str
    text: str


def chinese_language(text: str, lang: str) -> str:
    """ "zh" or "yue" for the Han characters of ``text``."""
    if lang == "auto" and not CANTONESE_ONLY.isdisjoint(text):
        return "yue"
    return "yue" if lang in _CANTONESE else "zh"


def check_language(lang: str) -> None:
    """Refuse a language that this front end does not have."""
    if lang not in LANGUAGES:
        raise UnsupportedLanguageError(f"the language {lang[:20]!r} is not supported", hint=HINT)


def _named(text: str, language: str) -> list[str | None]:
    """The language of each character when one is named; None where the character does not decide."""
    scripts = _SCRIPTS[language]
    return [
        language if any(script.match(c) for script in scripts) else "en" if is_latin(c) else None
        for c in text
    ]


def _detected(text: str, chinese: str) -> list[str | None]:
    """The language of each character by what it is written with; None where it does not decide."""
    languages: list[str | None] = [
        "ko" if HANGUL.match(c) else "ja" if KANA.match(c) else "en" if is_latin(c) else None for c in text
    ]
    for stretch in STRETCH.finditer(text):
        kana = [index for index in range(*stretch.span()) if languages[index] == "ja"]
        for run in HAN_RUN.finditer(text, *stretch.span()):
            language = "ja" if kana and not _is_chinese(run[0], run.start() > kana[-1]) else chinese
            for index in range(*run.span()):
                if HAN.match(text[index]):
                    languages[index] = language
    return languages


def _is_chinese(run: str, at_end: bool) -> bool:
    """Whether Han characters are Chinese although kana stand beside them.

    A single character after the last kana is too little to tell by.
    """
    return is_chinese_only(run) and not (at_end and len(run) == 1)


def spans(text: str, lang: str) -> list[Span]:
    """``text`` in order, in spans of one language; neighbours differ. Empty text has no span."""
    check_language(lang)
    if not text:
        return []
    if lang == "en":
        return [Span("en", text)]
    chinese = chinese_language(text, lang)
    named = chinese if lang in _CANTONESE or lang.endswith("zh") else lang.removeprefix("all_")
    if lang.startswith("auto"):
        languages, named = _detected(text, chinese), chinese
    else:
        languages = _named(text, named)
    cuts: list[tuple[str, int]] = []  # language and where its span starts
    undecided = 0  # where the characters start that belong to no language by themselves
    for index, language in enumerate(languages):
        if language is None:
            continue
        if not cuts:
            cuts.append((language, 0))
        elif language != cuts[-1][0]:
            start = index
            # Digits go with what is after them, unless that is English or they touch what is before.
            digit = DIGIT.search(text, undecided, index)
            if language != "en" and digit and (cuts[-1][0] == "en" or digit.start() > undecided):
                start = digit.start()
            cuts.append((language, start))
        undecided = index + 1
    if not cuts:
        return [Span(named, text)]
    ends = [start for _, start in cuts[1:]] + [len(text)]
    return [Span(language, text[start:end]) for (language, start), end in zip(cuts, ends, strict=True)]
