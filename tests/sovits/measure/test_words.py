"""Two texts that sound alike count as alike, and every real difference counts once."""

import pytest

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.measure import words


@pytest.mark.parametrize(
    ("said", "heard", "lang"),
    [
        ("It's nineteen ninety-nine, he can't pay 5 dollars.", "it is 1999 he cannot pay $5", "en"),
        ("The 21st colour is grey at 3:30.", "The twenty-first color is gray at three thirty", "en"),
        ("One thousand two hundred and five", "1,205", "en"),
        ("Mr. Smith realised 3.14 percent", "mister smith realized three point one four %", "en"),
        ("I'm sure they’ll come, won't they?", "I am sure they will come will not they", "en"),
        ("Café naïve", "cafe naive", "en"),
        ("她說：今天是2024年！", "他说今天是二零二四年", "zh"),
        ("百分之五十的人", "50%地人", "zh"),
        ("我係香港人，OK？", "我系香港人 ok", "yue"),
        ("Schöne Grüße!", "schöne grüße", "de"),
        ("", "", "en"),
    ],
)
def test_what_sounds_the_same_is_the_same(said: str, heard: str, lang: str) -> None:
    assert words.error_rate(said, heard, lang)[0] == 0


@pytest.mark.parametrize(
    ("said", "heard", "lang", "rate", "kind"),
    [
        ("the cat sat", "the cat sat down", "en", 1 / 3, "WER"),
        ("the cat sat", "a cat", "en", 2 / 3, "WER"),
        ("天气很好", "天气好", "zh", 1 / 4, "CER"),
        ("天氣好", "天汽好", "yue", 1 / 3, "CER"),
        ("こんにちは", "こんにちわ", "ja", 1 / 5, "CER"),
        ("", "hello", "en", 1.0, "WER"),
        ("hello there", "", "en", 1.0, "WER"),
    ],
)
def test_differences_count(said: str, heard: str, lang: str, rate: float, kind: str) -> None:
    assert words.error_rate(said, heard, lang) == (pytest.approx(rate), kind)


def test_distance_is_levenshteins() -> None:
    assert words.distance("kitten", "sitting") == 3
    assert words.distance("", "abc") == 3
    assert words.distance("abc", "abc") == 0


def test_long_texts_are_refused() -> None:
    words.units_of("a" * words.TEXT_LIMIT, "en")
    with pytest.raises(UsageError):
        words.units_of("a" * (words.TEXT_LIMIT + 1), "en")
