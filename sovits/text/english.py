"""English phonemes (ARPAbet with stress) of normalised text.

Where a word is looked up, in order: homographs by their tag, the CMU dictionary, letters one by one for up to
three of them, the possessive 's, compounds cut into known words, a trained guess. Other scripts
are dropped. Follows specs/text.md.
"""

import lzma
import re
from functools import cache
from typing import Final, Protocol

from .english_normalize import normalize
from .english_tokens import Tagger, tag_by_cue, tokenize
from .letter_to_sound import predict
from .spans import Reading
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


def _look_up(word: str, depth: int = 0) -> list[str]:
    """Phonemes of one lower-case word."""
    known = _dictionary().get(word)
    if known is not None and len(word) > 1:
        return known.split()
    if len(word) <= 3:
        return _letters(word)
    if _POSSESSIVE.fullmatch(word):
        phones = _look_up(word[:-2], depth)
        last = phones[-1] if phones else ""
        return phones + (["S"] if last in _VOICELESS else ["AH0", "Z"] if last in _SIBILANT else ["Z"])
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


def to_phones(text: str, tagger: Tagger = tag_by_cue) -> list[str]:
    """Phonemes of a normalised English text; words are not separated."""
    tokens = tokenize(text)
    phones: list[str] = []
    for token, tag in zip(tokens, tagger(tokens), strict=True):
        word = token.lower()
        if not any("a" <= letter <= "z" for letter in word):
            phones.append(word)
        elif len(word) == 1:
            phones += ["EY1"] if token == "A" else _dictionary()[word].split()
        elif word in _homographs():
            phones += _homograph(word, tag)
        else:
            phones += _look_up(word)
    spoken = ["-" if phone == "'" else phone for phone in phones]
    # A run of dots that spaces kept apart is no symbol; it falls away like every other unknown mark.
    spoken = [phone for phone in spoken if phone[0].isalpha() or phone in "!?,.-"]
    return spoken if len(spoken) >= FEWEST_PHONEMES else [",", *spoken]


def read(text: str, tagger: Tagger = tag_by_cue) -> Reading:
    """Normalised text and phonemes of any English text."""
    norm_text = normalize(text)
    return Reading(norm_text, to_phones(norm_text, tagger), None)
