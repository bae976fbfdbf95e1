"""The two forms of an author key at rest: the bare seed, and the seed sealed under a passphrase.

Bytes in, bytes out: for writing a sealed key, reading either form, and opening a sealed one. What a sealed
file asks of memory is bounded before any of it is taken, and a damaged file is told apart from a wrong
passphrase. Not for where key files lie, nor for who may read them (node/identity.py). Follows specs/keys.md.
"""

import hashlib
import secrets
import struct
import unicodedata
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from p2pvoice.protocol.errors import CorruptError, PassphraseError, UsageError
from p2pvoice.protocol.ids import PUBLIC_KEY_SIZE

SEED_SIZE = 32
"""Bytes of a bare key: the Ed25519 seed and nothing else."""

MAGIC = b"p2pvkey\0"
"""What a sealed key begins with."""

VERSION = 1
"""The version of the sealed form that is written and read."""

COST = 17
"""log2 of scrypt's N as it is written here: 128 MiB and half a second for each guess."""

COST_MINIMUM = 14
"""The least log2 N that is read: below it a passphrase would protect little, and nobody wrote such a file."""

COST_LIMIT = 18
"""The greatest log2 N that is read: 256 MiB at the greatest block size."""

BLOCK_LIMIT = 8
"""The greatest r of scrypt that is read, and the one that is written; memory is 128 * N * r bytes."""

PARALLEL_LIMIT = 4
"""The greatest p of scrypt that is read; it multiplies time, not memory."""

PASSPHRASE_MINIMUM = 8
"""Characters of a passphrase that is set; any length opens what somebody sealed elsewhere."""

PASSPHRASE_LIMIT = 1024
"""Characters of a passphrase."""

_SALT_SIZE = 16
_NONCE_SIZE = 12
_TAG_SIZE = 16
_CHECK_SIZE = 32
_HEADER = struct.Struct(f">8sBBBB{_SALT_SIZE}s{_NONCE_SIZE}s{PUBLIC_KEY_SIZE}s")

SEALED_SIZE = _HEADER.size + SEED_SIZE + _TAG_SIZE + _CHECK_SIZE
"""Bytes of a sealed key, always."""


@dataclass(frozen=True)
class SealedKey:
    """A key under a passphrase: whose it is can be read, what it is cannot."""

    data: bytes = field(repr=False)
    cost: int
    block: int
    parallel: int
    salt: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    public: bytes


def parse_key(data: bytes) -> bytes | SealedKey:
    """Either form: the seed of a bare key, or a sealed one. CorruptError for anything else."""
    if len(data) == SEED_SIZE:
        return data
    if len(data) != SEALED_SIZE or not data.startswith(MAGIC):
        raise CorruptError(f"a key has {SEED_SIZE} bytes bare or {SEALED_SIZE} bytes sealed, this is neither")
    if hashlib.sha256(data[:-_CHECK_SIZE]).digest() != data[-_CHECK_SIZE:]:
        raise CorruptError("the sealed key is damaged: its check sum does not fit")
    _, version, cost, block, parallel, salt, nonce, public = _HEADER.unpack_from(data)
    if version != VERSION:
        raise CorruptError(
            f"the sealed key is of version {version}, this is version {VERSION}",
            hint="a newer version of p2pvoice can read it",
        )
    for value, low, high in (
        (cost, COST_MINIMUM, COST_LIMIT),
        (block, 1, BLOCK_LIMIT),
        (parallel, 1, PARALLEL_LIMIT),
    ):
        if not low <= value <= high:
            raise CorruptError("the sealed key asks for scrypt parameters that are out of bounds")
    return SealedKey(data, cost, block, parallel, salt, nonce, public)


def seal_key(seed: bytes, passphrase: str, *, cost: int = COST) -> bytes:
    """The seed sealed under a passphrase; ``cost`` is log2 of scrypt's N. Takes half a second and 128 MiB.

    Raises UsageError for a passphrase that is too short or too long.
    """
    if len(seed) != SEED_SIZE or not COST_MINIMUM <= cost <= COST_LIMIT:
        raise ValueError("a seed has 32 bytes, and the cost lies within its bounds")
    check_passphrase(passphrase)
    salt, nonce = secrets.token_bytes(_SALT_SIZE), secrets.token_bytes(_NONCE_SIZE)
    return _seal(seed, passphrase, cost, salt, nonce)


def _seal(seed: bytes, passphrase: str, cost: int, salt: bytes, nonce: bytes) -> bytes:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    header = _HEADER.pack(MAGIC, VERSION, cost, BLOCK_LIMIT, 1, salt, nonce, public)
    key = _derive(passphrase, salt, cost, BLOCK_LIMIT, 1)
    body = header + ChaCha20Poly1305(key).encrypt(nonce, seed, header)
    return body + hashlib.sha256(body).digest()


def open_key(key: SealedKey, passphrase: str) -> bytes:
    """The seed. Takes what the file's parameters say, at most 256 MiB.

    Raises PassphraseError for a wrong passphrase, CorruptError when the seed is not the key's that is named.
    """
    if not 1 <= len(passphrase) <= PASSPHRASE_LIMIT:
        raise PassphraseError
    header, sealed = key.data[: _HEADER.size], key.data[_HEADER.size : -_CHECK_SIZE]
    derived = _derive(passphrase, key.salt, key.cost, key.block, key.parallel)
    try:
        seed = ChaCha20Poly1305(derived).decrypt(key.nonce, sealed, header)
    except InvalidTag as error:
        # The check sum was right, so the file is as it was written: it is the passphrase.
        raise PassphraseError from error
    if Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() != key.public:
        raise CorruptError("the sealed key names another public key than its own")
    return seed


def check_passphrase(passphrase: str) -> str:
    """A passphrase that may be set; UsageError when it is too short or too long."""
    if not PASSPHRASE_MINIMUM <= len(passphrase) <= PASSPHRASE_LIMIT:
        raise UsageError(f"a passphrase has {PASSPHRASE_MINIMUM} to {PASSPHRASE_LIMIT} characters")
    return passphrase


def _derive(passphrase: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    # The same words typed on another keyboard must open the key: composed and decomposed accents are one.
    words = unicodedata.normalize("NFKC", passphrase).encode("utf-8", "surrogatepass")
    return Scrypt(salt=salt, length=32, n=1 << cost, r=block, p=parallel).derive(words)
