"""Divides a long transcript over a long recording by hearing its sounds, for bases of the lite family.

The family's content encoder tells how well each sound fits each step; the best path through the whole text
shows where every clause ends, and how badly each part fits. A sentence that is missing from the text is
noticed where it makes its neighbours unfit, which is not always. Not for bases of other families, whose codes
are no sounds. Follows specs/training-data.md.
"""

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from p2pvoice.protocol.errors import SynthesisError
from p2pvoice.sovits import text
from p2pvoice.sovits.audio import Samples
from p2pvoice.sovits.declared import LITE
from p2pvoice.sovits.lite import units
from p2pvoice.sovits.lite.align import UNFIT, Alignment, align, step_scores
from p2pvoice.sovits.lite.content import SAMPLE_RATE, ContentEncoder

from .assigning import COMFORTABLE_SECONDS, Said, clauses
from .slicing import KEPT_SILENCE_MS, Stretch

SECONDS_LIMIT: Final = 180.0
"""Longest recording that is aligned at once: its table of 4,500 steps and 4,000 sounds takes 150 MB."""
PIECE_SECONDS: Final = (3.1, COMFORTABLE_SECONDS)
"""Length that pieces are brought to: that of a reference clip."""
PAUSE_SECONDS: Final = 0.12
"""Silence at a cut; where there is less, the clauses stay together."""
UNFIT_PIECE: Final = UNFIT
"""Mean nats of a step above which a piece does not say its text, as for a whole recording."""
ENDS: Final = frozenset("。！？!?.…")


def divide(encoder: ContentEncoder, samples: Samples, rate: int, said: str, lang: str) -> list[Said] | None:
    """Pieces of a recording with their texts, in order; None when recording and text do not fit."""
    parts = clauses(said)
    names: list[str] = []
    last: list[int] = []
    for part in parts:
        # A clause of marks alone has no sound; it goes with the one before it.
        with suppress(SynthesisError):
            names += text.phonemize(part, lang, LITE).names
        last.append(len(names) - 1)
    audio = samples if rate == SAMPLE_RATE else soxr.resample(samples, rate, SAMPLE_RATE, "HQ")
    scores = step_scores(encoder, np.asarray(audio, np.float32))
    found = align(scores, names)
    if found is None or found.cost > UNFIT:
        return None
    ends = [_between(found, phone) for phone in last[:-1]]
    nats = _nats(found, scores)
    pieces = _group(parts, ends, len(samples) / rate)
    kept = KEPT_SILENCE_MS / 1000
    cut: list[Said] = []
    for first, after, start, end in pieces:
        inside = nats[int(start * units.RATE) : int(end * units.RATE)]
        if np.isnan(inside).all() or np.nanmean(inside) > UNFIT_PIECE:
            return None
        low = start if first == 0 else max(start, ends[first - 1][1] - kept)
        high = end if after == len(parts) else min(end, ends[after - 1][0] + kept)
        joint = " " if lang == "en" else ""
        cut.append(Said(Stretch(round(low * rate), round(high * rate)), joint.join(parts[first:after])))
    return cut


def _between(found: Alignment, phone: int) -> tuple[float, float]:
    """When the last sound up to ``phone`` ends and the next one begins, in seconds."""
    owner = found.owner
    spoken = np.array([found.sounds[index].name != "sil" for index in found.of_step])
    before = np.flatnonzero(spoken & (owner <= phone))
    after = np.flatnonzero(spoken & (owner > phone))
    ended = (before[-1] + 1 if len(before) else 0) * units.STEP_SECONDS
    begun = (after[0] if len(after) else len(owner)) * units.STEP_SECONDS
    return float(ended), float(begun)


def _nats(found: Alignment, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """How badly each step fits; NaN in pauses."""
    columns = [units.NAMES.index(found.sounds[index].name) for index in found.of_step]
    nats = -scores[np.arange(len(columns)), columns]
    silent = np.array([found.sounds[index].name == "sil" for index in found.of_step])
    return np.where(silent, np.nan, nats)


def _group(
    parts: Sequence[str], ends: Sequence[tuple[float, float]], seconds: float
) -> list[tuple[int, int, float, float]]:
    """Clauses joined to pieces (first clause, clause after the last, start, end), the cuts in the pauses.

    The cheapest way: a piece costs what it is off the wanted length, a cut inside a sentence a second more.
    """
    places = [0.0] + [(low + high) / 2 for low, high in ends] + [seconds]
    allowed = [True] + [high - low >= PAUSE_SECONDS for low, high in ends] + [True]
    count = len(places)
    cost, came = [0.0] + [np.inf] * (count - 1), [0] * count
    for to in range(1, count):
        if not allowed[to]:
            continue
        inner = 0.0 if to == count - 1 or parts[to - 1][-1] in ENDS else 1.0
        for start in range(to):
            length = places[to] - places[start]
            off = max(PIECE_SECONDS[0] - length, length - PIECE_SECONDS[1], 0.0)
            total = cost[start] + off**2 + inner + 0.1
            if allowed[start] and total < cost[to]:
                cost[to], came[to] = total, start
    cuts = [count - 1]
    while cuts[-1]:
        cuts.append(came[cuts[-1]])
    cuts.reverse()
    return [(a, b, places[a], places[b]) for a, b in pairwise(cuts)]
