import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import ids
from p2pvoice.protocol.errors import UsageError


@given(st.binary(max_size=200))
def test_a_release_id_gives_back_the_digest(payload: bytes) -> None:
    text = ids.release_id(payload)
    assert len(text) == ids.RELEASE_ID_LENGTH
    assert text == text.lower()
    assert ids.parse_release_id(text) == ids.digest_of(payload)


@given(st.binary(min_size=32, max_size=32))
def test_an_author_id_is_a_did_key_and_gives_back_the_key(key: bytes) -> None:
    text = ids.author_id(key)
    assert text.startswith("did:key:z6Mk")
    assert text.removeprefix("did:key:z") == base58.b58encode(b"\xed\x01" + key).decode()
    assert ids.parse_author_id(text) == key


@pytest.mark.parametrize(
    "change", [str.upper, lambda t: t + "a", lambda t: t[:-1], lambda t: " " + t, lambda t: ""]
)
def test_only_one_spelling_of_a_release_id(change) -> None:
    with pytest.raises(UsageError):
        ids.parse_release_id(change(ids.release_id(b"x")))


def test_the_spare_bits_of_base32_are_not_a_second_spelling() -> None:
    text = ids.release_id(b"x")
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    accepted = []
    for letter in alphabet:
        try:
            ids.parse_release_id(text[:-1] + letter)
        except UsageError:
            continue
        accepted.append(letter)
    # 37 bytes are 296 bits and 60 letters carry 300: the last letter has one significant bit and four spare.
    assert text[-1] in accepted
    assert len(accepted) == 2


@given(st.text(max_size=70))
def test_hostile_texts_raise_only_usage_errors(text: str) -> None:
    for parse in (ids.parse_release_id, ids.parse_author_id, ids.check_slug):
        try:
            parse(text)
        except UsageError:
            continue


def test_an_author_id_with_another_key_type_is_refused() -> None:
    secp256k1 = "did:key:z" + base58.b58encode(b"\xe7\x01" + b"k" * 32).decode()
    for text in (secp256k1, "did:key:z" + "0" * 47, "did:web:example.org"):
        with pytest.raises(UsageError):
            ids.parse_author_id(text)
    with pytest.raises(UsageError):
        ids.author_id(b"short")


def test_the_bundle_id_ignores_order_and_sees_every_field() -> None:
    one, two = ("a", 1, b"1" * 32), ("b", 2, b"2" * 32)
    assert ids.bundle_id([one, two]) == ids.bundle_id([two, one])
    assert ids.bundle_id([one]) != ids.bundle_id([two])
    assert ids.bundle_id([one]) != ids.bundle_id([("a", 2, b"1" * 32)])


def test_slug_limits() -> None:
    assert ids.check_slug("a" * ids.SLUG_LIMIT)
    for bad in ("", "a" * (ids.SLUG_LIMIT + 1), "-a", "A", "a_b", "a/b", "ä", "a\n"):
        with pytest.raises(UsageError):
            ids.check_slug(bad)


@given(st.text(max_size=200))
def test_every_name_gets_a_valid_slug(name: str) -> None:
    assert ids.check_slug(ids.slugify(name))


def test_slugs_of_known_names() -> None:
    assert ids.slugify("Story Teller!") == "story-teller"
    assert ids.slugify("Café") == "cafe"
    assert ids.slugify("说书人").startswith("voice-")
    assert ids.slugify("说书人") != ids.slugify("讲古佬")
