"""What the catalog's room is divided into: limits, rows, authors, and pools of releases that share a limit.

A pool says which of its releases goes first, in O(log n) amortised, times what one author may have at most.
Not for when one has to go (fairness.py). Follows specs/catalog.md, "Room".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
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
STALE, NEW, SETTLED, KIN, FOLLOWED = range(5)
CLASSES = range(5)


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


class Held:
    """A release that has its place."""

    __slots__ = ("author", "cls", "created", "draw", "id", "key", "places", "seen", "slug", "tags")

    def __init__(self, row: Row, author: "Author", draw: int) -> None:
        self.id, self.author, self.slug = row.id, author, row.slug
        self.created, self.seen, self.places = row.created, row.seen, places_of(row.size)
        # Python's own hash: as good as the tag to tell facets apart, and a fifth of the memory.
        self.tags = tuple({hash(tag) for tag in row.tags})
        self.draw = draw
        self.cls = NEW
        self.key = 0

    @property
    def superseded(self) -> bool:
        """Whether a newer release of the voice is here."""
        return self.key <= 0

    def rank(self, *, superseded: bool) -> None:
        """Set the order among the author's own: the smallest goes first, that is what was superseded."""
        self.key = (0 if superseded else 1 << 64) - self.draw


class Author:
    """An author of whom something has a place."""

    __slots__ = ("held", "name", "places", "settled", "since", "standing")

    def __init__(self, name: str, since: int, standing: Standing) -> None:
        self.name, self.since, self.standing = name, since, standing
        self.settled = False
        self.places = 0
        self.held: dict[str, Held] = {}

    def newest(self, slug: str) -> Held | None:
        """The newest release of a voice, by the author's own account."""
        same = [one for one in self.held.values() if one.slug == slug]
        return max(same, key=lambda one: (one.created, one.id), default=None)


class _Part:
    """What one author has in one class of a pool: how much, and the key of what goes first."""

    __slots__ = ("places", "since", "worst")

    def __init__(self, since: int) -> None:
        self.since = since
        self.places = 0
        self.worst = 1 << 65


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


class Pool:
    """Releases that share a limit: all of them, or with a tag those of one facet."""

    __slots__ = ("_authors", "_fair", "_newcomers", "_parts", "_tag", "lines", "places", "total")

    def __init__(
        self, limit: int, limits: Limits, authors: dict[str, Author], tag: int | None = None
    ) -> None:
        self._newcomers = int(limit * limits.newcomers)
        self._fair = limits.fair
        self._authors = authors
        self._tag = tag
        self._parts: dict[tuple[int, str], _Part] = {}
        self.lines = [_Line() for _ in CLASSES]
        self.places = [0] * len(CLASSES)
        self.total = 0

    def put(self, held: Held) -> None:
        """A release comes in, of the class it says."""
        name = held.author.name
        part = self._parts.get((held.cls, name))
        if part is None:
            part = self._parts[held.cls, name] = _Part(held.author.since)
        part.worst = min(part.worst, held.key)
        part.places += held.places
        self.places[held.cls] += held.places
        self.total += held.places
        self.lines[held.cls].put(name, self._key(held.cls, part))

    def take(self, held: Held) -> None:
        """A release leaves, which its author still has."""
        name = held.author.name
        part = self._parts[held.cls, name]
        part.places -= held.places
        self.places[held.cls] -= held.places
        self.total -= held.places
        if part.places:
            if part.worst == held.key:
                part.worst = min(one.key for one in self._of(held.author, held.cls) if one is not held)
            self.lines[held.cls].put(name, self._key(held.cls, part))
        else:
            del self._parts[held.cls, name]
            del self.lines[held.cls].keys[name]

    def loser(self) -> Held:
        """The release that has to go first."""
        cls = self._giving()
        return min(self._of(self._authors[self.lines[cls].first()], cls), key=key_of)

    def _of(self, author: Author, cls: int) -> Iterator[Held]:
        tag = self._tag
        return (one for one in author.held.values() if one.cls == cls and (tag is None or tag in one.tags))

    def _giving(self) -> int:
        if self.places[STALE]:
            return STALE
        if self.places[NEW] > self._newcomers:
            return NEW
        return next((cls for cls in (SETTLED, KIN, FOLLOWED) if self.places[cls]), NEW)

    def _key(self, cls: int, part: _Part) -> tuple[int, ...]:
        if cls in (NEW, STALE):
            return (-part.places, part.worst)
        return (-max(part.places, self._fair), -part.since, part.worst)


def key_of(held: Held) -> int:
    """The order among one author's: the smallest goes first."""
    return held.key
