"""Tags of languages, and texts that arrive in pieces."""

import pytest

from p2pvoice.node.wyoming.languages import TAG_LIMIT, by_text, language_of, spoken_by, told_as
from p2pvoice.node.wyoming.sentences import Sentences
from p2pvoice.protocol.errors import UnsupportedLanguageError


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        *((tag, "yue") for tag in ("yue", "yue-HK", "yue-Hant-HK", "zh-HK", "zh_HK", "ZH-hk")),
        *((tag, "yue") for tag in ("zh-Hant-HK", "zh-MO", "zh-yue")),
        *((tag, "zh") for tag in ["zh", "zh-CN", "zh-TW", "zh-Hans", "zh-SG", "cmn", "cmn-Hans-CN"]),
        ("en", "en"),
        ("en-GB", "en"),
        ("en_US", "en"),
        ("ja-JP", "ja"),
        ("ko", "ko"),
        ("a" * TAG_LIMIT, "a" * TAG_LIMIT),
    ],
)
def test_a_tag_means_a_language(tag: str, language: str) -> None:
    assert language_of(tag) == language


@pytest.mark.parametrize("tag", ["", "-", "en-", "../en", "en US", "粤语", "a" * (TAG_LIMIT + 1)])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(UnsupportedLanguageError):
        language_of(tag)


def test_what_is_told_means_the_same_when_it_comes_back() -> None:
    for language in ("yue", "zh", "en", "ja", "ko"):
        assert {language_of(tag) for tag in told_as(language)} == {language}


def test_what_a_voice_speaks() -> None:
    assert spoken_by("v2", ("ja", "zh")) == ("ja", "zh", "yue", "en")
    assert spoken_by("v1", ("zh",)) == ("zh", "en")
    assert spoken_by("lite", ("en",)) == ("en", "yue", "zh")
    told = {"yue": "auto_yue", "zh": "auto", "en": "auto", "ja": "ja", "auto": "auto"}
    assert {own: by_text(own) for own in told} == told


def whole(text: str, size: int) -> list[str]:
    """All sentences of a text that comes in pieces of a size."""
    made = Sentences()
    found = [one for start in range(0, len(text), size) for one in made.add(text[start : start + size])]
    assert made.length == len(text)
    return [one.strip() for one in [*found, *made.rest()]]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_sentences_do_not_depend_on_the_pieces(size: int) -> None:
    text = "今日天氣好好。你食咗飯未呀？Version 3.5 is out. It is fast! Really\nand the rest"
    assert whole(text, size) == [
        "今日天氣好好。",
        "你食咗飯未呀？",
        "Version 3.5 is out.",
        "It is fast!",
        "Really",
        "and the rest",
    ]


def test_marks_alone_are_no_sentence() -> None:
    made = Sentences()
    assert made.add("……！！ … \n\n") == []
    assert made.rest() == []
    assert made.add("好。") == []
    assert made.rest() == ["好。"]
