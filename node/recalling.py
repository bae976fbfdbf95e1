"""Recall in the network: what happens when a revocation comes in, and revoking.

A revocation that concerns a release here takes it out of use in one transaction; then announcements are
withdrawn, fetches under way are stopped, and, if the release was installed here, the connected peers are
told and the DHT keeps the record alive. A peer's word alone does nothing: each record is judged against the
releases it names. Not for the tombstones themselves (recall.py) nor for how this node learns of revocations
(hearsay.py). Follows specs/recall.md.
"""

import logging
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node import base_places
from p2pvoice.node.announcing import Announcer
from p2pvoice.node.ask import tell_revocation
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.host import P2PHost
from p2pvoice.node.identity import Identity
from p2pvoice.node.tombstone import Hit, Kind, Tombstone, binds_files
from p2pvoice.protocol.envelope import public_key_of
from p2pvoice.protocol.errors import ManifestError, P2PVoiceError, PolicyError, RevokedError, UsageError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.revocation import (
    Revocation,
    has_say,
    key_of,
    revokes,
    sign_revocation,
    subject_key,
    verify_revocation,
)

#: Records of our own or passed on that are kept in the DHT from the start, at most.
KEPT_RECORDS = 512

#: Peers asked or told at the same time.
WIDTH = 6

#: Connected peers told of a revocation, at most.
TELL_PEERS = 64

#: Seconds one peer may take to be told.
TELL_TIMEOUT = 10.0

#: Seconds a revocation waits for the DHT to have taken it before it is answered.
ANNOUNCE_WAIT = 20.0

#: Revocations waiting to be told; more are found out by asking.
TELL_QUEUE = 64

#: Told of each step of a revocation.
Step = Callable[[Mapping[str, Any]], Awaitable[None]]

log = logging.getLogger("p2pvoice.recall")


