"""One keeper of shelves: what it keeps, what it takes, what it tells, and who gets hints of news.

All of a keeper's logic without a network, a clock, a disk or a thread: the node wraps it (node/shelves/), and
a simulation drives thousands of it. Whoever drives it:

1. makes ``Keeper(peer_id)`` and calls :meth:`~Keeper.keep` with the tags of what is offered, whenever that
   changes, then :meth:`~Keeper.put` with a :class:`~p2pvoice.protocol.shelf.Card` for each voice offered
   (``own=True``) and each one that is on the disk from before;
2. from time to time looks up the providers of ``keeper.peers.lookups`` in the DHT, and tells
   ``keeper.peers.providers``; tells ``keeper.peers.arrived`` when a peer connects;
3. asks :meth:`~Keeper.partners` whom to talk to now, and runs ``shelf_talk.talk`` with each (and tells
   ``keeper.peers.failed`` when that raises); answers others with ``shelf_talk.answer``; after each, and after
   putting something new, asks :meth:`~Keeper.hints` and runs ``shelf_talk.hint`` with each;
4. calls :meth:`~Keeper.tidy` once an hour.

tests/protocol/shelves.py does all this in memory and is a beginning for a simulation.

``now`` is in seconds since 1970 everywhere. Nothing is awaited, so one task at a time may be inside. Follows
specs/shelves.md.
"""

import random
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from p2pvoice.protocol.reconcile import Difference, Pair
from p2pvoice.protocol.shelf import (
    AUTHOR_ROOM,
    ROOM,
    Arc,
    Card,
    Shelf,
    Verdict,
    epoch_of,
    is_current,
    point_of,
    release_in,
    renewed,
    same_release,
)
from p2pvoice.protocol.shelf_memory import Memory
from p2pvoice.protocol.shelf_messages import PAIRS_TOUCHED, Contact
from p2pvoice.protocol.shelf_peers import Peers

ROOM_OF_ALL = 20_000
"""Voices of others on all shelves together; when there are more, the shelf that has most leaves some out."""

HINT_PEERS = 4
"""Keepers that are told of something new."""

HINT_PEERS_OWN = 8
"""Keepers that are told of something new that is the node's own."""

HINT_AGE = 86_400.0
"""Seconds after its creation for which a release is passed on as news."""

HINTS_WAITING = 1_024
"""Peers and tags for which hints wait; of more, others learn by comparing."""

PULL_LIMIT = 2_048
"""Voices taken from one keeper in one talk about one tag."""

PUSH_LIMIT = 1_024
"""Pairs of voices that one keeper is told of in one talk about one tag."""

PENDING_SECONDS = 10.0
"""Seconds for which a voice that was asked for is not asked for again."""


@dataclass(frozen=True)
class Plan:
    """What to do about differences: keys to pull, pairs to name to the other side, whether more is left.

    ``revoked`` are the records of what the other side has and was revoked.
    """

    pull: tuple[bytes, ...]
    push: tuple[Pair, ...]
    more: bool
    revoked: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Change:
    """What :meth:`Keeper.put` did: whether the voice is on a shelf now, and which are on none any more."""

    kept: bool
    dropped: tuple[Card, ...] = ()


