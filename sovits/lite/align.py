"""From a recording to the lite family's codes: forced alignment where the transcript is known.

The phones give the sounds in order, the content encoder says how well each sound fits every step, and the
best path through them gives every sound its steps; pauses that no mark tells of may stand between any two
phones. The pitch gives the levels, relative to the recording's own median. What this module is not for:
finding the pitch (``measure.pitch``) or the transcript. Follows specs/lite.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.symbols import SYMBOLS

from . import units
from .content import SAMPLE_RATE, ContentEncoder
from .sounds import SILENCE, SOUNDS, Sound, sounds_of

PAUSE_COST: Final = 4.0
"""What a pause between two phones costs that no mark tells of, in nats."""
SKIP_COST: Final = 2.0
"""What it costs to pass over a mark, where the speaker made no pause."""
UNFIT: Final = 3.6
"""Mean nats of a step, pauses aside, above which a recording does not say its transcript."""
SMOOTHING: Final = 1.5
"""What a change of sound costs without a transcript, in nats."""


@dataclass(frozen=True)
class Alignment:
    """Which sound each step of a recording is, and of which phone."""

    sounds: tuple[Sound, ...]
    """In order, pauses among them."""
    of_step: NDArray[np.int64]
    """Index into ``sounds`` of each step; it never falls."""
    of_phone: tuple[int, ...]
    """The phone that each of ``sounds`` belongs to; a pause belongs to the phone before it."""
    cost: float
    """Mean nats of a step that is no pause: how badly recording and transcript fit."""

    @property
    def owner(self) -> NDArray[np.int64]:
        """The phone of each step."""
        return np.asarray(self.of_phone, np.int64)[self.of_step]


def step_scores(encoder: ContentEncoder, audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probability of each sound at each step of 24 kHz audio: [steps, sounds].

    Raises ValueError for what the encoder cannot hear: less than a tenth of a second, more than ten minutes.
    """
    told = encoder.log_probabilities(audio)
    if len(told) % 2:
        told = np.concatenate([told, told[-1:]])
    return told.reshape(-1, 2, told.shape[1]).mean(1)


def align(scores: NDArray[np.float64], phones: Sequence[str]) -> Alignment | None:
    """The best way to lay the sounds of ``phones`` over ``scores`` [steps, sounds]; every sound has a step.

    None if there are more sounds than steps, or none at all.
    """
    sounds, of_phone, optional, entry = [SOUNDS[SILENCE]], [0], [True], [0.0]
    for phone, made in enumerate(sounds_of(phones)):
        for sound in made:
            is_pause = sound.name == SILENCE
            sounds.append(sound)
            of_phone.append(phone)
            optional.append(is_pause)
            entry.append(0.0)
        if made and made[-1].name != SILENCE:
            sounds.append(SOUNDS[SILENCE])
            of_phone.append(phone)
            optional.append(True)
            entry.append(PAUSE_COST)
    needed = sum(not flag for flag in optional)
    if not needed or needed > len(scores):
        return None
    path = _path(
        scores[:, [units.NAMES.index(sound.name) for sound in sounds]],
        np.array(optional),
        np.array(entry),
        np.where(np.array(optional) & (np.array(entry) == 0), SKIP_COST, 0.0),
    )
    used = sorted(set(path.tolist()))
    place = {state: index for index, state in enumerate(used)}
    spoken = np.array([sounds[state].name != SILENCE for state in path])
    columns = [units.NAMES.index(sounds[state].name) for state in path]
    nats = -scores[np.arange(len(path)), columns]
    return Alignment(
        tuple(sounds[state] for state in used),
        np.array([place[state] for state in path], np.int64),
        tuple(of_phone[state] for state in used),
        float(nats[spoken].mean()),
    )


