"""The lite family's codes: one for each (sound, pitch level, first step or not), 25 a second.

A code says which sound a 40 ms step belongs to, how high its pitch is relative to the speaker's own median,
and whether the sound begins here. It says nothing of the speaker, so any voice can speak any utterance's
codes. The codes are a table, not learned. Follows specs/lite.md.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .sounds import SILENCE, SOUNDS, Sound

CODES: Final = 1024
"""Rows of the codebook in every GPT-SoVITS model; we use fewer."""
RATE: Final = 25
"""Codes a second."""
STEP_SECONDS: Final = 1 / RATE
LEVELS: Final = 11
LEVEL_SEMITONES: Final = 1.5
MIDDLE: Final = LEVELS // 2
"""The level of the speaker's median pitch."""
PITCH_RATE: Final = 100
"""F0 values a second, wherever this project stores a pitch curve."""
PITCH_PER_STEP: Final = PITCH_RATE // RATE

LEAST_PAUSE: Final = 3
"""Steps of the shortest pause at a mark."""

SHARPENED: Final = 0.6
"""Temperature that is folded into the last layer of a lite voice's GPT, because the published defaults draw
at 1.0; whoever trains one further multiplies its logits by this again."""

NAMES: Final = tuple(SOUNDS)
_TABLE: Final = tuple(
    (name, level, onset)
    for name, sound in SOUNDS.items()
    for level in (range(LEVELS) if sound.pitched else (None,))
    for onset in (True, False)
)
_CODE_OF: Final = {entry: code for code, entry in enumerate(_TABLE)}
USED: Final = len(_TABLE)
"""Codes that mean something; the rest of the codebook stays unused."""
assert USED <= CODES


def code_of(sound: str, level: int, onset: bool) -> int:
    """The code of one step; ``level`` is ignored where the sound carries none."""
    return _CODE_OF[sound, min(max(level, 0), LEVELS - 1) if SOUNDS[sound].pitched else None, onset]


def entry_of(code: int) -> tuple[str, int | None, bool]:
    """Sound, level and onset of a code in use."""
    return _TABLE[code]


def silence_code(onset: bool = False) -> int:
    """The code of a step of silence."""
    return code_of(SILENCE, 0, onset)


SOUND_OF: Final = np.array([NAMES.index(name) for name, _, _ in _TABLE], np.int64)
"""Index into ``NAMES`` of each code in use."""
LEVEL_OF: Final = np.array([-1 if level is None else level for _, level, _ in _TABLE], np.int64)
"""Pitch level of each code in use, -1 where it has none."""
ONSET_OF: Final = np.array([onset for _, _, onset in _TABLE], bool)
"""Whether each code in use begins its sound."""
KIND_OF: Final = np.full(CODES, 2 * len(NAMES), np.int64)
"""Of each row of the codebook what it says but for its pitch: the sound, and whether it begins; those out of
use are of one kind more."""
KIND_OF[:USED] = 2 * SOUND_OF + ONSET_OF


def level_of(semitones: float) -> int:
    """The nearest level to a pitch ``semitones`` above the speaker's median."""
    return int(np.clip(round(semitones / LEVEL_SEMITONES) + MIDDLE, 0, LEVELS - 1))


def step_semitones(f0: NDArray[np.float32], steps: int, median: float) -> NDArray[np.float32]:
    """Semitones above ``median`` (Hz) of each of ``steps``; gaps without voice are bridged by straight lines.

    ``f0`` is in Hz at 100 a second, 0 where unvoiced. A curve without voice is 0 everywhere.
    """
    padded = np.zeros(steps * PITCH_PER_STEP, np.float64)
    padded[: min(len(f0), len(padded))] = f0[: len(padded)]
    rows = padded.reshape(steps, PITCH_PER_STEP)
    voiced = rows > 0
    known = np.flatnonzero(voiced.any(1))
    if not len(known):
        return np.zeros(steps, np.float32)
    logs = np.where(voiced, 12 * np.log2(np.maximum(rows, 1e-3) / median), 0).sum(1)[known]
    values = logs / voiced.sum(1)[known]
    return np.interp(np.arange(steps), known, values).astype(np.float32)


def encode(
    sounds: Sequence[Sound], owner: Sequence[int], semitones: NDArray[np.float32]
) -> NDArray[np.int16]:
    """Codes of an utterance: ``owner`` is the index into ``sounds`` of each step, and never falls."""
    codes = [
        code_of(sounds[index].name, level_of(float(semitones[step])), step == 0 or owner[step - 1] != index)
        for step, index in enumerate(owner)
    ]
    return np.array(codes, np.int16)


def without_blips(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes without silences inside that are shorter than any pause at a mark: there alignment erred."""
    silent = np.isin(codes, (silence_code(True), silence_code(False)))
    spoken = np.flatnonzero(~silent)
    kept = np.ones(len(codes), bool)
    for before, after in pairwise(spoken.tolist()):
        if after - before - 1 < LEAST_PAUSE:
            kept[before + 1 : after] = False
    return codes[kept]
