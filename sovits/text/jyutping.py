"""One Cantonese syllable to its two phonemes: an opening and a rhyme with its tone.

They are those of the published front end: the first match in a list that also holds rhymes, so a syllable
without consonant opens with its vowel. Every phoneme has the prefix Y. Follows specs/text.md.
"""

# ruff: noqa: SIM905 (word lists are easier to read and check as text)

from typing import Final

from ..symbols import JYUTPING_PREFIX

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
