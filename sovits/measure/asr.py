"""A speech recogniser from a local folder, for judging what can be understood and for writing transcripts.

The folder holds a Whisper model in the form of faster-whisper; nothing is ever fetched. Whisper before its
third large version knows no Cantonese: it is asked to hear it as Mandarin then, and what it writes is a hint,
no more. Not for comparing texts: see words. Follows specs/measurement.md.
"""

from pathlib import Path
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.sovits.measure.extra import missing
from p2pvoice.sovits.measure.words import error_rate as error_rate

Samples = NDArray[np.float32]

RATE: Final = 16_000
SECONDS_LIMIT: Final = 1200.0
"""Longest recording that is heard at once; checked before memory is taken."""
FILES: Final = ("config.json", "model.bin", "tokenizer.json")
"""What a folder must hold; without its tokenizer the library would look for one on the network."""
PROMPTS: Final = {"zh": "以下是普通话的句子。", "yue": "以下係粵語嘅句子。"}
"""Said before, so that Mandarin is written in simplified characters and Cantonese in colloquial ones."""
_EDGE_SECONDS = 0.25
"""Silence put before and after, without which the first word may be lost."""


class Ear:
    """A loaded recogniser. It keeps nothing between two recordings."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load the model in ``folder``.

        Raises UsageError that names the extra if faster-whisper is missing, NotFoundError if files are, and
        UsageError if they are no such model.
        """
        lacking = [name for name in FILES if not (folder / name).is_file()]
        if lacking:
            raise NotFoundError(
                f"the recogniser in {folder} lacks {', '.join(lacking)}",
                hint="give a folder with a Whisper model converted for faster-whisper (CTranslate2)",
            )
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise missing("hearing words") from error
        try:
            self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
        except (RuntimeError, ValueError) as error:
            raise UsageError(
                f"the recogniser in {folder} cannot be loaded: {str(error)[:200]}",
                hint="give a folder with a Whisper model converted for faster-whisper (CTranslate2)",
            ) from error
        self.knows_cantonese = self._model.hf_tokenizer.token_to_id("<|yue|>") is not None
        self.is_multilingual: bool = self._model.model.is_multilingual

    def hear(self, audio: Samples, rate: int, lang: str) -> str:
        """What is said in mono ``audio``. Raises UsageError for a recording that is too long."""
        sound = _prepared(audio, rate)
        if not len(sound):
            return ""
        pieces, _ = self._model.transcribe(
            np.pad(sound, round(_EDGE_SECONDS * RATE)),
            language=self._language(lang),
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            initial_prompt=PROMPTS.get(lang) if self.is_multilingual else None,
        )
        return "".join(piece.text for piece in pieces).strip()

    def languages(self, audio: Samples, rate: int) -> dict[str, float]:
        """Probabilities of languages by the first 30 seconds, the likeliest first; empty if unable."""
        sound = _prepared(audio, rate)
        if not self.is_multilingual or not len(sound):
            return {}
        _, _, chances = self._model.detect_language(sound)
        return dict(sorted(chances, key=lambda pair: -pair[1]))

    def _language(self, lang: str) -> str:
        if lang == "yue" and not self.knows_cantonese:
            return "zh"
        if not self.is_multilingual:
            return "en"
        return lang if lang in self._model.supported_languages else "en"


def _prepared(audio: Samples, rate: int) -> Samples:
    if np.ndim(audio) != 1 or rate < 4000:
        raise UsageError(f"words are heard in one channel of at least 4000 Hz, not {rate} Hz")
    if len(audio) > SECONDS_LIMIT * rate:
        raise UsageError(f"the recording lasts more than {SECONDS_LIMIT:g} s", hint="cut it into pieces")
    sound = np.nan_to_num(np.asarray(audio, np.float32))
    if rate == RATE or not len(sound):
        return sound
    return np.asarray(soxr.resample(sound, rate, RATE, quality="HQ"), np.float32)
