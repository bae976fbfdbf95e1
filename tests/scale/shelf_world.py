"""The keepers of one tag over simulated hours: real keepers, real talks and hints, a modelled network and
clock.

Real: ``Keeper``, ``talk``, ``hint``, ``answer`` and ``Reconciliation`` of protocol/, every message encoded to
be counted. Modelled: time (an event queue), the way (a delay drawn for each message), the DHT (it names the
same 20 to 100 first keepers to everybody), signatures (none), who is there. Follows specs/scale.md, "Keepers
of a tag".
"""

import heapq
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from p2pvoice.protocol.ids import cid_of, digest_of
from p2pvoice.protocol.messages import encode_message
from p2pvoice.protocol.shelf import Card, epoch_of, value_of, voice_key
from p2pvoice.protocol.shelf_entry import Entry
from p2pvoice.protocol.shelf_keeper import Keeper
from p2pvoice.protocol.shelf_messages import Contact
from p2pvoice.protocol.shelf_talk import Ask, Check, Checked, Read, Store, answer, hint, talk

TAG = "tag/t1"
START = 1_800_000_000.0

POLL = 20.0
"""Seconds between two looks of a node whether a talk is due, as node/shelves/rounds.py has it."""

HINT_PAUSE = 0.2
"""Seconds that a node waits with hints, as node/shelves/rounds.py does, so that news goes together."""

DELAY = (0.02, 0.15)
"""Seconds one message is under way, drawn evenly."""

DIAL = 0.3
"""Seconds until a stream to a peer stands; a dead one costs ``DEAD``."""

DEAD = 10.0

RELEASE = 6_800
"""Bytes of a usual signed release with its head: those of tests/scale/keeper.py."""

PROVIDERS = 20
"""Keepers that the DHT names for the tag in this model, always the same: those that came first."""


@dataclass
class Traffic:
    """What one node sent and received, in messages and encoded bytes."""

    messages: int = 0
    sent: int = 0
    received: int = 0
    talks: int = 0
    answered: int = 0
    hints: int = 0


@dataclass
class Node:
    """A keeper, its traffic, and whether it is there."""

    name: str
    keeper: Keeper
    here: bool = True
    busy: bool = False
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True)
class Made:
    """A voice that nobody signed; ``number`` says which."""

    number: int
    created: int

    @property
    def author(self) -> bytes:
        return digest_of(b"author %d" % self.number)

    @property
    def key(self) -> bytes:
        return voice_key(self.author, f"voice-{self.number}")

    def card(self, *, own: bool) -> Card:
        release = cid_of(digest_of(b"release %d" % self.number))
        value = value_of(release, 1, epoch_of(self.key, START))
        return Card(self.key, value, self.author, (TAG,), own, self.created)


def entry_of(card: Card) -> Entry:
    """What stands for a signed release on the wire: as long as one, its beginning says which it is."""
    said = b"|".join((card.key.hex().encode(), card.value.hex().encode(), card.author.hex().encode()))
    return Entry((said + b"|%d|" % card.created).ljust(RELEASE, b"."), b"")


def card_of(entry: Entry) -> Card:
    key, value, author, created = entry.release.split(b"|")[:4]
    unhex = bytes.fromhex
    return Card(
        unhex(key.decode()), unhex(value.decode()), unhex(author.decode()), (TAG,), False, int(created)
    )


