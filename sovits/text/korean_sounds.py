"""How Korean syllables change where they meet: the rules of the Standard Pronunciation (표준 발음법).

Works on syllables cut into letters, with what the dictionary knows of the word they belong to. The numbers in
the comments are those of the Standard's articles. Changes cross a space, as in connected speech, but a
consonant does not move over one. Not for spelling out letters and numbers. Follows specs/text.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ONSETS: Final = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWELS: Final = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
CODAS: Final = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
SILENT: Final = "ㅇ"
"""The onset of a syllable that begins with its vowel."""

_FIRST: Final = 0xAC00
_LAST: Final = 0xD7A3

_TENSE: Final = dict(zip("ㄱㄷㅂㅅㅈ", "ㄲㄸㅃㅆㅉ", strict=True))
_ASPIRATED: Final = dict(zip("ㄱㄷㅂㅈ", "ㅋㅌㅍㅊ", strict=True))
_NASAL: Final = {"ㄱ": "ㅇ", "ㄷ": "ㄴ", "ㅂ": "ㅁ"}
_SPOKEN_CODA: Final = {
    **{coda: coda for coda in ("", *"ㄱㄴㄷㄹㅁㅂㅇ")},
    **dict.fromkeys("ㄲㅋㄳㄺ", "ㄱ"), **dict.fromkeys("ㅅㅆㅈㅊㅌㅎ", "ㄷ"), **dict.fromkeys("ㅍㅄㄿ", "ㅂ"),
    **dict.fromkeys("ㄼㄽㄾㅀ", "ㄹ"), **dict.fromkeys("ㄵㄶ", "ㄴ"), "ㄻ": "ㅁ",
}  # fmt: skip
"""8 to 11: the seven sounds a syllable can end with."""
SPLIT_CODA: Final = {
    "ㄳ": "ㄱㅅ", "ㄵ": "ㄴㅈ", "ㄶ": "ㄴㅎ", "ㄺ": "ㄹㄱ", "ㄻ": "ㄹㅁ", "ㄼ": "ㄹㅂ",
    "ㄽ": "ㄹㅅ", "ㄾ": "ㄹㅌ", "ㄿ": "ㄹㅍ", "ㅀ": "ㄹㅎ", "ㅄ": "ㅂㅅ",
}  # fmt: skip
"""Codas of two consonants."""
_LETTER_NAMES: Final = {
    ("ㄱ", "ㅡ", "ㄷ"): "ㅅ", **{("ㅇ", "ㅡ", coda): "ㅅ" for coda in "ㅈㅊㅌㅎ"},
    ("ㅇ", "ㅡ", "ㅋ"): "ㄱ", ("ㅇ", "ㅡ", "ㅍ"): "ㅂ",
}  # fmt: skip
"""16: the last syllables of the letters' names (디귿, 지읒 …) and what their codas are before a vowel."""
_TENSE_AFTER_STEM: Final = frozenset("ㄴㄵㅁㄻㄼㄾ")


@dataclass
class Syllable:
    """A syllable in letters, and what it is in its word."""

    onset: str
    vowel: str
    coda: str
    begins_word: bool = False
    """It is the first of a noun, verb, adjective or adverb."""
    ends_stem: bool = False
    """It is the last of a verb's or adjective's stem."""
    modifies: bool = False
    """It ends with the ㄹ of an ending that modifies what follows, or inside such an ending."""


def cut(character: str) -> Syllable | None:
    """A syllable of the Unicode block in letters; None for any other character."""
    code = ord(character)
    if not _FIRST <= code <= _LAST:
        return None
    rest, coda = divmod(code - _FIRST, len(CODAS))
    onset, vowel = divmod(rest, len(VOWELS))
    return Syllable(ONSETS[onset], VOWELS[vowel], CODAS[coda])


def pronounce(sounds: Sequence[Syllable | str]) -> None:
    """Change the syllables of a text in place to what is spoken; strings are spaces and marks.

    A single space lies between words of one phrase; any other string ends it.
    """
    for here in sounds:
        if isinstance(here, Syllable) and here.vowel == "ㅢ" and here.onset != SILENT:
            here.vowel = "ㅣ"  # 5: 희망; only where the consonant is written, so not in 문의
    for index, here in enumerate(sounds):
        if isinstance(here, str):
            continue
        spaced = sounds[index + 1 : index + 2] == [" "]
        after = sounds[index + 2 if spaced else index + 1 :][:1]
        following = after[0] if after and not isinstance(after[0], str) else None
        if following is not None:
            _meet(here, following, spaced)
        here.coda = _SPOKEN_CODA[here.coda]
    for here in sounds:
        if isinstance(here, Syllable) and here.onset in "ㅈㅉㅊ" and here.vowel == "ㅕ":
            here.vowel = "ㅓ"  # 5: 가져


def _meet(here: Syllable, after: Syllable, spaced: bool) -> None:
    """What the end of ``here`` and the beginning of ``after`` make of each other."""
    if not here.coda:
        return
    if after.onset == SILENT:
        if not spaced:
            _move(here, after)
        return
    _before_consonant(here, after, spaced)


