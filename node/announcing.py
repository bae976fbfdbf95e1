"""Making releases findable: provider records for releases and tags, records for heads.

Announcing keeps the pace the DHT accepts and republishes by itself, because libp2p marks a republish as
done even when it reached nobody. Not for finding (discovery.py, seeking.py). Follows specs/discovery.md,
"Announcing".
"""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from p2pvoice.node.host import P2PHost
from p2pvoice.node.schedule import Allotment, Schedule
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.head import head_key, release_key, tag_key

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
        self._pace = Allotment()
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
