"""What gender and age a voice is heard as: suggestions for its author to confirm, no more.

Pitch and the length of the vocal tract tell most men, women and children apart; beyond that a voice says
little about years. Population figures: Hillenbrand et al., "Acoustic characteristics of American English
vowels" (1995), for pitch and formants, rounded; Linville, "Vocal Aging" (2001), for the direction of what age
changes: rougher, slower, men higher, women lower. How strongly, is our own guess. What somebody *is*, nobody
can hear: the tag says how a voice is perceived. Follows specs/measurement.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

AGES: Final = ("child", "teen", "young", "middle-aged", "elderly")
"""Keys of the facet ``age``: up to 12, to 19, to 39, to 59 years, and above."""
_SURE = 0.95
"""No suggestion claims more."""
_AGE_SURE = 0.6
"""Nor does one of an adult's age: recognisers trained on thousands of speakers err by some ten years."""
_ANDROGYNOUS = 0.75
"""Below this probability of either gender the voice is heard as neither."""


@dataclass(frozen=True)
class Heard:
    """What is known of a voice; None where it could not be measured."""

    pitch: float
    """Median in hertz."""
    spacing: float | None = None
    """Of its formants, in hertz."""
    jitter: float | None = None
    shimmer: float | None = None
    hnr: float | None = None
    syllable_rate: float | None = None


@dataclass(frozen=True)
class Suggestion:
    """A key of the facet and how probable it is, with the probabilities of all keys."""

    value: str
    confidence: float
    chances: Mapping[str, float]


# Medians and spreads of log2 pitch (hertz) and of formant spacing (hertz) for each group.
_PITCH: Final = {
    ("male", "adult"): (np.log2(118), 0.28),
    ("female", "adult"): (np.log2(205), 0.24),
    ("male", "teen"): (np.log2(140), 0.35),
    ("female", "teen"): (np.log2(222), 0.2),
    ("either", "child"): (np.log2(265), 0.2),
}
_SPACING: Final = {
    ("male", "adult"): (1030.0, 55.0),
    ("female", "adult"): (1185.0, 60.0),
    ("male", "teen"): (1080.0, 70.0),
    ("female", "teen"): (1210.0, 60.0),
    ("either", "child"): (1370.0, 90.0),
}
_PRIOR: Final = {
    ("male", "adult"): 0.42,
    ("female", "adult"): 0.42,
    ("male", "teen"): 0.05,
    ("female", "teen"): 0.05,
    ("either", "child"): 0.06,
}
# How adults divide before anything of age is heard: the voices people publish are mostly of this age.
_ADULT_PRIOR: Final = {"young": 0.45, "middle-aged": 0.38, "elderly": 0.17}


def suggest(heard: Heard) -> tuple[Suggestion, Suggestion]:
    """The suggested gender and age."""
    groups = _groups(heard)
    male = sum(chance for (gender, _), chance in groups.items() if gender == "male")
    female = sum(chance for (gender, _), chance in groups.items() if gender == "female")
    child = groups["either", "child"]
    # A child's voice says nothing about gender.
    male, female = male + child / 2, female + child / 2
    best = max(male, female)
    genders = {"male": male, "female": female}
    if best < _ANDROGYNOUS:
        unsure = 1 - best
        gender = Suggestion("androgynous", min(_SURE, unsure), {**genders, "androgynous": unsure})
    else:
        gender = Suggestion("male" if male > female else "female", min(_SURE, best), genders)
    return gender, _age(heard, groups, "male" if male > female else "female")


def _groups(heard: Heard) -> dict[tuple[str, str], float]:
    logs = {}
    for group, prior in _PRIOR.items():
        middle, spread = _PITCH[group]
        # Expressive speech lies above its speaker's habit, so pitch is trusted less than its spread says.
        value = np.log(prior) - 0.5 * ((np.log2(heard.pitch) - middle) / (1.2 * spread)) ** 2 - np.log(spread)
        if heard.spacing is not None:
            middle, spread = _SPACING[group]
            wide = float(np.hypot(spread, 40.0))
            value += -0.5 * ((heard.spacing - middle) / wide) ** 2 - np.log(wide)
        logs[group] = float(value)
    top = max(logs.values())
    weights = {group: float(np.exp(value - top)) for group, value in logs.items()}
    total = sum(weights.values())
    return {group: weight / total for group, weight in weights.items()}


def _age(heard: Heard, groups: Mapping[tuple[str, str], float], gender: str) -> Suggestion:
    evidence = 0.0
    # Each in units of its spread over adults; older voices are rougher, noisier and slower.
    if heard.jitter is not None:
        evidence += 0.4 * float(np.clip((heard.jitter - 0.017) / 0.008, -1.5, 2.0))
    if heard.hnr is not None:
        usual = 12.0 if gender == "male" else 15.0
        evidence += 0.4 * float(np.clip((usual - heard.hnr) / 3.5, -1.5, 2.0))
    if heard.syllable_rate is not None:
        evidence += 0.4 * float(np.clip((4.9 - heard.syllable_rate) / 0.9, -1.5, 2.0))
    lower = float(np.log2(heard.pitch / (118 if gender == "male" else 205)))
    evidence += 0.3 * float(np.clip((lower if gender == "male" else -lower) / 0.25, -1.5, 1.5))
    centres = {"young": -0.5, "middle-aged": 0.3, "elderly": 1.2}
    weights = {
        name: prior * float(np.exp(-0.5 * (evidence - centres[name]) ** 2))
        for name, prior in _ADULT_PRIOR.items()
    }
    adult = sum(chance for (_, stage), chance in groups.items() if stage == "adult")
    chances = {
        "child": groups["either", "child"],
        "teen": groups["male", "teen"] + groups["female", "teen"],
        **{name: adult * weight / sum(weights.values()) for name, weight in weights.items()},
    }
    value = max(chances, key=lambda name: chances[name])
    limit = _SURE if value == "child" else _AGE_SURE
    return Suggestion(value, min(limit, chances[value]), chances)
