"""Japanese beyond the golden data: accents, numbers, marks, and what Open JTalk must never be given."""

import pytest

from p2pvoice.sovits.text import phonemize
from p2pvoice.sovits.text.spans import Reading

from .extras import needs

needs("ja")

from p2pvoice.sovits.text import japanese  # noqa: E402 (only where its dictionary is)


def spoken(text: str, version: str = "v2") -> str:
    return "".join(japanese.read(text, version).phones)


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        # The four patterns of three moras: rise and no fall; falls after the first, second and third.
        ("さくらが", "sa[kuraga"),
        ("みどりが", "mi]doriga"),
        ("たまごが", "ta[ma]goga"),
        ("おとこが", "o[toko]ga"),
        # A fall on the last mora cannot be heard and is not marked, nor is a rise on a single mora.
        ("男", "o[toko"),
        ("目", "me"),
        # Two accent phrases, the border between them in neither table.
        ("青い空を見る", "a[o]iUNKso]raoUNKmi]ru"),
        # Devoiced vowels are the plain ones; a doubled consonant and a moraic n are phonemes.
        ("きっぷ", "ki[clpu"),
        ("ほんや", "ho]Nya"),
    ],
)
def test_accents(text: str, phones: str) -> None:
    assert spoken(text) == phones


def test_version_1_has_no_accent_marks() -> None:
    assert spoken("たまごが", "v1") == "taUNKmaUNKgoga"
    assert phonemize("たまごが", "ja", "v1").names == japanese.read("たまごが", "v1").phones


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ("１００%", "１００パーセント"),
        ("100％", "100パーセント"),
        ("1,234,567円", "1234567円"),
        ("３，０００円", "３０００円"),
        ("１０", "10"),
        ("私 は　学生", "私　は 学生"),
        ("わあ!!!", "わあ!"),
        ("えっ...", "えっ…"),
    ],
)
def test_spellings_that_are_read_alike(odd: str, plain: str) -> None:
    assert spoken(odd).replace("[", "").replace("]", "") == spoken(plain).replace("[", "").replace("]", "")


def test_a_decimal_point_is_spoken_and_a_full_stop_is_not() -> None:
    assert "teN" in spoken("3.14").replace("[", "").replace("]", "")
    assert spoken("３．").endswith("．") is False
    assert spoken("3.").endswith(".")
    # A comma that does not divide thousands stays a pause.
    assert "," in spoken("1,23")


def test_marks() -> None:
    assert japanese.read("あ、い。う！え？お…か・き：く；け").phones == [
        *("a", ",", "i", ".", "u", "!", "e", "?", "o", "…"),
        *("k", "a", "_", "k", "i", ",", "k", "u", ",", "k", "e"),
    ]
    assert japanese.read("「は」").phones == ["UNK", "w", "a", "UNK"]
    assert japanese.read("안🎉\ud800\0").phones == ["UNK"] * 4


def test_what_has_no_sound_is_left_out() -> None:
    for text in ("ー", "ーー", "々", "ヽ", "・", "・・", "゛"):
        assert japanese.to_phones(text) == [], text
    # A long vowel with nothing to lengthen.
    assert spoken("ーあ") == "a"
    assert spoken("・ーあ") == "a"


def test_the_dictionary_is_used_as_it_is_written() -> None:
    assert japanese.read("Helloと") == Reading("Helloと", ["h", "a", "[", "r", "o", "o", "t", "o"], None)
    assert spoken("hello") == "ha[roo"


@pytest.mark.parametrize("length", [japanese.LONGEST_CLAUSE, japanese.LONGEST_CLAUSE + 1, 1_000])
@pytest.mark.parametrize("unit", ["ア", "ヴァ", "ゃ", "9", "東京都に行く"])
def test_open_jtalk_gets_short_clauses(unit: str, length: int) -> None:
    """One word of 400 katakana ends the process, so that this test would not come to its end."""
    clause = (unit * length)[:length]
    pieces = list(japanese._short(clause))
    assert "".join(pieces) == clause
    assert max(map(len, pieces)) <= japanese.LONGEST_CLAUSE
    assert (len(pieces) == 1) == (length <= japanese.LONGEST_CLAUSE)
    assert japanese.read(clause).phones


def test_a_long_clause_is_cut_where_an_ending_seems_to_be() -> None:
    clause = "東京都に行く" * 30
    assert all(piece.endswith(("に", "く")) for piece in japanese._short(clause))
