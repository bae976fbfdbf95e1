"""Characters that stand for words of the dictionary while a text is cut and normalised.

An English word with a reading of its own must come through rules that know only letters, marks and digits: it
becomes a run of one private character, as long as the word. No voice was ever trained on these, so one that
came with a text means nothing by itself. Follows specs/pronunciation.md.
"""

import re
from typing import Final

FIRST: Final = 0xF0000
"""The character of the first word: the beginning of a plane that Unicode leaves to private use."""
LAST: Final = 0xFFFFD

RANGE: Final = f"{chr(FIRST)}-{chr(LAST)}"
"""All of them, for the inside of a regular expression's brackets."""

PATTERN: Final = re.compile(f"[{RANGE}]")


def is_stand_in(character: str) -> bool:
    """Whether a character is one of them."""
    return FIRST <= ord(character) <= LAST
