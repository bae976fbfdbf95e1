"""Who speaks in the corpus: numbered speakers, each drawn from its own number and so always the same.

A hibari speaker is the one English voice with its formants, spectrum, breath and pitch bent; a Kokoro speaker
is a mixture of the five published styles, played faster or slower. Some numbers are never trained on: they
are the unseen speakers that the starter is judged with. All of them are synthetic. Follows specs/starter.md.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .hibari import Bend, Hibari
from .kokoro import UNITS_PER_SECOND, Kokoro, Prosody, Values
from .recital import VOICED_ABOVE

Curve = NDArray[np.float32]

HIBARI: Final = 200
"""Bent speakers of the corpus, ``hibari-000`` on."""
KOKORO: Final = 80
"""Mixed speakers of the corpus, ``kokoro-000`` on."""
CLARITY: Final = {
    "jf_gongitsune": 0.9, "jm_kumo": 0.9, "jf_tebukuro": 0.4, "jf_alpha": 0.25, "jf_nezumi": 0.25,
}  # fmt: skip
"""Concentrations of the mixtures' Dirichlet distribution: a style that is understood better stands in more
of them (see specs/starter.md)."""
UNSEEN: Final = range(900, 906)
"""Numbers of speakers that no training hears, of either teacher."""
TRAINED: Final = (
    *(f"hibari-{number:03d}" for number in range(HIBARI)),
    *(f"kokoro-{number:03d}" for number in range(KOKORO)),
)
"""The names of all speakers that a corpus may hold."""
HIBARI_MEDIAN: Final = 190.0
"""Median F0 of the bundled voice in Hz."""


class HibariSpeaker:
    """Bent speaker ``number``: odd ones are lower."""

    def __init__(self, teacher: Hibari, number: int):
        rnd = np.random.default_rng([1000, number])
        low = number % 2 == 1
        self.name = f"hibari-{number:03d}"
        formants = rnd.uniform(0.80, 0.98) if low else rnd.uniform(0.95, 1.20)
        self.pitch = HIBARI_MEDIAN * (rnd.uniform(0.44, 0.70) if low else rnd.uniform(0.80, 1.35))
        self.range = rnd.uniform(0.5, 1.25)
        self.pace = rnd.uniform(0.88, 1.18)
        self.stretch = 1.0
        self.unit, self.grain = Hibari.UNIT, Hibari.GRAIN
        self._bend = Bend(
            formants,
            tilt=rnd.uniform(-0.7, 0.7),
            breath=rnd.uniform(-0.4, 0.5),
            colour=tuple(rnd.normal(0, 0.3, 9)),
        )
        self._teacher = teacher
        self._tokens: Sequence[str] = ()
        self._envelopes: list[NDArray[np.float32]] = []

    def natural(self, tokens: Sequence[str]) -> Curve:
        self._tokens = tokens
        return self._teacher.durations(tokens)

    def curve(self, units: Sequence[int]) -> Curve:
        self._envelopes = self._teacher.envelopes(self._tokens, units)
        return self._envelopes[5].ravel()

    def audio(self, f0: Curve, random: np.random.Generator) -> Curve:
        return self._teacher.audio(self._envelopes, self._bend, f0, random)

    def own_median(self, language: str) -> float:
        return HIBARI_MEDIAN


class KokoroSpeaker:
    """Mixed speaker ``number``; the first five are the published styles as they are."""

    def __init__(self, teacher: Kokoro, number: int):
        rnd = np.random.default_rng([2000, number])
        self.name = f"kokoro-{number:03d}"
        names = list(CLARITY)
        shares = np.eye(len(names))[number] if number < len(names) else rnd.dirichlet(list(CLARITY.values()))
        self._shares = {name: float(share) for name, share in zip(names, shares, strict=True) if share > 0.02}
        low = number % 2 == 1
        as_is = number < len(names)
        self.unit, self.grain = 1 / UNITS_PER_SECOND, 1
        self.stretch = 1.0 if as_is else rnd.uniform(0.86, 0.98) if low else rnd.uniform(0.95, 1.15)
        self.pitch = rnd.uniform(95, 150) if low and not as_is else rnd.uniform(165, 260)
        self.range = 1.0 if as_is else rnd.uniform(0.65, 1.15)
        self.pace = rnd.uniform(0.95, 1.12)
        self._teacher = teacher
        self._as_is = as_is
        self._medians: dict[str, float] = {}
        self._values: Values = {}
        self._prosody: Prosody | None = None

    def calibrate(self, language: str, sentences: Sequence[Sequence[str]]) -> None:
        """Learn the style's own median F0 in ``language`` from the tokens of some sentences."""
        if language in self._medians:
            return
        voiced: list[Curve] = []
        for tokens in sentences:
            natural = self.natural(tokens)
            f0 = self.curve([max(1, round(float(x))) for x in natural])
            voiced.append(f0[f0 > VOICED_ABOVE])
        self._medians[language] = float(np.median(np.concatenate(voiced)))
        if self._as_is and len(self._medians) == 1:
            self.pitch = self._medians[language]

    def natural(self, tokens: Sequence[str]) -> Curve:
        style = self._teacher.style(self._shares, len(tokens))
        units, self._values = self._teacher.durations(tokens, style)
        return units

    def curve(self, units: Sequence[int]) -> Curve:
        self._prosody = self._teacher.prosody(units, self._values)
        return self._prosody.f0

    def audio(self, f0: Curve, random: np.random.Generator) -> Curve:
        assert self._prosody is not None, "curve comes before audio"
        return self._teacher.audio(self._prosody, f0)

    def own_median(self, language: str) -> float:
        return self._medians[language]