class World:
    """``count`` keepers that hold ``voices`` voices, and a queue of what happens when."""

    def __init__(self, count: int, voices: int, *, seed: int = 3, full: bool = True) -> None:
        self.now = START
        self.chance = random.Random(seed)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._turn = 0
        self.nodes = {}
        names = [f"peer-{seed}-{number}" for number in range(count)]
        cards = [Made(number, 0).card(own=False) for number in range(voices)]
        for place, name in enumerate(names):
            keeper = Keeper(name, chance=random.Random(name))
            keeper.keep([TAG])
            for number, card in enumerate(cards):
                own = number % count == place
                if full or own:
                    keeper.put(Made(number, 0).card(own=own) if own else card, self.now)
            self.nodes[name] = Node(name, keeper)
        self.first = [Contact(name) for name in names[:PROVIDERS]]
        for node in self.nodes.values():
            self.at(self.now + self.chance.uniform(0, POLL), lambda node=node: self._poll(node))

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time."""
        self._turn += 1
        heapq.heappush(self._queue, (when, self._turn, what))

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Let things happen until a time, or until ``stop`` says so after one of them."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, what = heapq.heappop(self._queue)
            what()
            if stop():
                return
        self.now = max(self.now, until)

    def fresh(self) -> None:
        """Count anew."""
        for node in self.nodes.values():
            node.traffic = Traffic()

    def publish(self, node: Node, number: int) -> bytes:
        """A node offers something new; its key."""
        card = Made(number, int(self.now)).card(own=True)
        node.keeper.put(card, self.now)
        self._soon_hints(node)
        return card.key

    def knowing(self, key: bytes) -> int:
        """How many of those that are there know a voice."""
        return sum(node.here and key in node.keeper.cards for node in self.nodes.values())

    @property
    def present(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.here]

    # -- what nodes do by themselves ---------------------------------------------------------------------

    def _poll(self, node: Node) -> None:
        self.at(self.now + POLL, lambda: self._poll(node))
        if not node.here:
            return
        peers = node.keeper.peers
        if peers.lookups(self.now):
            peers.providers(TAG, self.first)
        if node.busy:
            return
        for contact, tags in node.keeper.partners(self.now):
            self._talk(node, self.nodes[contact.peer], tags)

    def _talk(self, node: Node, other: Node, tags: list[str]) -> None:
        node.traffic.talks += 1
        if not other.here:

            def gone() -> None:
                node.keeper.peers.failed(other.name, tags, self.now)

            self.at(self.now + DEAD, gone)
            return
        other.traffic.answered += 1
        self._converse(node, other, talk(node.keeper, other.name, tags, self.now))

    def _soon_hints(self, node: Node) -> None:
        if node.keeper.has_news:
            self.at(self.now + HINT_PAUSE, lambda: self._hint(node))

    def _hint(self, node: Node) -> None:
        if not node.here:
            return
        for contact, tag, pairs in node.keeper.hints(self.now):
            other = self.nodes[contact.peer]
            node.traffic.hints += 1
            if other.here:
                self._converse(node, other, hint(node.keeper, other.name, tag, pairs, self.now))

    def _converse(self, asker: Node, other: Node, steps: Generator[Any, Any, Any]) -> None:
        """One conversation, message by message, each with its time on the way."""

        def go_on(result: Any) -> None:
            while True:
                try:
                    step = steps.send(result)
                except StopIteration:
                    self._soon_hints(asker)
                    return
                if isinstance(step, Ask):
                    self.at(self.now + self.chance.uniform(*DELAY), partial(deliver, step.request))
                    return
                result = self._do(asker, step)

        def deliver(request: Any) -> None:
            self._count(asker, other, request)
            replying = answer(other.keeper, asker.name, request, self.now)
            result = None
            while True:
                try:
                    step = replying.send(result)
                except StopIteration as end:
                    said = end.value
                    break
                result = self._do(other, step)
            self._soon_hints(other)
            self._count(other, asker, said)
            self.at(self.now + self.chance.uniform(*DELAY), lambda: go_on(said))

        self.at(self.now + DIAL, lambda: go_on(None))

    def _count(self, sender: Node, receiver: Node, message: Any) -> None:
        size = len(encode_message(message)) + 4
        sender.traffic.messages += 1
        sender.traffic.sent += size
        receiver.traffic.received += size

    def _do(self, node: Node, step: Any) -> Any:
        match step:
            case Read(keys):
                cards = [(key, node.keeper.cards.get(key)) for key in keys]
                return [(key, None if card is None else entry_of(card)) for key, card in cards]
            case Check(entries):
                return Checked(tuple(card_of(entry) for entry in entries))
            case Store():
                return None
        return None


@dataclass(frozen=True)
class Spread:
    """How news spread: seconds to half and to 99 % of those present (None: not within the time), and what it
    cost: messages and bytes a keeper, of the whole time and of an idle hour before."""

    keepers: int
    voices: int
    gone: float
    half: float | None
    most: float | None
    hinted: float
    idle_messages: float
    idle_bytes: float
    busiest: float


def spread(count: int, voices: int, *, gone: float = 0.0, warm: float = 3_600.0, seed: int = 3) -> Spread:
    """A network of keepers that know each other for an hour; then ``gone`` of them die and one has news."""
    world = World(count, voices, seed=seed)
    world.run(world.now + warm)
    world.fresh()
    world.run(world.now + 3_600.0)
    idle = [node.traffic for node in world.nodes.values()]
    messages = sum(one.messages for one in idle) / count
    moved = sum(one.sent + one.received for one in idle) / count
    busiest = max(one.sent + one.received for one in idle) / max(1.0, moved)
    names = list(world.nodes)
    for name in world.chance.sample(names, int(gone * count)):
        world.nodes[name].here = False
    present = world.present
    world.fresh()
    began = world.now
    key = world.publish(world.chance.choice(present), voices + 1)
    knowing, half, most = 0, None, None
    minute = None
    for second in range(2 * 3_600):
        world.run(began + second + 1)
        knowing = world.knowing(key)
        if second == 29:
            minute = knowing / len(present)
        if half is None and knowing >= len(present) / 2:
            half = second + 1.0
        if knowing >= 0.99 * len(present):
            most = second + 1.0
            if second >= 29:
                break
    return Spread(count, voices, gone, half, most, minute or 0.0, messages, moved, busiest)


if __name__ == "__main__":
    for count, voices in ((30, 60), (100, 200), (300, 300)):
        for gone in (0.0, 0.3):
            print(spread(count, voices, gone=gone), flush=True)