def _path(
    scores: NDArray[np.float64],
    optional: NDArray[np.bool_],
    entry: NDArray[np.float64],
    skip: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Viterbi over states left to right: stay, go on, or pass over up to two optional states in a row."""
    steps, count = scores.shape
    # What it costs to come to each state from the one, two or three states before it.
    hops = [np.zeros(count)]
    for far in (1, 2):
        cost = np.full(count, np.inf)
        for state in range(far + 1, count):
            between = range(state - far, state)
            if optional[list(between)].all():
                cost[state] = skip[list(between)].sum()
        hops.append(cost)
    from_ = np.zeros((steps, count), np.int64)
    best = np.full(count, -np.inf)
    best[0] = scores[0, 0]
    if optional[0]:
        best[1] = scores[0, 1]
    for step in range(1, steps):
        options = np.full((4, count), -np.inf)
        options[0] = best
        for far, cost in enumerate(hops, 1):
            options[far, far:] = best[:-far] - cost[far:] - entry[far:]
        from_[step] = options.argmax(0)
        best = options.max(0) + scores[step]
    ends = [count - 1]
    while optional[ends[-1]] and ends[-1]:
        ends.append(ends[-1] - 1)
    at = max(ends, key=lambda state: best[state])
    path = np.empty(steps, np.int64)
    for step in range(steps - 1, -1, -1):
        path[step] = at
        at -= int(from_[step, at])
    return path


def heard(scores: NDArray[np.float64]) -> Alignment:
    """The sounds of a recording without a transcript: the best path where every change of sound costs."""
    steps, count = scores.shape
    came = np.zeros((steps, count), np.int64)
    best = scores[0].copy()
    for step in range(1, steps):
        other = int(best.argmax())
        change = best[other] - SMOOTHING
        came[step] = np.where(best >= change, np.arange(count), other)
        best = np.maximum(best, change) + scores[step]
    path = np.empty(steps, np.int64)
    at = int(best.argmax())
    for step in range(steps - 1, -1, -1):
        path[step] = at
        at = int(came[step, at])
    changes = np.concatenate([[True], path[1:] != path[:-1]])
    names = [units.NAMES[index] for index in path[changes]]
    return Alignment(
        tuple(SOUNDS[name] for name in names),
        np.cumsum(changes) - 1,
        tuple(0 for _ in names),
        float(-scores[np.arange(steps), path].mean()),
    )


def codes_of(
    encoder: ContentEncoder,
    samples: NDArray[np.float32],
    rate: int,
    phones: Sequence[int],
    f0: NDArray[np.float32],
    *,
    strict: bool = True,
) -> NDArray[np.int64]:
    """Codes of a recording, 25 a second: mono ``samples`` at ``rate``, ``phones`` as rows of the v2 table.

    ``f0`` is the pitch track in Hz at 100 a second, 0 where unvoiced. Without phones the sounds are guessed.
    Raises UsageError for a recording too short for its text, or, if ``strict``, one that says something else.
    """
    steps = round(len(samples) / rate * units.RATE)
    audio = samples if rate == SAMPLE_RATE else soxr.resample(samples, rate, SAMPLE_RATE, "HQ")
    whole = np.zeros(max(3, steps) * round(SAMPLE_RATE * units.STEP_SECONDS), np.float32)
    whole[: len(audio)] = audio[: len(whole)]
    scores = step_scores(encoder, whole)
    if phones:
        found = align(scores, [SYMBOLS["v2"][row] for row in phones])
        if found is None:
            raise UsageError(
                f"the recording of {len(samples) / rate:.1f} s is too short for its transcript",
                hint="check that the transcript is what the recording says, and no more",
            )
        if strict and found.cost > UNFIT:
            raise UsageError(
                "the recording does not seem to say its transcript",
                hint="check the transcript and its language, or use a cleaner recording",
            )
    else:
        found = heard(scores)
    voiced = f0[f0 > 0]
    median = float(np.median(voiced)) if len(voiced) else 1.0
    semitones = units.step_semitones(np.asarray(f0, np.float32), len(scores), median)
    return units.encode(found.sounds, found.of_step.tolist(), semitones).astype(np.int64)
