"""Searching the network for releases by their tags: whom to ask, for what, and when it is enough.

Providers of the tags are asked as soon as the DHT names them; silent ones hold up nobody; every signature is
verified. Not for looking up one thing by its key (discovery.py). Follows specs/discovery.md, "Finding".
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.ask import Hear, SignedHead, query
from p2pvoice.node.candidates import Candidates
from p2pvoice.node.host import P2PHost
from p2pvoice.node.peers import Fault
from p2pvoice.protocol.catalog_messages import KNOWN_SIZE, Query, QueryPage
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.ids import parse_release_id
from p2pvoice.protocol.manifest import Release

FIND_PEERS = 16
"""Peers whose answers one search wants, best scores first; more while answers bring something new."""

FIND_PEERS_SHELVES = 40
"""The same where shelves are kept: most are asked only for what they offer then, which is cheap."""

FIND_PEERS_LIMIT = 100
"""Peers asked in one search at most, those that do not answer among them."""

BARREN_PEERS = 6
"""Answers in a row without anything new after which no more than those are wanted."""

QUIET_SHELVES = 3
"""Whole shelves read in a row without anything new, after which no more shelves are read."""

SHELVES_WIDTH = 2
"""Shelves read at the same time while none is known to be partial: what is on one need not come from two."""

QUIET_PAGES = 2
"""Pages without anything new after which no more is read of a shelf."""

FIND_WIDTH = 6
"""Peers asked at the same time, those aside that let us wait."""

FIND_PATIENCE = 1.5
"""Seconds without anything from a peer after which another one is asked beside it."""

FIND_STALL = 6.0
"""Seconds without anything from a peer, its dialing included, after which a search waits for it no longer."""

FIND_TIMEOUT = 30.0
"""Seconds one search may take; what was found by then counts."""

RELEASES_PER_PEER = 512
"""Releases taken from one peer in one search."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """One verified release a peer offers, and the head of its voice if the peer sent one."""

    release: Release
    head: SignedHead | None
    peer: str


async def find_releases(
    host: P2PHost,
    tags: Sequence[str],
    deliver: Callable[[Found], Awaitable[None]],
    *,
    timeout: float = FIND_TIMEOUT,  # noqa: ASYNC109 - it ends the search, it is no error
    hear: Hear | None = None,
) -> int:
    """Search the network for releases that carry all of ``tags``; how many peers answered.

    Each release is delivered once, as soon as a peer's answer was verified; ``hear`` gets the revocations
    that came beside releases. Without tags the connected
    peers are asked for whatever they offer. Raises nothing for peers that fail: they are noted in the book.
    """
    search = _Search(host, tags, deliver, hear)
    candidates = Candidates(host, tags)
    keepers, shelves = trio.open_memory_channel[PeerInfo](FIND_PEERS_LIMIT)
    search.keepers = keepers
    with trio.move_on_after(timeout):
        async with shelves, trio.open_nursery() as reading:

            async def read_in_turn(number: int) -> None:
                if number >= SHELVES_WIDTH:
                    await search.partial_or_asked.wait()
                    if not search.partial:
                        return
                async for info in shelves:
                    if search.shelves_done:
                        continue
                    asked = _Asked(info)
                    reading.start_soon(search.read, asked)
                    await asked.ended_or_slow()
                if search.shelves_done:
                    # What others are still saying of the same shelf would be nothing new either.
                    reading.cancel_scope.cancel()

            for number in range(FIND_WIDTH):
                reading.start_soon(read_in_turn, number)
            async with keepers, trio.open_nursery() as nursery:
                nursery.start_soon(candidates.look_up)

                async def ask_in_turn() -> None:
                    while not search.done:
                        info = await candidates.next()
                        if info is None:
                            return
                        asked = _Asked(info)
                        nursery.start_soon(search.ask, asked)
                        await asked.ended_or_slow()
                    # A look-up that goes on would bring nobody who is asked.
                    candidates.close()

                for _ in range(FIND_WIDTH):
                    nursery.start_soon(ask_in_turn)
            search.partial_or_asked.set()
    return search.answered


class _Asked:
    """One peer that is being asked: when it last said something, and whether it is done."""

    def __init__(self, info: PeerInfo) -> None:
        self.info = info
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.moved()

    def moved(self) -> None:
        """The peer has said something, so it may take its time anew."""
        self._moved_at = trio.current_time()
        self.scope.deadline = self._moved_at + FIND_STALL

    async def ended_or_slow(self) -> None:
        """Wait until the peer is done, or has said nothing for ``FIND_PATIENCE``."""
        while not self.ended.is_set() and trio.current_time() < self._moved_at + FIND_PATIENCE:
            with trio.move_on_at(self._moved_at + FIND_PATIENCE):
                await self.ended.wait()


class _Search:
    """One search under way: what was found, and whether it pays to ask more peers.

    Each peer is asked for what it offers itself, which it alone may have. Of those that say they keep the
    shelf of a tag a few are asked for that, too, one or two at a time: it is much the same everywhere. Each
    question names what is found already, so that little comes twice.
    """

    def __init__(
        self,
        host: P2PHost,
        tags: Sequence[str],
        deliver: Callable[[Found], Awaitable[None]],
        hear: Hear | None,
    ) -> None:
        self._host = host
        self._tags = tags
        self._deliver = deliver
        self._hear = hear
        # In the order in which they were found.
        self._seen: dict[str, None] = {}
        self._asked = 0
        self._barren = 0
        self._kept = False
        self._quiet = 0
        self._dull = 0
        self._read = 0
        self.answered = 0
        #: Takes those that keep a shelf.
        self.keepers: trio.MemorySendChannel[PeerInfo] | None = None
        #: Whether a shelf has not room for all.
        self.partial = False
        #: Set when that is known, or all were asked.
        self.partial_or_asked = trio.Event()

    @property
    def done(self) -> bool:
        """Whether enough peers were asked for what they offer."""
        if self._asked >= FIND_PEERS_LIMIT:
            return True
        wanted = FIND_PEERS_SHELVES if self._kept else FIND_PEERS
        return self.answered >= wanted and self._barren >= BARREN_PEERS

    @property
    def shelves_done(self) -> bool:
        """Whether enough shelves were read."""
        if self._quiet >= QUIET_SHELVES:
            return True
        return self._read >= FIND_PEERS and self._dull >= BARREN_PEERS

    async def ask(self, asked: _Asked) -> None:
        """Ask one peer for what it offers, until it is done or stalls; what fails is noted."""
        self._asked += 1
        answer = await self._guarded(asked, offered=True)
        if answer is None:
            return
        self.answered += 1
        self._barren = 0 if answer.new else self._barren + 1
        if answer.shelf and self.keepers is not None:
            self._kept = True
            # There is room for as many as are asked.
            self.keepers.send_nowait(asked.info)

    async def read(self, asked: _Asked) -> None:
        """Read the shelf of one peer, until it is done, brings nothing new, or stalls."""
        answer = await self._guarded(asked, offered=False)
        if answer is None:
            return
        self._read += 1
        # Who keeps a part of a shelf says nothing about what the others have.
        self._quiet = 0 if answer.new else self._quiet + (not answer.partial)
        self._dull = 0 if answer.new else self._dull + 1

    async def _guarded(self, asked: _Asked, *, offered: bool) -> "_Answer | None":
        found = None
        try:
            with asked.scope:
                found = await self._query(asked, offered=offered)
            if asked.scope.cancelled_caught:
                stalled = f"said nothing for {FIND_STALL:g} s in a search"
                self._host.peers.drop(str(asked.info.peer_id), Fault.UNREACHABLE, stalled)
        finally:
            asked.ended.set()
        return found

    async def _query(self, asked: _Asked, *, offered: bool) -> "_Answer | None":
        info, answer = asked.info, _Answer()
        fresh = pages = 0

        async def take(release: Release, head: SignedHead | None) -> None:
            nonlocal fresh
            asked.moved()
            if release.id not in self._seen:
                self._seen[release.id] = None
                answer.new, fresh = answer.new + 1, fresh + 1
                await self._deliver(Found(release, head, str(info.peer_id)))

        def go_on(page: QueryPage) -> bool:
            nonlocal fresh, pages
            asked.moved()
            answer.shelf, answer.partial = page.shelf, page.partial
            if page.partial and not self.partial:
                self.partial = True
                self.partial_or_asked.set()
            pages, fresh = 0 if fresh or not page.shelf else pages + 1, 0
            return pages < QUIET_PAGES and (offered or not self.shelves_done)

        try:
            await query(
                self._host,
                info,
                self._tags,
                take,
                limit=RELEASES_PER_PEER,
                hear=self._hear,
                go_on=go_on,
                offered=offered,
                known=self._known,
            )
        except P2PVoiceError as error:
            log.info("peer %s did not answer a query: %s", info.peer_id, error.message)
            return None
        return answer

    def _known(self) -> bytes:
        """The latest of what was found, for a peer to leave out."""
        latest = islice(reversed(self._seen), Query.known_beside(self._tags))
        return b"".join(parse_release_id(one)[:KNOWN_SIZE] for one in latest)


@dataclass
class _Answer:
    """What a peer's answer came to: new releases; of the shelf how many voices, and whether it is partial."""

    new: int = 0
    shelf: int = 0
    partial: bool = False
