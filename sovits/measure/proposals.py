"""Tags proposed from what was measured, and the phrase they make in Chinese and in English.

A proposal is a tag key of protocol/vocabulary.py with a confidence and a reason; nothing is published by it.
Emotion and style are never guessed: they come from the author or not at all. Follows specs/measurement.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from p2pvoice.protocol.vocabulary import FACETS

LEAST: Final[Mapping[str, float]] = {"language": 0.5, "gender": 0.5, "age": 0.3, "timbre": 0.25}
"""Confidence from which a facet's value is proposed; age is never sure, and says so."""
HUSKY, CLEARLY_HUSKY = 0.5, 0.75
"""Index of hoarseness from which a voice is slightly husky, and husky without a word before it."""
BREATHY = 0.6
"""Index of breathiness from which a voice is breathy."""
DEEP: Final = {"male": 98.0, "female": 170.0}
"""Median pitch in hertz below which a voice is deep for its gender: about the lowest sixth."""
FACET_ORDER: Final = ("age", "gender", "language", "timbre", "emotion", "style")

Known = Mapping[str, tuple[float | str, float]]


@dataclass(frozen=True)
class Proposal:
    """A tag's key, how sure it is (0 to 1; the author's own are 1), why, and whether only slightly so."""

    tag: str
    confidence: float
    because: str
    slight: bool = False
    to_confirm: bool = True

    def names(self, lang: str) -> str:
        """Its first name in Chinese (``zh``) or English."""
        facet, _, value = self.tag.partition("/")
        names = FACETS.get(facet, {}).get(value)
        if names is None:
            return value
        return (names.zh if lang.startswith(("zh", "yue")) else names.en)[0]

    def to_json(self) -> dict[str, Any]:
        """Plain values, with both names."""
        return {
            "tag": self.tag,
            "zh": self.names("zh"),
            "en": self.names("en"),
            "confidence": round(100 * self.confidence),
            "because": self.because,
            "slight": self.slight,
            "to_confirm": self.to_confirm,
        }


def propose(known: Known, author_tags: Sequence[str] = ()) -> tuple[Proposal, ...]:
    """Proposals from measured fields (value, confidence), ordered by facet; the author's own tags win."""
    own = [Proposal(tag, 1.0, "said by the author", to_confirm=False) for tag in dict.fromkeys(author_tags)]
    decided = {one.tag.partition("/")[0] for one in own} - {"timbre", "tag"}
    made = [*_suggested(known), *_timbre(known)]
    kept = [
        one
        for one in made
        if (facet := one.tag.partition("/")[0]) not in decided
        and one.tag not in {other.tag for other in own}
        and one.confidence >= LEAST[facet]
    ]
    order = {facet: at for at, facet in enumerate(FACET_ORDER)}
    return tuple(sorted([*kept, *own], key=lambda one: order.get(one.tag.partition("/")[0], len(order))))


def sentence(proposals: Sequence[Proposal], lang: str) -> str:
    """The proposals as one phrase, such as 中年男性，粤语母语，略带沙哑，叙事风格."""
    of: dict[str, list[Proposal]] = {}
    for one in proposals:
        of.setdefault(one.tag.partition("/")[0], []).append(one)
    return _chinese(of) if lang == "zh" else _english(of)


def _suggested(known: Known) -> list[Proposal]:
    rows = []
    for facet, because in (
        ("language", "the language that is spoken"),
        ("gender", "how the voice is perceived"),
        ("age", "how the voice is perceived"),
    ):
        value, sure = known.get(facet, ("", 0.0))
        if value in FACETS[facet]:
            rows.append(Proposal(f"{facet}/{value}", sure, because))
    return rows


def _timbre(known: Known) -> list[Proposal]:
    rows = []
    hoarse, sure = known.get("hoarseness", (0.0, 0.0))
    if float(hoarse) >= HUSKY:
        slight = float(hoarse) < CLEARLY_HUSKY
        rows.append(Proposal("timbre/husky", sure, f"hoarseness {float(hoarse):.2f}", slight))
    breathy, sure = known.get("breathiness", (0.0, 0.0))
    if float(breathy) >= BREATHY:
        rows.append(Proposal("timbre/breathy", sure, f"breathiness {float(breathy):.2f}"))
    pitch, sure = known.get("pitch_median", (0.0, 0.0))
    gender, likely = known.get("gender", ("", 0.0))
    limit = DEEP.get(str(gender))
    if limit is not None and 0 < float(pitch) < limit:
        rows.append(Proposal("timbre/deep", sure * likely, f"median pitch {float(pitch):.0f} Hz"))
    return rows


def _chinese(of: Mapping[str, Sequence[Proposal]]) -> str:
    age, gender = (of[facet][0].names("zh") if facet in of else "" for facet in ("age", "gender"))
    # 男声 is a voice, 男性 the person who has it.
    who = age + gender.replace("声", "性") if age and gender else age or gender
    parts = [who] if who else []
    parts += [one.names("zh") + "母语" for one in of.get("language", ())][:1]
    parts += [("略带" if one.slight else "") + one.names("zh") for one in of.get("timbre", ())]
    parts += [one.names("zh") for one in of.get("emotion", ())]
    parts += [one.names("zh") + "风格" for one in of.get("style", ())]
    return "，".join(parts)


def _english(of: Mapping[str, Sequence[Proposal]]) -> str:
    who = " ".join(of[facet][0].names("en") for facet in ("age", "gender") if facet in of)
    parts = [who] if who else []
    parts += ["native " + one.names("en") for one in of.get("language", ())][:1]
    parts += [("slightly " if one.slight else "") + one.names("en") for one in of.get("timbre", ())]
    parts += [one.names("en") for one in of.get("emotion", ())]
    parts += [one.names("en") + " style" for one in of.get("style", ())]
    return ", ".join(parts)
