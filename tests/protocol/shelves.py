"""Keepers in memory that talk by calling each other: what the simulation and the tests of the rules drive."""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from p2pvoice.protocol.ids import cid_of, digest_of
from p2pvoice.protocol.messages import encode_message
from p2pvoice.protocol.shelf import Card, epoch_of, value_of, voice_key
from p2pvoice.protocol.shelf_entry import Entry
from p2pvoice.protocol.shelf_keeper import Keeper
from p2pvoice.protocol.shelf_messages import Contact
from p2pvoice.protocol.shelf_talk import Ask, Check, Checked, Outcome, Read, Store, answer, hint, talk

TAG = "language/yue"
NOW = 1_800_000_000.0


@dataclass
class Voice:
    """A voice that is made up: nothing is signed, and a release is a text that names everything."""

    author: bytes
    slug: str
    sequence: int = 1
    tags: tuple[str, ...] = (TAG,)

    @property
    def key(self) -> bytes:
        return voice_key(self.author, self.slug)

    @property
    def entry(self) -> Entry:
        said = "|".join((self.author.hex(), self.slug, str(self.sequence), ",".join(self.tags)))
        return Entry(said.encode(), b"h")

    def card(self, epoch: int, *, own: bool = False, created: int = int(NOW)) -> Card:
        release = cid_of(digest_of(self.entry.release))
        value = value_of(release, self.sequence, epoch)
        return Card(self.key, value, self.author, self.tags, own, created)


def read_voice(entry: Entry) -> Voice:
    author, slug, sequence, tags = entry.release.decode().split("|")
    return Voice(bytes.fromhex(author), slug, int(sequence), tuple(tags.split(",")))


@dataclass
class Node:
    """A keeper and its disk."""

    name: str
    keeper: Keeper
    disk: dict[bytes, Entry] = field(default_factory=dict)
    sent: int = 0
    messages: int = 0

    @classmethod
    def make(cls, name: str, tags: tuple[str, ...] = (TAG,), **options: Any) -> "Node":
        keeper = Keeper(name, chance=random.Random(name), **options)
        keeper.keep(tags)
        return cls(name, keeper)

    def offer(self, voice: Voice, now: float = NOW) -> None:
        """Offer a voice, as after publishing or fetching it."""
        self.disk[voice.key] = voice.entry
        self.keeper.put(voice.card(epoch_of(voice.key, now), own=True), now)

    def knows(self, voice: Voice) -> bool:
        return voice.key in self.keeper.cards and self.disk.get(voice.key) == voice.entry

    def do(self, step: Any) -> Any:
        """A step that is the node's own affair."""
        match step:
            case Read(keys):
                return [(key, self.disk.get(key)) for key in keys]
            case Check(entries):
                voices = [(read_voice(entry), entry.epoch) for entry in entries]
                return Checked(tuple(voice.card(epoch) for voice, epoch in voices))
            case Store(kept, dropped):
                for card, entry in kept:
                    self.disk[card.key] = Entry(entry.release, entry.head)
                for card in dropped:
                    self.disk.pop(card.key, None)
        return None


def drive(steps: Generator[Any, Any, Any], do: Callable[[Any], Any]) -> Any:
    """Run a conversation to its end; what it returns."""
    result = None
    while True:
        try:
            step = steps.send(result)
        except StopIteration as end:
            return end.value
        result = do(step)


def meet(asker: Node, other: Node, now: float = NOW, tags: tuple[str, ...] = (TAG,)) -> Outcome:
    """One talk."""
    return _between(asker, other, talk(asker.keeper, other.name, tags, now), now)


def tell_news(nodes: dict[str, Node], now: float = NOW) -> int:
    """Give hints until nobody has news; how many."""
    given = 0
    while True:
        waiting = [(node, *one) for node in nodes.values() for one in node.keeper.hints(now)]
        if not waiting:
            return given
        for node, contact, tag, pairs in waiting:
            given += 1
            _between(node, nodes[contact.peer], hint(node.keeper, contact.peer, tag, pairs, now), now)


def introduce(*nodes: Node, tag: str = TAG) -> None:
    """Let everybody know of everybody, as a look-up in the DHT does."""
    contacts = [Contact(node.name) for node in nodes]
    for node in nodes:
        node.keeper.peers.providers(tag, contacts)


def _between(asker: Node, other: Node, steps: Generator[Any, Any, Outcome], now: float) -> Outcome:
    def ask(step: Any) -> Any:
        if not isinstance(step, Ask):
            return asker.do(step)
        said = drive(answer(other.keeper, asker.name, step.request, now), other.do)
        asker.sent += len(encode_message(step.request))
        other.sent += len(encode_message(said))
        asker.messages += 1
        other.messages += 1
        return said

    outcome: Outcome = drive(steps, ask)
    return outcome


def voices(count: int, *, author: bytes | None = None, seed: int = 0) -> list[Voice]:
    """So many voices, each by an author of its own unless one is given."""
    chance = random.Random(seed)
    return [Voice(author or chance.randbytes(32), f"voice-{number}") for number in range(count)]
