"""How this node learns of revocations: it is told, it asks, and it looks them up before a fetch.

What is heard is only said: recalling.py judges each record against the releases it names and acts on it, and
what fits nothing here yet is kept in mind a while. Follows specs/recall.md, "Learn".
"""

import logging
import random
from collections import OrderedDict

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.ask import Recalled, get_revocations, seek_revocation
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.discovery import find_revocation
from p2pvoice.node.host import P2PHost
from p2pvoice.node.recalling import Recall
from p2pvoice.node.tombstone import Kind
from p2pvoice.protocol.errors import P2PVoiceError, RevokedError
from p2pvoice.protocol.ids import parse_author_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.recall_messages import REVOCATIONS_ASKED, GetRevocations
from p2pvoice.protocol.revocation import Revocation, keys_to_ask, revocation_key, revokes, verify_revocation

#: Seconds between two times the same connected peer is asked, jittered by 20 %.
ASK_EVERY = 600.0

#: Seconds between looks whether a peer is to be asked; a new connection is noticed at once.
ASK_CHECK = 60.0

#: Releases asked about in one round, at most.
ASK_RELEASES = 512

#: Connected peers asked before something is fetched.
INQUIRE_PEERS = 8

#: Seconds all asking before a fetch may take; what was not answered by then does not stop it.
INQUIRE_TIMEOUT = 8.0

#: Seconds of that a node waits that does not know a single peer yet.
JOIN_WAIT = 3.0

#: Revocations that fitted nothing here when they were heard, kept in memory.
RUMOURS_LIMIT = 256

log = logging.getLogger("p2pvoice.recall")


