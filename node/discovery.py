"""Making releases findable, and finding them: provider records for releases and tags, records for heads.

Announcing keeps the pace the DHT accepts and republishes by itself, because libp2p marks a republish as
done even when it reached nobody. Finding never trusts a cached answer and verifies every signature.
Not for moving files (fetch.py). Follows specs/discovery.md.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.ask import Hear, SignedHead, check_head, check_successor, query
from p2pvoice.node.host import P2PHost
from p2pvoice.node.peers import Fault
from p2pvoice.node.schedule import Pace, Schedule
from p2pvoice.protocol.errors import NotFoundError, P2PVoiceError
from p2pvoice.protocol.head import Head, head_key, release_key, tag_key
from p2pvoice.protocol.ids import parse_release_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.messages import KNOWN_SIZE, Query, QueryPage
from p2pvoice.protocol.successor import successor_key

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


@dataclass
class _Item:
    """One thing to announce; ``make`` gives the record of a head, freshly signed, or is ``None``."""

    label: str
    make: Callable[[], bytes] | None = None
    users: int = 0


class Announcer:
    """Keeps this node's keys alive in the DHT. Start :meth:`run` in the daemon's nursery."""

    def __init__(self, host: P2PHost, *, chance: random.Random | None = None) -> None:
        self._host = host
        self._schedule = Schedule(chance)
        self._pace = Pace()
        self._items: dict[bytes, _Item] = {}
        self._changed = trio.Event()
        self.announced = 0
        self.failed = 0
        self.last_error = ""

    def release(self, release: str, tags: Sequence[str]) -> list[bytes]:
        """Announce a release under its own key and under each tag; returns the keys.

        Tags are shared by releases: :meth:`withdraw` each release as often as it was announced.
        """
        keys = [self._add(release_key(release), _Item(f"release {release}"))]
        keys += [self._add(tag_key(tag), _Item(f"tag {tag}")) for tag in dict.fromkeys(tags)]
        return keys

    def head(self, author: str, slug: str, make: Callable[[], bytes]) -> bytes:
        """Announce the head of one of our own voices; ``make`` signs it afresh each time it is put."""
        key = head_key(author, slug)
        self._items.pop(key, None)
        return self._add(key, _Item(f"head {author}/{slug}", make), again=True)

    def record(self, key: bytes, label: str, make: Callable[[], bytes]) -> bytes:
        """Announce a record of another kind under its key; ``make`` gives it each time it is put."""
        self._items.pop(key, None)
        return self._add(key, _Item(label, make), again=True)

    def provide(self, key: bytes, label: str) -> bytes:
        """Announce that something is had here under its key; once more changes nothing."""
        return key if key in self._items else self._add(key, _Item(label))

    def stop_providing(self, key: bytes) -> None:
        """Stop what :meth:`provide` began."""
        if self._items.pop(key, None) is not None:
            self._schedule.remove(key)
            self._host.kad.stop_providing(key)
        self._wake()

    def withdraw(self, release: str, tags: Sequence[str]) -> None:
        """Stop announcing a release, and each tag that no other announced release carries.

        Records that other peers hold run out by themselves within 48 hours.
        """
        for key in [release_key(release), *(tag_key(tag) for tag in dict.fromkeys(tags))]:
            item = self._items.get(key)
            if item is None:
                continue
            item.users -= 1
            if item.users <= 0:
                del self._items[key]
                self._schedule.remove(key)
                self._host.kad.stop_providing(key)
        self._wake()

    def withdraw_head(self, author: str, slug: str) -> None:
        """Stop republishing a head; it expires in the DHT within 24 hours."""
        key = head_key(author, slug)
        self._items.pop(key, None)
        self._schedule.remove(key)
        self._host.kad.forget(key)
        self._wake()

    def status(self) -> dict[str, Any]:
        """What the queue looks like, for ``p2pvoice status``."""
        now = trio.current_time()
        return {
            "keys": len(self._schedule),
            "queued": self._schedule.queued(now),
            "announced": self.announced,
            "failed": self.failed,
            "last_error": self.last_error,
        }

    async def done(self, keys: Sequence[bytes], within: float) -> bool:
        """Wait until each key was announced at least once; ``False`` when that took too long."""
        with trio.move_on_after(within):
            while not all((s := self._schedule.slot(k)) is None or s.done_at is not None for k in keys):
                await self._changed.wait()
            return True
        return False

    async def run(self) -> None:
        """Announce what is due, for ever."""
        while True:
            now = trio.current_time()
            key = self._schedule.due(now)
            if key is None:
                await self._sleep(self._schedule.wait(now))
                continue
            if not self._host.connected():
                await self._host.arrival()
                self._schedule.hurry(trio.current_time())
                continue
            item = self._items[key]
            if item.make is None and (delay := self._pace.delay(now)) > 0:
                await self._sleep(delay)
                continue
            await self._announce(key, item)

    async def _announce(self, key: bytes, item: _Item) -> None:
        told, why = False, "nobody could be told"
        try:
            if item.make is None:
                self._pace.spend(trio.current_time())
                told = await self._host.kad.provide(key)
            else:
                told = await self._host.kad.put(key, item.make()) > 0
        except P2PVoiceError as error:
            why = error.message
        except Exception as error:  # libp2p raises many things; a failed announcement must not end the loop.
            why = f"{type(error).__name__}: {error}"
        now = trio.current_time()
        if told:
            self.announced += 1
            self._schedule.succeeded(key, now)
            log.debug("announced %s", item.label)
        else:
            self.failed += 1
            self.last_error = f"{item.label}: {why}"
            self._schedule.failed(key, now)
            log.info("could not announce %s: %s", item.label, why)
        self._wake()

    async def _sleep(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._changed.wait()

    def _add(self, key: bytes, item: _Item, *, again: bool = False) -> bytes:
        present = self._items.setdefault(key, item)
        if self._schedule.add(key, trio.current_time(), again=again):
            present.users += 1
        else:
            self._items.pop(key, None)
            self.last_error = f"{item.label}: the queue is full"
            log.warning("not announcing %s: the queue is full", item.label)
        self._wake()
        return key

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@dataclass(frozen=True)
class Found:
    """One verified release a peer offers, and the head of its voice if the peer sent one."""

    release: Release
    head: SignedHead | None
    peer: str


async def find_providers(host: P2PHost, release: str) -> list[PeerInfo]:
    """Peers that announced the release and may be asked, best score first."""
    found = {str(i.peer_id): i for i in await host.kad.find_providers(release_key(release))}
    return [found[name] for name in host.peers.best_first(found)]


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
    candidates = _Candidates(host, tags)
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


class _Candidates:
    """Whom to ask, as the look-ups find them: who provides most of the tags first, of equals the best scores.

    Without tags, those we are connected to.
    """

    def __init__(self, host: P2PHost, tags: Sequence[str]) -> None:
        self._host = host
        self._tags = list(dict.fromkeys(tags))
        self._infos: dict[str, PeerInfo] = {}
        self._hits: dict[str, int] = {}
        self._given: set[str] = set()
        self._looking = True
        self._changed = trio.Event()
        self._scope = trio.CancelScope()

    async def look_up(self) -> None:
        """Look up all tags at once."""
        with self._scope:
            if not self._tags:
                for name in self._host.connected():
                    self._hear(PeerInfo(ID.from_string(name), []))
            async with trio.open_nursery() as nursery:
                for tag in self._tags:
                    nursery.start_soon(self._host.kad.find_providers, tag_key(tag), self._hear)
        self._looking = False
        self._wake()

    def close(self) -> None:
        """Look no further: nobody asks for another one."""
        self._scope.cancel()

    async def next(self) -> PeerInfo | None:
        """The best one that was not given yet; waits for the look-ups, and is None when there is none left.

        While they are under way only who provides all of the tags is given: others might bring nothing.
        """
        while True:
            least = max(1, len(self._tags)) if self._looking else 1
            left = [n for n in self._infos if n not in self._given and self._hits[n] >= least]
            names = self._host.peers.best_first(left)
            if names:
                name = max(names, key=lambda n: self._hits[n])
                self._given.add(name)
                return self._infos[name]
            if not self._looking:
                return None
            await self._changed.wait()

    def _hear(self, info: PeerInfo) -> None:
        name = str(info.peer_id)
        self._infos.setdefault(name, info)
        self._hits[name] = self._hits.get(name, 0) + 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


async def find_successor(host: P2PHost, author: str) -> bytes | None:
    """The verified record in the DHT of what comes after an author's key, as signed bytes."""
    data = await host.kad.get(successor_key(author))
    return check_successor(data, author) if data is not None else None


async def find_head(host: P2PHost, author: str, slug: str, known: Head | None = None) -> SignedHead:
    """The newest head of a voice in the DHT, never older than ``known``.

    Raises :class:`NotFoundError` when there is none and :class:`StaleError` when the network only replays
    a head older than the one already seen.
    """
    data = await host.kad.get(head_key(author, slug))
    if data is None:
        raise NotFoundError(f"nobody knows a head of {author}/{slug}")
    return check_head(data, author, slug, known)


async def find_revocation(host: P2PHost, key: bytes) -> bytes | None:
    """The signed revocation in the DHT under a key, or None.

    It is verified, and that its signer and what it revokes are those of the key.
    """
    return await host.kad.get(key)
