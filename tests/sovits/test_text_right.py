"""What the published front end slips on: read right by default, and as there when asked for."""

import pytest

from p2pvoice.sovits.text import phonemize, split
from p2pvoice.sovits.text.chinese_normalize import normalize as chinese
from p2pvoice.sovits.text.english_normalize import normalize as english


@pytest.mark.parametrize(
    ("text", "right", "there"),
    [
        ("1,234 men", "one thousand, two hundred thirty-four men", "twelve thirty-four men"),
        (
            "1,234.5 liters",
            "one thousand, two hundred thirty-four point five liters",
            "twelve thirty-four point five liters",
        ),
        (
            "$1,234.56",
            "one thousand, two hundred thirty-four dollars and fifty-six cents",
            "twelve thirty-four dollars and fifty-six cents",
        ),
        ("1234km", "one thousand, two hundred thirty-four kilometers", "twelve thirty-four kilometers"),
        ("1,2,3", "one,two,three", "one hundred twenty-three"),
        ("In 1990. I", "In nineteen ninety. I", "In one thousand, nine hundred and ninetieth, I"),
        ("1. First", "first, First", "first, First"),
        ("Note: this; that，ok、so", "Note, this, that,ok,so", "Note this thatokso"),
        ("10：30 now", "ten thirty a.m. now", "tenthirty now"),
        ("Wait…what", "Wait. what", "Waitwhat"),
        ("yes—no", "yes,no", "yesno"),
        ("yes - no", "yes, no", "yes minus no"),
        ("x - y", "x minus y", "x minus y"),
        ("5 - 3 = 2", "five minus three Equals two", "five minus three Equals two"),
        ("10–20 men", "ten to twenty men", "tentwenty men"),
        ("and/or", "and or", "andor"),
        ("salt&pepper", "salt and pepper", "saltpepper"),
        ("hello (world), ok", "hello world, ok", "hello world, ok"),
        ("Hello , world", "Hello, world", "Hello  world"),
        ("25℃ here", "twenty-five degrees celsius here", "twenty-five here"),
        ("room 1234", "room twelve thirty-four", "room twelve thirty-four"),
    ],
)
def test_english(text: str, right: str, there: str) -> None:
    assert english(text) == right
    assert english(text, upstream=True) == there


@pytest.mark.parametrize(
    ("text", "right", "there"),
    [
        ("有1,234元", "有一千二百三十四元", "有一,二百三十四元"),
        ("人口1,234,567", "人口一百二十三万四千五百六十七", "人口一,二三四,五六七"),
        ("1,234.5%", "百分之一千二百三十四点五", "一,百分之二百三十四点五"),
        ("-1,234", "负一千二百三十四", "负一,二三四"),
        ("1,2,3", "一,二,三", "一,二,三"),
        ("6300公里", "六千三百公里", "六三零零公里"),
        ("2公斤", "两公斤", "二公斤"),
        ("100次", "一百次", "幺零零次"),
        ("2月5日", "二月五日", "两月五日"),
        ("第2个", "第二个", "第两个"),
        ("2个", "两个", "两个"),
        ("-3℃", "零下三摄氏度", "零下三度"),
        ("77℉", "七十七华氏度", "七十七℉"),
        ("12度", "十二度", "十二度"),
        ("9:30-10:45", "九点半至十点四十五分", "九点半至十点半"),
        ("9:15~10:30", "九点十五分至十点半", "九点十五分至十点三十分"),
        ("拨打110，房间1203", "拨打幺幺零，房间幺二零三", "拨打幺幺零，房间幺二零三"),
    ],
)
def test_chinese(text: str, right: str, there: str) -> None:
    assert chinese(text) == right
    assert chinese(text, upstream=True) == there


def test_a_temperature_is_not_cut_in_two() -> None:
    assert [part.language for part in phonemize("今天25°C。", "zh").parts] == ["zh"]
    assert [part.language for part in phonemize("今天25°C。", "zh", upstream=True).parts] == ["zh", "en"]


@pytest.mark.parametrize("method", ["cut1", "cut2", "cut5"])
def test_a_text_is_not_cut_inside_a_number(method: str) -> None:
    text = "a, b, c, 1,234 d, e, f, 3.14 g, h, i, 10:30 k"
    for number in ("1,234", "3.14", "10:30"):
        assert any(number in piece for piece in split(text, method, "en"))
    assert split("1,2,3,45", "cut5", "en") == split("1,2,3,45", "cut5", "en", upstream=True)
    upstream = split(text, method, "en", upstream=True)
    assert "".join(split(text, method, "en")).replace(" ", "") == "".join(upstream).replace(" ", "")


def test_where_upstream_cuts_inside_a_number() -> None:
    assert split("It has 1,234 men.", "cut5", "en", upstream=True) == ["It has 1,", "234 men."]
    assert split("It has 1,234 men.", "cut5", "en") == ["It has 1,234 men."]
    # Characters of no text that stood there already do not become marks.
    assert split("well\ue000known words", "cut0", "en") == ["wellknown words."]
