import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import tags
from p2pvoice.protocol.errors import ManifestError, UsageError
from p2pvoice.protocol.vocabulary import FACETS


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("粤语", "language/yue"),
        ("粵語", "language/yue"),
        ("cantonese", "language/yue"),
        (" CANTONESE ", "language/yue"),
        ("yue", "language/yue"),
        ("language/yue", "language/yue"),
        ("Language/Cantonese", "language/yue"),
        ("语言/廣東話", "language/yue"),
        ("語言／粵語", "language/yue"),
        ("ｙｕｅ", "language/yue"),
        ("普通话", "language/zh"),
        ("mandarin", "language/zh"),
        ("English", "language/en"),
        ("男", "gender/male"),
        ("male", "gender/male"),
        ("女聲", "gender/female"),
        ("中年", "age/middle-aged"),
        ("middle aged", "age/middle-aged"),
        ("middle_aged", "age/middle-aged"),
        ("开心", "emotion/happy"),
        ("開心", "emotion/happy"),
        ("沙哑", "timbre/husky"),
        ("沙啞", "timbre/husky"),
        ("叙事", "style/narration"),
        ("敘事", "style/narration"),
        ("narration", "style/narration"),
        ("tag/cantonese", "language/yue"),
        ("Wu Xia", "tag/wu-xia"),
        ("武俠", "tag/武俠"),
        ("标签/武侠", "tag/武侠"),
        ("STRASSE", "tag/strasse"),
        ("straße", "tag/strasse"),
    ],
)
def test_spellings(typed: str, key: str) -> None:
    assert tags.canonical_tag(typed) == key


@pytest.mark.parametrize(
    "typed",
    [
        "xyz/abc",
        "language/klingon",
        "gender/cantonese",
        "age/",
        "/yue",
        "language/yue/x",
        "",
        "  ",
        "-",
        "tag/",
        "a b!",
    ],
)
def test_unknown_tags_are_usage_errors(typed: str) -> None:
    with pytest.raises(UsageError):
        tags.canonical_tag(typed)


def test_the_hint_lists_what_is_close() -> None:
    with pytest.raises(UsageError) as caught:
        tags.canonical_tag("language/cantonse")
    assert "language/yue" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        tags.canonical_tag("xyz/abc")
    assert "language" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        tags.canonical_tag("gender/zzzzzz")
    assert "gender/male" in caught.value.hint


def test_every_facet_value_is_its_own_key_and_has_names() -> None:
    assert set(FACETS) == {"language", "gender", "age", "emotion", "style", "timbre"}
    for key in tags.known_tags():
        assert tags.canonical_tag(key) == key
        assert tags.check_tag(key) == key
        for lang in ("en", "zh"):
            for name in tags.tag_names(key, lang):
                assert tags.canonical_tag(name) == key
        assert len(tags.tag_names(key, "zh")) == 2


def test_every_alias_leads_to_its_value() -> None:
    for facet, values in FACETS.items():
        for value, names in values.items():
            for spelling in (*names.en, *names.zh, *names.also):
                assert tags.canonical_tag(spelling) == f"{facet}/{value}"
                assert tags.canonical_tag(f"{facet}/{spelling.upper()}") == f"{facet}/{value}"


def test_free_tag_length() -> None:
    longest = "长" * tags.FREE_TAG_LENGTH
    assert tags.check_tag(tags.canonical_tag(longest)) == "tag/" + longest
    with pytest.raises(UsageError):
        tags.canonical_tag(longest + "长")


def test_input_length_is_checked_before_anything_is_normalised() -> None:
    with pytest.raises(UsageError, match="too long"):
        tags.canonical_tag("a" * (tags.INPUT_LENGTH + 1))
    with pytest.raises(UsageError, match="at most"):
        tags.canonical_tag("a" * tags.INPUT_LENGTH)


@given(st.text(max_size=40))
def test_any_text_gives_a_stable_tag_or_a_usage_error(text: str) -> None:
    try:
        key = tags.canonical_tag(text)
    except UsageError:
        return
    assert tags.canonical_tag(key) == key
    assert tags.check_tag(key) == key
    assert tags.tag_names(key)


@given(st.text(st.characters(categories=["L"]), min_size=1, max_size=8))
def test_compatibility_forms_of_one_word_are_one_tag(word: str) -> None:
    try:
        key = tags.canonical_tag(word)
    except UsageError:
        return
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert tags.canonical_tag(unicodedata.normalize(form, word)) == key


def test_manifests_may_carry_tags_of_a_later_vocabulary() -> None:
    assert tags.check_tag("species/cat") == "species/cat"
    assert tags.check_tag("tag/" + "a" * (tags.TAG_LENGTH - 4))
    for bad in (
        "tag/" + "a" * (tags.TAG_LENGTH - 3),
        "cat",
        "Tag/cat",
        "tag/Cat",
        "tag/a b",
        "tag/a\u200bb",
        "tag/",
        "a/b/c",
    ):
        with pytest.raises(ManifestError):
            tags.check_tag(bad)


def test_names_of_unknown_and_free_tags() -> None:
    assert tags.tag_names("tag/wuxia", "zh") == ("wuxia",)
    assert tags.tag_names("species/cat") == ("cat",)
    assert tags.tag_names("language/yue", "zh-Hant")[0] == "粤语"
    assert tags.tag_names("language/yue", "fr") == ("Cantonese",)
