"""English number words: cardinals, ordinals and the pairwise reading of years.

Only integers; what a digit string in a text means (a price, a date, a part) is decided in
:mod:`.english_normalize`. The wording (hyphens, commas, "and") is that of the published front end, since
it decides the phonemes. Follows specs/text.md.
"""

# ruff: noqa: SIM905 (word lists are easier to read and check as text)

from typing import Final

LONGEST_NUMBER: Final = 33
"""Digits a number may have to be read as a quantity; longer ones are read digit by digit."""

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_GROUPS = (
    "thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion"
).split()
_IRREGULAR_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth",
    "eight": "eighth", "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip


def _below_hundred(value: int) -> str:
    if value < 20:
        return _SMALL[value]
    tens, ones = divmod(value, 10)
    return _TENS[tens] + (f"-{_SMALL[ones]}" if ones else "")


def _below_thousand(value: int, joiner: str) -> str:
    hundreds, rest = divmod(value, 100)
    if not hundreds:
        return _below_hundred(rest)
    head = f"{_SMALL[hundreds]} hundred"
    return f"{head}{joiner}{_below_hundred(rest)}" if rest else head


def cardinal(digits: str, *, with_and: bool = False) -> str:
    """``"1234"`` -> ``one thousand, two hundred thirty-four``, with ``and`` where it is usual if asked."""
    stripped = digits.lstrip("0")
    if not stripped:
        return _SMALL[0]
    if len(stripped) > LONGEST_NUMBER:
        return ", ".join(_SMALL[int(digit)] for digit in stripped)
    joiner = " and " if with_and else " "
    value = int(stripped)
    groups: list[str] = []
    for power in range(len(_GROUPS) + 1):
        value, group = divmod(value, 1000)
        if group:
            groups.append(_below_thousand(group, joiner) + (f" {_GROUPS[power - 1]}" if power else ""))
    # A last part without hundreds joins the one before without a comma: "one thousand and five".
    if len(groups) > 1 and 0 < int(stripped[-3:]) < 100:
        groups[:2] = [f"{groups[1]}{joiner}{groups[0]}"]
    return ", ".join(reversed(groups))


def ordinal(words: str) -> str:
    """The ordinal of number words: ``twenty-two`` -> ``twenty-second``."""
    cut = max(words.rfind(" "), words.rfind("-")) + 1
    head, last = words[:cut], words[cut:]
    if last in _IRREGULAR_ORDINALS:
        return head + _IRREGULAR_ORDINALS[last]
    return head + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def ordinal_suffix(digits: str) -> str:
    """``"22"`` -> ``"nd"``."""
    if digits[-2:] in ("11", "12", "13"):
        return "th"
    return {"1": "st", "2": "nd", "3": "rd"}.get(digits[-1], "th")


def year(value: int) -> str:
    """Four-digit numbers between 1000 and 3000 in pairs: 1905 -> ``nineteen oh five``."""
    if value == 2000:
        return "two thousand"
    if 2000 < value < 2010:
        return f"two thousand {_SMALL[value % 100]}"
    century, rest = divmod(value, 100)
    if rest == 0:
        return f"{_below_hundred(century)} hundred"
    return f"{_below_hundred(century)} " + (f"oh {_SMALL[rest]}" if rest < 10 else _below_hundred(rest))
