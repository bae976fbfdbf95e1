"""Numbers in Korean text as words, in Chinese-Korean numerals or native ones as what is counted asks.

Dates, money and measures take the first (삼 일, 백 원), people, things and hours the second (세 명, 한 시).
Not for words of other scripts. Follows specs/text.md.
"""

# ruff: noqa: SIM905 (word lists are easier to read and check as text)

import re
from collections.abc import Callable
from typing import Final

LONGEST_NUMBER: Final = 16
"""Digits read as a quantity (up to 9,999 조); a longer number is read digit by digit."""

_DIGITS: Final = "영일이삼사오육칠팔구"
_PLACES: Final = ("", "십", "백", "천")
_GROUPS: Final = ("", "만", "억", "조")
_NATIVE_ONES: Final = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_NATIVE_TENS: Final = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")

NATIVE_COUNTERS: Final = frozenset(
    (
        "가지 갈래 개 건 걸음 겹 곳 군데 권 그루 그릇 끼 다발 달 대 돌 마디 마리 명 모 모금 바퀴 발 발짝 "
        "방울 배 번 번째 벌 병 봉지 사람 살 상자 송이 술 시 시간 쌍 움큼 자루 잔 장 접시 조각 줄 줄기 짝 쪽 "
        "차례 채 척 칸 켤레 톨 통 판 포기"
    ).split()
)
"""What is counted in native numerals."""
_MONTHS: Final = {"6": "유", "10": "시"}
_LAST_HOUR: Final = 12
"""Later hours are read in Chinese-Korean numerals, as soldiers and timetables do."""

_TELEPHONE: Final = re.compile(r"(?<![\d-])\d{2,4}-\d{3,4}-\d{4}(?![\d-])")
_NUMBER: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?|\d+(?:\.\d+)?")
_ZERO_ALOUD: Final = str.maketrans("0123456789", "공" + _DIGITS[1:])


def one_by_one(digits: str) -> str:
    """Digits as in a telephone number."""
    return digits.translate(_ZERO_ALOUD)


def sino(number: int) -> str:
    """``number`` in Chinese-Korean numerals; below ten to the 16th."""
    if number == 0:
        return _DIGITS[0]
    groups: list[str] = []
    for place, group in enumerate(_GROUPS):
        number, rest = divmod(number, 10_000) if number else (0, 0)
        spoken = ""
        for power in (3, 2, 1, 0):
            digit = rest // 10**power % 10
            if digit:
                # One is not said before ten, hundred and thousand.
                spoken += ("" if digit == 1 and power else _DIGITS[digit]) + _PLACES[power]
        if group == "만" and rest == 1 and number == 0:
            spoken = ""
        groups.append(spoken + group if rest or place == 0 else "")
    return "".join(reversed(groups))


def native(number: int) -> str:
    """``number`` before what it counts: native numerals for the last two digits."""
    if number == 0:
        return _DIGITS[0]
    hundreds, rest = number - number % 100, number % 100
    last = "스무" if rest == 20 else _NATIVE_TENS[rest // 10] + _NATIVE_ONES[rest % 10]
    return (sino(hundreds) if hundreds else "") + last


def quantity(digits: str, counter: str) -> str:
    """A number as it is read before ``counter`` ("" for none); ``digits`` may have commas and a point."""
    digits = digits.replace(",", "")
    whole, point, fraction = digits.partition(".")
    if len(whole) > LONGEST_NUMBER or (len(whole) > 1 and whole[0] == "0"):
        return one_by_one(whole) + ("점" + one_by_one(fraction) if point else "")
    number = int(whole)
    if point:
        return sino(number) + "점" + "".join(_DIGITS[int(digit)] for digit in fraction)
    if counter == "월" and digits in _MONTHS:
        return _MONTHS[digits]
    if counter == "번째" and number == 1:
        return "첫"
    if counter in NATIVE_COUNTERS and not (counter == "시" and number > _LAST_HOUR):
        return native(number)
    return sino(number)


def spell_out(text: str, counter_at: Callable[[int], str]) -> str:
    """``text`` with its numbers in words; ``counter_at`` tells the word that begins at an index, or ""."""
    text = _TELEPHONE.sub(lambda found: one_by_one(found[0]), text)
    pieces: list[str] = []
    done = 0
    for found in _NUMBER.finditer(text):
        end = found.end()
        start = end + 1 if text[end : end + 1] == " " else end
        counter = "번째" if text.startswith("번째", start) else counter_at(start)
        pieces += [text[done : found.start()], quantity(found[0], counter)]
        done = end
    return "".join((*pieces, text[done:]))
