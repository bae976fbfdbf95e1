import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import envelope
from p2pvoice.protocol.canonical import encode
from p2pvoice.protocol.errors import ManifestError, SignatureError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))


@given(st.binary(max_size=300))
def test_round_trip(payload: bytes) -> None:
    sealed = envelope.seal("manifest", payload, KEY)
    assert envelope.open_envelope(sealed.to_bytes(), kind="manifest", limit=300) == sealed


def test_payload_limit() -> None:
    data = envelope.seal("manifest", b"x" * 100, KEY).to_bytes()
    assert envelope.open_envelope(data, kind="manifest", limit=100).payload == b"x" * 100
    with pytest.raises(ManifestError):
        envelope.open_envelope(data, kind="manifest", limit=99)


def test_an_envelope_of_another_kind_is_not_accepted() -> None:
    data = envelope.seal("head", b"x", KEY).to_bytes()
    with pytest.raises(ManifestError):
        envelope.open_envelope(data, kind="manifest", limit=100)


def test_the_kind_is_signed() -> None:
    sealed = envelope.seal("head", b"x", KEY)
    relabelled = envelope.Envelope("manifest", sealed.author, sealed.payload, sealed.signature)
    with pytest.raises(SignatureError):
        envelope.open_envelope(relabelled.to_bytes(), kind="manifest", limit=100)


def test_the_author_cannot_be_swapped() -> None:
    sealed = envelope.seal("head", b"x", KEY)
    stolen = envelope.Envelope("head", envelope.public_key_of(OTHER), sealed.payload, sealed.signature)
    with pytest.raises(SignatureError):
        envelope.open_envelope(stolen.to_bytes(), kind="head", limit=100)


def test_a_signature_without_the_domain_string_is_refused() -> None:
    bare = envelope.Envelope("head", envelope.public_key_of(KEY), b"x", KEY.sign(b"x"))
    with pytest.raises(SignatureError):
        envelope.open_envelope(bare.to_bytes(), kind="head", limit=100)


@given(st.data())
def test_one_flipped_bit_anywhere_is_refused(data: st.DataObject) -> None:
    raw = bytearray(envelope.seal("manifest", b"some payload", KEY).to_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((ManifestError, SignatureError)):
        envelope.open_envelope(bytes(raw), kind="manifest", limit=100)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"author": b"short"},
        {"author": "text"},
        {"signature": b"short"},
        {"payload": "text"},
        {"kind": 1},
        {"more": 1},
    ],
)
def test_malformed_envelopes(change: dict[str, object]) -> None:
    sealed = envelope.seal("manifest", b"x", KEY)
    good = {
        "v": 1,
        "kind": "manifest",
        "author": sealed.author,
        "payload": b"x",
        "signature": sealed.signature,
    }
    assert envelope.open_envelope(encode(good), kind="manifest", limit=10) == sealed
    with pytest.raises(ManifestError):
        envelope.open_envelope(encode(good | change), kind="manifest", limit=10)


def test_an_author_key_that_is_no_curve_point_is_a_signature_error() -> None:
    bad = envelope.Envelope("head", b"\xff" * 32, b"x", b"\0" * 64)
    with pytest.raises(SignatureError):
        envelope.open_envelope(bad.to_bytes(), kind="head", limit=100)


def test_kind_limits() -> None:
    envelope.seal("k" * envelope.KIND_LIMIT, b"", KEY)
    for bad in ("", "k" * (envelope.KIND_LIMIT + 1), "Head", "he ad", "köpf"):
        with pytest.raises(ManifestError):
            envelope.seal(bad, b"", KEY)
