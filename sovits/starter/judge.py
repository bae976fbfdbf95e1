"""Judges a voice on the held-out sentences: word or character errors by a Whisper, and DNSMOS when
installed.

The recogniser is given by path (any faster-whisper folder). Whisper base knows no Cantonese: it is asked
to hear Cantonese as Chinese, and that figure is a hint, no more. What this module is not for: training.
Follows specs/starter.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.measure import asr
from p2pvoice.sovits.measure import dnsmos as quality
from p2pvoice.sovits.measure.words import count_errors

Audio = NDArray[np.float32]
EAR_RATE = asr.RATE


@dataclass(frozen=True)
class Verdict:
    """What a judge heard of one sentence."""

    wanted: str
    heard: str
    errors: int
    length: int


class Ear:
    """A speech recogniser that hears 16 kHz audio and says what it got wrong."""

    def __init__(self, folder: Path):
        self._ear = asr.Ear(folder)

    def judge(self, audio: Audio, text: str, language: str) -> Verdict:
        """Compare what is heard with what should be."""
        heard = self._ear.hear(audio, EAR_RATE, language)
        return Verdict(text, heard, *count_errors(text, heard, language))


def error_rate(verdicts: Sequence[Verdict]) -> float:
    """Errors per word or character over all sentences."""
    return sum(v.errors for v in verdicts) / max(1, sum(v.length for v in verdicts))


def dnsmos(pieces: Sequence[Audio]) -> dict[str, float] | None:
    """Mean DNSMOS of 16 kHz pieces, or nothing if speechmos is not installed."""
    try:
        heard = [quality.ovrl(piece, EAR_RATE) for piece in pieces]
    except UsageError:
        return None
    return {name: float(np.mean([h[name] for h in heard])) for name in heard[0]}


def judge_all(
    speak: Callable[[str, str], Audio], ear: Ear, sentences: dict[str, Sequence[str]]
) -> dict[str, dict[str, object]]:
    """Speak and judge ``sentences`` of each language; ``speak`` gives 16 kHz audio."""
    report: dict[str, dict[str, object]] = {}
    for language, texts in sentences.items():
        spoken = [speak(text, language) for text in texts]
        verdicts = [ear.judge(audio, text, language) for audio, text in zip(spoken, texts, strict=True)]
        report[language] = {
            "sentences": len(texts),
            "error_rate": round(error_rate(verdicts), 3),
            "seconds": round(sum(len(a) for a in spoken) / EAR_RATE, 1),
            "dnsmos": dnsmos(spoken),
            "heard": [(v.wanted, v.heard, v.errors) for v in verdicts],
        }
    return report
