"""The bootstrap voice's codes: one for each (sound, pitch level, first step or not), 25 a second.

Speech for training is rendered so that every sound lasts a whole number of 40 ms steps and its pitch
curve follows from the levels, so a code says everything but the wording of its neighbours. The rows of
the codebook are built, not learned: a sound's own direction, a thermometer for the level, one for the
onset. Follows specs/bootstrap-voice.md.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .sounds import SILENCE, SOUNDS

CODES: Final = 1024
"""Rows of the codebook in every GPT-SoVITS model; we use fewer."""
STEP_SECONDS: Final = 0.04
LEVELS: Final = 11
LEVEL_SEMITONES: Final = 1.5
CENTRE_HZ: Final = 190.0
"""The speaker's pitch at the middle level."""
MIDDLE: Final = LEVELS // 2
FRAMES_PER_STEP: Final = 4
"""10 ms frames, those of the teacher."""
UNUSED: Final = 30.0
"""Value that fills the rows nobody uses: far from whatever a content encoder puts out."""

NAMES: Final = tuple(SOUNDS)
_TABLE: Final = tuple(
    (name, level, onset)
    for name, sound in SOUNDS.items()
    for level in (range(LEVELS) if sound.pitch else (None,))
    for onset in (True, False)
)
_CODE_OF: Final = {entry: code for code, entry in enumerate(_TABLE)}
USED: Final = len(_TABLE)
WIDTH: Final = len(NAMES) + (LEVELS - 1) + 2
"""Width of a codebook row: sounds, level thermometer, onset and whether there is a pitch at all."""


def code_of(sound: str, level: int, onset: bool) -> int:
    """The code of one step; ``level`` is ignored where the sound carries none."""
    return _CODE_OF[sound, min(max(level, 0), LEVELS - 1) if SOUNDS[sound].pitch else None, onset]


def entry_of(code: int) -> tuple[str, int | None, bool]:
    """Sound, level and onset of a code in use."""
    return _TABLE[code]


def codebook() -> NDArray[np.float32]:
    """The 1024 rows, used ones first."""
    rows = np.full((CODES, WIDTH), UNUSED, np.float32)
    rows[:USED] = 0
    for code, (name, level, onset) in enumerate(_TABLE):
        rows[code, NAMES.index(name)] = 1.0
        if level is not None:
            rows[code, len(NAMES) : len(NAMES) + level] = 0.5
            rows[code, -2] = 0.5
        rows[code, -1] = 0.5 if onset else 0.0
    return rows


def level_of(hertz: float) -> int:
    """The nearest pitch level."""
    semitones = 12 * np.log2(hertz / CENTRE_HZ)
    return int(np.clip(round(semitones / LEVEL_SEMITONES) + MIDDLE, 0, LEVELS - 1))


def pitch_curve(levels: Sequence[int | None]) -> NDArray[np.float32]:
    """F0 of every 10 ms frame from the levels of the steps: straight lines, then smoothed."""
    known = [(step, level) for step, level in enumerate(levels) if level is not None]
    frames = np.arange(len(levels) * FRAMES_PER_STEP)
    if not known:
        return np.full(len(frames), CENTRE_HZ, np.float32)
    at = [(step + 0.5) * FRAMES_PER_STEP - 0.5 for step, _ in known]
    semitones = np.interp(frames, at, [(level - MIDDLE) * LEVEL_SEMITONES for _, level in known])
    reach = np.arange(-9, 10)
    kernel = np.exp(-0.5 * (reach / 3.5) ** 2)
    smooth = np.convolve(np.pad(semitones, 9, mode="edge"), kernel / kernel.sum(), mode="valid")
    return (CENTRE_HZ * 2 ** (smooth / 12)).astype(np.float32)


def silence_code(onset: bool = False) -> int:
    """The code of a step of silence."""
    return code_of(SILENCE, 0, onset)
