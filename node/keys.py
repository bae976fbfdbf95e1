"""What a user does with the author key: look at it, lock it, take it elsewhere, bring it back, rotate it.

A rotation survives being killed at any point: the new key is on the disk before the record that names it
exists, and a start finishes what was begun. Each own voice is then published again under the new key, with
the same files. Not for how key files look (protocol/keyfile.py). Follows specs/keys.md.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.admit import admit
from p2pvoice.node.consents import renewed
from p2pvoice.node.identity import (
    AUTHOR_FILE,
    NEXT_FILE,
    Identity,
    keep_aside,
    private_key,
    read_file,
    replace_file,
)
from p2pvoice.node.parts import Parts
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.errors import ConflictError, KeyLockedError, P2PVoiceError
from p2pvoice.protocol.head import LIFETIME, Head, sign_head
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.keyfile import SealedKey, check_passphrase, open_key, parse_key, seal_key
from p2pvoice.protocol.manifest import PARENTS_LIMIT, Parent, Release, sign_manifest
from p2pvoice.protocol.successor import Successor, sign_successor

log = logging.getLogger("p2pvoice.keys")

Tell = Callable[[Mapping[str, Any]], Awaitable[None]]


async def _disk(parts: Parts, call: Callable[[], Any]) -> Any:
    return await trio.to_thread.run_sync(call, limiter=parts.disk)


def facts(parts: Parts) -> dict[str, Any]:
    """The author key as it may be shown: ids and states, nothing secret. Blocks on the database."""
    identity, waiting = parts.identity, parts.network.unsigned
    former = [record.old_author for record in parts.successors.made_here()]
    return {
        "author": parts.author,
        "peer_id": parts.network.peer_id,
        "passphrase": identity.sealed,
        "locked": identity.locked,
        "former": former,
        "forks": [author for author in [*former, parts.author] if parts.successors.rival(author)],
        "heads_waiting": len(waiting),
        "heads_expire": min(waiting.values(), default=None),
    }


async def unlock(parts: Parts, passphrase: str) -> dict[str, Any]:
    """Take the key into memory, then sign what waited. PassphraseError when the passphrase is wrong."""
    if not parts.identity.sealed:
        raise ConflictError("the author key has no passphrase", hint="p2pvoice key passphrase")
    await trio.to_thread.run_sync(parts.identity.unlock, passphrase)
    await _announce_own(parts)
    await resume(parts)
    return facts(parts)


async def lock(parts: Parts) -> dict[str, Any]:
    """Forget the key until it is unlocked again."""
    parts.identity.lock()
    return facts(parts)


async def set_passphrase(parts: Parts, passphrase: str, new: str) -> dict[str, Any]:
    """Seal the key under a new passphrase, or unseal it when ``new`` is empty; it is unlocked afterwards.

    Raises PassphraseError when ``passphrase`` does not open a sealed key.
    """
    if new:
        check_passphrase(new)
    path = parts.home.keys / AUTHOR_FILE

    def work() -> None:
        seed = parts.identity.seed(passphrase)
        data = seal_key(seed, new) if new else seed
        replace_file(path, data)
        parts.identity.become(Ed25519PrivateKey.from_private_bytes(seed))
        _reseal(parts.identity, data)

    async with parts.drafting:
        await _disk(parts, work)
    await _announce_own(parts)
    return facts(parts)


async def export(parts: Parts, passphrase: str, new: str, *, plain: bool) -> bytes:
    """The author key to be kept elsewhere, sealed under ``new``; bare when that is asked for."""
    if not plain:
        check_passphrase(new)
    seed: bytes = await _disk(parts, partial(parts.identity.seed, passphrase))
    return seed if plain else bytes(await _disk(parts, partial(seal_key, seed, new)))


async def bring(parts: Parts, data: bytes, passphrase: str, *, replacing: bool) -> dict[str, Any]:
    """Put an exported author key into this home, in the form in which it comes; the old one is kept aside.

    Raises ConflictError when this home published under another key (unless ``replacing``), or for a key
    that was given up; PassphraseError or CorruptError for a key that cannot be opened.
    """
    parsed = parse_key(data)
    seed = (
        await _disk(parts, partial(open_key, parsed, passphrase)) if isinstance(parsed, SealedKey) else parsed
    )
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes_raw()
    async with parts.drafting:
        author, before = author_id(public), parts.author
        now = await _disk(parts, partial(parts.successors.current, author))
        if now != author:
            raise ConflictError(f"this key was given up for {now}", hint="import the key that came after it")
        changed = author != before
        if changed and not replacing and await _disk(parts, partial(_published, parts)):
            raise ConflictError(
                f"this home has published as {before}", hint="p2pvoice key import --replace FILE"
            )
        aside: Path | None = None

        def work() -> Path | None:
            path = parts.home.keys / AUTHOR_FILE
            kept = keep_aside(path, parts.identity.author_public) if changed else None
            replace_file(path, data)
            return kept

        if changed:
            await _withdraw_heads(parts)
        aside = await _disk(parts, work)
        parts.identity.become(key)
        _reseal(parts.identity, data)
    await _announce_own(parts)
    kept = str(aside) if aside is not None else None
    return facts(parts) | {"changed": changed, "previous": before if changed else None, "kept": kept}


async def rotate(parts: Parts, passphrase: str, reason: str, tell: Tell) -> dict[str, Any]:
    """Make a new author key, sign the record that leads to it, and publish the own voices again under it.

    The new key is sealed under the same passphrase as the old one. Raises KeyLockedError, PassphraseError,
    or ManifestError for a reason that is no text.
    """
    identity = parts.identity
    if identity.locked:
        raise KeyLockedError
    async with parts.drafting:
        old_key, new_key = identity.author, Ed25519PrivateKey.generate()
        record = Successor(
            old=identity.author_public,
            new=new_key.public_key().public_bytes_raw(),
            created=int(time.time()),
            reason=reason,
        )
        signed = sign_successor(record, old_key, new_key)
        await tell({"event": "progress", "step": "making a new key"})

        def work() -> bytes:
            identity.seed(passphrase)
            seed = new_key.private_bytes_raw()
            data = seal_key(seed, passphrase) if identity.sealed else seed
            replace_file(parts.home.keys / NEXT_FILE, data)
            return data

        data = await _disk(parts, work)
        await _withdraw_heads(parts)
        await _disk(parts, partial(parts.successors.add, signed, mine=True))
        await _disk(parts, partial(settle_rotation, parts.home.keys, identity, parts.successors))
        identity.become(new_key)
        _reseal(identity, data)
        voices = await republish(parts, tell)
    await tell({"event": "progress", "step": "announcing"})
    key = parts.network.announce_successor(record.old_author, signed)
    announced = await parts.network.announced([key])
    return {
        "old": record.old_author,
        "new": record.new_author,
        "announced": announced,
        "voices": voices,
    }


def settle_rotation(keys: Path, identity: Identity, successors: Successors) -> None:
    """Finish a rotation that was begun: the new key takes the old one's place, which is kept aside. Blocks.

    Without a record that names the new key nothing was begun, and the new key is of no use.
    """
    path, waiting = keys / AUTHOR_FILE, keys / NEXT_FILE
    if not waiting.exists():
        return
    new = read_file(waiting)
    public = new.public if isinstance(new, SealedKey) else new.public_key().public_bytes_raw()
    record = successors.record(author_id(identity.author_public))
    if record is not None and record.new == public:
        keep_aside(path, identity.author_public)
        replace_file(path, waiting.read_bytes())
        identity.become(new)
    waiting.unlink()


async def resume(parts: Parts) -> None:
    """Announce the records of former rotations, and publish what a killed one had not published yet."""
    for record in await _disk(parts, parts.successors.made_here):
        data = await _disk(parts, partial(parts.successors.record_bytes, record.old_author))
        parts.network.announce_successor(record.old_author, data)
    if not parts.identity.locked:
        async with parts.drafting:
            await republish(parts, _silent)


async def republish(parts: Parts, tell: Tell) -> list[dict[str, Any]]:
    """Publish each voice of a former own key again under the present one, sharing every file."""

    def led_here() -> set[str]:
        """Former keys of our own that the present one came after."""
        records = parts.successors.made_here()
        return {r.old_author for r in records if parts.successors.current(r.old_author) == parts.author}

    former: set[str] = await _disk(parts, led_here)
    done = []
    for held in await _disk(parts, parts.catalog.installed_voices):
        old = await _disk(parts, partial(parts.catalog.release, held.release))
        if held.author not in former or old is None:
            continue
        if await _disk(parts, partial(parts.catalog.tombstones.of_release, old.id)) is not None:
            # What was called back does not come again because its author's key changed.
            continue
        await tell({"event": "progress", "step": f"publishing {held.slug} under the new key"})
        try:
            release = await _under_new_key(parts, old, held.seed)
        except P2PVoiceError as error:
            # One voice that cannot be signed again must not keep the others from it.
            log.error("not published again", extra={"slug": held.slug, "reason": error.message})
            await tell({"event": "warning", "message": f"{held.slug}: {error.message}"})
            continue
        done.append({"slug": held.slug, "release": release.id, "previous": old.id})
    return done


async def _under_new_key(parts: Parts, old: Release, seed: bool) -> Release:
    author, slug = parts.author, old.manifest.slug

    def work() -> Release:
        head = parts.catalog.head(author, slug)
        known = parts.catalog.release(head.release) if head is not None else None
        if known is not None:
            return known
        manifest = replace(
            old.manifest,
            author=parts.identity.author_public,
            consent=renewed(old.manifest.consent, parts.identity, time.time()),
            created=int(time.time()),
            parents=(Parent(old.id, "revision-of"), *old.manifest.parents[: PARENTS_LIMIT - 1]),
        )
        release = sign_manifest(manifest, parts.identity.author)
        parts.catalog.add_release(release.envelope.to_bytes())
        return release

    release: Release = await _disk(parts, work)
    await admit(parts, release)

    def install() -> None:
        if parts.catalog.head(author, slug) is None:
            before = parts.catalog.head(author_id(old.manifest.author), slug)
            # The count goes on, so that a listener sees a newer release and not a beginning.
            sequence = before.sequence + 1 if before is not None else 1
            expires = int(time.time()) + LIFETIME
            head = Head(parts.identity.author_public, slug, sequence, release.id, expires)
            parts.catalog.add_head(sign_head(head, parts.identity.author))
        parts.catalog.install(release, seed=seed)
        parts.catalog.uninstall(old.id)

    await _disk(parts, install)
    parts.network.withdraw(old, with_head=True)
    if seed:
        parts.network.announce(release)
    return release


def _reseal(identity: Identity, data: bytes) -> None:
    form = private_key(data)
    if isinstance(form, SealedKey):
        identity.reseal(form)


def _published(parts: Parts) -> bool:
    return bool(parts.catalog.names_of([parts.author], 1)) or any(
        held.author == parts.author for held in parts.catalog.installed_voices()
    )


async def _own(parts: Parts) -> list[Release]:
    def read() -> list[Release]:
        held = [one for one in parts.catalog.installed_voices() if one.author == parts.author and one.seed]
        releases = [parts.catalog.release(one.release) for one in held]
        return [release for release in releases if release is not None]

    found: list[Release] = await _disk(parts, read)
    return found


async def _announce_own(parts: Parts) -> None:
    """The heads that waited for the key are put again, signed afresh."""
    for release in await _own(parts):
        parts.network.announce(release)


async def _withdraw_heads(parts: Parts) -> None:
    for release in await _own(parts):
        parts.network.withdraw_head(release)


async def _silent(event: Mapping[str, Any]) -> None:
    """Nobody is there to be told."""
