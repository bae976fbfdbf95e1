import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol.confusable import TEXT_LIMIT, alike, skeletons
from p2pvoice.protocol.errors import UsageError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mei", "М\u0435\u0456"),  # Cyrillic
        ("Alpha", "Αlрha"),  # Greek capital alpha, Cyrillic er
        ("Ivan", "lvan"),
        ("Ivan", "ivan"),
        ("paypal", "paypa1"),
        ("Google", "G00gle"),
        ("Storyteller", "Ｓｔｏｒｙｔｅｌｌｅｒ"),
        ("Mei", "𝓜𝓮𝓲"),
        ("Mei 2", "Mei ２"),
        ("Mei 2", "Mei ٢"),
        ("Mei", "M\u200dei"),
        ("Mei", "Me\ufe0fi"),
        ("story teller", "storyteller"),
        ("story-teller", "Story Teller"),
        ("modern", "rnodern"),
        ("說書人", "说书人"),
        ("講古佬", "讲古佬"),
        ("裡", "裏"),
        ("二胡", "ニ胡"),
        ("Москва", "Mockba"),
    ],
)
def test_names_that_look_alike(one: str, other: str) -> None:
    assert alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Mei", "Mel"), ("Ana", "Anna"), ("说书人", "说书"), ("講古佬", "講古婆"), ("Mei", "Mai")],
)
def test_names_that_do_not(one: str, other: str) -> None:
    assert not alike(one, other)


def test_what_cannot_be_seen_is_like_nothing() -> None:
    assert skeletons("\u200d") == frozenset()
    assert not alike("\u200d", "\u200d")


def test_length_is_bounded() -> None:
    assert skeletons("x" * TEXT_LIMIT)
    with pytest.raises(UsageError):
        skeletons("x" * (TEXT_LIMIT + 1))


@given(st.text(max_size=40))
def test_any_text_has_skeletons(text: str) -> None:
    assert all(skeletons(text))
    assert alike(text, text) == bool(skeletons(text))
