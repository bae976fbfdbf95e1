"""The other keepers that a keeper knows of: of which tags, which part of a shelf, and when to talk to whom.

Hints, all of it: who does not answer is forgotten, who says that it keeps nothing is, too. Not for what is
said (shelf_talk.py). Follows specs/shelves.md, "Whom to talk to".
"""

import random
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from p2pvoice.protocol.shelf import Arc
from p2pvoice.protocol.shelf_memory import Memory
from p2pvoice.protocol.shelf_messages import OTHERS_LIMIT, TAGS_COMPARED, Contact

TALK_EVERY = 900.0
"""Seconds between two times a tag is compared with a few keepers, jittered by 20 %."""

TALK_SOON = 30.0
"""Seconds after which a tag that is new here is compared again; doubled each time."""

TALK_AGAIN = 10.0
"""Seconds after which a tag is compared again when a talk ended before all was settled."""

TALK_PAUSE = 20.0
"""Seconds between two talks with the same keeper at least."""

FAN_OUT = 3
"""Keepers that a tag is compared with each time."""

LOOKUP_EVERY = 3_600.0
"""Seconds between two look-ups of the keepers of a tag while few live ones are known, jittered by 20 %."""

LOOKUP_RARELY = 86_400.0
"""Seconds between two look-ups while enough live keepers are known, jittered by 20 %: these name others."""

KEEPERS_LIVE = 8
"""Keepers that are enough: there was a talk with each within a day, and the last one did not fail."""

LOOKUP_SOON = 60.0
"""Seconds until a look-up is repeated while hardly any keepers are known; doubled each time."""

ASKED_SECONDS = 3_600.0
"""Seconds for which a connected peer is not asked again whether it keeps the shelf of a tag."""

KEEPERS_ENOUGH = 6
"""Keepers of a tag with which connected peers are not asked any more whether they keep it, too."""

KEEPERS_KNOWN = 64
"""Keepers remembered of one tag."""

CONTACTS = 2_048
"""Peers whose addresses are remembered."""

FAILURES = 2
"""Talks in a row that must have failed until a keeper is forgotten."""


@dataclass
class Known:
    """What is known of another keeper of a tag; ``talked`` is when there was a talk last, 0 for never."""

    arc: Arc | None = None
    talked: float = 0.0
    failures: int = 0
    arrived: bool = False

    def is_live(self, now: float) -> bool:
        """Whether there was a talk lately, and the last one went through."""
        return not self.failures and self.talked > 0 and abs(now - self.talked) < LOOKUP_RARELY

    def is_near(self, arc: Arc) -> bool:
        """Whether it may keep what lies in an arc."""
        return self.arc is None or self.arc.overlaps(arc)


@dataclass
class _Tag:
    keepers: "OrderedDict[str, Known]" = field(default_factory=OrderedDict)
    # The first talks come at once: there is nothing here to answer from yet.
    talk_at: float = 0.0
    talk_pause: float = 0.0
    looked_at: float = 0.0
    lookup_pause: float = 0.0
    # Drawn anew at each look-up, so that nodes which start together do not look up together.
    lookup_jitter: float = 1.0


