"""Text to phonemes for Cantonese, Mandarin, English, Japanese and Korean, alone or mixed.

``phonemize`` gives the rows of a voice's text embedding for one sentence, ``split`` cuts a longer text into
sentences. Both read right what the published front end slips on, unless told to slip as well. Dictionaries
are read on first use. Not for synthesis, nor for the Chinese BERT (its input is ``Part.norm_text`` and
``word2ph`` of the parts in Mandarin). Japanese and Korean need the extras ``ja`` and ``ko``. Follows
specs/text.md.
"""

import re
import threading
from dataclasses import dataclass
from typing import Final

from ...protocol.errors import SynthesisError, UnsupportedLanguageError, UsageError
from .. import symbols
from .pronunciations import NONE, Pronunciations
from .sentences import split
from .spans import HINT, LANGUAGES, Reading, Span, check_language, spans

__all__ = ["LANGUAGES", "LONGEST_SENTENCE", "Part", "Phones", "Pronunciations", "phonemize", "split"]

LONGEST_SENTENCE: Final = 2_000
"""Characters ``phonemize`` takes; a longer text is cut with ``split`` first."""
FEWEST_IDS: Final = 6
"""A sentence with fewer phonemes is read again with a full stop in front."""
_UNSPOKEN: Final = {"v1": ("yue", "ko"), "lite": ("ja", "ko")}
"""Versions of voices, and the languages that they have no sounds for."""
_FAMILY: Final = {"v1": "version 1", "lite": "lite"}
_NAMES: Final = {"yue": "Cantonese", "ja": "Japanese", "ko": "Korean"}
# Phonemes for what cannot be read, and for a space: letters by their names, but nothing is spoken.
_NOTHING: Final = frozenset((symbols.UNKNOWN, "停", "空"))

# The dictionaries load once; two threads must not build the same one side by side.
_loading = threading.Lock()


@dataclass(frozen=True)
class Part:
    """A piece of a sentence in one language: where its phonemes are, and what the BERT needs of it."""

    language: str
    text: str
    norm_text: str
    start: int
    """Index of its first phoneme in ``Phones.ids``."""
    length: int
    """Number of its phonemes."""
    word2ph: list[int] | None
    """Phonemes of each character of ``norm_text``; None for English, Japanese and Korean."""


@dataclass(frozen=True)
class Phones:
    """What a voice is told to say."""

    ids: list[int]
    names: list[str]
    word2ph: list[int] | None
    """Phonemes of each character of ``norm_text``; None when a part is not Chinese."""
    norm_text: str
    parts: tuple[Part, ...]


def _read_span(span: Span, version: str, words: Pronunciations, upstream: bool) -> Reading:
    # Imported here so that a language's dictionaries cost nothing until it is spoken.
    if span.language == "zh":
        from . import mandarin

        return mandarin.read(span.text, version, words=words, upstream=upstream)
    if span.language == "yue":
        from . import cantonese

        return cantonese.read(span.text, words=words, upstream=upstream)
    if span.language == "ja":
        from . import japanese

        return japanese.read(span.text, version)
    if span.language == "ko":
        from . import korean

        return korean.read(span.text)
    from . import english

    return english.read(span.text, words=words, upstream=upstream)


def _read(pieces: list[Span], version: str, words: Pronunciations, upstream: bool) -> Phones:
    names: list[str] = []
    spoken: list[Part] = []
    for piece in pieces:
        read = _read_span(_respelled(piece, words), version, words, upstream)
        start, length = len(names), len(read.phones)
        shown, norm = words.show(piece.text), words.show(read.norm_text)
        spoken.append(Part(piece.language, shown, norm, start, length, read.word2ph))
        names += read.phones
    word2ph: list[int] | None = []
    for span in spoken:
        word2ph = None if word2ph is None or span.word2ph is None else word2ph + span.word2ph
    norm_text = "".join(span.norm_text for span in spoken)
    return Phones(symbols.to_ids(names, version), names, word2ph, norm_text, tuple(spoken))


def _respelled(piece: Span, words: Pronunciations) -> Span:
    """Japanese and Korean words of a dictionary are spelled as they are read; others are read as they are."""
    if piece.language not in ("ja", "ko"):
        return piece
    spelled = words.respell(piece.language, piece.text)
    if len(spelled) > max(LONGEST_SENTENCE, len(piece.text)):
        raise UsageError(
            f"the sentence has {len(spelled)} characters as the dictionary spells it; at most "
            f"{LONGEST_SENTENCE} are read at once",
            hint="cut the text into sentences first",
        )
    return Span(piece.language, spelled)


def _spans(text: str, lang: str, version: str) -> list[Span]:
    found = spans(text, lang)
    if version == "v1" and lang == "auto":  # its table has no Cantonese, so that must not be found
        found = [Span("zh", span.text) if span.language == "yue" else span for span in found]
    named = lang.removeprefix("all_").removeprefix("auto_")
    for language in (named, *(span.language for span in found)):
        if language in _UNSPOKEN.get(version, ()):
            spoken = (one for one in ("yue", "zh", "en", "ja", "ko", "auto") if one not in _UNSPOKEN[version])
            raise UnsupportedLanguageError(
                f"a {_FAMILY[version]} voice has no {_NAMES[language]}", hint=f"languages: {' '.join(spoken)}"
            )
    return found


def phonemize(
    text: str, lang: str, version: str = "v2", *, words: Pronunciations = NONE, upstream: bool = False
) -> Phones:
    """The phonemes of one sentence; ``lang`` is one of ``LANGUAGES``, ``version`` the voice's.

    ``words`` are dictionaries; a longer text that was cut has their English words hidden already
    (``words.hide``). ``upstream`` reads as the published front end does where it is wrong, too.
    """
    check_language(lang)
    if len(text) > LONGEST_SENTENCE:
        raise UsageError(
            f"the sentence has {len(text)} characters; at most {LONGEST_SENTENCE} are read at once",
            hint="cut the text into sentences first",
        )
    text = words.hide(words.only_known(re.sub(" {2,}", " ", text)))
    if not upstream and lang != "en":
        # As two characters the sign of a temperature would be cut in two, a part of it read as English.
        text = text.replace("°C", "℃").replace("°F", "℉")
    with _loading:
        phones = _read(_spans(text, lang, version), version, words, upstream)
        if len(phones.ids) < FEWEST_IDS:
            phones = _read(_spans("." + text, lang, version), version, words, upstream)
    if not any(name[0].isalpha() and name not in _NOTHING for name in phones.names):
        raise SynthesisError("the text has nothing in it that can be spoken", hint=HINT)
    return phones
