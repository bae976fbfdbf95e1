"""Text to phonemes for Cantonese, Mandarin and English, alone or mixed.

``phonemize`` gives the rows of a voice's text embedding for one sentence, ``split`` cuts a longer text into
sentences. Dictionaries are read on first use. Not for synthesis, nor for the Chinese BERT (its input is
``Part.norm_text`` and ``Part.word2ph``). Follows specs/text.md.
"""

import re
import threading
from dataclasses import dataclass
from typing import Final

from ...protocol.errors import SynthesisError, UnsupportedLanguageError, UsageError
from .. import symbols
from .sentences import split
from .spans import HINT, LANGUAGES, Span, check_language, spans

__all__ = ["LANGUAGES", "LONGEST_SENTENCE", "Part", "Phones", "phonemize", "split"]

LONGEST_SENTENCE: Final = 2_000
"""Characters ``phonemize`` takes; a longer text is cut with ``split`` first."""
FEWEST_IDS: Final = 6
"""A sentence with fewer phonemes is read again with a full stop in front."""

# The dictionaries load once; two threads must not build the same one side by side.
_loading = threading.Lock()


@dataclass(frozen=True)
class Part:
    """A part of a sentence in one language: where its phonemes are, and what the BERT needs to know of it."""

    language: str
    text: str
    norm_text: str
    start: int
    """Index of its first phoneme in ``Phones.ids``."""
    length: int
    """Number of its phonemes."""
    word2ph: list[int] | None
    """Phonemes of each character of ``norm_text``; None for English."""


@dataclass(frozen=True)
class Phones:
    """What a voice is told to say."""

    ids: list[int]
    names: list[str]
    word2ph: list[int] | None
    """Phonemes of each character of ``norm_text``; None when a part is English."""
    norm_text: str
    parts: tuple[Part, ...]


def _mandarin(text: str, version: str) -> tuple[str, list[str], list[int] | None]:
    from . import chinese_normalize, mandarin, punctuation

    # A yen sign or a caret in the text makes every comma a longer pause.
    pause = next((name for sign, name in (("￥", "SP2"), ("^", "SP3")) if sign in text), None)
    if pause:
        text = text.replace("￥" if pause == "SP2" else "^", ",")
    norm_text = punctuation.keep_mandarin(chinese_normalize.normalize(text))
    phones, counts = mandarin.to_phones(norm_text, with_erhua=version != "v1")
    return norm_text, [pause if pause and phone == "," else phone for phone in phones], counts


def _cantonese(text: str, version: str) -> tuple[str, list[str], list[int] | None]:
    from . import cantonese, chinese_normalize, punctuation

    norm_text = punctuation.keep_cantonese(chinese_normalize.normalize(text))
    return norm_text, *cantonese.to_phones(norm_text)


def _english(text: str, version: str) -> tuple[str, list[str], list[int] | None]:
    from . import english, english_normalize

    norm_text = english_normalize.normalize(text)
    return norm_text, english.to_phones(norm_text), None


_FRONT_ENDS = {"zh": _mandarin, "yue": _cantonese, "en": _english}


def _read(pieces: list[Span], version: str) -> Phones:
    names: list[str] = []
    parts = []
    for piece in pieces:
        norm_text, phones, counts = _FRONT_ENDS[piece.language](piece.text, version)
        parts.append(Part(piece.language, piece.text, norm_text, len(names), len(phones), counts))
        names += phones
    word2ph: list[int] | None = []
    for part in parts:
        word2ph = None if word2ph is None or part.word2ph is None else word2ph + part.word2ph
    norm_text = "".join(part.norm_text for part in parts)
    return Phones(symbols.to_ids(names, version), names, word2ph, norm_text, tuple(parts))


def phonemize(text: str, lang: str, version: str = "v2") -> Phones:
    """The phonemes of one sentence; ``lang`` is one of ``LANGUAGES``, ``version`` the voice's."""
    check_language(lang)
    if len(text) > LONGEST_SENTENCE:
        raise UsageError(
            f"the sentence has {len(text)} characters; at most {LONGEST_SENTENCE} are read at once",
            hint="cut the text into sentences first",
        )
    if version == "v1" and lang in ("yue", "all_yue", "auto_yue"):
        raise UnsupportedLanguageError("a version 1 voice has no Cantonese", hint="languages: zh en auto")
    text = re.sub(" {2,}", " ", text)
    with _loading:
        phones = _read(spans(text, lang), version)
        if len(phones.ids) < FEWEST_IDS:
            phones = _read(spans("." + text, lang), version)
    if not any(name[0].isalpha() for name in phones.names):
        raise SynthesisError("the text has nothing in it that can be spoken", hint=HINT)
    return phones
