from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import catalog_messages as cat
from p2pvoice.protocol import conversation as c
from p2pvoice.protocol import messages as m
from p2pvoice.protocol import reconcile as r
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.errors import ManifestError, ProtocolMismatchError
from p2pvoice.protocol.framing import MESSAGE_LIMIT
from p2pvoice.protocol.operations import OPERATION_LIMIT, OWNER_CHAIN_LIMIT, VoiceName

from .kinds import KINDS as STREAMS

VOICE = VoiceName(b"a" * 32, "s" * 63)
FINGERPRINT = b"f" * 16
SIGNER = b"k" * 32
KINDS = get_args(c.Said)


def wide(number: int) -> bytes:
    return number.to_bytes(32)


VOICES = tuple((VoiceName(bytes([n]) * 32, "s" * 63), FINGERPRINT) for n in range(c.VOICES_COMPARED))
POINTS = tuple((OWNER_CHAIN_LIMIT - n, wide(n)) for n in range(c.POINTS_LIMIT))
LISTS = tuple(
    r.Range(wide(n + 31), pairs=tuple((wide(one), wide(one)) for one in range(n, n + r.PAIRS_SENT)))
    for n in range(0, r.PAIRS_LIMIT, r.PAIRS_SENT)
)
RANGES = (*LISTS, *(r.Range(wide((1 << 250) + n), FINGERPRINT) for n in range(r.RANGES_LIMIT - len(LISTS))))
FULL = (b"r" * (c.RECORDS_BYTES // c.RECORDS_LIMIT),) * c.RECORDS_LIMIT
TOLD = (b"r" * (c.RECORDS_BYTES // c.TOLD_LIMIT),) * c.TOLD_LIMIT

LARGEST = [
    c.Compare(VOICES),
    c.Differ(tuple(range(c.VOICES_COMPARED))),
    c.Reconcile(VOICE, RANGES),
    c.Reconciled(RANGES),
    c.GetChain(VOICE, SIGNER, POINTS, c.RECORDS_LIMIT),
    c.ChainReply(FULL, OWNER_CHAIN_LIMIT),
    c.TellOperations(TOLD),
    c.Told(c.TOLD_LIMIT),
]
SMALLEST = [
    c.Compare(VOICES[:1]), c.Differ(), c.Reconcile(VOICE, ()), c.Reconciled(), c.GetChain(VOICE, SIGNER),
    c.ChainReply(), c.TellOperations((b"r",)), c.Told(0),
]  # fmt: skip


def test_every_kind_is_tested_and_has_a_name_of_its_own() -> None:
    assert [type(one) for one in LARGEST] == [type(one) for one in SMALLEST] == list(KINDS)
    types = [kind.TYPE for kind in (*KINDS, *STREAMS)]
    assert len(set(types)) == len(types)


@pytest.mark.parametrize("message", LARGEST + SMALLEST, ids=lambda message: message.TYPE)
def test_round_trip_at_both_ends_of_the_limits(message: c.Said) -> None:
    data = m.encode_message(message)
    assert len(data) <= message.LIMIT <= MESSAGE_LIMIT
    assert m.decode_message(data, type(message)) == message
    assert m.decode_message(data, *KINDS, m.Fail) == message


@pytest.mark.parametrize("message", SMALLEST, ids=lambda message: message.TYPE)
def test_unknown_keys_are_ignored(message: c.Said) -> None:
    body = decode(m.encode_message(message), limit=MESSAGE_LIMIT)
    assert m.decode_message(encode(body | {"later": [1, {"a": b""}]}), type(message)) == message


def test_a_message_of_another_stream_is_a_protocol_mismatch() -> None:
    with pytest.raises(ProtocolMismatchError):
        m.decode_message(m.encode_message(cat.Query()), *KINDS)


BEYOND = [
    lambda: c.Compare(()),
    lambda: c.Compare((*VOICES, (VoiceName(b"x" * 32, "s"), FINGERPRINT))),
    lambda: c.Compare((VOICES[0], VOICES[0])),
    lambda: c.Compare(((VOICE, b"f" * 17),)),
    lambda: c.Compare(((VoiceName(b"a" * 32, ["s"]), FINGERPRINT),)),
    lambda: c.Compare(((VOICE, [FINGERPRINT]),)),
    lambda: c.Compare(((VoiceName(b"a" * 31, "s"), FINGERPRINT),)),
    lambda: c.Compare(((VoiceName(b"a" * 32, "S"), FINGERPRINT),)),
    lambda: c.Differ(tuple(range(c.VOICES_COMPARED + 1))),
    lambda: c.Differ((c.VOICES_COMPARED,)),
    lambda: c.Differ((-1,)),
    lambda: c.Differ((True,)),
    lambda: c.Differ((2, 1)),
    lambda: c.Differ((1, 1)),
    lambda: c.Reconcile(VoiceName(b"a" * 33, "s"), ()),
    lambda: c.Reconcile(VOICE, (*RANGES, r.Range(r.LAST_KEY))),
    lambda: c.Reconciled((*RANGES, r.Range(r.LAST_KEY))),
    lambda: c.GetChain(VOICE, b"k" * 31),
    lambda: c.GetChain(VOICE, SIGNER, ((OWNER_CHAIN_LIMIT + 1, wide(0)),)),
    lambda: c.GetChain(VOICE, SIGNER, ((0, wide(0)),)),
    lambda: c.GetChain(VOICE, SIGNER, ((1, b"short"),)),
    lambda: c.GetChain(VOICE, SIGNER, (*POINTS, (1, wide(0)))),
    lambda: c.GetChain(VOICE, SIGNER, ((2, wide(0)), (2, wide(1)))),
    lambda: c.GetChain(VOICE, SIGNER, (), 0),
    lambda: c.GetChain(VOICE, SIGNER, (), c.RECORDS_LIMIT + 1),
    lambda: c.ChainReply((b"r",) * (c.RECORDS_LIMIT + 1), OWNER_CHAIN_LIMIT),
    lambda: c.ChainReply((*FULL[1:], FULL[0] + b"r"), OWNER_CHAIN_LIMIT),
    lambda: c.ChainReply((b"r" * (OPERATION_LIMIT + 1),), 1),
    lambda: c.ChainReply((b"",), 1),
    lambda: c.ChainReply((b"r",), 0),
    lambda: c.ChainReply((), OWNER_CHAIN_LIMIT + 1),
    lambda: c.TellOperations(()),
    lambda: c.TellOperations((b"r",) * (c.TOLD_LIMIT + 1)),
    lambda: c.TellOperations((*TOLD[1:], TOLD[0] + b"r")),
    lambda: c.TellOperations((b"r" * (OPERATION_LIMIT + 1),)),
    lambda: c.Told(-1),
    lambda: c.Told(c.TOLD_LIMIT + 1),
]


@pytest.mark.parametrize("number", range(len(BEYOND)))
def test_beyond_the_limits(number: int) -> None:
    with pytest.raises(ManifestError):
        BEYOND[number]()


VALUES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=4)
    | st.binary(max_size=40) | st.sampled_from([wide(3), FINGERPRINT, wide(1) * 2])
)  # fmt: skip
DEEP = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=4), max_leaves=8)


SOME = [
    *SMALLEST,
    c.Compare(VOICES[:2]),
    c.Reconcile(VOICE, (LISTS[0], r.Range(r.LAST_KEY, FINGERPRINT))),
    c.GetChain(VOICE, SIGNER, POINTS[:3], 5),
]


@given(st.sampled_from(SOME), st.data())
def test_any_value_in_any_field_raises_only_our_errors(message: c.Said, data) -> None:
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
