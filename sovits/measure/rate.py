"""How fast somebody speaks: syllables a second, counted in the text where there is one, else heard.

Heard syllables are peaks of loudness within voice, as in de Jong and Wempe, "Praat script to detect syllable
nuclei and measure speech rate automatically" (2009). Follows specs/measurement.md.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.sovits.measure import pitch
from p2pvoice.sovits.measure.levels import FRAME_RATE, Samples, at_16k, is_speech, levels
from p2pvoice.sovits.measure.words import CHINESE, units_of

DIP_DB = 2.0
"""What loudness falls between two syllables at least."""
UNDER_LOUD_DB = 25.0
"""A syllable is at most so far below the loudest ones."""
_SMOOTH = 5
"""Hundredths of a second that loudness is averaged over."""
_VOWEL_GROUPS = re.compile(r"[aeiouyáéíóúàèìòùâêîôûäëïöüåæøœа-яё]+")


@dataclass(frozen=True)
class Rate:
    """Seconds of speech without pauses, syllables in it, whether they were ``read`` in a text or heard."""

    speech_seconds: float
    syllables: int
    read: bool

    @property
    def a_second(self) -> float:
        """Syllables a second, pauses not counted (the articulation rate)."""
        return self.syllables / self.speech_seconds if self.speech_seconds > 0 else 0.0


def rate_of(
    audio: Samples, rate: int, f0: NDArray[np.float32] | None = None, text: str = "", lang: str = ""
) -> Rate:
    """The rate of mono ``audio`` [n]; ``f0`` is pitch.track's if at hand, ``text`` what is said in it."""
    decibels = levels(at_16k(audio, rate))
    seconds = float(is_speech(decibels).sum()) / FRAME_RATE
    counted = syllables_of(text, lang) if text and lang else 0
    if counted:
        return Rate(seconds, counted, True)
    return Rate(seconds, heard_syllables(decibels, pitch.track(audio, rate) if f0 is None else f0), False)


def heard_syllables(decibels: NDArray[np.float64], f0: NDArray[np.float32]) -> int:
    """Peaks of loudness within voice, with a dip before each of them."""
    count = min(len(decibels), len(f0))
    if count < _SMOOTH:
        return 0
    smooth = np.convolve(decibels[:count], np.ones(_SMOOTH) / _SMOOTH, mode="same")
    least = np.percentile(smooth, 98) - UNDER_LOUD_DB
    found, lowest, highest, at = 0, -np.inf, -np.inf, 0
    rising = True
    for frame in range(count):
        level = smooth[frame]
        if rising:
            if level > highest:
                highest, at = level, frame
            elif level < highest - DIP_DB:
                found += bool(highest > least and f0[max(0, at - 2) : at + 3].any())
                rising, lowest = False, level
        elif level < lowest:
            lowest = level
        elif level > lowest + DIP_DB:
            rising, highest, at = True, level, frame
    return found


def syllables_of(text: str, lang: str) -> int:
    """Syllables of a text: characters in Chinese, vowels of the dictionary's reading in English.

    0 where nothing is known of a language's syllables.
    """
    if lang in CHINESE:
        units = units_of(text, lang)
        return sum(len(_VOWEL_GROUPS.findall(unit)) or 1 if unit.isascii() else 1 for unit in units)
    if lang == "en":
        from p2pvoice.sovits.symbols import SYMBOLS
        from p2pvoice.sovits.text import phonemize

        try:
            phones = phonemize(text, "en").ids
        except P2PVoiceError:
            return 0
        return sum(SYMBOLS["v2"][number][-1:] in "012" for number in phones)
    if lang in ("ja", "ko", "th"):
        return 0
    return len(_VOWEL_GROUPS.findall(text.lower()))
