"""Chinese number words: quantities, digit strings and decimals.

What a digit string in a text means is decided in :mod:`.chinese_normalize`. Follows specs/text.md.
"""

from typing import Final

LONGEST_QUANTITY: Final = 64
"""Digits a number may have to be read as a quantity; longer ones are read digit by digit."""

_DIGITS = "零一二三四五六七八九"
# Powers of ten with a name, largest first; from 10^16 on 亿 is said twice, as the published front end does.
_UNITS = ((8, "亿"), (4, "万"), (3, "千"), (2, "百"), (1, "十"))


def digit_by_digit(digits: str, *, telephone: bool = False) -> str:
    """``"120"`` -> ``一二零``; on the telephone 1 is 幺."""
    words = "".join(_DIGITS[int(digit)] for digit in digits)
    return words.replace("一", "幺") if telephone else words


def _quantity(digits: str) -> str:
    stripped = digits.lstrip("0")
    if not stripped:
        return ""
    if len(stripped) == 1:
        gap = _DIGITS[0] if len(digits) > 1 else ""
        return gap + _DIGITS[int(stripped)]
    power, name = next(unit for unit in _UNITS if unit[0] < len(stripped))
    return _quantity(digits[:-power]) + name + _quantity(digits[-power:])


def quantity(digits: str) -> str:
    """``"105"`` -> ``一百零五``, ``"12"`` -> ``十二``, ``"000"`` -> ``零``; empty stays empty."""
    if not digits:
        return ""
    stripped = digits.lstrip("0")
    if not stripped:
        return _DIGITS[0]
    if len(stripped) > LONGEST_QUANTITY:
        return digit_by_digit(stripped)
    words = _quantity(stripped)
    return words[1:] if words.startswith("一十") else words


def number(text: str) -> str:
    """A number with or without a decimal part: ``"12.500"`` -> ``十二点五零``, ``".5"`` -> ``零点五``."""
    whole, _, part = text.partition(".")
    words = quantity(whole)
    part = part.rstrip("0") + ("0" if part.endswith("0") else "")
    return f"{words or _DIGITS[0]}点{digit_by_digit(part)}" if part else words
