"""A flood that comes through shelves: attackers' keepers tell honest ones, driven in memory, with both rooms.

For test_shelf_flood.py and `python -m tests.bench.flood --shelves` at the real sizes. Each honest node is
a real keeper (protocol/shelf_keeper.py), and what falls off its shelf goes into a real room (fairness.py), as
on a node's disk.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from p2pvoice.node.fairness import Fairness, Limits, Row
from p2pvoice.protocol.shelf_keeper import Keeper
from p2pvoice.protocol.shelf_talk import Store

from ..protocol.shelves import NOW, TAG, Node, Voice, meet

ROOM = 1_000
PLACES = Limits(places=2_000, facet=1_000, author=20, guests=50, away=500)
"""A tenth of the real sizes."""


@dataclass
class Honest(Node):
    """A keeper with a catalog's room beside its shelf, for what the shelf does not keep."""

    room: Fairness = field(default_factory=lambda: Fairness(b"salt", PLACES))

    def do(self, step: Any) -> Any:
        if isinstance(step, Store):
            for card, _ in step.kept:
                self.room.remove(card.key.hex())
            for card in step.dropped:
                author = card.author.hex()
                row = Row(card.key.hex(), author, card.key.hex(), int(NOW), 7_000, card.tags, int(NOW))
                self.room.add(row, int(NOW))
        return super().do(step)


def honest_nodes(count: int, room: int = ROOM, places: Limits = PLACES) -> list[Honest]:
    """Keepers whose shelves have so much room, and their catalogs such limits."""
    nodes = []
    for number in range(count):
        keeper = Keeper(f"honest-{number}", room=room, of_all=2 * room, chance=random.Random(number))
        keeper.keep([TAG])
        nodes.append(Honest(keeper.peer, keeper, room=Fairness(b"salt", places)))
    return nodes


def flooders(count: int, junk: list[Voice]) -> list[Node]:
    """Keepers who offer all the junk, and have room for everything."""
    nodes = []
    for number in range(count):
        node = Node.make(f"flooder-{number}", room=10**6, author_room=10**4, of_all=10**6)
        for voice in junk[number::count]:
            node.offer(voice)
        nodes.append(node)
    return nodes


def rounds(nodes: list[Honest], bad: list[Node], turns: int, chance: random.Random) -> list[int]:
    """So many rounds: everybody talks with three, attackers with everybody; bytes sent in each round."""
    sent = []
    for _ in range(turns):
        for node in (*nodes, *bad):
            node.sent = 0
        for one in bad:
            for node in nodes:
                meet(one, node)
        for node in nodes:
            for other in chance.sample([*nodes, *bad], 3):
                if other is not node:
                    meet(node, other)
        sent.append(sum(node.sent for node in nodes))
    return sent


def honest_voices(authors: int, chance: random.Random) -> list[Voice]:
    """Those of so many authors, one to five each."""
    keys = [chance.randbytes(32) for _ in range(authors)]
    return [Voice(key, f"voice-{n}") for at, key in enumerate(keys) for n in range(1 + at % 5)]


def junk_voices(count: int, keys: int, chance: random.Random) -> list[Voice]:
    """So many, evenly by so many fresh keys."""
    made = [chance.randbytes(32) for _ in range(keys)]
    return [Voice(key, f"junk-{number}") for key in made for number in range(count // keys)]


def share_of(nodes: list[Honest], voices: list[Voice]) -> list[float]:
    return [sum(node.knows(voice) for voice in voices) / len(voices) for node in nodes]
