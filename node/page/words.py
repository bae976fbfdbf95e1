"""What the page says, in the reader's language: texts by key, with dates, sizes and counts.

The texts themselves are in words_en.py and words_zh.py; both have the same keys and the same places to fill
in. Names of tags come from the vocabulary of protocol/tags.py. Not for what a voice's author wrote: that is
shown as it is. Follows specs/page.md.
"""

import re
import time
from collections.abc import Mapping
from typing import Any

from p2pvoice.node.page.words_en import WORDS as ENGLISH
from p2pvoice.node.page.words_en_making import WORDS as ENGLISH_MAKING
from p2pvoice.node.page.words_zh import WORDS as CHINESE
from p2pvoice.node.page.words_zh_making import WORDS as CHINESE_MAKING
from p2pvoice.protocol.tags import tag_names

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": ENGLISH | ENGLISH_MAKING, "zh": CHINESE | CHINESE_MAKING}
"""The texts of each language."""

CODES = {"en": "en", "zh": "zh-Hans"}
"""What a page of a language is marked with."""

ACCEPTED = 10
"""Languages of an Accept-Language header that are looked at."""


class Words:
    """The texts of one language. A key that does not exist is a KeyError: a mistake of ours."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self.code = CODES[lang]
        self._texts = LANGUAGES[lang]

    def __call__(self, key: str, **values: Any) -> str:
        text = self._texts[key]
        return text.format_map(values) if values else text

    def count(self, key: str, number: int, **values: Any) -> str:
        """The text for a number of things: ``key.one`` for a single one, else ``key.other``."""
        return self(f"{key}.{'one' if number == 1 else 'other'}", n=number, **values)

    def has(self, key: str) -> bool:
        """Whether there is such a text."""
        return key in self._texts

    def named(self, family: str, value: str) -> str:
        """The name of a value of a closed family, or the value itself when a newer version wrote it."""
        return self._texts.get(f"{family}.{value}", value)

    def tag(self, tag: str) -> str:
        """The name of a tag."""
        return tag_names(tag, self.lang)[0]

    def language(self, code: str) -> str:
        """The name of a spoken language."""
        return tag_names(f"language/{code}", self.lang)[0]

    def size(self, count: float) -> str:
        """Bytes in decimal units."""
        for unit in ("B", "kB", "MB"):
            if count < 1000:
                return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
            count /= 1000
        return f"{count:.1f} GB"

    def day(self, moment: float) -> str:
        """A day, in UTC; ``moment`` is in seconds since 1970."""
        try:
            day = time.gmtime(moment)
        except (OverflowError, ValueError, OSError):
            return str(moment)
        if self.lang == "zh":
            return f"{day.tm_year}年{day.tm_mon}月{day.tm_mday}日"
        return f"{day.tm_mday} {time.strftime('%B', day)} {day.tm_year}"

    def length(self, seconds: float) -> str:
        """A duration."""
        whole = round(seconds)
        if whole < 60:
            return self("seconds", n=f"{seconds:.1f}" if seconds < 10 else f"{whole}")
        if whole < 3600:
            return self("minutes", n=whole // 60, s=whole % 60)
        return self("hours", n=whole // 3600, m=whole % 3600 // 60)

    def scripts(self) -> dict[str, str]:
        """The texts that scripts show, by their keys without ``js.``."""
        return {key[3:]: text for key, text in self._texts.items() if key.startswith("js.")}


def preferred(header: str) -> str:
    """The language that an Accept-Language header likes best among ours; English when it names none."""
    best, weight = "en", 0.0
    for part in header.split(",")[:ACCEPTED]:
        name, _, rest = part.strip().partition(";")
        found = re.fullmatch(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", rest) if rest else None
        value = float(found[1]) if found else (0.0 if rest else 1.0)
        lang = name.strip().lower().partition("-")[0]
        lang = "zh" if lang in ("zh", "yue", "cmn", "wuu", "nan", "hak") else lang
        if lang in LANGUAGES and value > weight:
            best, weight = lang, value
    return best
