"""Marks in text: which ones survive as phonemes, and how those of every script are mapped to them.

Follows specs/text.md.
"""

import re
from typing import Final

from ..symbols import PUNCTUATION

MARKS: Final = frozenset(PUNCTUATION)

_MARK_CLASS = "".join(re.escape(mark) for mark in PUNCTUATION)
REPEATED: Final = re.compile(rf"([{_MARK_CLASS}])[{_MARK_CLASS}]+")
"""Two or more marks in a row; only the first is spoken."""
NOT_HANZI_OR_MARK: Final = re.compile(rf"[^\u4e00-\u9fa5{_MARK_CLASS}]+")
"""What a Chinese text loses before its phonemes are looked up."""

_COMMON: Final = {
    "：": ",", "；": ",", "，": ",", "。": ".", "！": "!", "？": "?", "\n": ".", "·": ",", "、": ",",
    "$": ".", "—": "-",
}  # fmt: skip
_MANDARIN = str.maketrans({**_COMMON, "/": ",", "~": "…", "～": "…"})
_CANTONESE = str.maketrans({**_COMMON, "~": "-", "～": "-"})


def collapse(text: str) -> str:
    """``text`` with every run of marks cut to its first."""
    return REPEATED.sub(r"\1", text)


def keep_mandarin(text: str) -> str:
    """Hanzi and ASCII marks of a normalised Mandarin text."""
    # Two exclamations have no vowel, hence no phonemes; their nearest neighbours stand in.
    text = text.replace("嗯", "恩").replace("呣", "母")
    return collapse(NOT_HANZI_OR_MARK.sub("", text.replace("...", "…").translate(_MANDARIN)))


def keep_cantonese(text: str) -> str:
    """Hanzi and ASCII marks of a normalised Cantonese text."""
    return collapse(NOT_HANZI_OR_MARK.sub("", text.replace("...", "…").translate(_CANTONESE)))
