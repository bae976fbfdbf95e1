"""Shelves: the set of voices of one tag that a keeper answers for, and by what rules it changes.

A keeper of a tag holds, besides what it offers itself, what other keepers brought. Each voice is one pair
of 32 bytes: :func:`voice_key`, and a value in which the larger one is always the newer one. So two shelves
are compared with reconcile.py, and whoever has the smaller value takes the larger one. Where a shelf has not
room for all, each author has a *share* of it; where that does not do, it holds an *arc*: the authors nearest
to the node's own point. Both follow from the keys alone, so any two keepers hold the same where their arcs
overlap, up to the smaller share. Nothing here sends, waits, or knows the clock. Not for whom to talk to
(shelf_keeper.py) nor for what is said (shelf_talk.py). Follows specs/shelves.md.
"""

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.head import SEQUENCE_LIMIT
from p2pvoice.protocol.ids import digest_of, parse_release_id
from p2pvoice.protocol.reconcile import KEY_SIZE, Pairs

ROOM = 10_000
"""Voices of others on one shelf."""

AUTHOR_ROOM = 200
"""Of them, voices of one author: the share as long as there is room."""

SHARE = 8
"""Voices of one author on a full shelf, before it leaves out authors."""

SHARE_LIMIT = 1 << 16
"""Shares told by others lie below this."""

AUTHOR_SIZE = 16
"""Bytes of a key that say whose voice it is; the rest says which of them."""

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

_AUTHOR_DOMAIN = b"p2pvoice/shelf/author/1\0"
_VOICE_DOMAIN = b"p2pvoice/shelf/voice/1\0"
_POINT_DOMAIN = b"p2pvoice/shelf/point/1\0"
_SEQUENCE_SIZE, _DIGEST_SIZE, _EPOCH_SIZE = 7, 23, 2
_STEM = _SEQUENCE_SIZE + _DIGEST_SIZE


def voice_key(author: bytes, slug: str) -> bytes:
    """The key of a voice on every shelf; ``author`` is a public key. One author's keys lie side by side."""
    whose = digest_of(_AUTHOR_DOMAIN + author)[:AUTHOR_SIZE]
    return whose + digest_of(_VOICE_DOMAIN + author + slug.encode("ascii"))[: KEY_SIZE - AUTHOR_SIZE]


def point_of(peer: str) -> int:
    """Where on the ring a peer stands."""
    return int.from_bytes(digest_of(_POINT_DOMAIN + peer.encode("ascii")))


