"""The messages of shelves: round trips at the limits, one beyond each, and anything in any field."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import messages as m
from p2pvoice.protocol import reconcile as r
from p2pvoice.protocol import shelf_messages as s
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.errors import ManifestError, ProtocolMismatchError
from p2pvoice.protocol.framing import MESSAGE_LIMIT
from p2pvoice.protocol.head import HEAD_LIMIT
from p2pvoice.protocol.manifest import RELEASE_LIMIT
from p2pvoice.protocol.revocation import REVOCATION_LIMIT
from p2pvoice.protocol.shelf import EPOCH_LIMIT, HALF, RING, Arc
from p2pvoice.protocol.shelf_entry import ENTRIES_BYTES, ENTRIES_LIMIT, REVOCATIONS_LIMIT, Entry
from p2pvoice.protocol.tags import TAG_LENGTH

from .kinds import KINDS as STREAMS
from .test_conversation import RANGES, wide

KINDS = (*get_args(s.ShelfRequest), *get_args(s.ShelfReply))
FINGERPRINT = b"f" * 16
# As long as a tag may be in characters, and as many bytes as these may have.
TAG = "tag/" + "\U00020000" * (TAG_LENGTH - 4)
ARC = Arc(RING - 1, HALF)
CONTACT = s.Contact("p" * s.PEER_LENGTH, ("a" * s.ADDRESS_LENGTH,) * s.ADDRESSES_LIMIT)
OPENED = s.Opened(False, ARC, s.SHELF_LIMIT - 1, (CONTACT,) * s.OTHERS_LIMIT)
KEYS = tuple(wide(number) for number in range(ENTRIES_LIMIT))
ENTRY = Entry(b"r" * (ENTRIES_BYTES // ENTRIES_LIMIT - 4), b"head", EPOCH_LIMIT - 1)
LONGER = Entry(ENTRY.release + b"r", ENTRY.head)
PAIRS = tuple((wide(number), wide(number)) for number in range(s.PAIRS_TOUCHED))
RECORDS = (b"r" * REVOCATION_LIMIT,) * REVOCATIONS_LIMIT


def openings(count: int) -> tuple[s.Opening, ...]:
    return tuple(s.Opening(f"{TAG[:-2]}{number:02}", ARC, FINGERPRINT) for number in range(count))


LARGEST = [
    s.Open(openings(s.TAGS_COMPARED)),
    s.CompareShelf(TAG, ARC, RANGES),
    s.GetEntries(TAG, KEYS),
    s.Touch(TAG, PAIRS),
    s.TellEntries(TAG, (ENTRY,) * ENTRIES_LIMIT),
    s.Shelves((OPENED,) * s.TAGS_COMPARED),
    s.ComparedShelf(RANGES),
    s.Entries((ENTRY,) * ENTRIES_LIMIT, ENTRIES_LIMIT),
    s.Wanted(tuple(range(s.PAIRS_TOUCHED)), RECORDS),
    s.Took(ENTRIES_LIMIT, RECORDS),
]
SMALLEST = [
    s.Open(openings(1)), s.CompareShelf("tag/a", Arc(0, 0), ()), s.GetEntries("tag/a", KEYS[:1]),
    s.Touch("tag/a", PAIRS[:1]), s.TellEntries("tag/a", (Entry(b"r"),)), s.Shelves((None,)),
    s.ComparedShelf(), s.Entries(), s.Wanted(), s.Took(0),
]  # fmt: skip


def test_every_kind_is_tested_and_has_a_name_of_its_own() -> None:
    assert [type(one) for one in LARGEST] == [type(one) for one in SMALLEST] == list(KINDS)
    assert [s.REPLY[kind] for kind in get_args(s.ShelfRequest)] == list(get_args(s.ShelfReply))
    types = [kind.TYPE for kind in (*KINDS, *STREAMS)]
    assert len(set(types)) == len(types)


@pytest.mark.parametrize("message", LARGEST + SMALLEST, ids=lambda message: message.TYPE)
def test_round_trip_at_both_ends_of_the_limits(message: s.ShelfRequest | s.ShelfReply) -> None:
    data = m.encode_message(message)
    assert len(data) <= message.LIMIT <= MESSAGE_LIMIT
    assert m.decode_message(data, type(message)) == message
    assert m.decode_message(data, *KINDS, m.Fail) == message


@pytest.mark.parametrize("message", SMALLEST, ids=lambda message: message.TYPE)
def test_unknown_keys_are_ignored(message: s.ShelfRequest | s.ShelfReply) -> None:
    body = decode(m.encode_message(message), limit=MESSAGE_LIMIT)
    assert m.decode_message(encode(body | {"later": [1, {"a": b""}]}), type(message)) == message


BEYOND = [
    lambda: Entry(b""),
    lambda: Entry(b"r" * (RELEASE_LIMIT + 1)),
    lambda: Entry(b"r", b"h" * (HEAD_LIMIT + 1)),
    lambda: Entry(b"r", b"", EPOCH_LIMIT),
    lambda: Entry(b"r", b"", -1),
    lambda: Entry(b"r", b"", True),
    lambda: s.Contact("p" * (s.PEER_LENGTH + 1)),
    lambda: s.Contact(""),
    lambda: s.Contact("п"),
    lambda: s.Contact("p", ("a" * (s.ADDRESS_LENGTH + 1),)),
    lambda: s.Contact("p", ("a",) * (s.ADDRESSES_LIMIT + 1)),
    lambda: s.Opening("nothing", ARC, FINGERPRINT),
    lambda: s.Opening("tag/a", ARC, FINGERPRINT + b"f"),
    lambda: s.Open(()),
    lambda: s.Open(openings(s.TAGS_COMPARED + 1)),
    lambda: s.Open(openings(1) * 2),
    lambda: s.Opened(1, ARC, 0),
    lambda: s.Opened(True, ARC, s.SHELF_LIMIT),
    lambda: s.Opened(True, ARC, 0, (CONTACT,) * (s.OTHERS_LIMIT + 1)),
    lambda: s.Shelves((None,) * (s.TAGS_COMPARED + 1)),
    lambda: s.CompareShelf("tag/a", ARC, (*RANGES, r.Range(r.LAST_KEY))),
    lambda: s.CompareShelf("", ARC, ()),
    lambda: s.ComparedShelf((*RANGES, r.Range(r.LAST_KEY))),
    lambda: s.GetEntries("tag/a", ()),
    lambda: s.GetEntries("tag/a", (*KEYS, b"k" * 32)),
    lambda: s.GetEntries("tag/a", (KEYS[0], KEYS[0])),
    lambda: s.GetEntries("tag/a", (b"short",)),
    lambda: s.Entries((ENTRY,), 0),
    lambda: s.Entries((), ENTRIES_LIMIT + 1),
    lambda: s.Entries((Entry(b"r"),) * (ENTRIES_LIMIT + 1), ENTRIES_LIMIT),
    lambda: s.TellEntries("tag/a", ()),
    lambda: s.TellEntries("tag/a", (Entry(b"r"),) * (ENTRIES_LIMIT + 1)),
    lambda: s.TellEntries("tag/a", (*(ENTRY,) * (ENTRIES_LIMIT - 1), LONGER)),
    lambda: s.Touch("tag/a", ()),
    lambda: s.Touch("tag/a", (*PAIRS, (b"k" * 32, b"v" * 32))),
    lambda: s.Touch("tag/a", (PAIRS[0], PAIRS[0])),
    lambda: s.Touch("tag/a", ((b"k" * 32, b"v" * 31),)),
    lambda: s.Wanted((s.PAIRS_TOUCHED,)),
    lambda: s.Wanted((1, 0)),
    lambda: s.Wanted((1, 1)),
    lambda: s.Wanted((True,)),
    lambda: s.Wanted((), (*RECORDS, b"r")),
    lambda: s.Took(ENTRIES_LIMIT + 1),
    lambda: s.Took(0, (b"r" * (REVOCATION_LIMIT + 1),)),
    lambda: s.Took(0, (b"",)),
]


@pytest.mark.parametrize("number", range(len(BEYOND)))
def test_beyond_the_limits(number: int) -> None:
    with pytest.raises(ManifestError):
        BEYOND[number]()


VALUES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=4)
    | st.binary(max_size=70) | st.sampled_from([wide(3), FINGERPRINT, wide(1) * 2, "tag/a"])
)  # fmt: skip
DEEP = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=4), max_leaves=8)

SOME = [
    *SMALLEST,
    s.Open(openings(2)),
    s.Shelves((OPENED, None)),
    s.CompareShelf("tag/a", ARC, (r.Range(wide(7), FINGERPRINT), r.Range(r.LAST_KEY, pairs=()))),
    s.Entries((Entry(b"r", b"h", 7), Entry(b"r")), 5),
    s.Wanted((0, 3), (b"record",)),
]


@given(st.sampled_from(SOME), st.data())
def test_any_value_in_any_field_raises_only_our_errors(message: s.ShelfRequest, data: st.DataObject) -> None:
    body = decode(m.encode_message(message), limit=MESSAGE_LIMIT)
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(DEEP)
    try:
        again = m.decode_message(encode(body), type(message))
    except (ManifestError, ProtocolMismatchError):
        return
    assert m.decode_message(m.encode_message(again), type(message)) == again


@given(st.binary(max_size=100))
def test_random_bytes_raise_only_our_errors(data: bytes) -> None:
    with pytest.raises((ManifestError, ProtocolMismatchError)):
        m.decode_message(data, *KINDS)
