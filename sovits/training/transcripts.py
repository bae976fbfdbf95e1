"""What a recogniser hears in pieces of a recording, where nobody wrote it down; and whether a text is theirs.

The recogniser is a local folder in faster-whisper's form, and comes with an extra. Its text is a guess, so
the report marks every clip that was heard and not written. Follows specs/training-data.md.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from p2pvoice.sovits.audio import Samples
from p2pvoice.sovits.measure.asr import Ear, error_rate

from . import defects
from .clips import HEARD_WRONG, Fault
from .lists import TEXT_LIMIT

SURE: Final = 0.8
"""Probability of another language above which a clip is not in the one that is asked for."""
HEARD_SECONDS: Final = 30
"""Seconds of a clip by which its language is told."""


class Hearing(Protocol):
    """A recogniser: measure.asr.Ear."""

    def hear(self, audio: Samples, rate: int, lang: str) -> str:
        """What is said in mono samples."""

    def languages(self, audio: Samples, rate: int) -> dict[str, float]:
        """Probabilities of languages, the likeliest first; empty if it cannot tell."""


def recogniser(folder: Path) -> Hearing:
    """The recogniser in a folder. Raises UsageError that names the extra, or NotFoundError."""
    return Ear(folder)


def other_language(ear: Hearing, samples: Samples, rate: int, lang: str) -> Fault | None:
    """A fault when a clip is not in ``lang``; Chinese that is not told apart is let pass."""
    heard = ear.languages(samples[: HEARD_SECONDS * rate], rate)
    if not heard:
        return None
    likeliest = next(iter(heard))
    alike = {"yue": ("yue", "zh"), "zh": ("zh",), "en": ("en",)}[lang]
    if likeliest in alike or heard[likeliest] < SURE:
        return None
    message = f"it is in {likeliest} ({heard[likeliest]:.0%} sure), not in {lang}"
    return Fault("wrong_language", True, message, f"leave it out, or train with --lang {likeliest}")


def hear(ear: Hearing, pieces: Sequence[tuple[Samples, int]], lang: str) -> list[str]:
    """The text of each piece (samples, rate); empty where nothing is heard."""
    return [plain(ear.hear(defects.to_rate(samples, rate), defects.RATE, lang)) for samples, rate in pieces]


def plain(heard: str) -> str:
    """What was heard, on one printable line."""
    line = "".join(c if c.isprintable() else " " for c in heard)
    return " ".join(line.split())[:TEXT_LIMIT]


def other_text(said: str, heard: str, lang: str) -> Fault | None:
    """A fault when what is heard is not what is written. Cantonese is not judged: no recogniser knows it."""
    if lang == "yue":
        return None
    rate, kind = error_rate(said, heard, lang)
    if rate <= HEARD_WRONG:
        return None
    message = f"it says something else: {kind} {rate:.0%}, heard {heard[:60]!r}"
    return Fault("other_text", True, message, "check the text against the clip")
