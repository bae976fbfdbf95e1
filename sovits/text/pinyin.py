"""One Mandarin syllable to its two phonemes: an opening and a rhyme with its tone.

The phoneme set tells apart what Hanyu Pinyin writes alike (the three sounds of *i*, *u* and *ü* after j q x,
*e* in ``ye`` and in ``yan``) and names the opening of a syllable without consonant after its vowel. Follows
specs/text.md.
"""

from functools import cache

from ..symbols import PINYIN_FINALS, PINYIN_INITIALS

_CONSONANTS = sorted((name for name in PINYIN_INITIALS if name.islower()), key=len, reverse=True)
_VOWEL_OPENINGS = {"a": "AA", "e": "EE", "o": "OO"}
_RHYMES = frozenset(PINYIN_FINALS)

# Spellings without a consonant in the analysis that pypinyin gives, to Hanyu Pinyin.
_WHOLE_SYLLABLES = {"ing": "ying", "i": "yi", "in": "yin", "u": "wu"}
_FIRST_LETTERS = {"v": "yu", "i": "y", "u": "w"}
_SHORTENED = {"uei": "ui", "iou": "iu", "uen": "un"}
_RHYMES_AFTER_Y = {"an": "En", "e": "E"}


def spelling(consonant: str, rhyme: str) -> str:
    """Hanyu Pinyin without tone of a consonant (may be empty) and a full rhyme such as ``uei``."""
    if consonant:
        return consonant + _SHORTENED.get(rhyme, rhyme)
    if rhyme in _WHOLE_SYLLABLES:
        return _WHOLE_SYLLABLES[rhyme]
    return _FIRST_LETTERS.get(rhyme[:1], rhyme[:1]) + rhyme[1:]


@cache
def opening_and_rhyme(syllable: str) -> tuple[str, str] | None:
    """Phonemes of a syllable (``v`` for ü), both without tone; None for what is no syllable."""
    if syllable[:1] in _VOWEL_OPENINGS:
        opening, rhyme = _VOWEL_OPENINGS[syllable[0]], syllable
    else:
        consonant = next((name for name in _CONSONANTS if syllable.startswith(name)), "")
        opening, rhyme = consonant, syllable[len(consonant) :]
        if opening in ("zh", "ch", "sh", "r") and rhyme == "i":
            rhyme = "ir"
        elif opening in ("z", "c", "s") and rhyme == "i":
            rhyme = "i0"
        elif opening in ("j", "q", "x", "y") and rhyme.startswith("u"):
            rhyme = "v" + rhyme[1:]
        if opening == "y":
            rhyme = _RHYMES_AFTER_Y.get(rhyme, rhyme)
    return (opening, rhyme) if opening and rhyme in _RHYMES else None
