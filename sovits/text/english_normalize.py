"""English text to plain words and marks: numbers, money, times, units, fractions, accents, capitals.

The order of the steps is that of the published front end, and with ``upstream`` its slips are kept: "1,234"
is "twelve thirty-four", colons and dashes leave no pause, a number that ends a sentence is an ordinal, a sign
that is not spoken glues its neighbours together. Without it, as by default, these are read right; everything
else is the same, because every published voice was trained on it. Two differences always: a curly apostrophe
is an apostrophe, and a minus keeps the space before it. Follows specs/text.md.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from .english_numbers import LONGEST_NUMBER, cardinal, ordinal, ordinal_suffix, year
from .stand_ins import RANGE

_FULL_WIDTH_MARKS = str.maketrans({"。": ".", "！": "!", "？": "?", "’": "'", "‘": "'"})

# What the published front end means to map, and drops: marks of a pause, in both widths, and other spellings.
_PAUSES = str.maketrans(
    {"：": ":", "，": ",", "；": ",", ";": ",", "、": ",", "…": ". ", "—": ",", "―": ","}
    | {"℃": "°C", "℉": "°F"}
)

_UNITS: Final = {
    "m": ("meter", "meters"),
    "km": ("kilometer", "kilometers"),
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "ft": ("feet", "feet"),
    "L": ("liter", "liters"),
    "tbsp": ("tablespoon", "tablespoons"),
    "tsp": ("teaspoon", "teaspoons"),
    "h": ("hour", "hours"),
    "min": ("minute", "minutes"),
    "s": ("second", "seconds"),
    "°C": ("degree celsius", "degrees celsius"),
    "°F": ("degree fahrenheit", "degrees fahrenheit"),
}
_MONEY: Final = {
    "£": (("pound", "pounds"), ("penny", "pence")),
    "$": (("dollar", "dollars"), ("cent", "cents")),
}
_OPERATORS: Final = {"+": "plus", "-": "minus", "×": "times", "÷": "divided by", "=": "Equals"}

_ANY_LIST_NUMBER = re.compile(r"\b([0-9]+)\. ")
_LIST_NUMBER = re.compile(r"(?:^|(?<=\n))([0-9]+)\. ")
_TERM = r"(?:-?[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[A-Za-z])[⁰¹²³⁴⁵⁶⁷⁸⁹ˣʸⁿ]*"
_ARITHMETIC = re.compile(rf"({_TERM})\s+([+\-×÷=])(?=\s+{_TERM})")
_NEGATIVE = re.compile(r"(^|\s)-(?=[0-9])")
_ANY_COMMAS = re.compile(r"[0-9][0-9,]+[0-9]")
_GROUPED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_TIME = re.compile(r"\b([01]?[0-9]|2[0-3]):([0-5][0-9])\b")
_UNIT_NAMES = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_MEASURE = re.compile(rf"\b([0-9]+(?:\.[0-9]+)?)({_UNIT_NAMES})(?![A-Za-z0-9_])")
# The look-behind keeps the search linear in a long run of digits.
_AMOUNT = r"(?<![0-9.,])([0-9.,]*[0-9])"
_ANY_DECIMAL = re.compile(r"([0-9]+)\.\s*([0-9]+)")
_DECIMAL = re.compile(r"([0-9]+)\.([0-9]+)")
_NUMBER_RANGE = re.compile(r"(?<=[0-9])\s?–\s?(?=[0-9])")
_FRACTION = re.compile(r"([0-9]+)/([0-9]+)")
_ORDINAL = re.compile(r"([0-9]+)(?:st|nd|rd|th)")
_NUMBER = re.compile(r"[0-9]+")
_NOT_SPOKEN = re.compile(rf"[^ A-Za-z'.,?!\-{RANGE}]")
_BETWEEN_WORDS = re.compile(rf"(?<=[A-Za-z{RANGE}])[^ A-Za-z'.,?!\-{RANGE}]+(?=[A-Za-z{RANGE}])")
_SPACED_DASH = re.compile(r"\s+[\-–]+\s+")
_SPACES_BEFORE_MARK = re.compile(r"\s+(?=[,.?!])")
_CAPITAL_INSIDE = re.compile(r"(?<=\S)([A-Z])")
_REPEATED_MARKS = re.compile(r"([\s!?…,.\-])[!?…,.\-]+")


def _operator(match: re.Match[str]) -> str:
    """An operator between numbers or single letters; between words a minus is a dash and stays."""
    start, end = match.start(1), match.end(2)
    after = match.string[end : end + 64].lstrip()[:2]
    before = match.string[max(start - 1, 0) : start]
    in_words = (match[1].isalpha() and before.isalpha()) or (len(after) == 2 and after.isalpha())
    return match[0] if match[2] == "-" and in_words else _published_operator(match)


def _published_operator(match: re.Match[str]) -> str:
    return f"{match[1]} {_OPERATORS[match[2]]}"


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    half = "a.m." if hour < 12 else "p.m."
    spoken = cardinal(str(hour - 12 if hour > 12 else hour))
    return f"{spoken} o'clock {half}" if minute == 0 else f"{spoken} {cardinal(str(minute))} {half}"


def _measure(match: re.Match[str]) -> str:
    one, many = _UNITS[match[2]]
    return f"{match[1]} {one if match[1].lstrip('0') == '1' else many}"


def _money(symbol: str, quantity: str) -> Callable[[re.Match[str]], str]:
    (whole_one, whole_many), (part_one, part_many) = _MONEY[symbol]

    def spoken(match: re.Match[str]) -> str:
        amount = match[1].replace(",", "")
        whole, _, part = amount.partition(".")
        if "." in part or len(amount) > LONGEST_NUMBER:
            return f"{amount} {whole_many}"
        wholes, parts = int(whole or "0"), int((part or "0").ljust(2, "0"))
        names = []
        if wholes:
            names.append(f"{quantity}{wholes} {whole_one if wholes == 1 else whole_many}")
        if parts:
            names.append(f"{parts} {part_one if parts == 1 else part_many}")
        return " and ".join(names) or f"zero {whole_many}"

    return spoken


def _fraction(match: re.Match[str]) -> str:
    above, below = match[1].lstrip("0") or "0", match[2].lstrip("0") or "0"
    words = cardinal(above, with_and=True)
    if below == "1":
        return words
    if below == "2":
        return f"{words} {'half' if above == '1' else 'halves'}"
    part = ordinal(cardinal(below, with_and=True))
    return f"{words} {part}{'' if above in ('0', '1') else 's'}"


def _number(match: re.Match[str]) -> str:
    digits = match[0].lstrip("0") or "0"
    if len(digits) == 4 and 1000 < int(digits) < 3000:
        return year(int(digits))
    return cardinal(digits)


def _year_or_number(match: re.Match[str]) -> str:
    # A number that counts something was given a zero in front: it is no year.
    return cardinal(match[0]) if match[0].startswith("0") else _number(match)


def _spell_numbers(text: str, *, upstream: bool) -> str:
    quantity = "" if upstream else "0"
    listed = _ANY_LIST_NUMBER if upstream else _LIST_NUMBER
    text = listed.sub(lambda m: f"{m[1]}{ordinal_suffix(m[1])}, ", text)
    text = _ARITHMETIC.sub(_published_operator if upstream else _operator, text)
    text = _NEGATIVE.sub(r"\1negative ", text)
    grouped = _ANY_COMMAS if upstream else _GROUPED
    text = grouped.sub(lambda m: quantity + m[0].replace(",", ""), text)
    text = _TIME.sub(_time, text)
    text = _MEASURE.sub(lambda m: quantity + _measure(m), text)
    for symbol in _MONEY:
        text = re.sub(re.escape(symbol) + _AMOUNT, _money(symbol, quantity), text)
        text = re.sub(_AMOUNT + re.escape(symbol), _money(symbol, quantity), text)
    decimal = _ANY_DECIMAL if upstream else _DECIMAL
    text = decimal.sub(lambda m: f"{quantity}{m[1]} point {' '.join(m[2])}", text)
    text = _FRACTION.sub(_fraction, text)
    text = _ORDINAL.sub(lambda m: ordinal(cardinal(m[1], with_and=True)), text)
    return _NUMBER.sub(_number if upstream else _year_or_number, text)


def normalize(text: str, *, upstream: bool = False) -> str:
    """English words, spaces and ``'.,?!-`` only (and stand-ins for words of a dictionary)."""
    text = text.translate(_FULL_WIDTH_MARKS)
    if not upstream:
        text = _NUMBER_RANGE.sub(" to ", text.translate(_PAUSES))
    text = _spell_numbers(text, upstream=upstream)
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    text = text.replace("%", " percent")
    if not upstream:
        text = _SPACED_DASH.sub(", ", text).replace(":", ",").replace("&", " and ")
        text = _BETWEEN_WORDS.sub(" ", text)
    text = _NOT_SPOKEN.sub("", text)
    if not upstream:
        text = _SPACES_BEFORE_MARK.sub("", re.sub(" {2,}", " ", text))
    text = re.sub(r"i\.e\.", "that is", text, flags=re.IGNORECASE)
    text = re.sub(r"e\.g\.", "for example", text, flags=re.IGNORECASE)
    text = _CAPITAL_INSIDE.sub(r" \1", text)
    return _REPEATED_MARKS.sub(r"\1", text)