def epoch_of(key: bytes, now: float) -> int:
    """Which epoch it is for a voice. Different ones begin at different times, which spreads renewals."""
    shift = int.from_bytes(key[-4:]) * EPOCH >> 32
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
    """What a shelf has room for: the authors at most ``reach`` away from ``center`` on the ring, either way,
    and of each of them ``share`` voices, those with the smallest keys.

    An author lies where the first ``AUTHOR_SIZE`` bytes of its keys are, followed by zeros.
    """

    center: int
    reach: int = HALF
    share: int = AUTHOR_ROOM

    def __post_init__(self) -> None:
        if not 0 <= self.center < RING or not 0 <= self.reach <= HALF or not 0 < self.share < SHARE_LIMIT:
            raise ManifestError("an arc of keys is out of range")

    @property
    def whole(self) -> bool:
        """Whether it is the whole ring."""
        return self.reach == HALF

    def distance(self, key: bytes) -> int:
        """How far the author of a key is from the center."""
        way = (int.from_bytes(key[:AUTHOR_SIZE].ljust(KEY_SIZE, b"\0")) - self.center) % RING
        return min(way, RING - way)

    def __contains__(self, key: bytes) -> bool:
        return self.reach == HALF or self.distance(key) <= self.reach

    def overlaps(self, other: "Arc") -> bool:
        """Whether any author may lie in both."""
        way = (other.center - self.center) % RING
        return min(way, RING - way) <= self.reach + other.reach


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
        self.arc = Arc(point, share=author_room)
        self._version = 0
        # By author, the keys in order, own ones among them: the place of a key is its rank.
        self._authors: dict[bytes, list[bytes]] = {}
        # Authors, the farthest first; some of them may be gone.
        self._far: list[tuple[int, bytes]] = []
        self._pairs: dict[tuple[Arc, ...], tuple[int, Pairs]] = {}

    def __len__(self) -> int:
        return len(self.values)

    @property
    def held(self) -> int:
        """Voices of others, which take room."""
        return len(self.values) - len(self.own)

    @property
    def partial(self) -> bool:
        """Whether it leaves out authors that lie far from the node's point."""
        return not self.arc.whole

    def has_place(self, key: bytes) -> bool:
        """Whether another's voice with this key would stay: it lies in the arc and in its author's share."""
        return key in self.arc and self._rank(key) < self.arc.share

    def put(self, card: Card) -> list[bytes]:
        """Put a voice on the shelf, or renew it; the keys that had to go for it, perhaps its own."""
        self._version += 1
        key = card.key
        if key not in self.values:
            whose = key[:AUTHOR_SIZE]
            if whose not in self._authors:
                self._authors[whose] = []
                self._note_far(whose)
            insort(self._authors[whose], key)
        self.values[key] = card.value
        (self.own.add if card.own else self.own.discard)(key)
        return self._make_room(key)

    def remove(self, key: bytes) -> None:
        """Take a voice off the shelf."""
        if self.values.pop(key, None) is not None:
            self._version += 1
            self.own.discard(key)
            keys = self._authors[key[:AUTHOR_SIZE]]
            del keys[bisect_left(keys, key)]
            if not keys:
                del self._authors[key[:AUTHOR_SIZE]]

    def shrink(self) -> list[bytes]:
        """Leave out more: a smaller share of each author, down to ``SHARE``; then the farthest authors.

        About a sixteenth of the room becomes free, so that it is not looked through for each voice that
        comes. The keys that had to go; none when all is offered here.
        """
        aim = self.held - max(1, self.held // 16)
        least = min(SHARE, self.author_room)
        if self.arc.share > least:
            # How many voices of others stand at each rank.
            ranks = Counter(rank for keys in self._authors.values() for rank in self._ranks(keys))
            share, kept = least, sum(count for rank, count in ranks.items() if rank < least)
            while share + 1 < self.arc.share and kept + ranks[share] <= aim:
                kept += ranks[share]
                share += 1
            self.arc = Arc(self.point, self.arc.reach, share)
            self._version += 1
            gone = [key for keys in self._authors.values() for key in self._beyond_share(keys)]
            for key in gone:
                self.remove(key)
            if gone:
                return gone
        return self._drop_farthest(aim)

    def pairs(self, *arcs: Arc) -> Pairs:
        """The set for a comparison: what is here of these arcs and the shelf's own, up to the least share."""
        share = min(arc.share for arc in (self.arc, *arcs))
        limited = tuple(arc for arc in (self.arc, *arcs) if not arc.whole)
        asked = (*limited, Arc(0, share=share))
        held = self._pairs.get(asked)
        if held is not None and held[0] == self._version:
            return held[1]
        pairs = Pairs(
            {
                key: self.values[key]
                for keys in self._authors.values()
                if all(keys[0] in arc for arc in limited)
                for key in keys[:share]
            }
        )
        while len(self._pairs) >= PAIRS_KEPT:
            del self._pairs[next(iter(self._pairs))]
        self._pairs[asked] = (self._version, pairs)
        return pairs

    def strays(self, theirs: Arc) -> list[bytes]:
        """What is offered here, may have a place with another keeper, and shows in no comparison with it."""
        return [
            key
            for key in self.own
            if not self.has_place(key) and key in theirs and self._rank(key) < theirs.share
        ]

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
        """Reach further when there is room again, then have more of each; it comes with the next talks."""
        if self.held >= self.room * 3 // 4:
            return
        grown = self.room * 16 // max(self.held, self.room // 2, 1)
        if self.partial:
            reach = min(HALF, (self.arc.reach + 1) * grown // 16)
            self.arc = Arc(self.point, reach, self.arc.share)
            self._version += 1
        elif self.arc.share < self.author_room:
            share = min(self.author_room, max(self.arc.share + 1, self.arc.share * grown // 16))
            self.arc = Arc(self.point, self.arc.reach, share)
            self._version += 1

    def _rank(self, key: bytes) -> int:
        """How many voices of the same author with smaller keys are here."""
        return bisect_left(self._authors.get(key[:AUTHOR_SIZE], ()), key)

    def _ranks(self, keys: list[bytes]) -> Iterator[int]:
        return (rank for rank, key in enumerate(keys) if key not in self.own)

    def _beyond_share(self, keys: list[bytes]) -> list[bytes]:
        return [key for key in keys[self.arc.share :] if key not in self.own]

    def _make_room(self, key: bytes) -> list[bytes]:
        keys = self._authors[key[:AUTHOR_SIZE]]
        dropped = self._beyond_share(keys)
        if key not in self.own and key not in self.arc and key not in dropped:
            dropped.append(key)
        for one in dropped:
            self.remove(one)
        while self.held > self.room:
            dropped += self.shrink()
        return dropped

    def _note_far(self, whose: bytes) -> None:
        heapq.heappush(self._far, (-self.arc.distance(whose), whose))
        if len(self._far) > 2 * len(self._authors) + PAIRS_KEPT:
            self._far = [(-self.arc.distance(one), one) for one in self._authors]
            heapq.heapify(self._far)

    def _drop_farthest(self, aim: int) -> list[bytes]:
        """Leave out the farthest authors until no more than ``aim`` voices of others are here."""
        dropped: list[bytes] = []
        passed = []
        while self._far and self.held > aim:
            far, whose = heapq.heappop(self._far)
            keys = self._authors.get(whose)
            if keys is None:
                continue
            gone = [key for key in keys if key not in self.own]
            if len(gone) < len(keys):
                passed.append((far, whose))
            if gone:
                self.arc = Arc(self.point, min(self.arc.reach, max(0, -far - 1)), self.arc.share)
                self._version += 1
            for key in gone:
                self.remove(key)
            dropped += gone
        for one in passed:
            heapq.heappush(self._far, one)
        return dropped
