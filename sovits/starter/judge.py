"""Judges a voice on the held-out sentences: word or character errors by a Whisper, and DNSMOS when
installed.

The recogniser is given by path (any faster-whisper folder). Whisper base knows no Cantonese: it is asked
to hear Cantonese as Chinese, and that figure is a hint, no more. What this module is not for: training.
Follows specs/bootstrap-voice.md.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]
EAR_RATE: Final = 16_000
PROMPTS: Final = {"zh": "以下是普通话的句子。", "yue": "以下係粵語嘅句子。"}


@dataclass(frozen=True)
class Verdict:
    """What a judge heard of one sentence."""

    wanted: str
    heard: str
    errors: int
    length: int


def units_of(text: str, language: str) -> list[str]:
    """The words (English) or characters (Chinese, simplified) that errors are counted in."""
    if language == "en":
        return re.sub(r"[^a-z' ]", "", text.lower().replace("-", " ")).split()
    from p2pvoice.sovits.text.chinese_normalize import normalize

    return re.findall(r"[\u4e00-\u9fff]", normalize(text))


def distance(wanted: Sequence[str], heard: Sequence[str]) -> int:
    """Insertions, deletions and replacements between two sequences."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


class Ear:
    """A speech recogniser."""

    def __init__(self, folder: Path):
        from faster_whisper import WhisperModel

        self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)

    def hear(self, audio: Audio, language: str) -> str:
        """What is said in 16 kHz ``audio``."""
        quiet = np.zeros(EAR_RATE // 4, np.float32)
        pieces, _ = self._model.transcribe(
            np.concatenate([quiet, audio, quiet]).astype(np.float32),
            language="en" if language == "en" else "zh",
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            initial_prompt=PROMPTS.get(language),
        )
        return "".join(piece.text for piece in pieces)

    def judge(self, audio: Audio, text: str, language: str) -> Verdict:
        """Compare what is heard with what should be."""
        heard = self.hear(audio, language)
        wanted = units_of(text, language)
        return Verdict(text, heard, distance(wanted, units_of(heard, language)), len(wanted))


def error_rate(verdicts: Sequence[Verdict]) -> float:
    """Errors per word or character over all sentences."""
    return sum(v.errors for v in verdicts) / max(1, sum(v.length for v in verdicts))


def dnsmos(pieces: Sequence[Audio]) -> dict[str, float] | None:
    """Mean DNSMOS of 16 kHz pieces, or nothing if speechmos is not installed."""
    try:
        from speechmos import dnsmos as model
    except ImportError:
        return None
    heard = [model.run(np.clip(piece.astype(np.float64), -1, 1), sr=EAR_RATE) for piece in pieces]
    return {
        name: float(np.mean([h[name] for h in heard]))
        for name in ("ovrl_mos", "sig_mos", "bak_mos", "p808_mos")
    }


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
