"""Which part of a long transcript is said in which part of a long recording, told by pauses and lengths.

A text is cut at its marks, a recording at its pauses; a search finds the pauses at which the sounds written
so far and the time spoken so far agree best. It needs no recogniser, works in every language, and says so
when two ways of cutting are about as good. Not for single words. Follows specs/training-data.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from p2pvoice.sovits.audio import Samples

from .clips import phones_in
from .slicing import HOP_MS, Stretch, levels, threshold_for

PAUSE_MS: Final = 120
"""Shortest silence at which a recording may be cut: commas make short ones."""
LEAST_SECONDS, MOST_SECONDS = 3.0, 12.0
"""Length of a piece: as long as a reference clip must be, short enough for a laptop's training step."""
VARIANCE_SECONDS: Final = 0.05
"""Variance of a piece's length, per second of it: six seconds are spoken within half a second of what their
sounds let expect."""
COMMA_COST: Final = 1.5
"""What a cut at a comma costs against one at the end of a sentence, in nats."""
SHORT_PAUSE_COST: Final = 8.0
"""What a pause costs per second that it is shorter than ``WELCOME_PAUSE``."""
WELCOME_PAUSE: Final = 0.35
"""Seconds of a pause that is as good as any longer one."""
COMFORTABLE_SECONDS, LONG_COST = 8.5, 2.0
"""A longer piece costs so many nats more: it cannot serve as a reference clip, which lasts 10 s at most."""
MARGIN: Final = 2.5
"""How much worse, in nats, the second best place of every cut must be."""
WORST: Final = 4.0
"""Cost of one piece, in nats, above which its text is not believed: 2.8 standard deviations."""
CLAUSES_LIMIT: Final = 3_000
"""Clauses and pauses of one recording; half an hour has about 900 of either."""

_CLAUSE = re.compile(
    r"[^,，、。！？!?;；:：…]+?(?:[,，、。！？!?;；:：…]+|\.+(?=\s|$)|$)|[,，、。！？!?;；:：…]+"
)
_ENDS = frozenset("。！？!?.…")


@dataclass(frozen=True)
class Said:
    """A stretch of a recording and what is said in it."""

    stretch: Stretch
    text: str


def clauses(said: str) -> list[str]:
    """A text cut after each mark; a decimal point is none."""
    return [found.strip() for found in _CLAUSE.findall(said) if found.strip()]


def assign(samples: Samples, rate: int, said: str, lang: str) -> list[Said] | None:
    """Pieces of a recording with their texts, in order and all of it; None when it cannot be told."""
    parts = clauses(said)
    gaps = _gaps(samples, rate)
    if not 1 < len(parts) <= CLAUSES_LIMIT or not 0 < len(gaps) <= CLAUSES_LIMIT:
        return None
    counts = np.array([phones_in(part, lang) for part in parts], np.float64)
    if counts.sum() == 0:
        return None
    cuts = _search(parts, counts, gaps, len(samples) / rate)
    if cuts is None:
        return None
    pieces, first, start = [], 0, 0
    for clause, gap in cuts:
        middle = len(samples) if gap is None else round(rate * (gaps[gap].start + gaps[gap].end) / 2)
        text = _join(parts[first:clause], lang)
        pieces.append(Said(Stretch(start, middle), text))
        first, start = clause, middle
    return pieces


@dataclass(frozen=True)
class _Gap:
    """A silence in seconds, and how much was spoken before it."""

    start: float
    end: float
    spoken: float


def _gaps(samples: Samples, rate: int) -> list[_Gap]:
    quiet = levels(samples, rate) < 10 ** (threshold_for(samples, rate) / 20)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    step = HOP_MS / 1000
    found, silent = [], 0.0
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if first > 0 and last < len(quiet) and (last - first) * HOP_MS >= PAUSE_MS:
            found.append(_Gap(first * step, last * step, first * step - silent))
        if (last - first) * HOP_MS >= PAUSE_MS or first == 0 or last == len(quiet):
            silent += (last - first) * step
    total = len(quiet) * step - silent
    return [gap for gap in found if 0 < gap.spoken < total] + ([_Gap(np.inf, np.inf, total)] if found else [])


