import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import successor as s
from p2pvoice.protocol.canonical import encode
from p2pvoice.protocol.envelope import ENVELOPE_OVERHEAD, seal
from p2pvoice.protocol.errors import ManifestError, RefusedError, SignatureError, UsageError


@pytest.fixture(scope="module")
def record(key, other_key) -> s.Successor:
    old, new = (one.public_key().public_bytes_raw() for one in (key, other_key))
    return s.Successor(old, new, 1_790_000_000, "a new machine")


def test_round_trip_and_the_largest_record_fits(record, key, other_key) -> None:
    for one in (
        record,
        dataclasses.replace(record, reason="錀" * s.REASON_LENGTH, created=s.TIME_LIMIT - 1),
        dataclasses.replace(record, reason="\U00020000" * s.REASON_LENGTH),
        dataclasses.replace(record, reason="", created=1),
    ):
        data = s.sign_successor(one, key, other_key)
        assert len(data) <= s.SUCCESSOR_LIMIT == s.SUCCESSOR_PAYLOAD_LIMIT + ENVELOPE_OVERHEAD
        assert s.verify_successor(data) == one


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "x" * (s.REASON_LENGTH + 1)},
        {"reason": "\u202e"},
        {"created": 0},
        {"created": s.TIME_LIMIT},
        {"created": True},
        {"old": b"short"},
        {"new": bytes(33)},
    ],
)
def test_malformed_records(record, change) -> None:
    with pytest.raises(ManifestError):
        dataclasses.replace(record, **change)


def test_a_key_does_not_succeed_itself(record) -> None:
    with pytest.raises(ManifestError):
        dataclasses.replace(record, new=record.old)


def test_both_keys_must_sign(record, key, other_key) -> None:
    stranger = Ed25519PrivateKey.generate()
    for old, new in ((stranger, other_key), (key, stranger), (other_key, key)):
        with pytest.raises(SignatureError):
            s.sign_successor(record, old, new)
    good = {
        "v": 1, "min_reader": 1, "old": record.old, "new": record.new, "created": 1, "reason": "",
        "agreement": other_key.sign(record.agreement()),
    }  # fmt: skip
    assert s.verify_successor(seal("successor", encode(good | {"later": 1}), key).to_bytes()).created == 1
    for signer, change, error in (
        (stranger, {}, SignatureError),
        (other_key, {}, SignatureError),
        (key, {"agreement": key.sign(record.agreement())}, SignatureError),
        (key, {"agreement": stranger.sign(record.agreement())}, SignatureError),
        (key, {"agreement": bytes(64)}, SignatureError),
        (key, {"agreement": bytes(63)}, ManifestError),
        (key, {"min_reader": 2}, ManifestError),
        (key, {"reason": "x" * (s.REASON_LENGTH + 1)}, ManifestError),
        (key, {"padding": "x" * s.SUCCESSOR_PAYLOAD_LIMIT}, ManifestError),
    ):
        with pytest.raises(error):
            s.verify_successor(seal("successor", encode(good | change), signer).to_bytes())
    with pytest.raises(ManifestError):
        s.verify_successor(seal("head", encode(good), key).to_bytes())


@given(st.data())
def test_a_mutated_record_is_refused(record, key, other_key, data) -> None:
    raw = bytearray(s.sign_successor(record, key, other_key))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RefusedError):
        s.verify_successor(bytes(raw))


def test_another_successor_of_one_key_is_a_fork(record) -> None:
    assert s.is_fork(record, dataclasses.replace(record, new=bytes(32)))
    assert not s.is_fork(record, dataclasses.replace(record, reason="other words", created=1))
    assert not s.is_fork(record, dataclasses.replace(record, old=bytes(32)))


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: s.SUCCESSOR_NAMESPACE + tail))
def test_foreign_keys_raise_only_usage_errors(raw: bytes) -> None:
    with pytest.raises(UsageError):
        s.parse_successor_key(raw)


def test_keys(record) -> None:
    place = s.successor_key(record.old)
    assert place == s.successor_key(record.old_author) == b"/p2pvoice/successor/" + record.old_author.encode()
    assert s.parse_successor_key(place) == record.old
