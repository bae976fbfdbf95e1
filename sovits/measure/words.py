"""What was said against what was heard: both brought to one spelling, and their edit distance.

A recogniser writes "1999", "it's" and 係 where a transcript has "nineteen ninety-nine", "it is" and 系; none
of that is an error of the voice. What cannot be heard at all (他 她 它, 的 地 得) is folded too. Not for what
a voice should speak: that is p2pvoice.sovits.text. Follows specs/measurement.md.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.text.chinese_normalize import normalize as chinese_words
from p2pvoice.sovits.text.chinese_normalize import to_simplified
from p2pvoice.sovits.text.english_numbers import LONGEST_NUMBER, cardinal, ordinal, year

TEXT_LIMIT: Final = 20_000
"""Characters of a text that is compared: the distance takes time by the product of both lengths."""
BY_CHARACTER: Final = frozenset({"zh", "yue", "ja", "ko", "wuu", "nan", "hak", "th"})
"""Languages whose errors are counted in characters; in all others words are."""
CHINESE: Final = frozenset({"zh", "yue", "wuu", "nan", "hak"})

_CONTRACTIONS: Final = (
    (r"\b(can)'t\b|\b(can)not\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"\bshan't\b", "shall not"),
    (r"\bain't\b", "is not"),
    (r"\blet's\b", "let us"),
    (r"\by'all\b", "you all"),
    (r"n't\b", " not"),
    (r"'re\b", " are"),
    (r"'ve\b", " have"),
    (r"'ll\b", " will"),
    (r"'m\b", " am"),
    (r"\b(it|he|she|that|this|there|here|what|who|where|when|how|why)'s\b", r"\1 is"),
    (r"\b(i|you|he|she|it|we|they|there|who|that)'d\b", r"\1 would"),
    (r"\bgonna\b", "going to"),
    (r"\bwanna\b", "want to"),
    (r"\bgotta\b", "got to"),
    (r"\bo'clock\b", "oclock"),
)
_SHORT_FORMS: Final = {
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "st": "saint",
    "vs": "versus",
    "ok": "okay",
}
_MONEY: Final = {"$": "dollars", "£": "pounds", "€": "euros", "¥": "yuan"}
# Done to both texts, so it does no harm that a few words ("promise") come out misspelt.
_AMERICAN: Final = (
    (r"\b(col|fav|flav|hon|lab|neighb|harb|hum|rum|vap|behavi)our", r"\1or"),
    (r"\b(cent|theat|met|lit|fib)re(s?)\b", r"\1er\2"),
    (r"\b(\w{3,})is(e|es|ed|ing|ation|ations)\b", r"\1iz\2"),
    (r"\bgrey", "gray"),
)
# Nobody can hear which of these is meant: one character stands for all that sound the same.
_SAME_SOUND: Final = str.maketrans("她它牠祂妳祢地得着麽甚", "他他他他你你的的着么什")


def error_rate(said: str, heard: str, lang: str) -> tuple[float, str]:
    """Errors per word ("WER") or per character ("CER") of ``said``; above 1 if much was heard beside it.

    A text without any word counts as one, so that hearing something where nothing was said is an error.
    """
    errors, length = count_errors(said, heard, lang)
    return errors / max(1, length), kind_of(lang)


def kind_of(lang: str) -> str:
    """ "CER" where errors are counted in characters, else "WER"."""
    return "CER" if lang in BY_CHARACTER else "WER"


def count_errors(said: str, heard: str, lang: str) -> tuple[int, int]:
    """Insertions, deletions and replacements; and the words or characters of ``said``."""
    wanted = units_of(said, lang)
    return distance(wanted, units_of(heard, lang)), len(wanted)


def units_of(text: str, lang: str) -> list[str]:
    """The words or characters that errors are counted in. Raises UsageError for a text that is too long."""
    if len(text) > TEXT_LIMIT:
        raise UsageError(f"a text of {len(text)} characters is too long to compare")
    if lang in CHINESE:
        folded = to_simplified(chinese_words(text)).translate(_SAME_SOUND)
        return re.findall(r"[\u3400-\u9fff]|[a-z]+", folded.lower())
    if lang in BY_CHARACTER:
        return [c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum()]
    if lang == "en":
        return _english(text)
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain)


def distance(wanted: Sequence[str], heard: Sequence[str]) -> int:
    """Least insertions, deletions and replacements between two sequences (Levenshtein 1966)."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _english(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKD", text).lower()
    plain = "".join(c for c in folded if not unicodedata.combining(c)).replace("’", "'").replace("‘", "'")
    plain = re.sub(r"([$£€¥])\s?([0-9][0-9,.]*[0-9]|[0-9])", lambda m: f"{m[2]} {_MONEY[m[1]]}", plain)
    plain = plain.replace("%", " percent ").replace("&", " and ")
    plain = re.sub(r"([0-9]{1,2}):([0-9]{2})\b", lambda m: f"{m[1]} {m[2] if m[2] != '00' else ''}", plain)
    plain = re.sub(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?(?:st|nd|rd|th)?", _spoken_number, plain)
    for pattern, spelled in _CONTRACTIONS:
        plain = re.sub(pattern, spelled, plain)
    for pattern, spelled in _AMERICAN:
        plain = re.sub(pattern, spelled, plain)
    plain = re.sub(r"[^a-z' ]+", " ", plain).replace("'", "")
    plain = re.sub(r"\b(hundred|thousand|million) and\b", r"\1", plain)
    return [_SHORT_FORMS.get(word, word) for word in plain.split()]


def _spoken_number(match: re.Match[str]) -> str:
    """A number as it is said: years in pairs, digits after a point one by one."""
    written = match[0]
    is_ordinal = written[-1].isalpha()
    whole, _, fraction = written.rstrip("stndrh").partition(".")
    grouped, digits = "," in whole, whole.replace(",", "")
    if len(digits) > LONGEST_NUMBER:
        spoken = " ".join(cardinal(digit) for digit in digits)
    elif not fraction and not grouped and not is_ordinal and 1100 <= int(digits) < 2100 and len(digits) == 4:
        spoken = year(int(digits))
    else:
        spoken = cardinal(digits)
    if fraction:
        spoken += " point " + " ".join(cardinal(digit) for digit in fraction)
    return f" {ordinal(spoken) if is_ordinal else spoken} "
