"""English text to plain words and marks: numbers, money, times, units, fractions, accents, capitals.

The order of the steps is that of the published front end and shows in the result (a comma inside a number
goes before years are read, so "1,234" becomes "twelve thirty-four"): equal phonemes matter more here than
a better reading, because every published voice was trained on them. Two differences on purpose: a curly
apostrophe is an apostrophe, and a minus keeps the space before it. Follows specs/text.md.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from .english_numbers import LONGEST_NUMBER, cardinal, ordinal, ordinal_suffix, year

_FULL_WIDTH_MARKS = str.maketrans({"。": ".", "！": "!", "？": "?", "’": "'", "‘": "'"})

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

_LIST_NUMBER = re.compile(r"\b([0-9]+)\. ")
_TERM = r"(?:-?[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[A-Za-z])[⁰¹²³⁴⁵⁶⁷⁸⁹ˣʸⁿ]*"
_ARITHMETIC = re.compile(rf"({_TERM})\s+([+\-×÷=])(?=\s+{_TERM})")
_NEGATIVE = re.compile(r"(^|\s)-(?=[0-9])")
_GROUPED = re.compile(r"[0-9][0-9,]+[0-9]")
_TIME = re.compile(r"\b([01]?[0-9]|2[0-3]):([0-5][0-9])\b")
_UNIT_NAMES = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_MEASURE = re.compile(rf"\b([0-9]+(?:\.[0-9]+)?)({_UNIT_NAMES})(?![A-Za-z0-9_])")
# The look-behind keeps the search linear in a long run of digits.
_AMOUNT = r"(?<![0-9.,])([0-9.,]*[0-9])"
_DECIMAL = re.compile(r"([0-9]+)\.\s*([0-9]+)")
_FRACTION = re.compile(r"([0-9]+)/([0-9]+)")
_ORDINAL = re.compile(r"([0-9]+)(?:st|nd|rd|th)")
_NUMBER = re.compile(r"[0-9]+")
_NOT_SPOKEN = re.compile(r"[^ A-Za-z'.,?!\-]")
_CAPITAL_INSIDE = re.compile(r"(?<=\S)([A-Z])")
_REPEATED_MARKS = re.compile(r"([\s!?…,.\-])[!?…,.\-]+")


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    half = "a.m." if hour < 12 else "p.m."
    spoken = cardinal(str(hour - 12 if hour > 12 else hour))
    return f"{spoken} o'clock {half}" if minute == 0 else f"{spoken} {cardinal(str(minute))} {half}"


def _measure(match: re.Match[str]) -> str:
    one, many = _UNITS[match[2]]
    return f"{match[1]} {one if match[1].lstrip('0') == '1' else many}"


def _money(symbol: str) -> Callable[[re.Match[str]], str]:
    (whole_one, whole_many), (part_one, part_many) = _MONEY[symbol]

    def spoken(match: re.Match[str]) -> str:
        amount = match[1].replace(",", "")
        whole, _, part = amount.partition(".")
        if "." in part or len(amount) > LONGEST_NUMBER:
            return f"{amount} {whole_many}"
        wholes, parts = int(whole or "0"), int((part or "0").ljust(2, "0"))
        names = []
        if wholes:
            names.append(f"{wholes} {whole_one if wholes == 1 else whole_many}")
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


def _spell_numbers(text: str) -> str:
    text = _LIST_NUMBER.sub(lambda m: f"{m[1]}{ordinal_suffix(m[1])}, ", text)
    text = _ARITHMETIC.sub(lambda m: f"{m[1]} {_OPERATORS[m[2]]}", text)
    text = _NEGATIVE.sub(r"\1negative ", text)
    text = _GROUPED.sub(lambda m: m[0].replace(",", ""), text)
    text = _TIME.sub(_time, text)
    text = _MEASURE.sub(_measure, text)
    for symbol in _MONEY:
        text = re.sub(re.escape(symbol) + _AMOUNT, _money(symbol), text)
        text = re.sub(_AMOUNT + re.escape(symbol), _money(symbol), text)
    text = _DECIMAL.sub(lambda m: f"{m[1]} point {' '.join(m[2])}", text)
    text = _FRACTION.sub(_fraction, text)
    text = _ORDINAL.sub(lambda m: ordinal(cardinal(m[1], with_and=True)), text)
    return _NUMBER.sub(_number, text)


def normalize(text: str) -> str:
    """English words, spaces and ``'.,?!-`` only."""
    text = _spell_numbers(text.translate(_FULL_WIDTH_MARKS))
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    text = _NOT_SPOKEN.sub("", text.replace("%", " percent"))
    text = re.sub(r"i\.e\.", "that is", text, flags=re.IGNORECASE)
    text = re.sub(r"e\.g\.", "for example", text, flags=re.IGNORECASE)
    text = _CAPITAL_INSIDE.sub(r" \1", text)
    return _REPEATED_MARKS.sub(r"\1", text)
