"""The phoneme tables of GPT-SoVITS: which row of the text embedding a phoneme is.

A voice is trained against row numbers, so the order is part of the file format. It is not stored as a
list but follows from rules: version 1 is one sorted set, version 2 appends Japanese accent brackets,
Korean jamo and Cantonese. What this module is not for: turning text into phonemes (``p2pvoice.sovits.text``).
Follows specs/text.md.
"""

# ruff: noqa: SIM905 (word lists are easier to read and check as text)

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

UNKNOWN: Final = "UNK"
"""The phoneme that stands in for one the table does not have."""

PUNCTUATION: Final = ("!", "?", "…", ",", ".", "-")
"""Marks that survive normalisation and are phonemes of their own."""

# AA EE OO open a syllable that has no consonant.
PINYIN_INITIALS: Final = "AA EE OO b c ch d f g h j k l m n p q r s sh t w x y z zh".split()
PINYIN_FINALS: Final = (
    "E En a ai an ang ao e ei en eng er i i0 ia ian iang iao ie in ing iong ir iu "
    "o ong ou u ua uai uan uang ui un uo v van ve vn"
).split()
PINYIN_TONES: Final = "12345"

_JAPANESE = (
    "I N U a b by ch cl d dy e f g gy h hy i j k ky m my n ny o p py r ry s sh t ts u v w y z"
).split()
_ARPABET_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
# Bare ER and IH have no stress digit; the published table has them, and no other bare vowel but AA.
_ARPABET_REST = "ER IH B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
_PAUSES = ("SP", "SP2", "SP3")

_ACCENT_BRACKETS = ("[", "]")
_KOREAN = tuple("ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎㅏㅐㅓㅔㅗㅜㅡㅣ停空")

JYUTPING_ONSETS: Final = "b c d f g gw h j k kw l m n ng p s t w z".split()
# The single consonants among the finals are what is left when a syllabic nasal or an odd onset is cut
# off by the rule of the published front end (see text/cantonese.py); the toneless ones belong to no
# syllable that the front end makes, but they occupy rows.
JYUTPING_RHYMES: Final = (
    "a aa aai aak aam aan aang aap aat aau ai ak am an ang ap at au e ei ek eng eoi eon eot g i ik im in "
    "ing ip it iu k m n o oe oek oeng oi ok on ong ot ou p t u ui uk un ung ut yu yun yut"
).split()
_JYUTPING_TONELESS = "a aa ai ak au e o oi ok on ou uk".split()
JYUTPING_TONES: Final = "123456"
JYUTPING_PREFIX: Final = "Y"
"""Set before every Cantonese phoneme so that it never meets a Mandarin or English one."""


def _version_1() -> tuple[str, ...]:
    names = {"_", UNKNOWN, *PUNCTUATION, *_PAUSES, *PINYIN_INITIALS, *_JAPANESE, *_ARPABET_REST}
    names.update(final + tone for final in PINYIN_FINALS for tone in PINYIN_TONES)
    names.update(vowel + stress for vowel in _ARPABET_VOWELS for stress in "012")
    return tuple(sorted(names))


def _version_2() -> tuple[str, ...]:
    cantonese = {JYUTPING_PREFIX + name for name in (*JYUTPING_ONSETS, *_JYUTPING_TONELESS)}
    cantonese.update(JYUTPING_PREFIX + rhyme + tone for rhyme in JYUTPING_RHYMES for tone in JYUTPING_TONES)
    return (*_version_1(), *_ACCENT_BRACKETS, *sorted(_KOREAN), *sorted(cantonese))


SYMBOLS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"v1": _version_1(), "v2": _version_2()})
"""Phonemes in row order. v2Pro, v2ProPlus, v3 and v4 use the table of v2."""

_IDS = {
    version: MappingProxyType({name: row for row, name in enumerate(table)})
    for version, table in SYMBOLS.items()
}


def table_for(version: str) -> str:
    """The name of the table a model version uses: every version after 1 uses the second one."""
    return "v1" if version == "v1" else "v2"


def symbol_ids(version: str = "v2") -> Mapping[str, int]:
    """Phoneme to row number."""
    return _IDS[table_for(version)]


def to_ids(phones: list[str], version: str = "v2") -> list[int]:
    """Row numbers of ``phones``; one that the table lacks becomes ``UNK``."""
    ids = symbol_ids(version)
    unknown = ids[UNKNOWN]
    return [ids.get(phone, unknown) for phone in phones]
