"""Which releases a full catalog forgets: pure rules over rows, without a database, a clock or a network.

Author keys cost nothing, so nothing about a stranger's release proves anything but two facts of this node's
own: how far its author is from those the user follows, and since when this node has known the author. Rows go
in, the ids of those to forget come out. Every step takes O(log n) amortised, times the places that one author
may have at most. Not for rows on disk (eviction.py), nor for who is how far (distance.py). Follows
specs/catalog.md, "Room".
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from heapq import heapify, heappop, heappush

PLACE_BYTES = 13 * 1024
"""Signed bytes that one place holds; a larger release takes several. A usual one takes one."""


@dataclass(frozen=True)
class Limits:
    """How much is remembered, in places, and what counts as long ago, in seconds."""

    #: Places of all releases together: 254 MiB.
    places: int = 20_000
    #: Places of strangers' releases with one tag.
    facet: int = 10_000
    #: Places of one author; and of one who is followed.
    author: int = 200
    followed: int = 1_000
    #: Places of a settled author within which the author is as good as any other.
    fair: int = 16
    #: Places of those that lost theirs and are still kept for a while, the latest.
    guests: int = 1_000
    #: Share of the room, and of a facet's, that authors known longer leave to newcomers.
    newcomers: float = 0.25
    #: After so long an author is no newcomer any more.
    settled: int = 3 * 86_400
    #: A stranger's release that nobody offered for so long goes first.
    stale: int = 90 * 86_400
    #: Releases of which it is remembered that there was no place for them.
    away: int = 20_000


class Standing(IntEnum):
    """How far an author is from the user: the follow distance, strangers last."""

    FOLLOWED = 0
    KIN = 1
    STRANGER = 2


# Classes in the order in which they give. Plain numbers: they are compared at every step.
_STALE, _NEW, _SETTLED, _KIN, _FOLLOWED = range(5)
_CLASSES = range(5)


@dataclass(frozen=True)
class Row:
    """A release as far as it matters here.

    ``created`` is its author's claim; ``seen`` is when it was last offered.
    ``since`` is when this node first knew something of the author; None for now.
    """

    id: str
    author: str
    slug: str
    created: int
    size: int
    tags: Sequence[str]
    seen: int
    since: int | None = None


def places_of(size: int) -> int:
    """Places that so many signed bytes take."""
    return max(1, -(-size // PLACE_BYTES))


class _Held:
    __slots__ = ("author", "cls", "created", "draw", "id", "key", "places", "seen", "slug", "tags")

    def __init__(self, row: Row, author: "_Author", draw: int) -> None:
        self.id, self.author, self.slug = row.id, author, row.slug
        self.created, self.seen, self.places = row.created, row.seen, places_of(row.size)
        # Python's own hash: as good as the tag to tell facets apart, and a fifth of the memory.
        self.tags = tuple({hash(tag) for tag in row.tags})
        self.draw = draw
        self.cls = _NEW
        self.key = 0

    def rank(self, superseded: bool) -> None:
        """Set the order among the author's own: the smallest goes first, that is what was superseded."""
        self.key = (0 if superseded else 1 << 64) - self.draw


class _Author:
    __slots__ = ("held", "name", "newest", "places", "settled", "since", "standing")

    def __init__(self, name: str, since: int, standing: Standing) -> None:
        self.name, self.since, self.standing = name, since, standing
        self.settled = False
        self.places = 0
        self.held: dict[str, _Held] = {}
        self.newest: dict[str, _Held] = {}


class _Part:
    """What one author has in one class of a pool."""

    __slots__ = ("held", "places", "since")

    def __init__(self, since: int) -> None:
        self.since = since
        self.places = 0
        self.held: dict[str, int] = {}


class _Line:
    """Authors in the order in which they give; one whose place changed is put in again."""

    __slots__ = ("_heap", "keys")

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, ...], str]] = []
        self.keys: dict[str, tuple[int, ...]] = {}

    def put(self, author: str, key: tuple[int, ...]) -> None:
        self.keys[author] = key
        heappush(self._heap, (key, author))
        if len(self._heap) > 2 * len(self.keys) + 64:
            self._heap = [(key, author) for author, key in self.keys.items()]
            heapify(self._heap)

    def first(self) -> str:
        while self.keys.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][1]


class _Pool:
    """Releases that share a limit: all of them, or those of one facet."""

    __slots__ = ("_fair", "_newcomers", "_parts", "lines", "places", "total")

    def __init__(self, limit: int, limits: Limits) -> None:
        self._newcomers = int(limit * limits.newcomers)
        self._fair = limits.fair
        self._parts: dict[tuple[int, str], _Part] = {}
        self.lines = [_Line() for _ in _CLASSES]
        self.places = [0] * len(_CLASSES)
        self.total = 0

    def put(self, held: _Held) -> None:
        name = held.author.name
        part = self._parts.get((held.cls, name))
        if part is None:
            part = self._parts[held.cls, name] = _Part(held.author.since)
        part.held[held.id] = held.key
        part.places += held.places
        self.places[held.cls] += held.places
        self.total += held.places
        self.lines[held.cls].put(name, self._key(held.cls, part))

    def take(self, held: _Held) -> None:
        name = held.author.name
        part = self._parts[held.cls, name]
        del part.held[held.id]
        part.places -= held.places
        self.places[held.cls] -= held.places
        self.total -= held.places
        if part.held:
            self.lines[held.cls].put(name, self._key(held.cls, part))
        else:
            del self._parts[held.cls, name]
            del self.lines[held.cls].keys[name]

    def loser(self) -> str:
        """The release that has to go first."""
        cls = self._giving()
        return _worst(self._parts[cls, self.lines[cls].first()].held)

    def _giving(self) -> int:
        if self.places[_STALE]:
            return _STALE
        if self.places[_NEW] > self._newcomers:
            return _NEW
        others = (_SETTLED, _KIN, _FOLLOWED)
        return next((cls for cls in others if self.places[cls]), _NEW)

    def _key(self, cls: int, part: _Part) -> tuple[int, ...]:
        worst = min(part.held.values())
        if cls in (_NEW, _STALE):
            return (-part.places, worst)
        return (-max(part.places, self._fair), -part.since, worst)


