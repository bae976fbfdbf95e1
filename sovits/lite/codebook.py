"""The rows that the text encoder sees instead of a code's number: built, not learned.

A row has one axis for each sound, a thermometer for the pitch level, one axis for whether there is a pitch
and one for the first step of a sound, so that codes that are alike lie close together from the beginning.
Not for the meaning of codes: see units. Follows specs/lite.md.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import units

WIDTH: Final = len(units.NAMES) + (units.LEVELS - 1) + 2
UNUSED: Final = 30.0
"""Value that fills the rows nobody uses: far from every other."""
HALF: Final = 0.5
"""What pitch and onset weigh against a sound's 1."""


def codebook() -> NDArray[np.float32]:
    """The CODES rows [CODES, WIDTH], used ones first."""
    rows = np.full((units.CODES, WIDTH), UNUSED, np.float32)
    rows[: units.USED] = 0
    for code in range(units.USED):
        rows[code, units.SOUND_OF[code]] = 1
        level = int(units.LEVEL_OF[code])
        if level >= 0:
            first = len(units.NAMES)
            rows[code, first : first + level] = HALF
            rows[code, -2] = HALF
        rows[code, -1] = HALF * units.ONSET_OF[code]
    return rows
