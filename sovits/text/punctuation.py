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
_NOT_MANDARIN: Final = re.compile(rf"[^\u4e00-\u9fa5{_MARK_CLASS}]+")
# Cantonese has everyday characters outside the main block (㗎, 𠹌), which the readings know.
_NOT_CANTONESE: Final = re.compile(rf"[^\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af{_MARK_CLASS}]+")

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
    return collapse(_NOT_MANDARIN.sub("", text.replace("...", "…").translate(_MANDARIN)))


def keep_cantonese(text: str) -> str:
    """Hanzi and ASCII marks of a normalised Cantonese text."""
    return _NOT_CANTONESE.sub("", text.replace("...", "…").translate(_CANTONESE))
