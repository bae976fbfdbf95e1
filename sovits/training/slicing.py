"""Cuts a recording where the speaker pauses, and brings the pieces to one loudness.

The numbers are those of GPT-SoVITS's own preparation, so that data prepared here and there is alike. Not for
deciding whether a recording is any good (see clips), nor for its text (see assigning). Follows
specs/training-data.md.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from p2pvoice.sovits.audio import Samples

HOP_MS: Final = 10
"""One measurement of loudness, in milliseconds."""
WINDOW_MS: Final = 40
"""Length of the stretch that one measurement looks at: four hops, as in the published preparation."""
THRESHOLD_DB: Final = -34.0
"""What is softer than this, against full scale, is silence."""
SHORTEST_MS: Final = 4_000
"""A piece is not cut off before it has this length."""
PAUSE_MS: Final = 300
"""A silence of this length is a place to cut."""
KEPT_SILENCE_MS: Final = 500
"""Silence that a piece keeps at either end at most."""
PEAK, MIX = 0.9, 0.25
"""A piece is mixed of a quarter of itself brought to this peak and three quarters as it was."""


@dataclass(frozen=True)
class Stretch:
    """From one sample to another, the end not included."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def levels(samples: Samples, rate: int) -> np.ndarray:
    """Root mean square of each hop's surroundings, [samples / hop], on a linear scale."""
    hop, window = rate * HOP_MS // 1000, rate * WINDOW_MS // 1000
    count = max(1, -(-len(samples) // hop))
    edge = (window - hop) // 2
    padded = np.pad(samples.astype(np.float64) ** 2, (edge, window + count * hop - len(samples)))
    total = np.concatenate([[0.0], np.cumsum(padded)])
    starts = np.arange(count) * hop
    return np.sqrt(np.maximum(total[starts + window] - total[starts], 0.0) / window)


def silences(samples: Samples, rate: int, threshold_db: float = THRESHOLD_DB) -> list[Stretch]:
    """Every silence of at least ``PAUSE_MS``, and any at either end, in samples."""
    hop = rate * HOP_MS // 1000
    quiet = levels(samples, rate) < 10 ** (threshold_db / 20)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    found = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        at_an_end = first == 0 or last == len(quiet)
        if last - first >= PAUSE_MS // HOP_MS or at_an_end:
            found.append(Stretch(int(first) * hop, min(int(last) * hop, len(samples))))
    return found


def threshold_for(samples: Samples, rate: int) -> float:
    """The threshold in dB for a recording of this loudness.

    The published -34 dB suits speech that was brought near full scale. A soft recording keeps the same
    distance to its own loud parts, or all of it would be silence.
    """
    loud = float(np.percentile(levels(samples, rate), 95))
    return min(THRESHOLD_DB, 20 * np.log10(max(loud, 1e-5)) - 18.0)


def cut(samples: Samples, rate: int, shortest_ms: int = SHORTEST_MS) -> list[Stretch]:
    """Pieces of a recording, in order, each at least ``shortest_ms`` long where pauses allow it.

    What lies outside is silence beyond ``KEPT_SILENCE_MS``. A recording without any sound gives no piece.
    """
    pauses = silences(samples, rate, threshold_for(samples, rate))
    kept, shortest = rate * KEPT_SILENCE_MS // 1000, rate * shortest_ms // 1000
    pieces: list[Stretch] = []
    start = 0
    for pause in pauses:
        if len(pause) >= len(samples):
            return []
        if pause.start == 0:
            start = max(0, pause.end - kept)
        elif pause.end == len(samples):
            break
        elif pause.start - start >= shortest:
            pieces.append(Stretch(start, min(pause.end, pause.start + kept)))
            start = max(pause.start, pause.end - kept)
    end = len(samples)
    if pauses and pauses[-1].end == end:
        end = min(end, pauses[-1].start + kept)
    if pieces and end - start < shortest and end - pieces[-1].start <= 3 * shortest:
        # What is left over is too short to stand alone.
        return [*pieces[:-1], Stretch(pieces[-1].start, end)]
    return [*pieces, Stretch(start, end)]


def mix_loudness(samples: Samples, peak: float = PEAK, mix: float = MIX) -> Samples:
    """Bring a piece nearer to a common loudness; one without sound is left alone."""
    highest = float(np.abs(samples).max(initial=0.0))
    if highest == 0.0:
        return samples
    tamed = samples / highest if highest > 1.0 else samples
    return (tamed * np.float32(1.0 - mix) + samples * np.float32(peak * mix / highest)).astype(np.float32)
