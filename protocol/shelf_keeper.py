"""One keeper of shelves: what it keeps, whom it talks to and when, and who gets hints of news.

All of a keeper's logic without a network, a clock, a disk or a thread: the node wraps it (node/shelves/), and
a simulation drives thousands of it. Whoever drives it:

1. makes ``Keeper(peer_id)`` and calls :meth:`~Keeper.keep` with the tags of what is offered, whenever that
   changes, then :meth:`~Keeper.put` with a :class:`~p2pvoice.protocol.shelf.Card` for each voice offered
   (``own=True``) and each one that is on the disk from before;
2. from time to time looks up the providers of :meth:`~Keeper.lookups` in the DHT, and tells
   :meth:`~Keeper.providers`; tells :meth:`~Keeper.arrived` when a peer connects;
3. asks :meth:`~Keeper.partners` whom to talk to now, and runs ``shelf_talk.talk`` with each; answers others
   with ``shelf_talk.answer``; after each, and after putting something new, asks :meth:`~Keeper.hints` and runs
   ``shelf_talk.hint`` with each;
4. calls :meth:`~Keeper.tidy` once an hour.

``now`` is in seconds since 1970 everywhere. Nothing is awaited, so one task at a time may be inside. Follows
specs/shelves.md.
"""

import random
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

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
    renewed,
    same_release,
)
from p2pvoice.protocol.shelf_messages import OTHERS_LIMIT, PAIRS_TOUCHED, TAGS_COMPARED, Contact

ROOM_OF_ALL = 20_000
"""Voices of others on all shelves together, shared out evenly among the tags."""

TALK_EVERY = 900.0
"""Seconds between two times a tag is compared with a few keepers, jittered by 20 %."""

TALK_AGAIN = 10.0
"""Seconds after which a tag is compared again when a talk ended before all was settled."""

TALK_PAUSE = 60.0
"""Seconds between two talks with the same keeper at least."""

FAN_OUT = 3
"""Keepers that a tag is compared with each time."""

LOOKUP_EVERY = 3_600.0
"""Seconds between two look-ups of the keepers of a tag, jittered by 20 %."""

KEEPERS_KNOWN = 64
"""Keepers remembered of one tag."""

FAILURES = 2
"""Talks in a row that must have failed until a keeper is forgotten."""

HINT_PEERS = 4
"""Keepers that are told of something new."""

HINT_PEERS_OWN = 8
"""Keepers that are told of something new that is the node's own."""

HINT_AGE = 86_400.0
"""Seconds after its creation for which a release is passed on as news."""

HINTS_WAITING = 4_096
"""Hints that wait to be given; of more, others learn by comparing."""

PULL_LIMIT = 2_048
"""Voices taken from one keeper in one talk about one tag."""

PUSH_LIMIT = 1_024
"""Pairs of voices that one keeper is told of in one talk about one tag."""

MEMORY = 16_384
"""Refusals, and tellings, that are remembered."""

MEMORY_SECONDS = 6 * 3_600.0
"""Seconds for which they are remembered."""

PENDING_SECONDS = 10.0
"""Seconds for which a voice that was asked for is not asked for again."""