def _worst(held: dict[str, int]) -> str:
    return min(held, key=held.__getitem__)


class Fairness:
    """The releases of a catalog that are not installed, and which of them has no place.

    ``salt`` is this node's secret: it draws lots among equals, so that different nodes keep different parts
    of what is too much for each of them, and nobody can make releases that win everywhere.
    """

    def __init__(self, salt: bytes, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._salt = salt[:64]
        self._authors: dict[str, _Author] = {}
        self._standing: dict[str, Standing] = {}
        self._held: dict[str, _Held] = {}
        self._all = _Pool(self.limits.places, self.limits)
        #: Places of strangers by facet; and the pools of those facets that were ever full.
        self._tagged: dict[int, int] = {}
        self._facets: dict[int, _Pool] = {}
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

    def since(self, author: str) -> int | None:
        """Since when an author is known who has a release here."""
        found = self._authors.get(author)
        return found.since if found is not None else None

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
            author = _Author(row.author, since, self._standing.get(row.author, Standing.STRANGER))
            author.settled = since + self.limits.settled <= self._now
            self._authors[row.author] = author
            if not author.settled:
                heappush(self._settling, (since, row.author))
        held = _Held(row, author, self._draw(row.id))
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

    def _class_of(self, held: _Held) -> int:
        author = held.author
        if author.standing != Standing.STRANGER:
            return _KIN if author.standing == Standing.KIN else _FOLLOWED
        if held.seen + self.limits.stale <= self._now:
            return _STALE
        return _SETTLED if author.settled else _NEW

    def _enter(self, held: _Held) -> None:
        self._all.put(held)
        if held.cls <= _SETTLED:
            for tag in held.tags:
                self._tagged[tag] = self._tagged.get(tag, 0) + held.places
                pool = self._facets.get(tag)
                if pool is not None:
                    pool.put(held)

    def _leave(self, held: _Held) -> None:
        self._all.take(held)
        if held.cls <= _SETTLED:
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

    def _reclass(self, rows: Iterable[_Held]) -> None:
        for held in rows:
            cls = self._class_of(held)
            if cls != held.cls:
                self._leave(held)
                held.cls = cls
                self._enter(held)

    def _supersede(self, held: _Held) -> None:
        """The newest release of a voice outlives the author's older ones; by the author's own account."""
        newest = held.author.newest
        other = newest.get(held.slug)
        held.rank(other is not None and (other.created, other.id) > (held.created, held.id))
        if other is None or (other.created, other.id) < (held.created, held.id):
            newest[held.slug] = held
            if other is not None:
                self._leave(other)
                other.rank(True)
                self._enter(other)

    def _drop(self, held: _Held) -> None:
        author = held.author
        self._leave(held)
        del self._held[held.id], author.held[held.id]
        author.places -= held.places
        if not author.held:
            del self._authors[author.name]
        elif author.newest.get(held.slug) is held:
            del author.newest[held.slug]
            same = [one for one in author.held.values() if one.slug == held.slug]
            if same:
                best = max(same, key=lambda one: (one.created, one.id))
                author.newest[held.slug] = best
                self._leave(best)
                best.rank(False)
                self._enter(best)

    def _settle(self, held: _Held) -> list[str]:
        """Bring everything that a release counts in within its limit."""
        limits, author, gone = self.limits, held.author, list[str]()
        quota = limits.followed if author.standing == Standing.FOLLOWED else limits.author
        while author.places > quota:
            gone += self._lose(_worst({one.id: one.key for one in author.held.values()}))
        if held.cls <= _SETTLED:
            for tag in held.tags:
                while self._tagged.get(tag, 0) > limits.facet:
                    gone += self._lose(self._facet(tag).loser())
        while self._all.total > limits.places:
            gone += self._lose(self._all.loser())
        return gone

    def _facet(self, tag: int) -> _Pool:
        pool = self._facets.get(tag)
        if pool is None:
            # Read through once when it becomes full, and kept until it is half empty.
            pool = self._facets[tag] = _Pool(self.limits.facet, self.limits)
            for held in self._held.values():
                if held.cls <= _SETTLED and tag in held.tags:
                    pool.put(held)
        return pool

    def _lose(self, identifier: str) -> list[str]:
        held = self._held[identifier]
        self._drop(held)
        self._away.pop(held.draw, None)
        self._away[held.draw] = None
        if len(self._away) > self.limits.away:
            self._away.popitem(last=False)
        self._guests[identifier] = held.places
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
                self._reclass(author.held.values())
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
