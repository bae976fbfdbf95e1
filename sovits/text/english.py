"""English phonemes (ARPAbet with stress) of normalised text.

Where a word is looked up, in order: homographs by their tag, the CMU dictionary, letters one by one for up to
three of them, the possessive 's, compounds cut into known words, a trained guess. Other scripts
are dropped. Follows specs/text.md.
"""

import lzma
import re
from functools import cache
from itertools import groupby
from typing import Final, Protocol

from .english_normalize import normalize
from .english_tokens import Tagger, tag_by_cue, tokenize
from .letter_to_sound import predict
from .pronunciations import NONE, Pronunciations
from .spans import Reading
from .stand_ins import is_stand_in
from .tables import load_json, open_data

FEWEST_PHONEMES: Final = 4
"""A shorter sentence gets a pause in front, since the decoder was never trained on so short a text."""
LONGEST_COMPOUND: Final = 60
"""Letters a run may have to be cut into words; the search time grows with the square of the length."""
_DEEPEST_LOOKUP: Final = 3
"""How often a part of a compound is cut again."""

# Initialisms that the dictionary has as words, so that they would be read wrong.
_NOT_AS_WORDS = ("ae", "ai", "ar", "ios", "hud", "os")
_ADDED_WORDS = {"chatgpt": "CH AE1 T JH IY1 P IY1 T IY1"}
_ADDED_HOMOGRAPHS = {
    "read": ("R IY1 D", "R EH1 D", "VBP"),
    "complex": ("K AH0 M P L EH1 K S", "K AA1 M P L EH0 K S", "JJ"),
}
_VOICELESS = frozenset({"P", "T", "K", "F", "TH", "HH"})
_SIBILANT = frozenset({"S", "Z", "SH", "ZH", "CH", "JH"})
_POSSESSIVE = re.compile(r"[a-z]+'s")


class _Segmenter(Protocol):
    def segment(self, text: str) -> list[str]: ...


@cache
def _dictionary() -> dict[str, str]:
    """Word to its first pronunciation in the CMU dictionary."""
    entries: dict[str, str] = {}
    with open_data("cmudict.txt.xz") as packed:
        text = lzma.decompress(packed.read()).decode("utf-8")
    for line in text.splitlines():
        word, _, phones = line.partition(" ")
        entries[word] = phones
    for word in _NOT_AS_WORDS:
        entries.pop(word, None)
    return entries | _ADDED_WORDS


@cache
def _homographs() -> dict[str, tuple[str, str, str]]:
    stored: dict[str, list[str]] = load_json("homographs.json")
    return {word: (first, other, tag) for word, (first, other, tag) in stored.items()} | _ADDED_HOMOGRAPHS


@cache
def _segmenter() -> _Segmenter:
    from wordsegment import Segmenter  # type: ignore[import-untyped]

    segmenter = Segmenter()
    segmenter.load()
    return segmenter  # type: ignore[no-any-return]


def _letters(word: str) -> list[str]:
    phones: list[str] = []
    for letter in word:
        if letter == "a":
            phones.append("EY1")
        elif "a" <= letter <= "z":
            phones += _dictionary()[letter].split()
        else:
            phones.append(letter)
    return phones


def _possessive(phones: list[str]) -> list[str]:
    """How 's sounds after a word."""
    last = phones[-1] if phones else ""
    return ["S"] if last in _VOICELESS else ["AH0", "Z"] if last in _SIBILANT else ["Z"]


def _look_up(word: str, depth: int = 0) -> list[str]:
    """Phonemes of one lower-case word."""
    known = _dictionary().get(word)
    if known is not None and len(word) > 1:
        return known.split()
    if len(word) <= 3:
        return _letters(word)
    if _POSSESSIVE.fullmatch(word):
        phones = _look_up(word[:-2], depth)
        return phones + _possessive(phones)
    if len(word) <= LONGEST_COMPOUND and depth < _DEEPEST_LOOKUP:
        parts = _segmenter().segment(word)
        if len(parts) > 1:
            return [phone for part in parts for phone in _look_up(part, depth + 1)]
    return predict(word)


def _homograph(word: str, tag: str) -> list[str]:
    first, other, first_tag = _homographs()[word]
    # "read" asks for VBP; a plain VB ("to read") is the same pronunciation.
    is_first = tag.startswith(first_tag) or (len(tag) < len(first_tag) and first_tag.startswith(tag))
    return (first if is_first else other).split()


def spoken_words(
    text: str, tagger: Tagger = tag_by_cue, words: Pronunciations = NONE
) -> list[tuple[str, list[str]]]:
    """Words and marks of a normalised text in order, each with its phonemes; a mark that is none has none."""
    tokens = tokenize(text)
    spoken = []
    for token, tag in zip(tokens, tagger(tokens), strict=True):
        phones = ["-" if phone == "'" else phone for phone in _token(token, tag, words)]
        # A run of dots that spaces kept apart is no symbol; it falls away like every other unknown mark.
        spoken.append((token, [phone for phone in phones if phone[0].isalpha() or phone in "!?,.-"]))
    return spoken


def _token(token: str, tag: str, words: Pronunciations) -> list[str]:
    word = token.lower()
    if is_stand_in(token[0]):
        return _said(token, words)
    if not any("a" <= letter <= "z" for letter in word):
        return [word]
    if len(word) == 1:
        return ["EY1"] if token == "A" else _dictionary()[word].split()
    return _homograph(word, tag) if word in _homographs() else _look_up(word)


def _said(token: str, words: Pronunciations) -> list[str]:
    """Phonemes of a word of the dictionary, of several that touch, or of its possessive."""
    phones: list[str] = []
    for character, _ in groupby(token.removesuffix("'s").removesuffix("'S")):
        said = words.behind(character)
        phones += said.phones[0] if said is not None else ()
    return phones + (_possessive(phones) if "'" in token else [])


def to_phones(text: str, tagger: Tagger = tag_by_cue, words: Pronunciations = NONE) -> list[str]:
    """Phonemes of a normalised English text; words are not separated."""
    spoken = [phone for _, phones in spoken_words(text, tagger, words) for phone in phones]
    return spoken if len(spoken) >= FEWEST_PHONEMES else [",", *spoken]


def read(
    text: str, tagger: Tagger = tag_by_cue, *, words: Pronunciations = NONE, upstream: bool = False
) -> Reading:
    """Normalised text and phonemes of any English text, in which words of the dictionary are hidden."""
    norm_text = normalize(text, upstream=upstream)
    return Reading(norm_text, to_phones(norm_text, tagger, words), None)
