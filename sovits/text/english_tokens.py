"""English words and marks of a normalised sentence, and which homographs are verbs in it.

Not a part-of-speech tagger: only the cue right before a homograph is looked at, and without a cue it is
taken as a noun (what the published golden data assumes throughout). Follows specs/text.md.
"""

# ruff: noqa: SIM905 (word lists are easier to read and check as text)

import re
from collections.abc import Callable, Sequence
from typing import Final

from .stand_ins import RANGE

_TOKEN = re.compile(
    rf"""
    [{RANGE}]+(?:'[sS](?![A-Za-z]))?                   # a word of the dictionary, and its possessive
    | [A-Za-z]+(?:[.\-][A-Za-z]+)*\.[A-Za-z]{{2,13}}\b  # like a host name: one token, its dot is no pause
    | [A-Za-z][A-Za-z'\-]+[A-Za-z]                     # inner apostrophes and hyphens belong to the word
    | [A-Za-z]+
    | \.(?:\s*\.)+
    | \S
    """,
    re.VERBOSE,
)

Tagger = Callable[[Sequence[str]], list[str]]
"""From tokens to a Penn tag each; only noun (NN) and the verb tags are told apart."""

_BEFORE_BASE_FORM: Final = frozenset(
    "to will would can could shall should may might must do does did don't doesn't didn't won't wouldn't "
    "can't cannot couldn't shouldn't mustn't let let's please i'll you'll he'll she'll we'll they'll".split()
)
_BEFORE_PRESENT: Final = frozenset("i you we they who".split())
_BEFORE_PARTICIPLE: Final = frozenset(
    "have has had i've you've we've they've having was were been being is are am be".split()
)


def tokenize(text: str) -> list[str]:
    """Words and marks in order."""
    return _TOKEN.findall(text)


def tag_as_nouns(tokens: Sequence[str]) -> list[str]:
    """Every token a noun, as the golden data was made."""
    return ["NN"] * len(tokens)


def tag_by_cue(tokens: Sequence[str]) -> list[str]:
    """A verb after a word that calls for one, else a noun."""
    tags = []
    before = ""
    for token in tokens:
        if before in _BEFORE_BASE_FORM:
            tags.append("VB")
        elif before in _BEFORE_PRESENT:
            tags.append("VBP")
        elif before in _BEFORE_PARTICIPLE and token.endswith("ed"):  # "is used", but not "is close"
            tags.append("VBN")
        else:
            tags.append("NN")
        before = token.lower()
    return tags
