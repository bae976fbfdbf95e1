"""Cantonese phonemes of normalised text: Jyutping by ToJyutping, cut into onset and rhyme with tone.

Words of the dictionary are read as it says. Other scripts are dropped. Follows specs/text.md.
"""

from .chinese_normalize import normalize
from .jyutping import cut_syllable
from .pronunciations import NONE, Pronunciations
from .punctuation import MARKS, keep_cantonese
from .spans import Reading


def to_phones(text: str, words: Pronunciations = NONE) -> tuple[list[str], list[int]]:
    """Phonemes of normalised text, and how many of them each character has (2 a Hanzi, 1 a mark)."""
    phones: list[str] = []
    counts: list[int] = []
    for piece, said in words.cut("yue", text):
        if said is None:
            more, of_each = _read_alone(piece)
        else:
            more, of_each = [phone for pair in said.phones for phone in pair], [2] * len(piece)
        phones += more
        counts += of_each
    return phones, counts


def _read_alone(text: str) -> tuple[list[str], list[int]]:
    import ToJyutping  # type: ignore[import-untyped]

    phones: list[str] = []
    counts: list[int] = []
    for character, reading in ToJyutping.get_jyutping_list(text):
        if reading is None:
            spoken = [mark for mark in character if mark in MARKS]
            phones += spoken
            counts += [1 if mark in MARKS else 0 for mark in character]
            continue
        # A character read as two syllables (a contraction) keeps the first, as its neighbours set the pace.
        spoken = list(cut_syllable(reading.split(" ")[0]) or ())
        phones += spoken
        counts.append(len(spoken))
    return phones, counts


def read(text: str, *, words: Pronunciations = NONE, upstream: bool = False) -> Reading:
    """Normalised text and phonemes of any Cantonese text."""
    norm_text = keep_cantonese(normalize(text, upstream=upstream))
    return Reading(norm_text, *to_phones(norm_text, words))