class Hearsay:
    """What others say of revocations. Start :meth:`run` in the daemon's nursery."""

    def __init__(self, host: P2PHost, catalog: Catalog, recall: Recall, disk: trio.CapacityLimiter) -> None:
        self._host = host
        self._catalog = catalog
        self._recall = recall
        self._disk = disk
        self._rumours: OrderedDict[bytes, Revocation] = OrderedDict()

    # -- being told --------------------------------------------------------------------------------------

    async def hear(self, record: bytes) -> None:
        """Somebody tells of a revocation: taken when it concerns a release here, else kept in mind a while.

        Raises ManifestError or SignatureError for what is no revocation.
        """
        revocation = await trio.to_thread.run_sync(verify_revocation, record, limiter=self._disk)
        if await self._recall.concerns(revocation):
            await self._recall.take(record)
            return
        self._rumours[record] = revocation
        self._rumours.move_to_end(record)
        while len(self._rumours) > RUMOURS_LIMIT:
            self._rumours.popitem(last=False)

    async def judge(self, release: Release) -> bool:
        """Whether a release that just came in may stay, by what was heard before it came."""
        for record, revocation in list(self._rumours.items()):
            if revokes(revocation, release):
                del self._rumours[record]
                await self._recall.take(record)
                return False
        return True

    # -- asking ------------------------------------------------------------------------------------------

    async def inquire(self, release: Release) -> None:
        """Ask connected peers and the DHT whether a release was revoked; RevokedError when it was."""
        wanted = GetRevocations((release.id,))

        async def judge(records: list[bytes]) -> None:
            for record in records:
                if revokes(verify_revocation(record), release):
                    await self._recall.take(record, kind=Kind.ASKED, proof=release)
                    everybody.cancel_scope.cancel()

        async def ask(peer: PeerInfo) -> None:
            try:
                await judge(await get_revocations(self._host, peer, wanted))
            except P2PVoiceError as error:
                log.info("peer %s was not asked for revocations: %s", peer.peer_id, error.message)

        async def look_up(key: bytes) -> None:
            try:
                record = await find_revocation(self._host, key)
                await judge([record] if record is not None else [])
            except Exception as error:  # libp2p raises many things; none of them may stop a fetch.
                log.info("a look-up of revocations failed: %s", error)

        with trio.move_on_after(INQUIRE_TIMEOUT):
            await self._joined()
            async with trio.open_nursery() as everybody:
                for peer in self._host.neighbours()[:INQUIRE_PEERS]:
                    everybody.start_soon(ask, peer)
                for key in keys_to_ask(release):
                    everybody.start_soon(look_up, key)

        def check() -> None:
            self._catalog.tombstones.check(release, installed=self._catalog.is_installed(release.id))

        await trio.to_thread.run_sync(check, limiter=self._disk)

    async def seek(self, release: str = "", author: str = "", slug: str = "") -> None:
        """Ask whether what nobody provides was revoked; RevokedError when somebody shows that it was.

        A release is asked of connected peers, a voice of the DHT, too.
        """
        wanted = GetRevocations((release,) if release else (), author, slug, proofs=True)
        found: list[Recalled] = []

        async def ask(peer: PeerInfo) -> None:
            try:
                await seek_revocation(self._host, peer, wanted)
            except Recalled as recalled:
                found.append(recalled)
                everybody.cancel_scope.cancel()
            except P2PVoiceError as error:
                log.info("peer %s was not asked for revocations: %s", peer.peer_id, error.message)

        async def look_up(key: bytes) -> None:
            try:
                record = await find_revocation(self._host, key)
            except Exception as error:  # As above: then nobody knows, and the first error stands.
                log.info("a look-up of revocations failed: %s", error)
                return
            if record is not None:
                found.append(Recalled(record, verify_revocation(record), None))
                everybody.cancel_scope.cancel()

        with trio.move_on_after(INQUIRE_TIMEOUT):
            await self._joined()
            async with trio.open_nursery() as everybody:
                for peer in self._host.neighbours()[:INQUIRE_PEERS]:
                    everybody.start_soon(ask, peer)
                if author:
                    key = parse_author_id(author)
                    for name in (None, release or None):
                        everybody.start_soon(look_up, revocation_key(key, key, slug, name))
        for recalled in found:
            raise await self.believe(recalled)

    async def believe(self, recalled: Recalled) -> RevokedError:
        """Keep what a peer showed when it was asked for a release; the error to raise for it."""
        stone = await self._recall.take(recalled.data, kind=Kind.ASKED, proof=recalled.proof)
        return stone.error() if stone is not None else RevokedError()

    async def run(self) -> None:
        """Ask every connected peer for what is new, again and again; for ever."""
        due: dict[str, float] = {}
        async with trio.open_nursery() as nursery:
            while True:
                coming, now = self._host.coming(), trio.current_time()
                connected = self._host.connected()
                due = {name: at for name, at in due.items() if name in connected}
                for name in connected:
                    if due.get(name, now) <= now and not self._host.peers.is_shunned(name):
                        due[name] = now + ASK_EVERY * random.uniform(0.8, 1.2)
                        nursery.start_soon(self._ask, PeerInfo(ID.from_string(name), []))
                with trio.move_on_after(ASK_CHECK):
                    await coming.wait()

    async def _ask(self, peer: PeerInfo) -> None:
        """Ask one peer about what we offer, and for the newest it passes on.

        The latter also covers what is kept and not offered, without telling the peer that it is here.
        """

        def offered() -> list[str]:
            return [held.release for held in self._catalog.installed() if held.seed][-ASK_RELEASES:]

        ids = await trio.to_thread.run_sync(offered, limiter=self._disk)
        batches = [tuple(ids[at : at + REVOCATIONS_ASKED]) for at in range(0, len(ids), REVOCATIONS_ASKED)]
        async with self._recall.width:
            try:
                for batch in ((), *batches):
                    for record in await get_revocations(self._host, peer, GetRevocations(batch)):
                        await self.hear(record)
            except P2PVoiceError as error:
                log.info("peer %s was not asked for revocations: %s", peer.peer_id, error.message)

    async def _joined(self) -> None:
        """A node that has only just started finds its way into the DHT first."""
        if not self._host.kad.table_size():
            with trio.move_on_after(JOIN_WAIT):
                await self._host.joined.wait()
