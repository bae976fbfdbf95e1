"""What a search by tags reads from the shelves here. Not for what is offered here: offer.py.

Follows specs/shelves.md, "Answering searches".
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from p2pvoice.node.shelves.keeping import Keeping
from p2pvoice.protocol.catalog_messages import KNOWN_SIZE
from p2pvoice.protocol.reconcile import KEY_SIZE
from p2pvoice.protocol.shelf import Shelf, release_in
from p2pvoice.protocol.shelf_entry import Entry

CURSOR = "shelf:"
"""What a cursor begins with that leads on within a shelf; no release id does."""


@dataclass(frozen=True)
class Listing:
    """Part of a shelf: voices, where the rest begins, its size, and whether it leaves any out."""

    entries: tuple[Entry, ...]
    next: str
    size: int
    partial: bool


class ShelfReader:
    """Reads shelves out, from the node's own point on around the ring."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        #: Voices read out since the start.
        self.read_out = 0

    async def read(
        self, tags: Sequence[str], limit: int, cursor: str, known: Collection[bytes] = ()
    ) -> Listing | None:
        """Up to ``limit`` voices that carry all ``tags``, behind a cursor ("" at first).

        None when the shelf of none of the tags is kept here. What is offered here is left out, and releases
        whose digests begin with what is in ``known``.
        """
        keeper = self._keeping.keeper
        kept = [shelf for shelf in map(keeper.shelf, tags) if shelf is not None]
        if not kept:
            return None
        shelf: Shelf = min(kept, key=len)
        wanted = frozenset(tags)

        def fits(key: bytes) -> bool:
            card = keeper.cards.get(key)
            if card is None or card.own or not wanted <= set(card.tags):
                return False
            return release_in(card.value)[:KNOWN_SIZE] not in known

        if limit < 1:
            return Listing((), cursor or CURSOR, len(shelf), shelf.partial)
        keys = shelf.around(_after(cursor), limit + 1, fits)
        read = await self._keeping.read(keys[:limit])
        entries = tuple(entry for _, entry in read if entry is not None)
        self.read_out += len(entries)
        more = len(read) < len(keys)
        last = CURSOR + read[-1][0].hex() if more and read else ""
        return Listing(entries, last, len(shelf), shelf.partial)


def _after(cursor: str) -> bytes | None:
    """The key behind which to go on; None for the beginning, or for what no cursor of ours is."""
    try:
        key = bytes.fromhex(cursor.removeprefix(CURSOR))
    except ValueError:
        return None
    return key if len(key) == KEY_SIZE else None
