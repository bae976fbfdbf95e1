import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import head as h
from p2pvoice.protocol.canonical import encode
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.errors import ManifestError, RefusedError, SignatureError, StaleError, UsageError
from p2pvoice.protocol.ids import author_id, release_id

NOW = 1_790_000_000


@pytest.fixture(scope="module")
def head(key) -> h.Head:
    return h.Head(key.public_key().public_bytes_raw(), "storyteller", 3, release_id(b"r"), NOW + h.LIFETIME)


def test_round_trip(head, key) -> None:
    data = h.sign_head(head, key)
    assert len(data) <= h.HEAD_LIMIT
    assert h.verify_head(data, NOW) == head


def test_the_largest_head_fits(key) -> None:
    author = key.public_key().public_bytes_raw()
    head = h.Head(author, "s" * 63, h.SEQUENCE_LIMIT - 1, release_id(b""), h.SEQUENCE_LIMIT - 1)
    assert len(head.payload()) <= h.HEAD_PAYLOAD_LIMIT
    assert h.verify_head(h.sign_head(head, key), 0) == head


@given(st.data())
def test_a_mutated_head_is_refused(head, key, data) -> None:
    raw = bytearray(h.sign_head(head, key))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RefusedError):
        h.verify_head(bytes(raw), NOW)


def test_a_head_expires_at_its_second(head, key) -> None:
    data = h.sign_head(head, key)
    assert h.verify_head(data, head.expires - 1) == head
    with pytest.raises(StaleError):
        h.verify_head(data, head.expires)
    assert h.verify_head(data, 0) == head


def test_nobody_signs_for_ever(head, key) -> None:
    longest = dataclasses.replace(head, expires=NOW + h.LIFETIME_LIMIT)
    assert h.verify_head(h.sign_head(longest, key), NOW) == longest
    with pytest.raises(StaleError):
        h.verify_head(h.sign_head(dataclasses.replace(head, expires=longest.expires + 1), key), NOW)


def test_only_the_author_signs(head, key, other_key) -> None:
    with pytest.raises(SignatureError):
        h.sign_head(head, other_key)
    with pytest.raises(SignatureError):
        h.verify_head(seal("head", head.payload(), other_key).to_bytes(), NOW)
    with pytest.raises(ManifestError):
        h.verify_head(seal("manifest", head.payload(), key).to_bytes(), NOW)


def test_newer_moves_only_forward(head) -> None:
    later = dataclasses.replace(head, sequence=4, release=release_id(b"s"))
    refreshed = dataclasses.replace(head, expires=head.expires + 1)
    assert h.newer(later, head)
    assert not h.newer(head, later)
    assert h.newer(refreshed, head)
    assert not h.newer(head, refreshed)
    assert not h.newer(head, head)
    assert h.advance(None, head) == head
    assert h.advance(head, later) == later
    assert h.advance(head, head) == head
    assert h.advance(refreshed, head) == refreshed
    with pytest.raises(StaleError, match="old head"):
        h.advance(later, head)


def test_two_releases_at_one_sequence_are_a_fork(head) -> None:
    rival = dataclasses.replace(head, release=release_id(b"s"), expires=head.expires + 9)
    assert h.is_fork(head, rival)
    assert h.is_fork(rival, head)
    assert not h.newer(rival, head)
    assert not h.newer(head, rival)
    assert h.advance(head, rival) == head
    assert not h.is_fork(head, dataclasses.replace(head, expires=1))
    assert not h.is_fork(head, dataclasses.replace(rival, sequence=4))


def test_heads_of_different_voices_are_not_compared(head) -> None:
    for other in (dataclasses.replace(head, slug="x"), dataclasses.replace(head, author=b"a" * 32)):
        with pytest.raises(ManifestError):
            h.newer(other, head)
        with pytest.raises(ManifestError):
            h.is_fork(other, head)


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 0},
        {"sequence": h.SEQUENCE_LIMIT},
        {"sequence": True},
        {"expires": 0},
        {"expires": h.SEQUENCE_LIMIT},
        {"slug": "A"},
        {"release": "nothing"},
        {"author": b"short"},
    ],
)
def test_malformed_heads(head, change) -> None:
    with pytest.raises(ManifestError):
        dataclasses.replace(head, **change)


def test_a_head_of_a_newer_format_is_refused_and_unknown_keys_are_not(head, key) -> None:
    good = {
        "v": 1, "min_reader": 1, "author": head.author, "slug": "s", "sequence": 1, "release": b"r" * 32,
        "expires": NOW + 9,
    }  # fmt: skip
    for change in ({}, {"v": 2}, {"later": [1]}):
        assert h.verify_head(seal("head", encode(good | change), key).to_bytes(), NOW).slug == "s"
    for change in ({"min_reader": 2}, {"release": b"r"}, {"slug": 1}, {"sequence": "1"}):
        with pytest.raises(ManifestError):
            h.verify_head(seal("head", encode(good | change), key).to_bytes(), NOW)


def test_head_keys(head) -> None:
    key = h.head_key(head.author, head.slug)
    assert key == b"/p2pvoice/head/" + author_id(head.author).encode() + b"/storyteller"
    assert h.head_key(author_id(head.author), head.slug) == key
    assert h.parse_head_key(key) == (head.author, head.slug)


def test_no_head_key_is_longer_than_the_dht_answers_for(head) -> None:
    known = "a" * h.SLUG_IN_KEY
    plain = h.head_key(head.author, known)
    assert (len(plain), h.parse_head_key(plain)) == (128, (head.author, known))
    start = h.HEAD_NAMESPACE + author_id(head.author).encode() + b"/~"
    longer = [h.head_key(head.author, slug) for slug in (known + "a", known + "b", "a" * 63)]
    assert len(set(longer)) == 3
    for key in longer:
        assert key.startswith(start)
        assert len(key) <= 128
        with pytest.raises(UsageError):
            h.parse_head_key(key)
    # The slug itself is not a second key of such a head.
    with pytest.raises(UsageError):
        h.parse_head_key(start[:-1] + b"a" * 57)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: h.HEAD_NAMESPACE + tail))
def test_foreign_keys_raise_only_usage_errors(raw: bytes) -> None:
    with pytest.raises(UsageError):
        h.parse_head_key(raw)


def test_content_keys_differ_by_kind_and_value() -> None:
    keys = {
        h.release_key(release_id(b"a")),
        h.release_key(release_id(b"b")),
        h.tag_key("tag/a"),
        h.tag_key("tag/b"),
    }
    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)
