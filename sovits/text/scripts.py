"""What the script of a text tells of its language: Han, kana, hangul or Latin.

Looks at characters only. Whether a Han character is never Japanese is told by the national character sets,
which come with Python. Not a statistical detector. Follows specs/text.md.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from .stand_ins import is_stand_in

CANTONESE_ONLY: Final = frozenset("嘅咗喺冇佢哋唔啲嚟嘢嗰噉嚿瞓")
"""Characters that only Cantonese is written with; one is enough."""

_HAN_CLASS: Final = r"\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA_CLASS: Final = r"\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff9d"
HAN: Final = re.compile(f"[{_HAN_CLASS}]")
KANA: Final = re.compile(f"[{_KANA_CLASS}]")
HANGUL: Final = re.compile(r"[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")
DIGIT: Final = re.compile(r"[0-9０-９]")

STRETCH: Final = re.compile(f"[{_HAN_CLASS}{_KANA_CLASS}々ー0-9０-９]+")
"""Han and kana without a mark or space between them."""
HAN_RUN: Final = re.compile(f"[{_HAN_CLASS}々0-9０-９]+")


def is_latin(character: str) -> bool:
    """Whether it is a letter of the Latin script, in any width, or stands for an English word."""
    if is_stand_in(character):
        return True
    return character.isalpha() and "LATIN" in unicodedata.name(character, "")


@lru_cache(maxsize=4096)
def _in_set(character: str, name: str) -> bool:
    try:
        character.encode(name)
    except UnicodeEncodeError:
        return False
    return True


def is_chinese_only(text: str) -> bool:
    """Whether a character of it is written in Chinese but not in Japanese (吗, 这, 佢)."""
    return any(c in CANTONESE_ONLY or _is_simplified_only(c) for c in text)


def _is_simplified_only(character: str) -> bool:
    japanese = _in_set(character, "euc_jp") or _in_set(character, "shift_jisx0213")
    return _in_set(character, "gb2312") and not japanese and not _in_set(character, "big5")
