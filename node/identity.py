"""The two keys of a node: who signs (author) and who carries traffic (peer).

They are different on purpose: an author may move to another machine, and the peer id that everybody on
the network sees must not name the person who publishes. The author key may be sealed under a passphrase:
then it is locked until somebody unlocks it, and unsealed only in this process's memory. This file reads and
writes key files; what export, import and rotation mean is keys.py's. Follows specs/keys.md.
"""

import hashlib
import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.errors import ConflictError, CorruptError, KeyLockedError, PolicyError
from p2pvoice.protocol.keyfile import SEALED_SIZE, SEED_SIZE, SealedKey, open_key, parse_key

AUTHOR_FILE = "author.key"
PEER_FILE = "peer.key"

#: A new author key between its making and the moment when the old one is given up for it.
NEXT_FILE = "author-next.key"

_RESTORE = "restore it from a backup; moving it away makes the node start with a new identity"


class Identity:
    """Both keys of a node. The author key may be locked, and changes when it is imported or rotated."""

    def __init__(self, author: "Ed25519PrivateKey | SealedKey", peer: Ed25519PrivateKey) -> None:
        self.peer = peer
        self._key: Ed25519PrivateKey | None = None
        self._sealed: SealedKey | None = None
        self.become(author)

    def __repr__(self) -> str:
        return f"Identity({self.author_public.hex()}, locked={self.locked})"

    def become(self, author: "Ed25519PrivateKey | SealedKey") -> None:
        """Sign with another key from now on, or with none when it is a sealed one."""
        if isinstance(author, SealedKey):
            self._key, self._sealed, self._public = None, author, author.public
        else:
            self._key, self._sealed = author, None
            self._public = author.public_key().public_bytes_raw()

    @property
    def author(self) -> Ed25519PrivateKey:
        """The key that signs. KeyLockedError while it is locked."""
        if self._key is None:
            raise KeyLockedError
        return self._key

    @property
    def author_public(self) -> bytes:
        """The author's raw public key, 32 bytes; known while the key is locked, too."""
        return self._public

    @property
    def locked(self) -> bool:
        """Whether nothing can be signed now."""
        return self._key is None

    @property
    def sealed(self) -> bool:
        """Whether the key lies on the disk under a passphrase."""
        return self._sealed is not None

    def unlock(self, passphrase: str) -> None:
        """Take the key into memory. Blocks; PassphraseError when the passphrase is wrong."""
        self._key = Ed25519PrivateKey.from_private_bytes(self.seed(passphrase))

    def lock(self) -> None:
        """Forget the key until it is unlocked. ConflictError for a key that has no passphrase."""
        if self._sealed is None:
            raise ConflictError(
                "the author key has no passphrase, so it cannot be locked", hint="p2pvoice key passphrase"
            )
        self._key = None

    def seed(self, passphrase: str) -> bytes:
        """The author key's raw seed; a sealed key asks for its passphrase even while it is unlocked.

        Blocks. PassphraseError when the passphrase is wrong.
        """
        if self._sealed is not None:
            return open_key(self._sealed, passphrase)
        return self.author.private_bytes_raw()

    def reseal(self, sealed: SealedKey) -> None:
        """The same key now lies sealed on the disk; it stays unlocked here."""
        self._sealed = sealed

    @property
    def peer_seed(self) -> bytes:
        """The peer key's raw seed, 32 bytes, as libp2p wants it."""
        return self.peer.private_bytes_raw()


def load_or_create(keys: Path) -> Identity:
    """Read both keys from the folder ``keys``, creating the folder and what is missing in it.

    The folder is made 0700 and each file 0600. Raises :class:`PolicyError` when a key file can be read
    by others and :class:`CorruptError` when it holds no key: a damaged identity is never silently replaced
    by a new one.
    """
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(keys.stat().st_mode) & 0o077:
        keys.chmod(0o700)
    for name in (AUTHOR_FILE, PEER_FILE):
        if not (keys / name).exists():
            create_file(keys / name, Ed25519PrivateKey.generate().private_bytes_raw())
    peer = read_file(keys / PEER_FILE)
    if isinstance(peer, SealedKey):
        raise CorruptError(f"{keys / PEER_FILE} is sealed: a peer key has no passphrase", hint=_RESTORE)
    return Identity(read_file(keys / AUTHOR_FILE), peer)


def generate() -> Identity:
    """A fresh identity that is stored nowhere."""
    return Identity(Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate())


def private_key(data: bytes) -> Ed25519PrivateKey | SealedKey:
    """A key in either of its forms. CorruptError for anything else."""
    parsed = parse_key(data)
    return parsed if isinstance(parsed, SealedKey) else Ed25519PrivateKey.from_private_bytes(parsed)


def read_file(path: Path) -> Ed25519PrivateKey | SealedKey:
    """The key in a file. PolicyError when others can read the file, CorruptError when it holds no key."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise PolicyError(
                f"the key file {path} can be read by other users (mode {mode:04o})", hint=f"chmod 600 {path}"
            )
        data = file.read(max(SEED_SIZE, SEALED_SIZE) + 1)
    try:
        return private_key(data)
    except CorruptError as error:
        raise CorruptError(f"the key file {path} is damaged: {error.message}", hint=_RESTORE) from error


def create_file(path: Path, data: bytes) -> None:
    """Write a key under a temporary name, sync it, then give it its name if nobody did meanwhile."""
    temporary = _write_beside(path, data)
    try:
        # A hard link fails when the name exists, so two starting processes agree on one key.
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink()
    _sync(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Put a key in the place of the one that is there: at every moment one of them is there, whole."""
    temporary = _write_beside(path, data)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def aside_file(keys: Path, public: bytes) -> Path:
    """Where a former author key is kept in the folder ``keys``."""
    return keys / f"author-{hashlib.sha256(public).hexdigest()[:16]}.key"


def keep_aside(path: Path, public: bytes) -> Path:
    """Keep a key file under a name that tells whose it is; returns that name. The file itself stays."""
    aside = aside_file(path.parent, public)
    if aside.exists():
        # The key was here before: the form in which it lies now counts, its passphrase may be another.
        replace_file(aside, path.read_bytes())
    else:
        os.link(path, aside)
        _sync(path.parent)
    return aside


def _write_beside(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink()
        raise
    return temporary


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
