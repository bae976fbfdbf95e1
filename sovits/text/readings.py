"""Readings as people write them, to the phonemes of a voice: pinyin, jyutping, ARPAbet, kana, hangul.

For checking an entry of a dictionary before it is kept, with a word on the nearest right form, and for
speaking it. Not for finding words in a text: see pronunciations. Follows specs/pronunciation.md.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from ...protocol.errors import UsageError
from ...protocol.pronunciation import Entry
from ..symbols import (
    JYUTPING_ONSETS,
    JYUTPING_PREFIX,
    JYUTPING_RHYMES,
    JYUTPING_TONES,
    PINYIN_TONES,
    SYMBOLS,
)
from .chinese_normalize import to_simplified
from .jyutping import cut_syllable
from .pinyin import opening_and_rhyme
from .punctuation import keep_cantonese, keep_mandarin

LONGEST_SPARE: Final = 8
"""Phonemes of an English word, letters of a Japanese or Korean one, that any word may have."""
LONGEST_PER_CHARACTER: Final = 8
"""The same for each of its characters. Unbounded, a stranger's dictionary would make a short text endless."""

_TONE_MARKS: Final = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4"}
_SYLLABLE = re.compile(r"([a-z]+)([0-9])")
_VOWELS: Final = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()  # noqa: SIM905
_CONSONANTS: Final = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()  # noqa: SIM905
ARPABET: Final = frozenset([*_CONSONANTS, *(vowel + stress for vowel in _VOWELS for stress in "012")])
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\u30fc]+")
_HANGUL = re.compile(r"[\uac00-\ud7a3]+(?: [\uac00-\ud7a3]+)*")
_ENGLISH_MARKS: Final = frozenset(" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_KNOWN: Final = frozenset(SYMBOLS["v2"])


class Checked(NamedTuple):
    """An entry that a voice can speak."""

    entry: Entry
    """As it is to be kept: the reading in its plain notation."""
    key: str
    """What is looked for in a text: of Chinese, the normalised word."""
    phones: tuple[tuple[str, ...], ...]
    """Phonemes of each character (Chinese) or of the word (English); none where the word is respelled."""


class _Wrong(Exception):
    """What is wrong with an entry, and how to find out what would be right: that may load dictionaries."""

    def __init__(self, message: str, advice: str | Callable[[], str]) -> None:
        super().__init__(message)
        self.message, self.advice = message, advice


def check(entry: Entry, *, advise: bool = False) -> Checked:
    """What an entry says, in phonemes. Raises UsageError, with the nearest right form as hint if ``advise``.

    Without, no dictionary is loaded: the entries of strangers are checked so.
    """
    try:
        return _checked(entry)
    except _Wrong as wrong:
        if isinstance(wrong.advice, str):
            hint = wrong.advice
        else:
            hint = wrong.advice() if advise else "p2pvoice pronounce test TEXT shows how readings are written"
        raise UsageError(wrong.message, hint=hint) from None


def _checked(entry: Entry) -> Checked:
    if entry.lang in ("zh", "yue"):
        return _chinese(entry)
    if entry.lang == "en":
        return _english(entry)
    pattern, script = (_KANA, "kana") if entry.lang == "ja" else (_HANGUL, "hangul")
    if not pattern.fullmatch(entry.reading):
        raise _Wrong(f"the reading {entry.reading[:40]!r} is not {script} alone", f"write it in {script}")
    _bound(entry, len(entry.reading))
    return Checked(entry, entry.word, ())


def _bound(entry: Entry, length: int) -> None:
    longest = LONGEST_SPARE + LONGEST_PER_CHARACTER * len(entry.word)
    if length > longest:
        told = f"a word of {len(entry.word)} letters has a reading of at most {longest} sounds, not {length}"
        raise _Wrong(told, "")


def _chinese(entry: Entry) -> Checked:
    keep = keep_mandarin if entry.lang == "zh" else keep_cantonese
    key = keep(to_simplified(entry.word))
    if len(key) != len(entry.word) or not key.isalpha():
        raise _Wrong(
            f"a {entry.lang} word has Han characters alone, and {entry.word[:40]!r} has others",
            "Latin letters have --lang en; write digits as they are said",
        )
    syllables = [_numbered(one) for one in entry.reading.lower().split()]
    if len(syllables) != len(key):
        one = "syllable" if len(syllables) == 1 else "syllables"
        raise _Wrong(
            f"it has {len(key)} characters, its reading {len(syllables)} {one}",
            lambda: f"a syllable a character; now it is read {_now(entry)}",
        )
    phones = []
    for syllable in syllables:
        found = _pinyin(syllable) if entry.lang == "zh" else cut_syllable(syllable)
        if found is None or not _KNOWN.issuperset(found):
            raise _no_syllable(syllable, entry)
        phones.append(found)
    return Checked(Entry(entry.lang, entry.word, " ".join(syllables)), key, tuple(phones))


def _numbered(syllable: str) -> str:
    """``háng`` -> ``hang2``, ``lǜ`` or ``lu:4`` -> ``lv4``, tone 0 -> 5; without a tone it stays."""
    letters, tone, marked = "", "", False
    for character in unicodedata.normalize("NFD", syllable.replace("u:", "v")):
        if character in _TONE_MARKS:
            tone, marked = _TONE_MARKS[character], True
        elif character == "\u0308" and letters.endswith("u"):
            letters = letters[:-1] + "v"
        else:
            letters += character
    # A syllable without a mark is neutral only where others are marked, which one cannot see here.
    letters = re.sub("^([ln])ue", r"\1ve", letters)
    return letters + tone if marked else re.sub("0$", "5", letters)


def _pinyin(syllable: str) -> tuple[str, str] | None:
    match = _SYLLABLE.fullmatch(syllable)
    pair = opening_and_rhyme(match[1]) if match and match[2] in PINYIN_TONES else None
    return (pair[0], pair[1] + match[2]) if pair and match else None


def _no_syllable(syllable: str, entry: Entry) -> _Wrong:
    mandarin = entry.lang == "zh"
    tones = PINYIN_TONES if mandarin else JYUTPING_TONES
    sound, tone = (syllable[:-1], syllable[-1]) if syllable[-1:].isdigit() else (syllable, "")
    toned = _pinyin(sound + "1") if mandarin else cut_syllable(sound + "1")
    if toned is not None and _KNOWN.issuperset(toned):
        return _Wrong(
            f"{syllable[:20]!r} has no tone from {tones[0]} to {tones[-1]}",
            f"tones: {' '.join(sound + one for one in tones)}"
            if tone
            else lambda: f"now it is read {_now(entry)}",
        )
    kind = "Mandarin syllable in pinyin" if mandarin else "Cantonese syllable in jyutping"
    return _Wrong(
        f"{syllable[:20]!r} is no {kind}", lambda: _nearest(sound, tone if tone in tones else "", entry)
    )


def _nearest(sound: str, tone: str, entry: Entry) -> str:
    known = _pinyin_syllables() if entry.lang == "zh" else _jyutping_syllables()
    near = difflib.get_close_matches(sound[:20], known, n=12, cutoff=0.5)
    # Two letters that changed places are the usual slip; the first letter is seldom the wrong one.
    near.sort(key=lambda one: (sorted(one) != sorted(sound), one[:1] != sound[:1]))
    forms = " or ".join(one + tone for one in near[:3])
    return f"did you mean {forms}?" if forms else f"now it is read {_now(entry)}"


def _english(entry: Entry) -> Checked:
    letters = [one for one in entry.word if one.isalpha() and "LATIN" in unicodedata.name(one, "")]
    others = [one for one in entry.word if one not in letters]
    if not letters or not all(one in _ENGLISH_MARKS or one in "0123456789’" for one in others):
        raise _Wrong(
            f"an English word has Latin letters, digits and marks, and {entry.word[:40]!r} has others",
            "Han characters have --lang zh or yue",
        )
    phones = entry.reading.upper().split()
    _bound(entry, len(phones))
    for phone in phones:
        if phone in ARPABET:
            continue
        if phone in _VOWELS:
            raise _Wrong(
                f"the vowel {phone} has no stress",
                f"{phone}1 is stressed, {phone}2 half stressed, {phone}0 not",
            )
        raise _Wrong(
            f"{phone[:20]!r} is no sound of English in ARPAbet",
            lambda phone=phone: _nearest_sound(phone, entry),
        )
    key = entry.word.lower().replace("’", "'")
    return Checked(Entry("en", entry.word, " ".join(phones)), key, (tuple(phones),))


def _nearest_sound(phone: str, entry: Entry) -> str:
    near = difflib.get_close_matches(phone[:20], sorted(ARPABET), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"now it is read {_now(entry)}"


def _now(entry: Entry) -> str:
    """How a word is read without its entry, in the notation that an entry has."""
    if entry.lang == "en":
        from . import english

        return " ".join(phone for phone in english.read(entry.word).phones if phone[0].isalpha())
    from . import cantonese, mandarin

    read = mandarin.read(entry.word) if entry.lang == "zh" else cantonese.read(entry.word)
    counts, at, shown = read.word2ph or [], 0, []
    for count in counts:
        shown.append(written(entry.lang, read.phones[at : at + count]))
        at += count
    return " ".join(shown)


def written(lang: str, phones: list[str] | tuple[str, ...]) -> str:
    """The phonemes of one character as a syllable of pinyin or jyutping; other phonemes as they are."""
    if len(phones) != 2 or lang not in ("zh", "yue"):
        return " ".join(phones)
    opening, rhyme = phones
    if lang == "yue":
        opening, rhyme = opening.removeprefix(JYUTPING_PREFIX), rhyme.removeprefix(JYUTPING_PREFIX)
        # What opens like a rhyme and has no more to it was cut after its last letter.
        whole = opening + rhyme[-1]
        return whole if cut_syllable(whole) == tuple(phones) else opening + rhyme
    sound, tone = rhyme[:-1], rhyme[-1:]
    sound = {"ir": "i", "i0": "i", "En": "an", "E": "e"}.get(sound, sound)
    if opening in ("j", "q", "x", "y") and sound.startswith("v"):
        sound = "u" + sound[1:]
    return ("" if opening in ("AA", "EE", "OO") else opening) + sound + tone


@cache
def _pinyin_syllables() -> tuple[str, ...]:
    """Syllables that characters have, to propose one of."""
    from pypinyin.constants import PINYIN_DICT

    found = {_numbered(one)[:-1] for readings in PINYIN_DICT.values() for one in readings.split(",")}
    return tuple(sorted(one for one in found if opening_and_rhyme(one)))


@cache
def _jyutping_syllables() -> tuple[str, ...]:
    whole = [
        onset + rhyme
        for onset in ("", *JYUTPING_ONSETS)
        for rhyme in JYUTPING_RHYMES
        if rhyme[0] in "aeiouy" or rhyme in ("m", "ng")
    ]
    return tuple(one for one in whole if (found := cut_syllable(one + "1")) and _KNOWN.issuperset(found))
