"""When shelves are compared and with whom: look-ups, talks, hints, and putting in order.

Whom to talk to is the keeper's choice (protocol/shelf_peers.py); here it gets connections and time. Start
:meth:`Rounds.run` in the daemon's nursery. Follows specs/shelves.md, "Whom to talk to".
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.addresses import is_circuit, is_tcp
from p2pvoice.node.host import P2PHost
from p2pvoice.node.shelves.keeping import Keeping
from p2pvoice.node.shelves.talk import asking
from p2pvoice.protocol.errors import BusyError, NotFoundError, P2PVoiceError, ProtocolMismatchError
from p2pvoice.protocol.head import tag_key
from p2pvoice.protocol.reconcile import Pair
from p2pvoice.protocol.shelf_messages import ADDRESSES_LIMIT, PEER_LENGTH, Contact
from p2pvoice.protocol.shelf_talk import Outcome, hint, talk

CHECK_EVERY = 20.0
"""Seconds between looks whether a tag is to be compared; new connections and new tags are noticed at once."""

TIDY_EVERY = 3_600.0
"""Seconds between two times that epochs are renewed and stale voices taken off."""

TALK_WIDTH = 4
"""Peers talked with at the same time."""

HINT_WIDTH = 8
"""Peers given hints at the same time."""

TALK_TIMEOUT = 120.0
"""Seconds one talk may take; what was taken by then stays."""

HINT_TIMEOUT = 20.0
"""Seconds a hint may take."""

HINT_PAUSE = 1.0
"""Seconds for which news are gathered before they are hinted at."""

YIELD_SECONDS = 3.0
"""Seconds that one of two nodes which have just met waits, so that not both begin to ask."""

TOLD_REVOCATIONS = 4
"""Revocations that a peer is told of after one talk."""

log = logging.getLogger("p2pvoice.shelves")


class Rounds:
    """Talks with other keepers.

    ``hear`` takes a revocation that a peer showed, ``tell`` tells a peer of one.
    """

    def __init__(
        self,
        host: P2PHost,
        keeping: Keeping,
        hear: Callable[[bytes], Awaitable[None]],
        tell: Callable[[PeerInfo, bytes], Awaitable[None]],
    ) -> None:
        self._host = host
        self._keeping = keeping
        self._keeper = keeping.keeper
        self._hear = hear
        self._tell = tell
        self._talking: set[str] = set()
        # Connected peers, those of the last seconds perhaps not yet.
        self._met: set[str] = set()
        self._width = trio.CapacityLimiter(TALK_WIDTH)
        self._hint_width = trio.CapacityLimiter(HINT_WIDTH)
        self._soon = trio.Event()
        #: Talks that went through since the start, and hints given, for tests and metrics.
        self.talks = 0
        self.hinted = 0

    @property
    def busy(self) -> bool:
        """Whether a talk is under way."""
        return bool(self._talking)

    async def run(self) -> None:
        """Keep the shelves alike with others'; for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._refresh)
            nursery.start_soon(self._arrivals, nursery)
            nursery.start_soon(self._hints, nursery)
            nursery.start_soon(self._tidy)
            while True:
                soon = self._soon
                for tag in self._keeper.peers.lookups(self._keeping.now()) if self._host.connected() else ():
                    nursery.start_soon(self._look_up, tag)
                self._begin(nursery)
                with trio.move_on_after(CHECK_EVERY):
                    await soon.wait()

    async def once(self) -> None:
        """Look up the keepers of every tag that is due, and talk with those whose turn it is; one by one."""
        for tag in self._keeper.peers.lookups(self._keeping.now()):
            await self._look_up(tag)
        for contact, tags in self._keeper.partners(self._keeping.now(), self._host.connected()):
            await self._talk_and_note(contact, tags)

    def _begin(self, nursery: trio.Nursery) -> None:
        connected, now = self._host.connected(), self._keeping.now()
        chosen = dict(self._keeper.partners(now, connected))
        for peer in self._met:
            # Peers that happen to be there may keep the same shelves: what they say is worth a question.
            if peer not in self._talking and (tags := self._keeper.peers.unasked(peer, now)):
                chosen.setdefault(self._keeper.peers.contact(peer), tags)
        for contact, tags in chosen.items():
            if contact.peer not in self._talking and not self._host.peers.is_shunned(contact.peer):
                self._talking.add(contact.peer)
                nursery.start_soon(self._talk_and_note, contact, tags)

    def _wake(self) -> None:
        self._soon.set()
        self._soon = trio.Event()

    # -- comparing ---------------------------------------------------------------------------------------

    async def _talk_and_note(self, contact: Contact, tags: Sequence[str]) -> None:
        try:
            async with self._width:
                # The other side may have begun meanwhile; one talk serves both.
                info = _info(contact)
                if info is None:
                    self._keeper.peers.forget(contact.peer)
                elif not self._keeper.peers.is_settled(contact.peer, tags, self._keeping.now()):
                    await self.with_peer(info, tags)
        finally:
            self._talking.discard(contact.peer)
        self._wake()

    async def with_peer(self, peer: PeerInfo, tags: Sequence[str]) -> Outcome | None:
        """Compare the shelves of these tags with one peer's; None when the talk failed."""
        name, keeping = str(peer.peer_id), self._keeping
        with trio.move_on_after(TALK_TIMEOUT):
            try:
                async with asking(self._host, peer) as ask:
                    steps = talk(self._keeper, name, tags, keeping.now())
                    outcome = await keeping.drive(steps, ask)
                self.talks += 1
                await self._pass_on(peer, outcome)
                return outcome
            except (BusyError, ProtocolMismatchError) as error:
                log.debug("no talk of shelves with peer %s: %s", name, error.message)
                if isinstance(error, BusyError):
                    return None
            except P2PVoiceError as error:
                log.info("the talk of shelves with peer %s ended: %s", name, error.message)
            except Exception:
                # Whatever a peer finds to break here must not end the daemon.
                log.exception("the talk of shelves with peer %s failed", name)
        self._keeper.peers.failed(name, tags, keeping.now())
        return None

    async def _pass_on(self, peer: PeerInfo, outcome: Outcome) -> None:
        """Believe, if signed, the revocations that the peer showed, and show it those that it needs."""
        for record in outcome.revocations:
            await self._hear(record)
        for record in outcome.to_revoke[:TOLD_REVOCATIONS]:
            await self._tell(peer, record)

    # -- news --------------------------------------------------------------------------------------------

    async def _hints(self, nursery: trio.Nursery) -> None:
        while True:
            await self._keeping.news()
            await trio.sleep(HINT_PAUSE)
            for contact, tag, pairs in self._keeper.hints(self._keeping.now()):
                nursery.start_soon(self._hint, contact, tag, pairs)

    async def _hint(self, contact: Contact, tag: str, pairs: Sequence[Pair]) -> None:
        info = _info(contact)
        if info is None or self._host.peers.is_shunned(contact.peer):
            return
        try:
            async with self._hint_width:
                with trio.fail_after(HINT_TIMEOUT):
                    async with asking(self._host, info) as ask:
                        steps = hint(self._keeper, contact.peer, tag, pairs, self._keeping.now())
                        outcome = await self._keeping.drive(steps, ask)
            self.hinted += 1
            for record in outcome.revocations:
                await self._hear(record)
        except NotFoundError:
            self._keeper.peers.lacks(contact.peer, tag)
        except (P2PVoiceError, trio.TooSlowError) as error:
            log.info("peer %s was not told of news on a shelf: %s", contact.peer, error)
        except Exception:
            log.exception("telling peer %s of news on a shelf failed", contact.peer)

    # -- what wakes the rounds ---------------------------------------------------------------------------

    async def _refresh(self) -> None:
        while True:
            await self._keeping.changed()
            try:
                await self._keeping.refresh()
            except P2PVoiceError as error:
                log.warning("the shelves could not be brought up to date: %s", error.message)
            self._wake()

    async def _arrivals(self, nursery: trio.Nursery) -> None:
        here: set[str] = set()
        while True:
            coming = self._host.coming()
            connected = set(self._host.connected())
            self._met &= connected
            for peer in connected - here:
                nursery.start_soon(self._arrived, peer)
            here = connected
            with trio.move_on_after(CHECK_EVERY):
                await coming.wait()

    async def _arrived(self, peer: str) -> None:
        if self._host.id > peer:
            await trio.sleep(YIELD_SECONDS)
        self._met.add(peer)
        self._keeper.peers.arrived(peer)
        self._wake()

    async def _tidy(self) -> None:
        while True:
            await trio.sleep(TIDY_EVERY)
            try:
                await self._keeping.refresh()
                await self._keeping.tidy()
            except P2PVoiceError as error:
                log.warning("the shelves could not be put in order: %s", error.message)

    async def _look_up(self, tag: str) -> None:
        try:
            found = await self._host.kad.find_providers(tag_key(tag))
        except Exception as error:  # libp2p raises many things; a failed look-up must not end the rounds.
            log.info("no look-up of who keeps the shelf of %s: %s", tag, error)
            return
        self._keeper.peers.providers(tag, [_contact(info) for info in found])
        self._wake()


def _contact(info: PeerInfo) -> Contact:
    return Contact(str(info.peer_id)[:PEER_LENGTH], tuple(map(str, info.addrs))[:ADDRESSES_LIMIT])


def _info(contact: Contact) -> PeerInfo | None:
    """Where a peer may be dialed; addresses that are none are left out. None when its id is none."""
    addresses = []
    for text in contact.addresses:
        try:
            address = Multiaddr(text)
            if is_tcp(address) or is_circuit(address):
                addresses.append(address)
        except Exception as error:
            # The library has no common error for what strangers write; another address may do.
            log.debug("not an address: %s", error)
    try:
        return PeerInfo(ID.from_string(contact.peer), addresses)
    except ValueError:
        return None
