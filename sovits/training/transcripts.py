"""What a recogniser hears in pieces of a recording, where nobody wrote it down; and whether a text is theirs.

The recogniser is a local folder in faster-whisper's form, and comes with an extra. Its text is a guess, so
the report marks every clip that was heard and not written. Follows specs/training.md, "Data".
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.audio import Samples

from . import defects
from .clips import HEARD_WRONG, Fault
from .lists import TEXT_LIMIT


class Hearing(Protocol):
    """A recogniser: measure.asr.Ear."""

    def hear(self, audio: Samples, rate: int, lang: str) -> str:
        """What is said in mono samples."""


def recogniser(folder: Path) -> Hearing:
    """The recogniser in a folder. Raises UsageError that names the extra, or what the folder lacks."""
    try:
        from p2pvoice.sovits.measure.asr import Ear
    except ImportError as error:
        raise UsageError(
            "hearing transcripts needs a recogniser that is not installed",
            hint="pip install 'p2pvoice[measure]'",
        ) from error
    return Ear(folder)


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
    from p2pvoice.sovits.measure.asr import error_rate

    rate, kind = error_rate(said, heard, lang)
    if rate <= HEARD_WRONG:
        return None
    message = f"it says something else: {kind} {rate:.0%}, heard {heard[:60]!r}"
    return Fault("other_text", True, message, "check the text against the clip")