class Recall:
    """Takes revocations in, acts on them and passes them on. Start :meth:`run` in the daemon's nursery."""

    def __init__(
        self,
        host: P2PHost,
        announcer: Announcer,
        catalog: Catalog,
        identity: Identity,
        voices: Path,
        disk: trio.CapacityLimiter,
        withdraw: Callable[[Release, bool], None],
        bases: Path,
    ) -> None:
        self._host = host
        self._announcer = announcer
        self._catalog = catalog
        self._stones = catalog.tombstones
        self._identity = identity
        self._voices, self._bases = voices, bases
        self._disk = disk
        self._withdraw = withdraw
        self._fetching: dict[str, list[trio.CancelScope]] = {}
        #: Taken for as long as a peer is told, or asked, of revocations.
        self.width = trio.CapacityLimiter(WIDTH)
        self._to_tell, self._telling = trio.open_memory_channel[bytes](TELL_QUEUE)

    # -- taking one in -----------------------------------------------------------------------------------

    async def take(
        self, data: bytes, *, kind: Kind = Kind.SEEN, proof: Release | None = None
    ) -> Tombstone | None:
        """Keep a revocation and take what it hits out of use; None when its signer has no say here.

        Raises ManifestError or SignatureError for what is no revocation. Not to be cancelled half-way.
        """

        def work() -> tuple[Tombstone | None, bool, list[Hit], str]:
            revocation = verify_revocation(data)

            def drop(connection: sqlite3.Connection) -> None:
                for hit in hits:
                    self._catalog.drop(connection, hit.release.id)

            # Nothing may get in between looking for what is hit and taking it out.
            with self._catalog.alone():
                hits = self._hits(revocation, proof, own=kind is Kind.OWN)
                stone, new = self._stones.add(data, kind, hits, proof, within=drop)
            for hit in hits if stone is not None else ():
                shutil.rmtree(self._voices / hit.release.id, ignore_errors=True)
                if hit.release.manifest.is_base:
                    own = hit.release.manifest.author == self._identity.author_public
                    base_places.part(self._bases, hit.release.id, keep=own)
            head = None
            if stone is not None:
                voice = stone.revocation
                head = self._catalog.head(author_id(voice.author), voice.slug)
            return stone, new, hits, head.release if head is not None else ""

        with trio.CancelScope(shield=True):
            stone, new, hits, newest = await trio.to_thread.run_sync(work, limiter=self._disk)
        if stone is None:
            return None
        for hit in hits:
            # The head of our own voice goes with the release it names; an older one goes without.
            own = hit.release.manifest.author == self._identity.author_public
            self._withdraw(hit.release, own and newest in ("", hit.release.id))
            for scope in self._fetching.get(hit.release.id, ()):
                scope.cancel()
        if new:
            facts = {"slug": stone.revocation.slug, "release": stone.revocation.release}
            log.warning("revoked: %s", stone.error().message, extra=facts)
        # What was kept and not offered is nobody's business, revoked or not.
        if new and (stone.kind is Kind.OWN or any(hit.offered for hit in hits)):
            self._pass_on(stone)
        return stone

    def _hits(self, revocation: Revocation, proof: Release | None = None, *, own: bool = False) -> list[Hit]:
        """The releases here that a revocation takes out of use; blocking."""
        voice = self._catalog.releases_of(author_id(revocation.author), revocation.slug)
        mine = [release for release in voice if has_say(revocation, release)]
        # Once shown to be the subject of one release, the signer may revoke the whole voice.
        whole = revocation.release is None and (
            bool(mine) or (proof is not None and has_say(revocation, proof))
        )
        found = {release.id: self._hit(release) for release in (voice if whole else mine)}
        here = [hit.release for hit in found.values() if hit.installed] + ([proof] if own and proof else [])
        bound = any(binds_files(revocation, release) for release in here)
        for release in self._sharing(revocation, [*mine, *([proof] if proof is not None else [])]):
            hit = self._hit(release)
            foreign = release.manifest.author != revocation.signer
            unclaimed = subject_key(release.manifest) is None and not hit.installed
            if revokes(revocation, release) or (bound and foreign and unclaimed):
                found.setdefault(release.id, hit)
        return list(found.values())

    def _sharing(self, revocation: Revocation, known: list[Release]) -> list[Release]:
        for release in known:
            if release.manifest.bundle_id == revocation.bundle:
                same = self._catalog.releases_with(release.manifest.files[0].digest)
                return [one for one in same if one.manifest.bundle_id == revocation.bundle]
        return []

    def _hit(self, release: Release) -> Hit:
        catalog, name = self._catalog, release.id
        return Hit(release, catalog.is_installed(name), catalog.is_offered(name), catalog.is_shelved(name))

    async def concerns(self, revocation: Revocation) -> bool:
        """Whether a revocation takes a release here out of use."""
        return bool(await trio.to_thread.run_sync(self._hits, revocation, limiter=self._disk))

    @contextmanager
    def fetching(self, release: Release) -> Iterator[None]:
        """Stop what happens inside the block when the release is revoked meanwhile: RevokedError then."""
        scopes = self._fetching.setdefault(release.id, [])
        with trio.CancelScope() as scope:
            scopes.append(scope)
            try:
                yield
            finally:
                scopes.remove(scope)
                if not scopes:
                    self._fetching.pop(release.id, None)
        if scope.cancelled_caught:
            stone = self._stones.against(release)
            raise stone.error() if stone is not None else RevokedError()

    # -- revoking ----------------------------------------------------------------------------------------

    async def revoke(
        self,
        release: Release,
        *,
        whole: bool,
        reason: str,
        step: Step,
        former: Ed25519PrivateKey | None = None,
    ) -> dict[str, Any]:
        """Sign a revocation of a release, or of its whole voice, and see to it that the network hears of it.

        ``former`` is an earlier key that signs in the place of the author key. Raises PolicyError unless what
        signs is the key of the release's author or of the subject of its signed consent.
        """
        mine = self._identity.author_public if former is None else public_key_of(former)
        manifest = release.manifest
        subject = subject_key(manifest) == mine
        if mine != manifest.author and not subject:
            raise PolicyError(
                f"only its author can revoke {manifest.name}, or the person whose key signed its consent",
                hint=f"p2pvoice rm {release.id}   (to remove your own copy)",
            )
        try:
            revocation = Revocation(
                signer=mine,
                author=manifest.author,
                slug=manifest.slug,
                created=int(time.time()),
                release=None if whole else release.id,
                bundle=manifest.bundle_id if subject else None,
                reason=reason,
            )
        except ManifestError as error:
            raise UsageError(error.message) from error
        await step({"step": "signing"})
        data = sign_revocation(revocation, former or self._identity.author)
        stone = await self.take(data, kind=Kind.OWN, proof=release)
        assert stone is not None
        await step({"step": "telling peers"})
        told = await self._tell(stone.data)
        key = self._keep(stone)
        await step({"step": "announcing"})
        announced = bool(self._host.connected()) and await self._announcer.done([key], ANNOUNCE_WAIT)
        return stone.facts() | {"revoked": release.id, "told": told, "announced": announced}

    # -- passing on --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell peers of what is new; for ever."""
        async for record in self._telling:
            await self._tell(record)

    def announce_all(self) -> None:
        """Keep the records in the DHT that this node answers for; once, at the start. Blocking."""
        for stone in self._stones.passed_on(KEPT_RECORDS):
            self._keep(stone)

    def _keep(self, stone: Tombstone) -> bytes:
        """Keep a record in the DHT; it is never withdrawn. Its key."""
        key = key_of(stone.revocation)
        return self._announcer.record(key, f"revocation {key.decode()}", lambda: stone.data)

    def _pass_on(self, stone: Tombstone) -> None:
        self._keep(stone)
        try:
            self._to_tell.send_nowait(stone.data)
        except trio.WouldBlock:
            log.info("not telling peers of a revocation: too many at once")

    async def _tell(self, record: bytes) -> int:
        told = 0

        async def tell(peer: PeerInfo) -> None:
            nonlocal told
            async with self.width:
                try:
                    with trio.fail_after(TELL_TIMEOUT):
                        await tell_revocation(self._host, peer, record)
                    told += 1
                except (P2PVoiceError, trio.TooSlowError) as error:
                    log.info("peer %s was not told of a revocation: %s", peer.peer_id, error)

        async with trio.open_nursery() as nursery:
            for peer in self._host.neighbours()[:TELL_PEERS]:
                nursery.start_soon(tell, peer)
        return told