class Memory:
    """What was refused or told lately: a name and the value up to which it holds. Bounded by count and time."""

    def __init__(self, seconds: float = MEMORY_SECONDS, limit: int = MEMORY) -> None:
        self._seconds = seconds
        self._limit = limit
        self._noted: OrderedDict[tuple[str, bytes], tuple[bytes, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, name: str, key: bytes, value: bytes, now: float) -> None:
        """Remember a value of a key, under a name."""
        self._noted[name, key] = (value, now)
        self._noted.move_to_end((name, key))
        while len(self._noted) > self._limit:
            self._noted.popitem(last=False)

    def holds(self, name: str, key: bytes, value: bytes, now: float) -> bool:
        """Whether this value, or a larger one, is remembered."""
        noted = self._noted.get((name, key))
        return noted is not None and value <= noted[0] and abs(now - noted[1]) < self._seconds


@dataclass
class Known:
    """What is known of another keeper of a tag. Hints, all of it."""

    arc: Arc | None = None
    count: int = 0
    talked: float = 0.0
    failures: int = 0
    arrived: bool = False


@dataclass(frozen=True)
class Plan:
    """What to do about differences: keys to pull, pairs to touch the other side with, whether more is left."""

    pull: tuple[bytes, ...]
    push: tuple[Pair, ...]
    more: bool


@dataclass(frozen=True)
class Change:
    """What :meth:`Keeper.put` did: whether the voice is on a shelf now, and which cards are on none any more."""

    kept: bool
    dropped: tuple[Card, ...] = ()


@dataclass
class _Kept:
    shelf: Shelf
    keepers: "OrderedDict[str, Known]" = field(default_factory=OrderedDict)
    talk_at: float = 0.0
    lookup_at: float = 0.0


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
        self._point = point_of(peer)
        self._room = room
        self._author_room = author_room
        self._of_all = of_all
        self._chance = chance or random.Random()
        self._kept: dict[str, _Kept] = {}
        self.cards: dict[bytes, Card] = {}
        """Every voice that is on a shelf here, by key."""
        self.renewed: set[bytes] = set()
        """Keys whose epochs have moved on; whoever keeps the cards on a disk empties it."""
        self._contacts: OrderedDict[str, Contact] = OrderedDict()
        self._refused, self._told = Memory(), Memory()
        self._pending = Memory(PENDING_SECONDS)
        self._news: OrderedDict[tuple[str, str], dict[bytes, bytes]] = OrderedDict()

    # -- shelves -----------------------------------------------------------------------------------------

    @property
    def tags(self) -> list[str]:
        """The tags whose shelves are kept here."""
        return list(self._kept)

    def shelf(self, tag: str) -> Shelf | None:
        """The shelf of a tag, if it is kept here."""
        kept = self._kept.get(tag)
        return kept.shelf if kept is not None else None

    def keep(self, tags: Iterable[str], now: float) -> list[Card]:
        """Keep the shelves of these tags and of no others; the cards that are on none any more."""
        wanted = dict.fromkeys(tags)
        for tag in [tag for tag in self._kept if tag not in wanted]:
            del self._kept[tag]
        room = max(1, min(self._room, self._of_all // max(1, len(wanted))))
        for tag in wanted:
            if tag not in self._kept:
                shelf = Shelf(self._point, room, self._author_room)
                # The first talks come at once: there is nothing here to answer from yet.
                self._kept[tag] = _Kept(shelf)
                for card in self.cards.values():
                    if tag in card.tags:
                        shelf.put(card)
            self._kept[tag].shelf.resize(room)
        return self._forget_unkept(list(self.cards))

    def judge(self, tag: str, key: bytes, value: bytes, now: float) -> Verdict:
        """What becomes of a pair that another keeper names."""
        shelf, held = self.shelf(tag), self.cards.get(key)
        if not is_current(key, value, now):
            return Verdict.DATED
        if held is not None and held.value >= value:
            return Verdict.KNOWN
        if held is not None and same_release(held.value, value):
            return Verdict.RENEWED
        if shelf is None or key not in shelf.arc or self._refused.holds("", key, value, now):
            return Verdict.OUTSIDE
        return Verdict.WANTED

    def put(self, card: Card, now: float, source: str = "") -> Change:
        """Put a voice on the shelves of its tags that are kept here, unless what is held is as new.

        ``source`` is the peer it came from. What is new and young becomes news, for :meth:`hints`.
        """
        held = self.cards.get(card.key)
        if card.own:
            card = replace_value(card, renewed(card.value, epoch_of(card.key, now)))
            if held is not None and held.value > card.value:
                if not same_release(held.value, card.value):
                    # A newer release than the one offered here is known: the voice stays, as somebody else's.
                    return Change(True)
                card = replace_value(card, held.value)
        elif held is not None and held.value >= card.value:
            return Change(True)
        elif held is not None and same_release(held.value, card.value):
            return Change(self.renew(card.key, card.value, now))
        changed = held is None or not same_release(held.value, card.value)
        touched = {card.key}
        self.cards[card.key] = card
        kept = False
        for tag, one in self._kept.items():
            if tag in card.tags:
                gone = one.shelf.put(card)
                touched.update(gone)
                kept = kept or card.key not in gone
            elif held is not None and tag in held.tags:
                one.shelf.remove(card.key)
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
        card = Card(held.key, held.value, held.author, held.tags)
        self.cards[key] = card
        touched = {key}
        for tag, one in self._kept.items():
            if tag in card.tags:
                touched.update(one.shelf.put(card))
        return self._forget_unkept(touched)

    def remove(self, key: bytes, now: float) -> None:
        """Take a voice off all shelves, because it was revoked or forgotten; it is not taken again soon."""
        card = self.cards.pop(key, None)
        if card is None:
            return
        self._refused.note("", key, card.value, now)
        for one in self._kept.values():
            one.shelf.remove(key)

    def refuse(self, key: bytes, value: bytes, now: float) -> None:
        """Remember that a voice could not be had, or not be kept, up to this value."""
        self._refused.note("", key, value, now)

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
                for one in self._kept.values():
                    one.shelf.remove(card.key)
        for one in self._kept.values():
            one.shelf.widen()
        return gone

    # -- comparing ---------------------------------------------------------------------------------------

    def plan(
        self, peer: str, tag: str, differences: Sequence[Difference], theirs: Arc, now: float
    ) -> Plan:
        """What to do about what differs on a shelf, and about what no comparison with this keeper shows."""
        pull, push = [], []
        for one in differences:
            if one.theirs is not None and (one.ours is None or one.theirs > one.ours):
                match self.judge(tag, one.key, one.theirs, now):
                    case Verdict.WANTED:
                        pull.append(one.key)
                    case Verdict.RENEWED:
                        self.renew(one.key, one.theirs, now)
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
        return Plan(tuple(pull[:PULL_LIMIT]), tuple(push[:PUSH_LIMIT]), more)

    def told(self, peer: str, tag: str, pairs: Iterable[Pair], now: float) -> None:
        """The other keeper was told of these pairs: it has them, or does not want them."""
        for key, value in pairs:
            self._told.note(f"{peer} {tag}", key, value, now)

    def touched(self, peer: str, tag: str, pairs: Sequence[Pair], now: float) -> list[int]:
        """Another keeper names pairs: the places of those that this node wants to be told."""
        wanted = []
        for index, (key, value) in enumerate(pairs):
            match self.judge(tag, key, value, now):
                case Verdict.WANTED:
                    # Several may hint at the same: the first one tells.
                    if not self._pending.holds("", key, value, now):
                        self._pending.note("", key, value, now)
                        wanted.append(index)
                case Verdict.RENEWED:
                    self.renew(key, value, now)
        self.told(peer, tag, [pair for index, pair in enumerate(pairs) if index not in set(wanted)], now)
        return wanted

    # -- other keepers -----------------------------------------------------------------------------------

    def lookups(self, now: float) -> list[str]:
        """Tags whose keepers should be looked up in the DHT now."""
        due = []
        for tag, one in self._kept.items():
            if not now < one.lookup_at <= now + 2 * LOOKUP_EVERY:
                one.lookup_at = now + self._jittered(LOOKUP_EVERY)
                due.append(tag)
        return due

    def providers(self, tag: str, contacts: Iterable[Contact], now: float) -> None:
        """Peers that are said to keep the shelf of a tag."""
        kept = self._kept.get(tag)
        if kept is None:
            return
        for contact in contacts:
            if contact.peer == self.peer:
                continue
            self._note_contact(contact)
            if contact.peer not in kept.keepers:
                self._admit(kept, contact.peer)

    def met(self, peer: str, tag: str, arc: Arc, now: float, count: int | None = None) -> None:
        """A peer has shown that it keeps the shelf of a tag, and which part of it."""
        kept = self._kept.get(tag)
        if kept is None or peer == self.peer:
            return
        known = self._admit(kept, peer)
        known.arc, known.failures, known.arrived = arc, 0, False
        if count is not None:
            # Only who was asked was compared with.
            known.count, known.talked = count, now

    def lacks(self, peer: str, tag: str) -> None:
        """A peer says that it does not keep the shelf of a tag."""
        kept = self._kept.get(tag)
        if kept is not None:
            kept.keepers.pop(peer, None)

    def failed(self, peer: str, tags: Iterable[str], now: float) -> None:
        """A talk with a peer failed."""
        for tag in tags:
            kept = self._kept.get(tag)
            known = kept.keepers.get(peer) if kept is not None else None
            if kept is None or known is None:
                continue
            known.failures += 1
            known.talked, known.arrived = now, False
            if known.failures >= FAILURES:
                del kept.keepers[peer]

    def arrived(self, peer: str) -> None:
        """A peer connected: what both keep is compared soon."""
        for one in self._kept.values():
            if peer in one.keepers:
                one.keepers[peer].arrived = True
                one.talk_at = 0.0

    def again(self, peer: str, tag: str, now: float) -> None:
        """A talk about a tag ended before all was settled."""
        kept = self._kept.get(tag)
        if kept is None:
            return
        kept.talk_at = min(kept.talk_at, now + TALK_AGAIN)
        if peer in kept.keepers:
            kept.keepers[peer].talked -= TALK_PAUSE

    def partners(self, now: float, connected: Collection[str] = ()) -> list[tuple[Contact, list[str]]]:
        """Whom to talk to now, about which tags. Keepers of a tag that nobody is known of wait for a look-up."""
        chosen: dict[str, list[str]] = {}
        for tag, one in self._kept.items():
            if now < one.talk_at <= now + 2 * TALK_EVERY or not one.keepers:
                continue
            ready = [peer for peer, known in one.keepers.items() if abs(now - known.talked) >= TALK_PAUSE]
            if not ready:
                continue
            one.talk_at = now + self._jittered(TALK_EVERY)
            for peer in self._choose(one, ready, FAN_OUT, connected):
                chosen.setdefault(peer, []).append(tag)
        partners = []
        for peer, tags in chosen.items():
            # What else both are known to keep costs a hundred bytes more while it is alike.
            others = [tag for tag, one in self._kept.items() if peer in one.keepers and tag not in tags]
            partners.append((self.contact(peer), [*tags, *others][:TAGS_COMPARED]))
        return partners

    def others(self, tag: str, asker: str, arc: Arc) -> list[Contact]:
        """Keepers of a tag for another keeper to talk to, those first that keep the same part of the shelf."""
        kept = self._kept.get(tag)
        if kept is None:
            return []
        shown = [peer for peer, known in kept.keepers.items() if peer != asker and known.talked and not known.failures]
        self._chance.shuffle(shown)
        shown.sort(key=lambda peer: not _near(kept.keepers[peer], arc))
        return [self.contact(peer) for peer in shown[:OTHERS_LIMIT]]

    def contact(self, peer: str) -> Contact:
        """A peer with the addresses that were told of it."""
        return self._contacts.get(peer, Contact(peer))

    def keepers(self, tag: str) -> dict[str, Known]:
        """The keepers known of a tag."""
        kept = self._kept.get(tag)
        return dict(kept.keepers) if kept is not None else {}

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
                given.append((self.contact(peer), tag, tuple(fresh[:PAIRS_TOUCHED])))
        self._news.clear()
        return given

    def _announce(self, card: Card, source: str) -> None:
        width = HINT_PEERS_OWN if card.own else HINT_PEERS
        for tag, one in self._kept.items():
            if tag not in card.tags:
                continue
            ready = [
                peer
                for peer, known in one.keepers.items()
                if peer != source and not known.failures and (known.arc is None or card.key in known.arc)
            ]
            # One hint is enough, whatever number of tags both keep.
            ready = [peer for peer in ready if not self._is_hinted(peer, card.key)]
            for peer in self._chance.sample(ready, min(width, len(ready))):
                pairs = self._news.setdefault((peer, tag), {})
                if len(pairs) < PAIRS_TOUCHED and len(self._news) < HINTS_WAITING:
                    pairs[card.key] = card.value

    def _is_hinted(self, peer: str, key: bytes) -> bool:
        return any(key in self._news.get((peer, tag), {}) for tag in self._kept)

    # -- the rest ----------------------------------------------------------------------------------------

    def _rewrite(self, card: Card, value: bytes) -> None:
        card = replace_value(card, value)
        self.cards[card.key] = card
        self.renewed.add(card.key)
        for tag, one in self._kept.items():
            if tag in card.tags and card.key in one.shelf.values:
                one.shelf.put(card)

    def _forget_unkept(self, keys: Iterable[bytes]) -> list[Card]:
        gone = [
            key
            for key in keys
            if key in self.cards and not any(key in one.shelf.values for one in self._kept.values())
        ]
        return [self.cards.pop(key) for key in gone]

    def _admit(self, kept: _Kept, peer: str) -> Known:
        known = kept.keepers.setdefault(peer, Known())
        if len(kept.keepers) > KEEPERS_KNOWN:
            # Of those that were never talked with one goes, or else any: whoever is useful is met again.
            spare = [name for name, one in kept.keepers.items() if name != peer]
            unknown = [name for name in spare if not kept.keepers[name].talked]
            del kept.keepers[self._chance.choice(unknown or spare)]
        return known

    def _choose(self, kept: _Kept, ready: list[str], count: int, connected: Collection[str]) -> list[str]:
        """Who has just come first, then keepers of the same part of the shelf, of these such as are connected."""
        self._chance.shuffle(ready)
        arc = kept.shelf.arc

        def order(peer: str) -> tuple[bool, bool, bool]:
            known = kept.keepers[peer]
            return not known.arrived, not _near(known, arc), peer not in connected

        ready.sort(key=order)
        # The last one is any keeper: else those who are connected would talk among themselves for ever.
        chosen = ready[:count]
        if len(ready) > count:
            chosen[-1] = self._chance.choice(ready[count - 1 :])
        return chosen

    def _note_contact(self, contact: Contact) -> None:
        self._contacts[contact.peer] = contact
        self._contacts.move_to_end(contact.peer)
        while len(self._contacts) > 16 * KEEPERS_KNOWN:
            self._contacts.popitem(last=False)

    def _jittered(self, seconds: float) -> float:
        return seconds * self._chance.uniform(0.8, 1.2)


def replace_value(card: Card, value: bytes) -> Card:
    """The same voice with another value."""
    return Card(card.key, value, card.author, card.tags, card.own, card.created)


def _near(known: Known, arc: Arc) -> bool:
    return known.arc is None or known.arc.overlaps(arc)
