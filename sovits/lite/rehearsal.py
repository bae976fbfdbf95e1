"""Code sequences that nobody said: what a fine-tuning rehearses, so that a voice does not forget the rest.

A minute of speech holds few of a family's sounds and fewer of their neighbourhoods. Random syllables of all
three languages, with random durations and a wandering pitch, hold them all; what the base says to them is the
best that is known. Not for sentences, nor for the GPT. Follows specs/lite.md, "Fine-tuning".
"""

import random
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pvoice.sovits.symbols import SYMBOLS

from . import units
from .sounds import SILENCE, language_of, sounds_of

SYLLABLES: Final = 12
LANGUAGES: Final = ("en", "zh", "yue")
LASTS: Final = {True: (2, 3, 4, 5), False: (1, 2, 2, 3)}
"""Steps of a vowel, and of any other sound."""
PAUSE: Final = 0.15
"""Chance of a comma after a syllable."""


@cache
def _symbols(language: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Onsets and rhymes of a language: in all three only what can be a syllable's heart bears a number."""
    own = [symbol for symbol in SYMBOLS["v2"] if language_of(symbol) == language and _known(symbol)]
    return tuple(s for s in own if not s[-1].isdigit()), tuple(s for s in own if s[-1].isdigit())


def _known(symbol: str) -> bool:
    (sounds,) = sounds_of([symbol])
    return bool(sounds) and all(sound.name != SILENCE for sound in sounds)


def rehearse(rnd: random.Random) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Codes [N] and phones [L] of some syllables that fit each other."""
    onsets, rhymes = _symbols(rnd.choice(LANGUAGES))
    phones: list[str] = []
    for _ in range(SYLLABLES):
        phones += [rnd.choice(onsets), rnd.choice(rhymes)]
        if rnd.random() < PAUSE:
            phones.append(",")
    phones.append(".")
    sounds = [sound for made in sounds_of(phones) for sound in made]
    owner = [i for i, sound in enumerate(sounds) for _ in range(rnd.choice(LASTS[sound.vowel]))]
    height, semitones = rnd.uniform(-3, 3), []
    for _ in owner:
        height = 0.9 * height + rnd.gauss(0, 1.2)
        semitones.append(height)
    rows = {symbol: row for row, symbol in enumerate(SYMBOLS["v2"])}
    codes = units.encode(sounds, owner, np.array(semitones, np.float32))
    return codes.astype(np.int64), np.array([rows[phone] for phone in phones], np.int64)
