"""Cantonese phonemes of normalised text: Jyutping by ToJyutping, cut into onset and rhyme with tone.

Onset and rhyme are those of the published front end: the first match in a list that also holds rhymes, so a
syllable without consonant opens with its vowel. Every phoneme has the prefix Y. Other
scripts are dropped. Follows specs/text.md.
"""

# ruff: noqa: SIM905 (word lists are easier to read and check as text)

from typing import Final

from ..symbols import JYUTPING_PREFIX
from .chinese_normalize import normalize
from .punctuation import MARKS, keep_cantonese
from .spans import Reading

# The order decides: "aa" comes before "aai", so that "aai" is cut into "aa" and "i", and "ng" before "n".
_OPENINGS: Final = (
    "aa ai au ap at ak a p b e ts t dz d kw k gw g f h l m ng n s y w c z j ong on ou oi ok o uk ung"
).split()


def cut_syllable(syllable: str) -> tuple[str, str] | None:
    """``"jyut6"`` -> ``("Yj", "Yyut6")``; None for what is no Jyutping syllable."""
    sound, tone = syllable[:-1], syllable[-1:]
    opening = next((name for name in _OPENINGS if sound.startswith(name)), None)
    if opening is None or tone not in "123456":
        return None
    rhyme = sound[len(opening) :] or opening[-1]
    return JYUTPING_PREFIX + opening, JYUTPING_PREFIX + rhyme + tone


def to_phones(text: str) -> tuple[list[str], list[int]]:
    """Phonemes of normalised text, and how many of them each character has (2 a Hanzi, 1 a mark)."""
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


def read(text: str) -> Reading:
    """Normalised text and phonemes of any Cantonese text."""
    norm_text = keep_cantonese(normalize(text))
    return Reading(norm_text, *to_phones(norm_text))