class Keeper:
    """The shelves of one node."""

    def __init__(
        self,
        peer: str,
        *,
        room: int = ROOM,
        author_room: int = AUTHOR_ROOM,
        of_all: int = ROOM_OF_ALL,
        chance: random.Random | None = None,
    ) -> None:
        self.peer = peer
        self.point = point_of(peer)
        self._room = room
        self._author_room = author_room
        self._of_all = of_all
        self._chance = chance or random.Random()
        self._shelves: dict[str, Shelf] = {}
        self.peers = Peers(peer, self._chance)
        self.cards: dict[bytes, Card] = {}
        """Every voice that is on a shelf here, by key."""
        self.renewed: set[bytes] = set()
        """Keys whose epochs have moved on; whoever keeps the cards on a disk empties it."""
        self.revoked: dict[bytes, list[tuple[bytes | None, bytes]]] = {}
        """Revocations that others may be shown, by the key of the voice: what :func:`~shelf.release_in` tells
        of the release that is revoked, None for the whole voice, and the signed record."""
        self._refused, self._told = Memory(), Memory()
        self._pending = Memory(PENDING_SECONDS)
        self._news: OrderedDict[tuple[str, str], dict[bytes, bytes]] = OrderedDict()

    # -- shelves -----------------------------------------------------------------------------------------

    @property
    def tags(self) -> list[str]:
        """The tags whose shelves are kept here."""
        return list(self._shelves)

    def shelf(self, tag: str) -> Shelf | None:
        """The shelf of a tag, if it is kept here."""
        return self._shelves.get(tag)

    def keep(self, tags: Iterable[str]) -> list[Card]:
        """Keep the shelves of these tags and of no others; the cards that are on none any more."""
        wanted = dict.fromkeys(tags)
        self.peers.keep(wanted)
        for tag in [tag for tag in self._shelves if tag not in wanted]:
            del self._shelves[tag]
        for tag in wanted:
            if tag not in self._shelves:
                self._shelves[tag] = shelf = Shelf(self.point, self._room, self._author_room)
                for card in self.cards.values():
                    if tag in card.tags:
                        shelf.put(card)
        self._share_out()
        return self._forget_unkept(list(self.cards))

    def judge(self, peer: str, tag: str, key: bytes, value: bytes, now: float) -> Verdict:
        """What becomes of a pair that another keeper names."""
        shelf, held = self.shelf(tag), self.cards.get(key)
        if self.revocation(key, value) is not None:
            return Verdict.REVOKED
        if not is_current(key, value, now):
            return Verdict.DATED
        if held is not None and held.value >= value:
            return Verdict.KNOWN
        if held is not None and same_release(held.value, value):
            return Verdict.RENEWED
        if shelf is None or not shelf.has_place(key):
            return Verdict.OUTSIDE
        if self._refused.holds("", key, value, now) or self._refused.holds(peer, key, value, now):
            return Verdict.OUTSIDE
        return Verdict.WANTED

    def revocation(self, key: bytes, value: bytes) -> bytes | None:
        """The record by which what a pair names was revoked, if it was."""
        for release, record in self.revoked.get(key, ()):
            if release is None or release == release_in(value):
                return record
        return None

    def put(self, card: Card, now: float, source: str = "") -> Change:
        """Put a voice on the shelves of its tags that are kept here, unless what is held is as new.

        ``source`` is the peer it came from. What is new and young becomes news, for :meth:`hints`.
        """
        held = self.cards.get(card.key)
        if card.own:
            card = replace(card, value=renewed(card.value, epoch_of(card.key, now)))
            if held is not None and held.value > card.value:
                if not same_release(held.value, card.value):
                    # A newer release than the one offered here is known: the voice stays, as somebody else's.
                    return Change(True)
                card = replace(card, value=held.value)
        elif held is not None and held.value >= card.value:
            return Change(True)
        elif held is not None and same_release(held.value, card.value):
            return Change(self.renew(card.key, card.value, now))
        changed = held is None or not same_release(held.value, card.value)
        touched = {card.key}
        self.cards[card.key] = card
        for tag, shelf in self._shelves.items():
            if tag in card.tags:
                touched.update(shelf.put(card))
            elif held is not None and tag in held.tags:
                shelf.remove(card.key)
        touched.update(self._share_out())
        kept = any(card.key in shelf.values for shelf in self._shelves.values())
        if kept and changed and 0 <= now - card.created < HINT_AGE:
            self._announce(card, source)
        if not kept:
            self._refused.note("", card.key, card.value, now)
        return Change(kept, tuple(self._forget_unkept(touched)))

    def renew(self, key: bytes, value: bytes, now: float) -> bool:
        """Somebody says that a voice is offered in a later epoch; whether that is news."""
        held = self.cards.get(key)
        if held is None or held.value >= value or not same_release(held.value, value):
            return False
        if not is_current(key, value, now):
            return False
        self._rewrite(held, value)
        return True

    def disown(self, key: bytes) -> list[Card]:
        """A voice is not offered here any more: it stays as others' voices do, if there is room."""
        held = self.cards.get(key)
        if held is None or not held.own:
            return []
        card = replace(held, own=False)
        self.cards[key] = card
        touched = {key}
        for tag, shelf in self._shelves.items():
            if tag in card.tags:
                touched.update(shelf.put(card))
        touched.update(self._share_out())
        return self._forget_unkept(touched)

    def remove(self, key: bytes, now: float) -> None:
        """Take a voice off all shelves, because it was revoked or forgotten; it is not taken again soon."""
        card = self.cards.pop(key, None)
        if card is None:
            return
        self._refused.note("", key, card.value, now)
        for shelf in self._shelves.values():
            shelf.remove(key)

    def broke(self, peer: str, key: bytes, value: bytes, now: float) -> None:
        """Remember that a peer named a voice and did not give it: it is not asked of this one again soon.

        Of others it is, or anybody could keep a voice away by naming a value that it never had.
        """
        self._refused.note(peer, key, value, now)

    def tidy(self, now: float) -> list[Card]:
        """Renew what is offered here and take off what nobody has renewed; the cards that are gone."""
        gone = []
        for card in list(self.cards.values()):
            if card.own:
                value = renewed(card.value, epoch_of(card.key, now))
                if value != card.value:
                    self._rewrite(card, value)
            elif not is_current(card.key, card.value, now):
                gone.append(self.cards.pop(card.key))
                for shelf in self._shelves.values():
                    shelf.remove(card.key)
        if self._held() < self._of_all * 3 // 4:
            for shelf in self._shelves.values():
                shelf.widen()
        return gone

    # -- comparing ---------------------------------------------------------------------------------------

    def plan(self, peer: str, tag: str, differences: Sequence[Difference], theirs: Arc, now: float) -> Plan:
        """What to do about what differs on a shelf, and about what no comparison with this keeper shows."""
        pull, push, revoked = [], [], []
        for one in differences:
            if one.theirs is not None and (one.ours is None or one.theirs > one.ours):
                match self.judge(peer, tag, one.key, one.theirs, now):
                    case Verdict.WANTED:
                        pull.append(one.key)
                    case Verdict.RENEWED:
                        self.renew(one.key, one.theirs, now)
                    case Verdict.REVOKED:
                        revoked.append(self.revocation(one.key, one.theirs) or b"")
            elif one.ours is not None:
                push.append((one.key, one.ours))
        shelf = self.shelf(tag)
        for key in shelf.strays(theirs) if shelf is not None else ():
            push.append((key, self.cards[key].value))
        push = [
            (key, value)
            for key, value in push
            if is_current(key, value, now) and not self._told.holds(f"{peer} {tag}", key, value, now)
        ]
        # Nobody's voice is always the first to be left out.
        self._chance.shuffle(pull)
        self._chance.shuffle(push)
        more = len(pull) > PULL_LIMIT or len(push) > PUSH_LIMIT
        return Plan(tuple(pull[:PULL_LIMIT]), tuple(push[:PUSH_LIMIT]), more, tuple(revoked))

    def told(self, peer: str, tag: str, pairs: Iterable[Pair], now: float) -> None:
        """The other keeper was told of these pairs: it has them, or does not want them."""
        for key, value in pairs:
            self._told.note(f"{peer} {tag}", key, value, now)

    def touched(self, peer: str, tag: str, pairs: Sequence[Pair], now: float) -> list[int]:
        """Another keeper names pairs: the places of those that this node wants to be told."""
        wanted = []
        for index, (key, value) in enumerate(pairs):
            match self.judge(peer, tag, key, value, now):
                case Verdict.WANTED:
                    # Several may hint at the same: the first one tells.
                    if not self._pending.holds("", key + value, b"", now):
                        self._pending.note("", key + value, b"", now)
                        wanted.append(index)
                case Verdict.RENEWED:
                    self.renew(key, value, now)
        self.told(peer, tag, [pair for pair in pairs if pair[0] in self.cards], now)
        return wanted

    def partners(self, now: float, connected: Collection[str] = ()) -> list[tuple[Contact, list[str]]]:
        """Whom to talk to now, about which tags."""
        arcs = {tag: shelf.arc for tag, shelf in self._shelves.items()}
        return self.peers.partners(now, arcs, connected)

    # -- news --------------------------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether hints wait to be given."""
        return bool(self._news)

    def hints(self, now: float) -> list[tuple[Contact, str, tuple[Pair, ...]]]:
        """Which peers to tell now of which news, tag by tag; none of it is given twice."""
        given = []
        for (peer, tag), pairs in self._news.items():
            fresh = [
                (key, value)
                for key, value in pairs.items()
                if key in self.cards and not self._told.holds(f"{peer} {tag}", key, value, now)
            ]
            self.told(peer, tag, fresh, now)
            if fresh:
                given.append((self.peers.contact(peer), tag, tuple(fresh[:PAIRS_TOUCHED])))
        self._news.clear()
        return given

    def _announce(self, card: Card, source: str) -> None:
        width = HINT_PEERS_OWN if card.own else HINT_PEERS
        # One hint is enough for a peer, whatever number of tags both keep.
        hinted: set[str] = set()
        for tag in self._shelves:
            if tag not in card.tags:
                continue
            for peer in self.peers.for_news(tag, card.key, source, width, hinted):
                hinted.add(peer)
                if (peer, tag) not in self._news and len(self._news) >= HINTS_WAITING:
                    continue
                pairs = self._news.setdefault((peer, tag), {})
                if len(pairs) < PAIRS_TOUCHED:
                    pairs[card.key] = card.value

    # -- the rest ----------------------------------------------------------------------------------------

    def _held(self) -> int:
        return sum(shelf.held for shelf in self._shelves.values())

    def _share_out(self) -> list[bytes]:
        """Leave something out where there is most, until all shelves have room together; keys that had to go.

        So a flood of one tag takes nothing from the shelves of others.
        """
        gone = []
        while self._held() > self._of_all:
            gone += max(self._shelves.values(), key=lambda shelf: shelf.held).shrink()
        return gone

    def _rewrite(self, card: Card, value: bytes) -> None:
        card = replace(card, value=value)
        self.cards[card.key] = card
        self.renewed.add(card.key)
        for tag, shelf in self._shelves.items():
            if tag in card.tags and card.key in shelf.values:
                shelf.put(card)

    def _forget_unkept(self, keys: Iterable[bytes]) -> list[Card]:
        gone = [
            key
            for key in keys
            if key in self.cards and not any(key in shelf.values for shelf in self._shelves.values())
        ]
        return [self.cards.pop(key) for key in gone]