class Peers:
    """The keepers known of each tag that is kept here. Peers are named by their ids."""

    def __init__(self, me: str, chance: random.Random) -> None:
        self._me = me
        self._chance = chance
        self._tags: dict[str, _Tag] = {}
        self._contacts: OrderedDict[str, Contact] = OrderedDict()
        self._asked = Memory(ASKED_SECONDS)

    def keep(self, tags: Collection[str]) -> None:
        """Know keepers of these tags and of no others."""
        self._tags = {tag: self._tags.get(tag) or _Tag() for tag in tags}

    def of(self, tag: str) -> Mapping[str, Known]:
        """The keepers known of a tag."""
        known = self._tags.get(tag)
        return known.keepers if known is not None else {}

    def contact(self, peer: str) -> Contact:
        """A peer with the addresses that were told of it."""
        return self._contacts.get(peer, Contact(peer))

    # -- learning ----------------------------------------------------------------------------------------

    def lookups(self, now: float) -> list[str]:
        """Tags whose keepers should be looked up in the DHT now."""
        due = []
        for tag, one in self._tags.items():
            pause = LOOKUP_RARELY
            # Asked again and again, so that what was enough and died does not leave a keeper alone for a day.
            if sum(known.is_live(now) for known in one.keepers.values()) < KEEPERS_LIVE:
                # Keepers that start together do not find each other at once.
                pause = one.lookup_pause if len(one.keepers) < FAN_OUT else LOOKUP_EVERY
            if not 0 <= now - one.looked_at < pause * one.lookup_jitter:
                one.lookup_pause = min(LOOKUP_EVERY, 2 * one.lookup_pause or LOOKUP_SOON)
                one.looked_at, one.lookup_jitter = now, self._jittered(1.0)
                due.append(tag)
        return due

    def unasked(self, peer: str, now: float) -> list[str]:
        """Tags that a connected peer was not asked about lately and is not known to keep; it is asked now.

        Only those of which hardly any keepers are known: as in a small network, or on a LAN.
        """
        tags = [
            tag
            for tag, one in self._tags.items()
            if len(one.keepers) < KEEPERS_ENOUGH and peer not in one.keepers
            if not self._asked.holds(peer, tag.encode(), b"", now)
        ][:TAGS_COMPARED]
        for tag in tags:
            self._asked.note(peer, tag.encode(), b"", now)
        return tags

    def providers(self, tag: str, contacts: Iterable[Contact]) -> None:
        """Peers that are said to keep the shelf of a tag, by the DHT or by another keeper."""
        one = self._tags.get(tag)
        if one is None:
            return
        for contact in contacts:
            if contact.peer != self._me:
                self._contacts[contact.peer] = contact
                self._contacts.move_to_end(contact.peer)
                self._admit(one, contact.peer)
        while len(self._contacts) > CONTACTS:
            self._contacts.popitem(last=False)

    def met(self, peer: str, tag: str, arc: Arc, now: float) -> None:
        """A peer has shown, by asking or answering, that it keeps a part of the shelf of a tag."""
        one = self._tags.get(tag)
        if one is not None and peer != self._me:
            known = self._admit(one, peer)
            # A talk serves both sides: who has just asked need not be asked.
            known.arc, known.talked, known.failures, known.arrived = arc, now, 0, False

    def lacks(self, peer: str, tag: str) -> None:
        """A peer says that it does not keep the shelf of a tag."""
        one = self._tags.get(tag)
        if one is not None:
            one.keepers.pop(peer, None)

    def failed(self, peer: str, tags: Iterable[str], now: float) -> None:
        """A talk with a peer failed."""
        for one in [self._tags[tag] for tag in tags if tag in self._tags]:
            known = one.keepers.get(peer)
            if known is not None:
                known.failures += 1
                known.talked, known.arrived = now, False
                if known.failures >= FAILURES:
                    del one.keepers[peer]

    def forget(self, peer: str) -> None:
        """A peer turned out to be none."""
        self._contacts.pop(peer, None)
        for one in self._tags.values():
            one.keepers.pop(peer, None)

    def arrived(self, peer: str) -> None:
        """A peer connected: what both keep is compared soon."""
        for one in self._tags.values():
            if peer in one.keepers:
                one.keepers[peer].arrived = True
                one.talk_at = 0.0

    def is_settled(self, peer: str, tags: Iterable[str], now: float) -> bool:
        """Whether there was a talk with a peer about all these tags just now, whoever began it."""
        known = [self.of(tag).get(peer) for tag in tags]
        return all(one is not None and abs(now - one.talked) < TALK_PAUSE for one in known)

    # -- choosing ----------------------------------------------------------------------------------------

    def again(self, peer: str, tag: str, now: float) -> None:
        """A talk about a tag ended before all was settled: it may go on soon."""
        one = self._tags.get(tag)
        if one is not None:
            one.talk_at = min(one.talk_at, now + TALK_AGAIN)
            if peer in one.keepers:
                one.keepers[peer].talked -= TALK_PAUSE

    def partners(
        self, now: float, arcs: Mapping[str, Arc], connected: Collection[str] = ()
    ) -> list[tuple[Contact, list[str]]]:
        """Whom to talk to now, about which tags; ``arcs`` are the node's own, by tag."""
        chosen: dict[str, list[str]] = {}
        for tag, one in self._tags.items():
            if now < one.talk_at <= now + 2 * TALK_EVERY:
                continue
            ready = [peer for peer, known in one.keepers.items() if abs(now - known.talked) >= TALK_PAUSE]
            if ready:
                one.talk_pause = min(TALK_EVERY, 2 * one.talk_pause or TALK_SOON)
                one.talk_at = now + self._jittered(one.talk_pause)
                for peer in self._choose(one, ready, arcs[tag], connected):
                    chosen.setdefault(peer, []).append(tag)
        partners = []
        for peer, tags in chosen.items():
            # What else both are known to keep costs a hundred bytes more while it is alike.
            others = [tag for tag, one in self._tags.items() if peer in one.keepers and tag not in tags]
            partners.append((self.contact(peer), [*tags, *others][:TAGS_COMPARED]))
        return partners

    def others(self, tag: str, asker: str, arc: Arc) -> list[Contact]:
        """Keepers for another one to talk to, those first that keep the same part of the shelf."""
        met = {peer: known for peer, known in self.of(tag).items() if known.talked and not known.failures}
        shown = [peer for peer in met if peer != asker]
        self._chance.shuffle(shown)
        shown.sort(key=lambda peer: not met[peer].is_near(arc))
        return [self.contact(peer) for peer in shown[:OTHERS_LIMIT]]

    def for_news(self, tag: str, key: bytes, source: str, count: int, hinted: Collection[str]) -> list[str]:
        """Keepers to tell of something new, without its source and those who are told already."""
        ready = [
            peer
            for peer, known in self.of(tag).items()
            if not known.failures and (known.arc is None or key in known.arc)
            if peer != source and peer not in hinted
        ]
        return self._chance.sample(ready, min(count, len(ready)))

    def _admit(self, one: _Tag, peer: str) -> Known:
        known = one.keepers.setdefault(peer, Known())
        if len(one.keepers) > KEEPERS_KNOWN:
            # Of those that were never talked with one goes, or else any: whoever is useful is met again.
            spare = [name for name in one.keepers if name != peer]
            unknown = [name for name in spare if not one.keepers[name].talked]
            del one.keepers[self._chance.choice(unknown or spare)]
        return known

    def _choose(self, one: _Tag, ready: list[str], arc: Arc, connected: Collection[str]) -> list[str]:
        """Who has just come first, then keepers of the same part, of these such as are connected."""
        self._chance.shuffle(ready)

        def order(peer: str) -> tuple[bool, bool, bool]:
            known = one.keepers[peer]
            return not known.arrived, not known.is_near(arc), peer not in connected

        ready.sort(key=order)
        # The last one is any keeper: else those who are connected would talk among themselves for ever.
        chosen = ready[:FAN_OUT]
        if len(ready) > FAN_OUT:
            chosen[-1] = self._chance.choice(ready[FAN_OUT - 1 :])
        return chosen

    def _jittered(self, seconds: float) -> float:
        return seconds * self._chance.uniform(0.8, 1.2)
