"""The two keys of a node: who signs (author) and who carries traffic (peer).

They are different on purpose: an author may move to another machine, and the peer id that everybody on
the network sees must not name the person who publishes. This file is not for key export, import or
rotation. Follows specs/network.md, "Identity".
"""

import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.errors import CorruptError, PolicyError

SEED_SIZE = 32
"""Bytes in a key file: the raw Ed25519 seed and nothing else."""

AUTHOR_FILE = "author.key"
PEER_FILE = "peer.key"


@dataclass(frozen=True)
class Identity:
    """Both private keys of a node; neither ever leaves it."""

    author: Ed25519PrivateKey = field(repr=False)
    peer: Ed25519PrivateKey = field(repr=False)

    @property
    def author_public(self) -> bytes:
        """The author's raw public key, 32 bytes."""
        return self.author.public_key().public_bytes_raw()

    @property
    def peer_seed(self) -> bytes:
        """The peer key's raw seed, 32 bytes, as libp2p wants it."""
        return self.peer.private_bytes_raw()


def load_or_create(keys: Path) -> Identity:
    """Read both keys from the folder ``keys``, creating the folder and what is missing in it.

    The folder is made 0700 and each file 0600. Raises :class:`PolicyError` when a key file can be read
    by others and :class:`CorruptError` when it does not hold exactly one seed: a damaged identity is
    never silently replaced by a new one.
    """
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(keys.stat().st_mode) & 0o077:
        keys.chmod(0o700)
    author = Ed25519PrivateKey.from_private_bytes(_seed(keys / AUTHOR_FILE))
    peer = Ed25519PrivateKey.from_private_bytes(_seed(keys / PEER_FILE))
    return Identity(author, peer)


def generate() -> Identity:
    """A fresh identity that is stored nowhere."""
    return Identity(Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate())


def _seed(path: Path) -> bytes:
    if not path.exists():
        _create(path, Ed25519PrivateKey.generate().private_bytes_raw())
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise PolicyError(
                f"the key file {path} can be read by other users (mode {mode:04o})", hint=f"chmod 600 {path}"
            )
        seed = file.read(SEED_SIZE + 1)
    if len(seed) != SEED_SIZE:
        raise CorruptError(
            f"the key file {path} is damaged: it should hold {SEED_SIZE} bytes",
            hint="restore it from a backup; moving it away makes the node start with a new identity",
        )
    return seed


def _create(path: Path, seed: bytes) -> None:
    """Write ``seed`` under a temporary name, sync it, then give it its name if nobody did meanwhile."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(seed)
            file.flush()
            os.fsync(file.fileno())
        try:
            # A hard link fails when the name exists, so two starting processes agree on one key.
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
