"""The limits on what this node sends and receives: who may pass when, in the order of asking.

All chunks of exchange streams pass here, both ways; manifests, queries and the DHT do not. Sending goes piece
by piece, so that a peer that waits for its chunk always hears something; receiving is held back before a
chunk is asked for, so that nothing that was sent waits unread. Fewer streams are served, and fewer peers
fetched from, where the rate would not bring each of them its chunk in time. Peers on the LAN are not limited
unless ``lan`` says so. Not for the arithmetic: see bucket.py. Follows specs/mirror.md, "Limits".
"""

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from p2pvoice.node.bucket import Bucket, Meter
from p2pvoice.node.links import LAN, kind_of_muxed
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.amounts import check_rate
from p2pvoice.protocol.errors import PeerTimeoutError

CHUNK_SECONDS = 30.0
"""Seconds in which each stream gets a chunk of 1 MiB when all of them want one: half of what a peer waits."""

LARGEST_CHUNK = 1 << 20
"""Bytes of the largest chunk (specs/chunks.md)."""

PIECES = (16 * 1024, 256 * 1024)
"""Least and most bytes of a chunk that leave together while sending is limited."""

PIECES_PER_SECOND = 20
"""Pieces into which a second's bytes are cut, within these sizes."""


class Throttle:
    """One direction: a bucket, those who wait for it, and the places there are at its rate."""

    def __init__(self, rate: int = 0) -> None:
        self.rate = 0
        self._bucket = Bucket(0, trio.current_time())
        self._meter = Meter()
        self._turn = trio.Lock()
        self._changed = trio.Event()
        self._places = trio.CapacityLimiter(math.inf)
        self.set_rate(rate)

    def set_rate(self, rate: int) -> None:
        """Limit to so many bytes per second from now on, those who wait included; 0 is no limit."""
        self.rate = check_rate(rate)
        self._bucket.set_rate(self.rate, trio.current_time())
        self._places.total_tokens = places(self.rate)
        self._changed.set()
        self._changed = trio.Event()

    def ready(self) -> bool:
        """Whether :meth:`turn` would not wait now."""
        return not self._turn.locked() and self._bucket.delay(trio.current_time()) <= 0

    async def turn(self) -> None:
        """Wait until bytes may pass, after everybody who asked before; :meth:`spend` is to follow at once."""
        if not self.rate:
            return
        async with self._turn:
            while (delay := self._bucket.delay(trio.current_time())) > 0:
                changed = self._changed
                with trio.move_on_after(delay):
                    await changed.wait()

    def spend(self, size: int) -> None:
        """Take bytes without waiting; whoever comes after waits for them."""
        self._bucket.spend(size, trio.current_time())

    async def take(self, size: int) -> None:
        """Wait for the turn, and take bytes."""
        await self.turn()
        self.spend(size)

    def give_back(self, size: int) -> None:
        """Return bytes that were taken and did not pass."""
        self._bucket.give_back(size, trio.current_time())

    def note(self, size: int) -> None:
        """Count bytes that passed, limited or not."""
        self._meter.note(size, trio.current_time())

    def current(self) -> float:
        """Bytes per second that pass now, on average over the last ten seconds."""
        return self._meter.rate(trio.current_time())

    def share(self, most: int) -> int:
        """What one holder of a place may have of all places: 1 at least, ``most`` where there is no limit."""
        total = self._places.total_tokens
        if total == math.inf:
            return most
        return max(1, min(most, int(total) // max(1, self._places.borrowed_tokens)))

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Hold a place for the block, if there is one; the block is told whether."""
        holder = object()
        try:
            self._places.acquire_on_behalf_of_nowait(holder)
        except trio.WouldBlock:
            yield False
            return
        try:
            yield True
        finally:
            self._places.release_on_behalf_of(holder)

    @asynccontextmanager
    async def waited_place(self) -> AsyncIterator[None]:
        """Wait for a place, in the order of asking, and hold it for the block."""
        holder = object()
        await self._places.acquire_on_behalf_of(holder)
        try:
            yield
        finally:
            self._places.release_on_behalf_of(holder)


class Limits:
    """What one node sends and receives. Belongs to the event loop's thread."""

    def __init__(self, up: int = 0, down: int = 0, *, lan: bool = False) -> None:
        self.up = Throttle(up)
        self.down = Throttle(down)
        self.lan = lan

    def facts(self) -> dict[str, Any]:
        """Limits and current rates in bytes per second, as status shows them."""
        return {
            "up": self.up.rate,
            "down": self.down.rate,
            "lan": self.lan,
            "up_now": round(self.up.current()),
            "down_now": round(self.down.current()),
        }

    def applies(self, channel: Channel) -> bool:
        """Whether the peer at the other end of a stream is limited."""
        return self.lan or kind_of_muxed(channel.stream.muxed_conn) != LAN

    @contextmanager
    def serving(self, channel: Channel) -> Iterator[bool]:
        """A place for a stream that is served, for the block; False when a peer should come again later."""
        if not self.applies(channel):
            yield True
            return
        with self.up.place() as free:
            yield free

    @asynccontextmanager
    async def fetching(self) -> AsyncIterator[None]:
        """The place of one fetch, waited for."""
        async with self.down.waited_place():
            yield

    def lanes(self, most: int) -> int:
        """Peers that one fetch may ask at the same time, of ``most``: fetches share the places."""
        return self.down.share(most)

    async def send(self, channel: Channel, payload: bytes, blob: bytes, *, within: float) -> None:
        """Send a frame with a chunk behind it, no faster than ``up`` allows.

        ``within`` are the seconds that the peer may take; what our own limit takes is not held against it.
        Raises as :meth:`Channel.send` does.
        """
        if not self.up.rate or not self.applies(channel):
            await channel.send(payload, blob, within=within)
            self.up.note(len(blob))
            return
        least, most = PIECES
        size = min(max(self.up.rate // PIECES_PER_SECOND, least), most)
        left = within
        for start in range(0, max(len(blob), 1), size):
            piece = blob[start : start + size]
            await self.up.take(len(piece))
            if left <= 0:
                raise PeerTimeoutError(f"peer {channel.peer} took no data for {within:g} s")
            began = trio.current_time()
            if start == 0:
                await channel.send(payload, piece, within=left)
            else:
                await channel.send_bare(piece, within=left)
            left -= trio.current_time() - began
            self.up.note(len(piece))


def places(rate: int) -> float:
    """Streams that each get a chunk in CHUNK_SECONDS at this rate, one at least; of no limit, any number."""
    return max(1, int(rate * CHUNK_SECONDS) // LARGEST_CHUNK) if rate else math.inf
