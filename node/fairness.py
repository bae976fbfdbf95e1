"""Which releases a full catalog forgets: pure rules over rows, without a database, a clock or a network.

Author keys cost nothing, so nothing about a stranger's release proves anything but two facts of this node's
own: how far its author is from those the user follows, and since when this node has known the author. Rows go
in, the ids of those to forget come out. Every step takes O(log n) amortised, times the places that one author
may have at most. Not for rows on disk (eviction.py), nor for who is how far (distance.py). Follows
specs/catalog.md, "Room".
"""

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from heapq import heapify, heappop, heappush

from p2pvoice.node.pools import (
    FOLLOWED,
    KIN,
    NEW,
    PLACE_BYTES,
    SETTLED,
    STALE,
    Author,
    Held,
    Limits,
    Pool,
    Row,
    Standing,
    key_of,
    places_of,
)

__all__ = ["PLACE_BYTES", "Fairness", "Limits", "Row", "Standing", "places_of"]


class Fairness:
    """The releases of a catalog that are not installed, and which of them has no place.

    ``salt`` is this node's secret: it draws lots among equals, so that different nodes keep different parts
    of what is too much for each of them, and nobody can make releases that win everywhere.
    """

    def __init__(self, salt: bytes, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._salt = salt[:64]
        self._authors: dict[str, Author] = {}
        self._standing: dict[str, Standing] = {}
        self._held: dict[str, Held] = {}
        self._all = Pool(self.limits.places, self.limits, self._authors)
        #: Places of strangers by facet; and the pools of those facets that were ever full.
        self._tagged: dict[int, int] = {}
        self._facets: dict[int, Pool] = {}
        self._guests: OrderedDict[str, int] = OrderedDict()
        self._guest_places = 0
        self._away: OrderedDict[int, None] = OrderedDict()
        self._settling: list[tuple[int, str]] = []
        self._ageing: list[tuple[int, str]] = []
        self._now = 0

    # -- what is there -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, identifier: str) -> bool:
        """Whether a release has a place of its own."""
        return identifier in self._held

    @property
    def places(self) -> int:
        """Places that are taken."""
        return self._all.total

    def guests(self) -> list[str]:
        """Releases that lost their place and are still here for a while."""
        return list(self._guests)

    def standings(self) -> set[str]:
        """The authors who are no strangers."""
        return set(self._standing)

    def turned_away(self, identifier: str) -> bool:
        """Whether there was no place for a release lately, so that it need not be brought again."""
        return self._draw(identifier) in self._away and identifier not in self._held

    # -- what changes --------------------------------------------------------------------------------------

    def add(self, row: Row, now: int) -> list[str]:
        """A release comes in; the ids of those to forget, which may be its own."""
        self._age(now)
        if row.id in self._held or row.id in self._guests:
            self.touch(row.id, now)
            return []
        author = self._authors.get(row.author)
        if author is None:
            since = self._now if row.since is None else row.since
            author = Author(row.author, since, self._standing.get(row.author, Standing.STRANGER))
            author.settled = since + self.limits.settled <= self._now
            self._authors[row.author] = author
            if not author.settled:
                heappush(self._settling, (since, row.author))
        held = Held(row, author, self._draw(row.id))
        self._supersede(held)
        author.held[row.id] = self._held[row.id] = held
        author.places += held.places
        held.cls = self._class_of(held)
        heappush(self._ageing, (held.seen, held.id))
        self._enter(held)
        return self._settle(held)

    def touch(self, identifier: str, now: int) -> None:
        """A release that is here was offered again."""
        held = self._held.get(identifier)
        if held is not None:
            held.seen = max(held.seen, now)
            self._reclass([held])

    def remove(self, identifier: str) -> None:
        """A release is gone, or is installed and takes no place any more."""
        self._guest_places -= self._guests.pop(identifier, 0)
        held = self._held.get(identifier)
        if held is not None:
            self._drop(held)

    def stand(self, author: str, standing: Standing) -> list[str]:
        """An author is nearer or farther now; the ids of those to forget for it."""
        if standing == Standing.STRANGER:
            self._standing.pop(author, None)
        else:
            self._standing[author] = standing
        found = self._authors.get(author)
        if found is None or found.standing == standing:
            return []
        found.standing = standing
        rows = list(found.held.values())
        self._reclass(rows)
        return [gone for held in rows if held.id in self._held for gone in self._settle(held)]

    # -- inside --------------------------------------------------------------------------------------------

    def _draw(self, identifier: str) -> int:
        return int.from_bytes(blake2b(identifier.encode(), digest_size=8, key=self._salt).digest(), "big")

    def _class_of(self, held: Held) -> int:
        author = held.author
        if author.standing != Standing.STRANGER:
            return KIN if author.standing == Standing.KIN else FOLLOWED
        if held.seen + self.limits.stale <= self._now:
            return STALE
        return SETTLED if author.settled else NEW

    def _enter(self, held: Held) -> None:
        self._all.put(held)
        if held.cls <= SETTLED:
            for tag in held.tags:
                self._tagged[tag] = self._tagged.get(tag, 0) + held.places
                pool = self._facets.get(tag)
                if pool is not None:
                    pool.put(held)

    def _leave(self, held: Held) -> None:
        self._all.take(held)
        if held.cls <= SETTLED:
            for tag in held.tags:
                left = self._tagged[tag] - held.places
                if left:
                    self._tagged[tag] = left
                else:
                    del self._tagged[tag]
                pool = self._facets.get(tag)
                if pool is not None:
                    pool.take(held)
                    if left < self.limits.facet // 2:
                        del self._facets[tag]

    def _reclass(self, rows: Iterable[Held]) -> None:
        for held in rows:
            cls = self._class_of(held)
            if cls != held.cls:
                self._leave(held)
                held.cls = cls
                self._enter(held)

    def _supersede(self, held: Held) -> None:
        """The newest release of a voice outlives the author's older ones; by the author's own account."""
        other = held.author.newest(held.slug)
        older = other is not None and (other.created, other.id) > (held.created, held.id)
        held.rank(superseded=older)
        if other is not None and not older:
            self._rank(other, superseded=True)

    def _rank(self, held: Held, *, superseded: bool) -> None:
        self._leave(held)
        held.rank(superseded=superseded)
        self._enter(held)

    def _drop(self, held: Held) -> None:
        author = held.author
        self._leave(held)
        del self._held[held.id], author.held[held.id]
        author.places -= held.places
        if not author.held:
            del self._authors[author.name]
            return
        best = author.newest(held.slug)
        if best is not None and best.superseded:
            self._rank(best, superseded=False)

    def _settle(self, held: Held) -> list[str]:
        """Bring everything that a release counts in within its limit."""
        limits, author, gone = self.limits, held.author, list[str]()
        quota = limits.followed if author.standing == Standing.FOLLOWED else limits.author
        while author.places > quota:
            gone += self._lose(min(author.held.values(), key=key_of))
        if held.cls <= SETTLED:
            for tag in held.tags:
                while self._tagged.get(tag, 0) > limits.facet:
                    gone += self._lose(self._facet(tag).loser())
        while self._all.total > limits.places:
            gone += self._lose(self._all.loser())
        return gone

    def _facet(self, tag: int) -> Pool:
        pool = self._facets.get(tag)
        if pool is None:
            # Read through once when it becomes full, and kept until it is half empty.
            pool = self._facets[tag] = Pool(self.limits.facet, self.limits, self._authors, tag)
            for held in self._held.values():
                if held.cls <= SETTLED and tag in held.tags:
                    pool.put(held)
        return pool

    def _lose(self, held: Held) -> list[str]:
        self._drop(held)
        self._away.pop(held.draw, None)
        self._away[held.draw] = None
        if len(self._away) > self.limits.away:
            self._away.popitem(last=False)
        self._guests[held.id] = held.places
        self._guest_places += held.places
        gone = []
        while self._guest_places > self.limits.guests:
            oldest, places = self._guests.popitem(last=False)
            self._guest_places -= places
            gone.append(oldest)
        return gone

    def _age(self, now: int) -> None:
        """Newcomers become settled, and what nobody offers becomes stale. Time never goes back here."""
        self._now = now = max(now, self._now)
        while self._settling and self._settling[0][0] + self.limits.settled <= now:
            since, name = heappop(self._settling)
            author = self._authors.get(name)
            if author is not None and author.since == since:
                author.settled = True
                self._reclass(list(author.held.values()))
        while self._ageing and self._ageing[0][0] + self.limits.stale <= now:
            seen, identifier = heappop(self._ageing)
            held = self._held.get(identifier)
            if held is not None and held.seen > seen:
                heappush(self._ageing, (held.seen, identifier))
            elif held is not None:
                self._reclass([held])
        if len(self._ageing) > 2 * len(self._held) + 1_000:
            self._ageing = [(held.seen, held.id) for held in self._held.values()]
            heapify(self._ageing)
        if len(self._settling) > 2 * len(self._authors) + 1_000:
            self._settling = [(one.since, one.name) for one in self._authors.values() if not one.settled]
            heapify(self._settling)