def _search(
    parts: Sequence[str], counts: np.ndarray, gaps: list[_Gap], seconds: float
) -> list[tuple[int, int | None]] | None:
    """The best cuts as (clauses before it, index of its gap), the end last; None if none is certain."""
    last = gaps.pop()
    written = np.concatenate([[0.0], np.cumsum(counts)])
    written = written / written[-1] * last.spoken  # seconds that the sounds so far should take
    nodes = (
        [(0, None)]
        + [
            (clause, index)
            for clause in range(1, len(parts))
            for index, gap in enumerate(gaps)
            # A cut that is far off the even course is none, and leaving it out keeps the search short.
            if abs(written[clause] - gap.spoken) < 3.0 + 0.15 * last.spoken
        ]
        + [(len(parts), None)]
    )
    clause = np.array([node[0] for node in nodes])
    spoken = np.array([0.0, *(gaps[node[1]].spoken for node in nodes[1:-1]), last.spoken])
    begins = np.array([0.0, *(gaps[node[1]].end for node in nodes[1:-1]), seconds])
    ends = np.array([0.0, *(gaps[node[1]].start for node in nodes[1:-1]), seconds])
    own = np.array([0.0, *(_place_cost(parts[n[0] - 1], gaps[n[1]]) for n in nodes[1:-1]), 0.0])
    banned = np.zeros(len(nodes), bool)
    while True:
        path, ways = _best_path(clause, written[clause], spoken, begins, ends, own, banned)
        if path is None:
            return None
        doubtful = [n for n in path[1:-1] if _rival(n, clause, ways, ways[path[-1]]) < MARGIN]
        if not doubtful:
            return [(int(clause[n]), nodes[n][1]) for n in path[1:]]
        # A place that two pauses dispute is not used; its neighbours may do without it.
        banned |= np.isin(clause, clause[doubtful])


def _best_path(clause, written, spoken, begins, ends, own, banned):  # type: ignore[no-untyped-def]
    """Forward and backward search: the cheapest path, and the cheapest whole path through every node."""
    count = len(clause)
    step = np.full((count, count), np.inf)
    for n in range(count - 1):
        if banned[n]:
            continue
        later = np.flatnonzero((clause > clause[n]) & (spoken > spoken[n]) & ~banned)
        length = ends[later] - begins[n]
        fits = (length >= LEAST_SECONDS) & (length <= MOST_SECONDS)
        later = later[fits]
        expected = written[later] - written[n]
        long = LONG_COST * (length[fits] > COMFORTABLE_SECONDS)
        error = (spoken[later] - spoken[n] - expected) ** 2 / (2 * VARIANCE_SECONDS * (expected + 0.5))
        believed = error <= WORST
        step[n, later[believed]] = (error + long + own[later])[believed]
    forward, came = np.full(count, np.inf), np.zeros(count, int)
    forward[0] = 0.0
    for n in range(1, count):
        ways = forward + step[:, n]
        came[n] = int(np.argmin(ways))
        forward[n] = ways[came[n]]
    backward = np.full(count, np.inf)
    backward[-1] = 0.0
    for n in range(count - 2, -1, -1):
        backward[n] = (step[n] + backward).min()
    if not np.isfinite(forward[-1]):
        return None, forward
    path = [count - 1]
    while path[-1] != 0:
        path.append(int(came[path[-1]]))
    return path[::-1], forward + backward


def _rival(node: int, clause: np.ndarray, ways: np.ndarray, best: float) -> float:
    """How much worse the best path is that puts the same clause end at another pause."""
    others = (clause == clause[node]) & (np.arange(len(clause)) != node)
    return float(ways[others].min(initial=np.inf) - best)


def _place_cost(before: str, gap: _Gap) -> float:
    comma = 0.0 if before[-1] in _ENDS else COMMA_COST
    return comma + SHORT_PAUSE_COST * max(0.0, WELCOME_PAUSE - (gap.end - gap.start))


def _join(parts: Sequence[str], lang: str) -> str:
    return (" " if lang == "en" else "").join(parts)
