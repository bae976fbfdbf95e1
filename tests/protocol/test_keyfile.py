import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import keyfile as k
from p2pvoice.protocol.errors import CorruptError, PassphraseError, UsageError

SEED = bytes(range(32))
WORDS = "correct horse"


@pytest.fixture(scope="module")
def sealed() -> bytes:
    return k.seal_key(SEED, WORDS, cost=k.COST_MINIMUM)


def changed(data: bytes, at: int, value: int) -> bytes:
    """A file whose check sum fits although one byte was put there by somebody else."""
    body = bytearray(data[:-32])
    body[at] = value
    return bytes(body) + hashlib.sha256(body).digest()


def test_both_forms_open(sealed) -> None:
    assert k.parse_key(SEED) == SEED
    found = k.parse_key(sealed)
    assert isinstance(found, k.SealedKey)
    assert len(sealed) == k.SEALED_SIZE
    assert k.open_key(found, WORDS) == SEED
    assert SEED not in sealed
    assert sealed != k.seal_key(SEED, WORDS, cost=k.COST_MINIMUM)
    assert "seed" not in repr(found)


def test_a_wrong_passphrase_says_so(sealed) -> None:
    found = k.parse_key(sealed)
    for words in ("", "x", WORDS + " ", "x" * k.PASSPHRASE_LIMIT, "x" * (k.PASSPHRASE_LIMIT + 1)):
        with pytest.raises(PassphraseError):
            k.open_key(found, words)


def test_one_passphrase_in_two_spellings_is_one() -> None:
    found = k.parse_key(k.seal_key(SEED, "passphras\u00e9", cost=k.COST_MINIMUM))
    assert k.open_key(found, "passphrase\u0301") == SEED


@pytest.mark.parametrize("length", [k.PASSPHRASE_MINIMUM, k.PASSPHRASE_LIMIT])
def test_passphrases_within_the_limits(length: int) -> None:
    assert k.check_passphrase("x" * length)


@pytest.mark.parametrize("length", [0, k.PASSPHRASE_MINIMUM - 1, k.PASSPHRASE_LIMIT + 1])
def test_passphrases_beyond_the_limits(length: int) -> None:
    with pytest.raises(UsageError):
        k.seal_key(SEED, "x" * length, cost=k.COST_MINIMUM)


@pytest.mark.parametrize(
    ("at", "good", "bad"),
    [
        (9, (k.COST_MINIMUM, k.COST_LIMIT), (k.COST_MINIMUM - 1, k.COST_LIMIT + 1, 63, 255)),
        (10, (1, k.BLOCK_LIMIT), (0, k.BLOCK_LIMIT + 1, 255)),
        (11, (1, k.PARALLEL_LIMIT), (0, k.PARALLEL_LIMIT + 1, 255)),
        (8, (k.VERSION,), (0, k.VERSION + 1)),
    ],
)
def test_parameters_are_bounded_before_memory_is_taken(sealed, at, good, bad) -> None:
    for value in good:
        assert isinstance(k.parse_key(changed(sealed, at, value)), k.SealedKey)
    for value in bad:
        with pytest.raises(CorruptError):
            k.parse_key(changed(sealed, at, value))


def test_a_header_that_was_changed_with_its_check_sum_does_not_open(sealed) -> None:
    for at in (12, 40, 71):
        with pytest.raises(PassphraseError):
            k.open_key(k.parse_key(changed(sealed, at, sealed[at] ^ 1)), WORDS)


@given(st.data())
def test_damage_is_told_apart_from_a_wrong_passphrase(sealed, data) -> None:
    raw = bytearray(sealed)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptError):
        k.parse_key(bytes(raw))


@given(st.binary(max_size=200).filter(lambda raw: len(raw) != k.SEED_SIZE))
def test_other_files_are_no_keys(raw: bytes) -> None:
    with pytest.raises(CorruptError):
        k.parse_key(raw)
