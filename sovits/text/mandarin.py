"""Mandarin phonemes of normalised text: words by jieba, readings by pypinyin, tone sandhi, erhua.

Readings can also be given from outside, one a character (as a model that reads whole sentences would give
them); then words in the phrase dictionary keep the dictionary's readings. Without them each word is read
on its own. Other scripts are dropped. Follows specs/text.md.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

from . import sandhi
from .chinese_normalize import normalize
from .pinyin import opening_and_rhyme, spelling
from .pronunciations import NONE, Pronunciations
from .punctuation import MARKS, keep_mandarin
from .sandhi import Rhymes, Word
from .segment import cut_fine, tagged_words
from .spans import Reading
from .tables import load_json

Readings = Callable[[str], Sequence[str]]
"""From a clause to a reading a character: pinyin with its tone digit, or the mark itself."""

_CLAUSE_END: Final = re.compile("(?<=[!?…,.-])")
# A yen sign or a caret anywhere in a text makes every comma of it a longer pause.
_PAUSE_SIGNS: Final = (("￥", "SP2"), ("^", "SP3"))


@cache
def _erhua(name: str) -> frozenset[str]:
    return frozenset(load_json("mandarin.json")[name])


def _read_apart(word: str) -> tuple[list[str], Rhymes]:
    """Consonants and rhymes of a word as pypinyin reads it by itself; marks stand for themselves."""
    from pypinyin import Style, lazy_pinyin

    consonants: list[str] = lazy_pinyin(word, neutral_tone_with_five=True, style=Style.INITIALS)
    rhymes: list[str] = lazy_pinyin(word, neutral_tone_with_five=True, style=Style.FINALS_TONE3)
    return consonants, rhymes


def _read_rhymes(word: str) -> Rhymes:
    return _read_apart(word)[1] or ["0"]


@cache
def _phrases() -> dict[str, Any]:
    from pypinyin.constants import PHRASES_DICT

    return PHRASES_DICT


def _read_given(word: str, readings: Sequence[str]) -> tuple[list[str], Rhymes]:
    """Consonants and rhymes from readings given a character, unless the word is a known phrase."""
    from pypinyin.contrib.tone_convert import to_finals_tone3, to_initials, to_tone3

    phrase = _phrases().get(word)
    if phrase is not None:
        readings = [to_tone3(alternatives[0], neutral_tone_with_five=True) for alternatives in phrase]
    consonants, rhymes = [], []
    for reading in readings:
        if reading[:1].isalpha():
            consonants.append(to_initials(reading))
            rhymes.append(to_finals_tone3(reading, neutral_tone_with_five=True))
        else:
            consonants.append(reading)
            rhymes.append(reading)
    return consonants, rhymes


def _merge_er(word: Word, rhymes: Rhymes) -> Rhymes:
    """A final 儿 that is part of the syllable before it takes over its tone."""
    text = word.text
    if not text.endswith("儿") or len(rhymes) != len(text):
        return rhymes
    if rhymes[-1] == "er1":
        rhymes = [*rhymes[:-1], "er2"]
    kept = text in _erhua("not_erhua") or word.tag in ("a", "j", "nr")
    if (kept and text not in _erhua("erhua")) or text[-2:] in _erhua("not_erhua") or len(text) == 1:
        return rhymes
    if rhymes[-1] in ("er2", "er5"):
        return [*rhymes[:-1], "er" + rhymes[-2][-1:]]
    return rhymes


def _phones_of(consonant: str, rhyme: str) -> list[str]:
    if consonant == rhyme:
        return [consonant] if consonant in MARKS else []
    pair = opening_and_rhyme(spelling(consonant, rhyme[:-1]))
    return [pair[0], pair[1] + rhyme[-1]] if pair and rhyme[-1:] in tuple("12345") else []


def _clause(text: str, readings: Readings | None, with_erhua: bool, known: Pronunciations) -> list[list[str]]:
    """Phonemes of each character of a clause; a word of the dictionary is a border to what is around it."""
    given = readings(text) if readings else None
    pieces = known.cut("zh", text)
    spoken: list[list[str]] = []
    for number, (piece, said) in enumerate(pieces):
        if said is not None:
            spoken += [list(pair) for pair in said.phones]
            continue
        follows = pieces[number + 1][1] if number + 1 < len(pieces) else None
        at = len(spoken)
        spoken += _between(
            piece,
            given[at : at + len(piece)] if given else None,
            with_erhua,
            follows.phones[0][-1][-1] if follows is not None else "",
        )
    return spoken


def _between(text: str, given: Sequence[str] | None, with_erhua: bool, tone_after: str) -> list[list[str]]:
    """Phonemes of each character of what no dictionary knows; ``tone_after`` is that of the word behind."""
    words = sandhi.join_words(tagged_words(text), _read_rhymes)
    spoken: list[list[str]] = []
    start = 0
    for word in words:
        end = start + len(word.text)
        consonants, rhymes = _read_given(word.text, given[start:end]) if given else _read_apart(word.text)
        start = end
        if len(consonants) != len(word.text) or len(rhymes) != len(word.text):
            # pypinyin reads characters without a reading in one piece; each of them stays silent.
            consonants, rhymes = _one_by_one(word.text)
        rhymes = sandhi.change_tones(word, rhymes, cut_fine)
        if tone_after and start == len(text):
            rhymes = sandhi.change_before(text, rhymes, tone_after)
        if with_erhua:
            rhymes = _merge_er(word, rhymes)
        spoken += [_phones_of(*pair) for pair in zip(consonants, rhymes, strict=True)]
    return spoken


def _one_by_one(text: str) -> tuple[list[str], Rhymes]:
    consonants, rhymes = [], []
    for character in text:
        consonant, rhyme = _read_apart(character)
        consonants.append((consonant or [""])[0])
        rhymes.append((rhyme or ["0"])[0] or "0")
    return consonants, rhymes


def to_phones(
    text: str,
    readings: Readings | None = None,
    *,
    with_erhua: bool = True,
    words: Pronunciations = NONE,
) -> tuple[list[str], list[int]]:
    """Phonemes of normalised text, and how many of them each character has (2 a Hanzi, 1 a mark)."""
    phones: list[str] = []
    counts: list[int] = []
    for clause in _CLAUSE_END.split(text):
        for character in _clause(clause, readings, with_erhua, words) if clause else ():
            phones += character
            counts.append(len(character))
    return phones, counts


def read(
    text: str,
    version: str = "v2",
    readings: Readings | None = None,
    *,
    words: Pronunciations = NONE,
    upstream: bool = False,
) -> Reading:
    """Normalised text and phonemes of any Mandarin text for a voice of ``version``."""
    sign, pause = next(((sign, name) for sign, name in _PAUSE_SIGNS if sign in text), ("", ","))
    norm_text = keep_mandarin(normalize(text.replace(sign, ",") if sign else text, upstream=upstream))
    phones, counts = to_phones(norm_text, readings, with_erhua=version != "v1", words=words)
    return Reading(norm_text, [pause if phone == "," else phone for phone in phones], counts)
