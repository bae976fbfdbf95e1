"""Shelves: the set of voices of one tag that a keeper answers for, and by what rules it changes.

A keeper of a tag holds, besides what it offers itself, what other keepers brought. Each voice is one pair
of 32 bytes: :func:`voice_key`, and a value in which the larger one is always the newer one. So two shelves
are compared with reconcile.py, and whoever has the smaller value takes the larger one. Where a shelf has not
room for all, it holds an *arc*: the keys nearest to the node's own point, so that any two keepers hold the
same where their arcs overlap. Nothing here sends, waits, or knows the clock. Not for whom to talk to
(shelf_keeper.py) nor for what is said (shelf_talk.py). Follows specs/shelves.md.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.head import SEQUENCE_LIMIT
from p2pvoice.protocol.ids import digest_of, parse_release_id
from p2pvoice.protocol.reconcile import KEY_SIZE, Pairs

ROOM = 5_000
"""Voices of others on one shelf."""

AUTHOR_ROOM = 200
"""Of them, voices of one author."""

EPOCH = 30 * 86_400
"""Seconds of an epoch. Whoever offers a voice renews its epoch."""

EPOCH_LIMIT = 1 << 16
"""Epochs are counted from 1970 and lie below this."""

EPOCHS_KEPT = 3
"""Epochs for which a voice that nobody renews stays on a shelf, besides the one it was renewed in."""

RING = 1 << 256
"""Keys lie on a ring of this length."""

HALF = RING // 2

PAIRS_KEPT = 4
"""Sets for comparison that one shelf keeps, each about 150 bytes a voice."""

_VOICE_DOMAIN = b"p2pvoice/shelf/voice/1\0"
_POINT_DOMAIN = b"p2pvoice/shelf/point/1\0"
_SEQUENCE_SIZE, _DIGEST_SIZE, _EPOCH_SIZE = 7, 23, 2
_STEM = _SEQUENCE_SIZE + _DIGEST_SIZE


def voice_key(author: bytes, slug: str) -> bytes:
    """The key of a voice on every shelf; ``author`` is a public key."""
    return digest_of(_VOICE_DOMAIN + author + slug.encode("ascii"))


def point_of(peer: str) -> int:
    """Where on the ring a peer stands."""
    return int.from_bytes(digest_of(_POINT_DOMAIN + peer.encode("ascii")))


def epoch_of(key: bytes, now: float) -> int:
    """Which epoch it is for a voice. Different ones begin at different times, which spreads renewals."""
    shift = int.from_bytes(key[:4]) * EPOCH >> 32
    return max(0, min((int(now) + shift) // EPOCH, EPOCH_LIMIT - 1))


def value_of(release: str, sequence: int, epoch: int) -> bytes:
    """The value of a voice whose newest known release is this one.

    ``sequence`` is that of a signed head that names the release, 0 when none is known. Of two values the
    larger one is the newer: by sequence, of equals (a fork, or no head) by the digest of the release, which
    says nothing and makes all keepers choose alike, of the same release by the epoch.
    """
    if not 0 <= sequence < SEQUENCE_LIMIT:
        raise ManifestError("the sequence of a voice on a shelf is out of range")
    stem = sequence.to_bytes(_SEQUENCE_SIZE) + parse_release_id(release)[:_DIGEST_SIZE]
    return stem + epoch.to_bytes(_EPOCH_SIZE)


def epoch_in(value: bytes) -> int:
    """The epoch in which somebody who offers the voice has said so last."""
    return int.from_bytes(value[_STEM:])


def renewed(value: bytes, epoch: int) -> bytes:
    """The value in a later epoch."""
    return value[:_STEM] + max(epoch, epoch_in(value)).to_bytes(_EPOCH_SIZE)


def same_release(one: bytes, other: bytes) -> bool:
    """Whether two values name one release and differ by their epochs at most."""
    return one[:_STEM] == other[:_STEM]


def release_in(value: bytes) -> bytes:
    """What a value tells of the release: the first bytes of its digest."""
    return value[_SEQUENCE_SIZE:_STEM]


def is_current(key: bytes, value: bytes, now: float) -> bool:
    """Whether a voice may still be on a shelf: renewed lately, and not in the future."""
    return -EPOCHS_KEPT <= epoch_in(value) - epoch_of(key, now) <= 1


@dataclass(frozen=True)
class Arc:
    """The keys at most ``reach`` away from ``center`` on the ring, either way."""

    center: int
    reach: int = HALF

    def __post_init__(self) -> None:
        if not 0 <= self.center < RING or not 0 <= self.reach <= HALF:
            raise ManifestError("an arc of keys is out of range")

    @property
    def whole(self) -> bool:
        """Whether it is the whole ring."""
        return self.reach == HALF

    def distance(self, key: bytes) -> int:
        """How far a key is from the center."""
        way = (int.from_bytes(key) - self.center) % RING
        return min(way, RING - way)

    def __contains__(self, key: bytes) -> bool:
        return self.reach == HALF or self.distance(key) <= self.reach

    def overlaps(self, other: "Arc") -> bool:
        """Whether any key lies in both."""
        return self.distance(other.center.to_bytes(KEY_SIZE)) <= self.reach + other.reach


@dataclass(frozen=True)
class Card:
    """What a keeper notes of one voice: key, value, author's public key, canonical tags of the release.

    ``own`` says that the release is offered here; ``created`` is when the release says it was made, in
    seconds since 1970, and 0 when that does not matter any more.
    """

    key: bytes
    value: bytes
    author: bytes
    tags: tuple[str, ...]
    own: bool = False
    created: int = 0


class Verdict(Enum):
    """What becomes of a pair that somebody names."""

    WANTED = "wanted"
    RENEWED = "renewed"
    """The same release as here, in a later epoch: nothing has to be fetched."""
    KNOWN = "known"
    """As new as it is here already, or older."""
    OUTSIDE = "outside"
    """No room: it lies outside the arc, or is refused for a while."""
    REVOKED = "revoked"
    """It was revoked, and this node may show by whom."""
    DATED = "dated"
    """Nobody has offered it for long, or it comes from the future."""


class Shelf:
    """The voices of one tag. ``point`` is the node's place on the ring.

    ``values`` has the pairs, ``own`` the keys among them that are offered here, ``arc`` says which of the
    others there is room for. To be changed by its methods only.
    """

    def __init__(self, point: int, room: int = ROOM, author_room: int = AUTHOR_ROOM) -> None:
        self.point = point
        self.room = room
        self.author_room = author_room
        self.values: dict[bytes, bytes] = {}
        self.own: set[bytes] = set()
        self.arc = Arc(point)
        self._version = 0
        self._author: dict[bytes, bytes] = {}
        self._by_author: dict[bytes, set[bytes]] = {}
        # Keys of others, the farthest first; some of them may be gone.
        self._far: list[tuple[int, bytes]] = []
        self._pairs: dict[tuple[Arc, ...], tuple[int, Pairs]] = {}

    def __len__(self) -> int:
        return len(self.values)

    @property
    def partial(self) -> bool:
        """Whether it leaves out what lies far from the node's point."""
        return not self.arc.whole

    def put(self, card: Card) -> list[bytes]:
        """Put a voice on the shelf, or renew it; the keys that had to go for it, perhaps its own."""
        self._version += 1
        self.values[card.key] = card.value
        if card.own:
            self.own.add(card.key)
            self._disown(card.key)
            return []
        self.own.discard(card.key)
        if card.key not in self._author:
            self._author[card.key] = card.author
            self._by_author.setdefault(card.author, set()).add(card.key)
            heapq.heappush(self._far, (-self.arc.distance(card.key), card.key))
        return self._make_room(card)

    def remove(self, key: bytes) -> None:
        """Take a voice off the shelf."""
        if self.values.pop(key, None) is not None:
            self._version += 1
            self.own.discard(key)
            self._disown(key)

    def resize(self, room: int) -> list[bytes]:
        """Have room for so many voices of others from now on; the keys that had to go for it."""
        self.room = room
        dropped = []
        while len(self._author) > self.room:
            dropped.append(self._drop_farthest())
        return dropped

    def pairs(self, *arcs: Arc) -> Pairs:
        """The set for a comparison: what is here of these arcs and of the shelf's own."""
        limited = tuple(arc for arc in (self.arc, *arcs) if not arc.whole)
        held = self._pairs.get(limited)
        if held is not None and held[0] == self._version:
            return held[1]
        values = self.values
        if limited:
            values = {key: value for key, value in values.items() if all(key in arc for arc in limited)}
        pairs = Pairs(values)
        while len(self._pairs) >= PAIRS_KEPT:
            del self._pairs[next(iter(self._pairs))]
        self._pairs[limited] = (self._version, pairs)
        return pairs

    def strays(self, theirs: Arc) -> list[bytes]:
        """What is offered here and lies in another keeper's arc and not in ours: no comparison shows it."""
        return [key for key in self.own if key not in self.arc and key in theirs]

    def around(
        self, after: bytes | None, limit: int, fits: Callable[[bytes], bool] = lambda key: True
    ) -> list[bytes]:
        """Keys that fit, in the order in which a shelf is read out: from the node's point on, once around.

        ``after`` is the last key that was read, None at the beginning. Two keepers begin at different places,
        so that two short answers add up.
        """

        def way(key: bytes) -> int:
            return (int.from_bytes(key) - self.point) % RING

        start = 0 if after is None else way(after) + 1
        ahead = ((way(key), key) for key in self.values if fits(key))
        return [key for _, key in heapq.nsmallest(limit, (one for one in ahead if one[0] >= start))]

    def widen(self) -> None:
        """Reach further when there is room again; what lies there comes with the next comparisons."""
        held = len(self._author)
        if self.partial and held < self.room * 3 // 4:
            reach = (self.arc.reach + 1) * self.room // max(held, self.room // 2, 1)
            self.arc = Arc(self.point, min(HALF, reach))
            self._version += 1

    def _make_room(self, card: Card) -> list[bytes]:
        dropped = []
        of_author = self._by_author[card.author]
        if len(of_author) > self.author_room:
            dropped.append(max(of_author, key=lambda key: (self.arc.distance(key), key)))
            self.remove(dropped[0])
        elif len(self._author) > self.room:
            dropped.append(self._drop_farthest())
        if card.key in self.values and card.key not in self.arc:
            self.remove(card.key)
            dropped.append(card.key)
        return dropped

    def _drop_farthest(self) -> bytes:
        while True:
            _, key = heapq.heappop(self._far)
            if key in self._author:
                break
        self.remove(key)
        self.arc = Arc(self.point, min(self.arc.reach, max(0, self.arc.distance(key) - 1)))
        return key

    def _disown(self, key: bytes) -> None:
        author = self._author.pop(key, None)
        if author is None:
            return
        keys = self._by_author[author]
        keys.discard(key)
        if not keys:
            del self._by_author[author]
        if len(self._far) > 2 * len(self._author) + PAIRS_KEPT:
            self._far = [(-self.arc.distance(one), one) for one in self._author]
            heapq.heapify(self._far)
