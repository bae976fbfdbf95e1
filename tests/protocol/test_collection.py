import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import collection as c
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.errors import ManifestError, RefusedError, SignatureError, StaleError
from p2pvoice.protocol.ids import release_id

CREATED = 1_790_000_000
RELEASES = tuple(release_id(str(number).encode()) for number in range(c.ITEMS_LIMIT + 1))


@pytest.fixture(scope="module")
def make(key):
    def make(*releases: str, **changes) -> c.Collection:
        values = {"slug": "elders", "sequence": 1, "name": "Elders", "created": CREATED}
        items = tuple(c.Item(release, "西關口音") for release in releases)
        return c.Collection(key.public_key().public_bytes_raw(), **(values | {"items": items} | changes))

    return make


def test_round_trip(make, key) -> None:
    one = make(*RELEASES[:3], card="# Elders\n\nOf an archive.", license="CC0-1.0")
    signed = c.sign_collection(one, key)
    again = c.verify_collection(signed.data)
    assert (again, again.collection.releases) == (signed, RELEASES[:3])
    assert again.id == c.collection_id(one.payload) != c.sign_collection(make(RELEASES[0]), key).id


def test_the_most_items_fit_and_one_more_does_not(make, key) -> None:
    full = make(*RELEASES[: c.ITEMS_LIMIT])
    assert c.verify_collection(c.sign_collection(full, key).data).collection == full
    with pytest.raises(ManifestError, match="513"):
        make(*RELEASES)
    body = decode(full.payload, limit=c.COLLECTION_PAYLOAD_LIMIT)
    body["items"].append(c.Item(RELEASES[-1]).to_map())
    with pytest.raises(ManifestError, match="512"):
        c.verify_collection(seal(c.KIND, encode(body), key).to_bytes())


@pytest.mark.parametrize(
    ("field", "limit"), [("name", c.NAME_LENGTH), ("card", c.CARD_LENGTH), ("slug", 63), ("license", 64)]
)
def test_texts_end_at_their_limits(make, key, field: str, limit: int) -> None:
    start = "LicenseRef-" if field == "license" else ""
    longest = start + "x" * (limit - len(start))
    c.verify_collection(c.sign_collection(make(**{field: longest}), key).data)
    with pytest.raises(ManifestError):
        make(**{field: longest + "x"})


def test_a_note_ends_at_its_limit() -> None:
    c.Item(RELEASES[0], "n" * c.NOTE_LENGTH)
    with pytest.raises(ManifestError):
        c.Item(RELEASES[0], "n" * (c.NOTE_LENGTH + 1))


def test_the_payload_ends_at_its_limit(make, key) -> None:
    items = tuple(c.Item(release) for release in RELEASES[: c.ITEMS_LIMIT])
    long = make(items=items, card="長" * 10_000)
    room = c.COLLECTION_PAYLOAD_LIMIT - len(long.payload)
    full = dataclasses.replace(long, card=long.card + "長" * (room // 3) + "x" * (room % 3))
    assert len(full.payload) == c.COLLECTION_PAYLOAD_LIMIT
    data = c.sign_collection(full, key).data
    assert len(data) <= c.COLLECTION_LIMIT
    assert c.verify_collection(data).collection == full
    with pytest.raises(ManifestError, match="bytes"):
        dataclasses.replace(full, card=full.card + "x")


@given(st.data())
def test_a_mutated_collection_is_refused(make, key, data) -> None:
    raw = bytearray(c.sign_collection(make(*RELEASES[:2]), key).data)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RefusedError):
        c.verify_collection(bytes(raw))


def test_only_the_author_signs(make, key, other_key) -> None:
    with pytest.raises(SignatureError):
        c.sign_collection(make(), other_key)
    with pytest.raises(SignatureError):
        c.verify_collection(seal(c.KIND, make().payload, other_key).to_bytes())


def test_it_moves_forward_only_and_a_fork_changes_nothing(make, key) -> None:
    first, second, other = (
        c.sign_collection(one, key)
        for one in (make(RELEASES[0]), make(sequence=2), make(RELEASES[1], sequence=2))
    )
    assert c.advance(None, first) is first
    assert c.advance(first, second) is second
    assert c.advance(second, other) is second
    assert c.is_fork(second, other)
    assert not c.is_fork(second, second)
    assert not c.is_fork(first, second)
    with pytest.raises(StaleError):
        c.advance(second, first)
    with pytest.raises(ManifestError):
        c.advance(first, c.sign_collection(make(slug="others"), key))


def test_what_a_later_version_adds_is_ignored_and_counts_for_the_id(make, key) -> None:
    payload = encode(decode(make().payload, limit=1 << 16) | {"later": {"a": 1}})
    read = c.verify_collection(seal(c.KIND, payload, key).to_bytes())
    assert read.collection == make()
    assert read.id == c.collection_id(payload) != c.collection_id(make().payload)


def test_the_key_is_of_author_and_slug(key, other_key) -> None:
    mine, theirs = (one.public_key().public_bytes_raw() for one in (key, other_key))
    keys = {c.collection_key(author, slug) for author in (mine, theirs) for slug in ("a", "ab")}
    assert len(keys) == 4
    assert all(len(one) == 32 for one in keys)
