"""The outline of a preview, drawn from its samples: bars that scripts and pages show alike.

Only of a WAV file with 16-bit samples that lies in the store already, and only of its beginning: a stranger's
file costs a bounded time. Not for playing it. Follows specs/page.md.
"""

import io
import sys
import wave
from array import array
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

BARS = 56
"""Bars of an outline."""

SAMPLES_LIMIT = 48_000 * 60
"""Samples of a preview that are looked at, of all channels together: a minute of one channel."""

BYTES_LIMIT = 8 << 20
"""Bytes of a preview's file that are read."""

STEP = 4
"""Width of a bar with the space beside it, in the drawing's units; the drawing is 100 high."""


def outline(data: bytes) -> tuple[float, ...]:
    """The bars of a WAV file, each from 0 to 1; empty for anything that is not read here."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            if file.getsampwidth() != 2:
                return ()
            raw = file.readframes(SAMPLES_LIMIT // file.getnchannels())
    except (wave.Error, EOFError, ValueError, ZeroDivisionError, RuntimeError):
        return ()
    samples = array("h", raw[: len(raw) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    if len(samples) < BARS:
        return ()
    edges = [len(samples) * number // BARS for number in range(BARS + 1)]
    peaks = [max(max(samples[start:end]), -min(samples[start:end])) for start, end in pairwise(edges)]
    highest = max(peaks)
    if highest <= 0:
        return ()
    return tuple(peak / highest for peak in peaks)


def path(bars: tuple[float, ...]) -> str:
    """The bars as an SVG path to be stroked; a flat line of dots when there are none."""
    heights = bars or (0.0,) * BARS
    return "".join(
        f"M{number * STEP + STEP / 2:g} {50 - 46 * max(height, 0.02):.1f}v{92 * max(height, 0.02):.1f}"
        for number, height in enumerate(heights)
    )


@lru_cache(maxsize=1024)
def outline_of(file: Path) -> tuple[float, ...]:
    """The bars of a file of the store, which never changes under its name. Blocks."""
    try:
        with file.open("rb") as opened:
            return outline(opened.read(BYTES_LIMIT))
    except OSError:
        return ()