def _before_consonant(here: Syllable, after: Syllable, spaced: bool) -> None:
    modifies, stem = here.modifies and here.coda == "ㄹ", here.ends_stem
    if here.coda in "ㅎㄶㅀ" and not _after_h(here, after):
        return
    if after.onset == "ㅎ":
        _before_h(here, after, spaced)
        return
    if modifies:  # 27: what follows the future modifier is tense
        after.onset = _TENSE.get(after.onset, after.onset)
    elif stem and here.coda in _TENSE_AFTER_STEM and after.onset in "ㄱㄷㅅㅈ":  # 24, 25
        after.onset = _TENSE[after.onset]
    elif stem and here.coda == "ㄺ" and after.onset in "ㄱㄲ":  # 11: 맑게 is 말께
        here.coda, after.onset = "ㄹ", "ㄲ"
    spoken = _before_cluster(here, after)
    if spoken in _NASAL and after.onset in "ㄴㅁ":  # 18
        spoken = _NASAL[spoken]
    elif spoken in _NASAL and after.onset == "ㄹ":  # 19
        spoken, after.onset = _NASAL[spoken], "ㄴ"
    elif spoken in _NASAL:  # 23
        after.onset = _TENSE.get(after.onset, after.onset)
    elif spoken in "ㅁㅇ" and after.onset == "ㄹ":  # 19
        after.onset = "ㄴ"
    elif spoken == "ㄴ" and after.onset == "ㄹ":  # 20
        spoken = "ㄹ"
    elif spoken == "ㄹ" and after.onset == "ㄴ" and not (spaced and _is_object_particle(here)):  # 20
        after.onset = "ㄹ"
    here.coda = spoken


def _is_object_particle(here: Syllable) -> bool:
    """을 or 를, by its sound: voices have heard ㄴ keep its sound after it."""
    return here.vowel == "ㅡ" and here.onset in "ㅇㄹ"


def _before_cluster(here: Syllable, after: Syllable) -> str:
    """The sound of a coda before a consonant, with the two stems that are exceptions (10)."""
    if here.coda == "ㄼ":
        if (here.onset, here.vowel) == ("ㅂ", "ㅏ"):  # 밟다
            return "ㅂ"
        if (here.onset, here.vowel, after.vowel) == ("ㄴ", "ㅓ", "ㅜ"):  # 넓죽하다, 넓둥글다
            return "ㅂ"
    return _SPOKEN_CODA[here.coda]


def _after_h(here: Syllable, after: Syllable) -> bool:
    """12: a coda with ㅎ joins the next consonant. True when more may happen to the two."""
    rest = {"ㅎ": "", "ㄶ": "ㄴ", "ㅀ": "ㄹ"}[here.coda]
    if after.onset in _ASPIRATED and after.onset != "ㅂ":
        here.coda, after.onset = rest, _ASPIRATED[after.onset]
        return False
    if after.onset == "ㅅ":
        here.coda, after.onset = rest, "ㅆ"
        return False
    here.coda = rest or ("ㄴ" if after.onset == "ㄴ" else "")
    return bool(here.coda)


def _before_h(here: Syllable, after: Syllable, spaced: bool) -> None:
    """12: ㅎ joins the consonant before it; a word's own last consonant is neutral first."""
    first, last = _split(here.coda)
    # 17: 굳히다, 닫혔다; but not 맏형
    causative = after.vowel == "ㅣ" or (after.vowel == "ㅕ" and after.coda in ("", "ㅆ"))
    if not spaced and (last == "ㅈ" or (last in "ㄷㅌ" and causative)):
        here.coda, after.onset = first, "ㅊ"
        return
    if here.coda in "ㄺㄼ" and not spaced:
        here.coda, after.onset = first, _ASPIRATED[last]
        return
    spoken = _SPOKEN_CODA[here.coda]
    if spoken in _NASAL:
        here.coda, after.onset = "", _ASPIRATED[spoken]


def _move(here: Syllable, after: Syllable) -> None:
    """13 to 15, 17: the last consonant opens the next syllable."""
    if here.coda == SILENT:
        return
    here.coda = _LETTER_NAMES.get((here.onset, here.vowel, here.coda), here.coda)
    first, last = _split(here.coda)
    if after.begins_word and after.vowel in "ㅏㅓㅗㅜㅟ":  # 15: a new word, so the coda is neutral first
        first, last = "", _SPOKEN_CODA[here.coda]
    elif last == "ㅎ":  # 12: before a vowel it is silent
        first, last = "", first
        if not last:
            here.coda = ""
            return
    elif last in "ㄷㅌ" and after.vowel in "ㅣㅕ" and not after.begins_word:  # 17: 굳이, 같이
        last = "ㅈ" if last == "ㄷ" else "ㅊ"
    elif first and last == "ㅅ":  # 14
        last = "ㅆ"
    here.coda, after.onset = first, last


def _split(coda: str) -> tuple[str, str]:
    """What of a coda stays and what can move."""
    first, last = SPLIT_CODA.get(coda, " " + coda)
    return first.strip(), last
