"""Phones in, a training utterance out: audio, codes, and which phone each code belongs to.

The teacher's durations are snapped to whole code steps, English pitch is the teacher's own rounded to
levels, Mandarin and Cantonese pitch is drawn from tone contours. Text belongs to texts.py, sounds to
sounds.py. Follows specs/bootstrap-voice.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import units
from .sounds import MARKS, SILENCE, SOUNDS, Sound, sounds_of, tone_of
from .teacher import SAMPLE_RATE, VOICED_ABOVE, Teacher, render

LOUDNESS: Final = 0.07
"""Root mean square that every utterance is brought to."""
PEAK: Final = 0.95
STEP_SAMPLES: Final = round(units.STEP_SECONDS * SAMPLE_RATE)
UNITS_PER_STEP: Final = 2
"""We play the teacher's frames in 10 ms where it meant 12.5, so a step holds two of its duration units."""
PACE: Final = {"en": 1.12, "zh": 1.2, "yue": 1.2}
"""How much longer than the teacher would we hold a sound."""
LONGEST: Final = 6
PAUSE: Final = {",": (3, 6), ".": (4, 5), "!": (4, 5), "?": (4, 5), "…": (5, 7), "-": (1, 1)}
"""Least and most steps of a mark."""

TONES: Final = {
    "zh1": (4.5, 4.5), "zh2": (-2.0, 0.0, 4.5), "zh3": (-3.0, -6.5, -5.0), "zh4": (6.0, 1.5, -5.0),
    "zh5": (-1.5, -2.5),
    "yue1": (5.5, 5.5), "yue2": (-3.0, -1.0, 4.5), "yue3": (1.0, 1.0), "yue4": (-4.0, -7.0),
    "yue5": (-3.5, -2.0, 0.5), "yue6": (-2.0, -2.0),
}  # fmt: skip
"""Semitones around the middle pitch, evenly spread over the part of the syllable that has a pitch."""
SLOPE: Final = 1.5
"""Semitones that the pitch of a Chinese sentence falls from its beginning to its end."""


@dataclass(frozen=True)
class Phone:
    """A symbol of the phone table and whether a word begins with it."""

    symbol: str
    begins_word: bool = False
    stressed: bool = True


@dataclass(frozen=True)
class Utterance:
    """What a recital yields; ``owner`` is the index of the phone that each code is part of."""

    audio: NDArray[np.int16]
    symbols: tuple[str, ...]
    codes: NDArray[np.int16]
    owner: NDArray[np.int16]


@dataclass(frozen=True)
class _Part:
    """One sound of an utterance with the teacher's tokens that precede and make it."""

    phone: int
    sound: Sound
    lead: tuple[str, ...]
    mark: str = ""


def _parts(phones: Sequence[Phone]) -> list[_Part]:
    parts: list[_Part] = []
    for index, phone in enumerate(phones):
        tone, vowel_done = tone_of(phone.symbol), False
        for sound in sounds_of(phone.symbol):
            mark = phone.symbol if phone.symbol in MARKS else ""
            lead: list[str] = []
            first = not parts or parts[-1].phone != index
            if phone.begins_word and first and parts and not mark:
                lead.append(" ")
            is_vowel = sound.pitch and sound.name not in ("m", "n", "ŋ", "l", "ɹ", "w", "j")
            if is_vowel and not vowel_done:
                vowel_done = True
                if tone:
                    if tone != "zh5":
                        lead.append("ˈ")
                elif phone.stressed and phone.symbol.endswith("1"):
                    lead.append("ˈ")
                elif phone.stressed and phone.symbol.endswith("2"):
                    lead.append("ˌ")
            parts.append(_Part(index, sound, tuple(lead), mark))
    return parts


def _least(part: _Part, tonal: bool) -> int:
    if part.mark:
        return PAUSE.get(part.mark, (2, 4))[0]
    if tonal and part.sound.pitch and part.sound.name not in ("n", "ŋ", "m", "j", "w", "l", "ɹ"):
        return 3
    if tonal and part.sound.name in ("s", "ʃ", "ɕ", "ʧ", "ts", "f", "h", "p", "t", "k"):
        return 2
    return 1


def _steps(parts: Sequence[_Part], seconds: Sequence[float], tonal: bool) -> list[int]:
    """Whole steps for every part; what rounding takes from one it gives to the next."""
    steps, owed = [], 0.0
    for index, (part, length) in enumerate(zip(parts, seconds, strict=True)):
        most = PAUSE.get(part.mark, (2, 4))[1] if part.mark else LONGEST
        if index + 1 < len(parts) and parts[index + 1].mark:
            most = 4
        want = min(length / units.STEP_SECONDS, most)
        count = max(_least(part, tonal), min(most, round(want + owed)))
        owed = min(max(owed + want - count, -0.5), 0.5)
        steps.append(count)
    return steps


def _share_out(total: int, weights: Sequence[float]) -> list[int]:
    """``total`` whole units in proportion to ``weights``, by cumulative rounding."""
    ends = np.round(np.cumsum(weights) / max(sum(weights), 1e-6) * total).astype(int)
    return list(np.diff(np.concatenate([[0], ends])))


