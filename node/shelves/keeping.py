"""The keeper of this node's shelves with its disk: what is offered here, what is on the disk, what comes.

The keeper is touched in the event loop only, the table in threads only; this file carries between them. Not
for talking (talk.py, server.py). Follows specs/shelves.md.
"""

import logging
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import trio

from p2pvoice.node.shelves.tables import Offered, ShelfTable
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.shelf import Card, same_release
from p2pvoice.protocol.shelf_entry import Entry
from p2pvoice.protocol.shelf_keeper import Keeper
from p2pvoice.protocol.shelf_talk import Check, Read, Step, Store

log = logging.getLogger("p2pvoice.shelves")

_Result = TypeVar("_Result")


class Keeping:
    """A keeper and its table."""

    def __init__(
        self,
        keeper: Keeper,
        table: ShelfTable,
        disk: trio.CapacityLimiter,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keeper = keeper
        self._table = table
        self._disk = disk
        self._clock = clock
        self._alone = trio.Lock()
        self._loaded = False
        # Cards that the keeper has taken and the table does not show yet.
        self._unwritten: set[bytes] = set()
        self._changed = trio.Event()
        self._news = trio.Event()
        #: Voices taken from peers since the start.
        self.taken = 0

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock()

    # -- what is offered here ----------------------------------------------------------------------------

    def wake(self) -> None:
        """What is offered here may have changed: look soon."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait until what is offered here may have changed."""
        await self._changed.wait()
        self._changed = trio.Event()

    def tell_news(self) -> None:
        """Wake whoever waits for news."""
        if self.keeper.has_news:
            self._news.set()

    async def news(self) -> None:
        """Wait until there are hints to give."""
        await self._news.wait()
        self._news = trio.Event()

    async def refresh(self) -> None:
        """Bring the keeper into line with what is offered here and with what the catalog has forgotten."""
        async with self._alone:
            keeper, now = self.keeper, self.now()
            before, unwritten = set(keeper.cards), set(self._unwritten)

            def look() -> tuple[list[Offered], set[bytes], list[Card]]:
                cards = [] if self._loaded else self._table.cards()
                return self._table.offered(), self._table.voices(), cards

            keeper.revoked = await trio.to_thread.run_sync(self._table.revoked, limiter=self._disk)
            offered, held, cards = await trio.to_thread.run_sync(look, limiter=self._disk)
            for key in before - held - unwritten:
                keeper.remove(key, now)
            dropped = keeper.keep([tag for one in offered for tag in one.card.tags])
            for card in cards:
                change = keeper.put(card, now)
                dropped += change.dropped
            self._loaded = True
            mine = {one.card.key: one.card for one in offered}
            for card in [card for card in keeper.cards.values() if card.own]:
                kept = mine.get(card.key)
                if kept is None or not same_release(kept.value, card.value):
                    dropped += keeper.disown(card.key)
            written = []
            for one in offered:
                known = keeper.cards.get(one.card.key)
                keeper.put(one.card, now)
                card_now = keeper.cards.get(one.card.key)
                # A voice without tags is offered and on no shelf.
                if card_now is not None and card_now.own and (card_now != known or card_now.key not in held):
                    written.append((one, card_now))
            self._unwritten.update(card.key for _, card in written)

            def write() -> None:
                self._table.put_own(written)
                self._table.remove(card.key for card in dropped if card.key not in keeper.cards)

            await self._write(write, [card.key for _, card in written])
        self.tell_news()

    async def tidy(self) -> None:
        """Renew what is offered here, and take off what nobody has renewed."""
        gone = self.keeper.tidy(self.now())
        renewed = [self.keeper.cards[key] for key in self.keeper.renewed if key in self.keeper.cards]
        self.keeper.renewed.clear()

        def write() -> None:
            self._table.remove(card.key for card in gone)
            self._table.renew(renewed)

        await trio.to_thread.run_sync(write, limiter=self._disk)

    # -- conversations -----------------------------------------------------------------------------------

    async def do(self, step: Step) -> Any:
        """Do a step of a conversation that is this node's own affair."""
        match step:
            case Read(keys):
                return await self.read(keys)
            case Check(entries):
                return await trio.to_thread.run_sync(self._table.check, entries, limiter=self._disk)
            case Store(kept, dropped):
                self.taken += len(kept)
                new = [card.key for card, _ in kept]
                self._unwritten.update(new)
                await self._write(lambda: self._table.store(kept, dropped), new)
                self.tell_news()
        return None

    async def drive(
        self, steps: Generator[Step, Any, _Result], ask: Callable[[Any], Any] | None = None
    ) -> _Result:
        """Run a conversation to its end; what it returns. ``ask`` puts a request to the peer."""
        send: Any = None
        error: P2PVoiceError | None = None
        while True:
            try:
                step = steps.throw(error) if error is not None else steps.send(send)
            except StopIteration as end:
                result: _Result = end.value
                return result
            error = None
            try:
                send = await (ask(step) if ask is not None and _asks(step) else self.do(step))
            except P2PVoiceError as caught:
                error = caught

    async def read(self, keys: Sequence[bytes]) -> list[tuple[bytes, Entry | None]]:
        """Voices from the disk, as many as one message may carry; what is gone there is gone here, too."""
        found = await trio.to_thread.run_sync(self._table.read, keys, limiter=self._disk)
        for key, entry in found:
            if entry is None and key not in self._unwritten:
                # Revoked, expired or forgotten by the catalog: it is not on the shelf any more.
                self.keeper.remove(key, self.now())
        return found

    async def _write(self, work: Callable[[], None], keys: Sequence[bytes]) -> None:
        try:
            # What the keeper has taken is written, too, even when the talk ends here.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(work, limiter=self._disk)
        finally:
            self._unwritten.difference_update(keys)


def _asks(step: Step) -> bool:
    return not isinstance(step, Read | Check | Store)
