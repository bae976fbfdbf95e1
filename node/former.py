"""Former author keys: what lies aside in this home, opened to call back what was published under it.

A key that was given up signs nothing new. Only its own revocations are heard about its releases, though, so
it is taken out once more for that, and forgotten again. Not for giving a key up: see keys.py. Follows
specs/keys.md.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.identity import aside_file, read_file
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.envelope import public_key_of
from p2pvoice.protocol.errors import CorruptError, PassphraseError, PolicyError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.keyfile import SealedKey, open_key
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.revocation import subject_key


def former_key(parts: Parts, release: Release, passphrase: str) -> Ed25519PrivateKey | None:
    """The former own key that has a say in a release; None when the present one has, or none of ours had.

    Blocks: a sealed key takes half a second and 128 MiB. Raises PassphraseError when ``passphrase`` does not
    open it, PolicyError when it was given up here and is not kept, or others can read it, and CorruptError.
    """
    manifest, keys = release.manifest, parts.home.keys
    signers = [key for key in (manifest.author, subject_key(manifest)) if key is not None]
    if parts.identity.author_public in signers:
        return None
    for public in signers:
        path = aside_file(keys, public)
        if not path.exists():
            continue
        found = read_file(path)
        if isinstance(found, SealedKey):
            try:
                found = Ed25519PrivateKey.from_private_bytes(open_key(found, passphrase))
            except PassphraseError as error:
                raise PassphraseError(
                    f"{manifest.name} was published under a former key of yours, and "
                    + ("this is not its passphrase" if passphrase else "that key has a passphrase"),
                    hint=f"p2pvoice revoke {release.id} --passphrase-file FILE   "
                    "(the passphrase that the key had when it was given up)",
                ) from error
        if public_key_of(found) != public:
            raise CorruptError(f"{path} holds another key than its name says")
        return found
    given_up = {record.old for record in parts.successors.made_here()}
    for public in signers:
        if public in given_up:
            raise PolicyError(
                f"{manifest.name} was published under your former key {author_id(public)}, "
                "and that key is no longer kept here",
                hint=f"copy a backup of that key to {aside_file(keys, public)}, mode 0600, and revoke again",
            )
    return None