def _tone_levels(parts: Sequence[_Part], steps: Sequence[int], phones: Sequence[Phone]) -> list[float | None]:
    """Semitones of each step of a tonal utterance, or nothing where a step has no pitch."""
    tones = [tone_of(phone.symbol) for phone in phones]
    syllables = max(1, sum(tone is not None for tone in tones))
    semitones: list[float | None] = []
    done = 0
    for index, part in enumerate(parts):
        tone = tones[part.phone]
        if not part.sound.pitch:
            semitones += [None] * steps[index]
        else:
            own = [i for i, other in enumerate(parts) if other.phone == part.phone and other.sound.pitch]
            total = sum(steps[i] for i in own)
            before = sum(steps[i] for i in own if i < index)
            following = next((t for t in tones[part.phone :] if t), "zh5")
            contour = TONES[tone] if tone else TONES[following][:1]
            at = (np.arange(steps[index]) + before + 0.5) / max(total, 1)
            value = np.interp(at, np.linspace(0, 1, len(contour)) if len(contour) > 1 else [0.5], contour)
            semitones += list(value + SLOPE * (0.5 - done / syllables))
        if tone and (index + 1 == len(parts) or parts[index + 1].phone != part.phone):
            done += 1
    return semitones


def recite(
    teacher: Teacher, phones: Sequence[Phone], language: str, random: np.random.Generator
) -> Utterance:
    """Render ``phones``, which should end with a mark."""
    parts = _parts(phones)
    tonal = language != "en"
    tokens: list[str] = []
    others: list[str] = []
    spans: list[tuple[int, int]] = []
    for part in parts:
        body = (part.mark,) if part.mark in teacher.vocabulary else part.sound.tokens
        start = len(tokens)
        tokens += [*part.lead, *body]
        others += [*part.lead, *(part.sound.other or body)]
        spans.append((start, len(tokens)))
    natural = teacher.durations(tokens)[1:-1]
    pace = PACE[language] * random.uniform(0.95, 1.05)
    steps = _steps(parts, [float(natural[a:b].sum()) * pace for a, b in spans], tonal)
    lengths: list[int] = [UNITS_PER_STEP]
    for (a, b), count in zip(spans, steps, strict=True):
        lengths += _share_out(count * UNITS_PER_STEP, [float(x) for x in natural[a:b]])
    lengths.append(0)
    frames = teacher.frames(tokens, lengths)
    per_step = units.FRAMES_PER_STEP
    gain = np.concatenate(
        [[0] * per_step, *(np.full(n * per_step, p.sound.gain) for p, n in zip(parts, steps, strict=True))]
    )
    if others != tokens:
        share = np.concatenate(
            [
                [0] * per_step,
                *(np.full(n * per_step, p.sound.share) for p, n in zip(parts, steps, strict=True)),
            ]
        )
        share = np.convolve(np.pad(share, 2, mode="edge"), np.ones(5) / 5, mode="valid")
        frames = frames.mixed(teacher.frames(others, lengths), share.astype(np.float32))
    for envelope in (frames.harmonic, frames.noise, frames.free):
        envelope += gain[: len(envelope), None]

    total = 1 + sum(steps)
    voiced = frames.f0[: total * per_step] > VOICED_ABOVE
    levels: list[int | None] = [None]
    if tonal:
        for value in _tone_levels(parts, steps, phones):
            levels.append(None if value is None else units.level_of(units.CENTRE_HZ * 2 ** (value / 12)))
    else:
        for part, count in zip(parts, steps, strict=True):
            for _ in range(count):
                at = slice(len(levels) * per_step, (len(levels) + 1) * per_step)
                heard = frames.f0[at][voiced[at]]
                if part.sound.pitch and len(heard):
                    levels.append(units.level_of(float(np.exp(np.log(heard).mean()))))
                else:
                    levels.append(None)
    known = [i for i, level in enumerate(levels) if level is not None]
    owner, codes = [0], [units.silence_code(True)]
    for part, count in zip(parts, steps, strict=True):
        for step in range(count):
            level = levels[len(codes)]
            if level is None and part.sound.pitch and known:
                level = levels[min(known, key=lambda i: abs(i - len(codes)))]
                levels[len(codes)] = level
            codes.append(units.code_of(part.sound.name, units.MIDDLE if level is None else level, step == 0))
            owner.append(part.phone)
    f0 = np.where(voiced, units.pitch_curve(levels), 0).astype(np.float32)
    audio = render(frames, f0, random)
    audio = audio[: total * STEP_SAMPLES]
    loud = np.sqrt(np.mean(audio**2)) + 1e-9
    audio = audio * min(LOUDNESS / loud, PEAK / (np.abs(audio).max() + 1e-9))
    return Utterance(
        np.round(audio * 32767).astype(np.int16),
        tuple(phone.symbol for phone in phones),
        np.array(codes, np.int16),
        np.array(owner, np.int16),
    )


__all__ = ["SILENCE", "SOUNDS", "Phone", "Utterance", "recite"]
