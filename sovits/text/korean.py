"""Korean to the letters that are spoken, by mecab-ko's dictionary and the rules of korean_sounds.

Compound vowels are divided into the two they are made of, a space is a phoneme of its own (空), what cannot
be read is 停. Not for Latin words: in mixed text they are English; here their letters are named. Follows
specs/text.md.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

from ..symbols import symbol_ids
from . import korean_numbers
from .extra import missing, unreadable
from .korean_sounds import SPLIT_CODA, Syllable, cut, pronounce
from .korean_words import LATIN_LETTERS, RESPELLED
from .punctuation import collapse
from .spans import Reading

SPACE: Final = "空"
UNREAD: Final = "停"

_MARKS: Final = {
    "：": ",", "；": ",", "，": ",", "。": ".", "！": "!", "？": "?", "\n": ".", "·": ",", "、": ",",
}  # fmt: skip
_DIVIDED: Final = {
    "ㅘ": "ㅗㅏ", "ㅙ": "ㅗㅐ", "ㅚ": "ㅗㅣ", "ㅝ": "ㅜㅓ", "ㅞ": "ㅜㅔ", "ㅟ": "ㅜㅣ", "ㅢ": "ㅡㅣ",
    "ㅑ": "ㅣㅏ", "ㅒ": "ㅣㅐ", "ㅕ": "ㅣㅓ", "ㅖ": "ㅣㅔ", "ㅛ": "ㅣㅗ", "ㅠ": "ㅣㅜ",
    **SPLIT_CODA,
}  # fmt: skip
"""Letters that the symbol table has in parts."""
_LETTER = re.compile("[ㄱ-ㅣ]")
_SPACES = re.compile(r"[^\S\n]+")
_NOT_FOR_DICTIONARY = re.compile(r"[^가-힣0-9 ,.!?%]")
_NARROW: Final = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_CONTENT: Final = ("NN", "NP", "NR", "VV", "VA", "VX", "MM", "MA", "IC")
"""How the parts of speech of words with a meaning of their own begin; the rest are particles and endings."""


class Morph(NamedTuple):
    """A morpheme as the dictionary cuts it: its place in the text, and its part of speech (VV, VA+ETM …)."""

    start: int
    end: int
    part: str


@cache
def _tagger() -> Any:
    try:
        from mecab import MeCab, MeCabError
    except ImportError as error:
        raise missing("Korean", "ko") from error
    except AttributeError as error:  # the dictionary of another package lies in this one's folder
        raise unreadable("Korean", "ko") from error
    try:
        return MeCab()
    except (AttributeError, RuntimeError, OSError, MeCabError) as error:
        raise unreadable("Korean", "ko") from error


def morphs(text: str) -> list[Morph]:
    """The morphemes of ``text`` in order. Raises UnsupportedLanguageError without the extra."""
    # The same number of characters, but only such as the dictionary knows.
    plain = _NOT_FOR_DICTIONARY.sub(".", text)
    return [Morph(*found.span, found.pos) for found in _tagger().parse(plain)]


def normalize(text: str) -> str:
    """``text`` with its numbers and Latin letters in Hangul."""
    # Not NFKC: it would turn letters that stand alone (ㅋㅋ) into parts of syllables.
    text = unicodedata.normalize("NFC", collapse(text.replace("...", "…"))).translate(_NARROW)
    text = _SPACES.sub(" ", text)
    text = "".join(LATIN_LETTERS.get(character.lower(), character) for character in text)
    if re.search("[0-9]", text):
        words = {morph.start: text[morph.start : morph.end] for morph in morphs(text)}
        text = korean_numbers.spell_out(text, lambda index: words.get(index, ""))
    return text.replace("%", "퍼센트")


def sounds(text: str) -> list[Syllable | str]:
    """The syllables of normalised text with what the dictionary knows of them; other characters unchanged."""
    found = morphs(text)
    respelled = list(text)
    # A word of the table may be one morpheme or two.
    for first, last in (*pairwise(found), *zip(found, found, strict=True)):
        word = text[first.start : last.end]
        respelled[first.start : last.end] = RESPELLED.get(word, respelled[first.start : last.end])
    numerals = {i for morph in found if morph.part.startswith("NR") for i in range(morph.start, morph.end)}
    for index in numerals:
        if text[index] == "육" and index - 1 in numerals and text[index - 1] in "십백천만":
            respelled[index] = "뉵"  # 29: 십육 is 심뉵
    pieces: list[Syllable | str] = [cut(character) or character for character in respelled]
    for index, morph in enumerate(found):
        _mark(pieces, morph, found[index + 1] if index + 1 < len(found) else None)
    return pieces


def _mark(pieces: Sequence[Syllable | str], morph: Morph, after: Morph | None) -> None:
    first, last = pieces[morph.start], pieces[morph.end - 1]
    tags = morph.part.split("+")
    if isinstance(first, Syllable):
        first.begins_word = tags[0].startswith(_CONTENT)
    if isinstance(last, Syllable):
        last.ends_stem = tags[-1][0] == "V" and after is not None and after.part[0] == "E"
        last.modifies = tags[-1] == "ETM"
    if tags[-1][0] == "E":
        for inside in pieces[morph.start : morph.end - 1]:
            if isinstance(inside, Syllable):
                inside.modifies = True


def to_phones(text: str) -> list[str]:
    """Phonemes of normalised text."""
    spoken = sounds(text)
    pronounce(spoken)
    letters: list[str] = []
    for piece in spoken:
        for letter in piece if isinstance(piece, str) else piece.onset + piece.vowel + piece.coda:
            letters += _DIVIDED.get(letter, letter)
    if letters and _LETTER.fullmatch(letters[-1]):
        letters.append(".")
    known = symbol_ids()
    phones = (SPACE if letter == " " else _MARKS.get(letter, letter) for letter in letters)
    return [phone if phone in known else UNREAD for phone in phones]


def read(text: str) -> Reading:
    """Text and phonemes of any Korean text. Raises UnsupportedLanguageError without the extra."""
    return Reading(text, to_phones(normalize(text)), None)
