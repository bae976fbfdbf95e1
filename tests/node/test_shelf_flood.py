"""A flood that comes through shelves: attackers' keepers tell honest ones, driven in memory, with both rooms.

Each honest node is a real keeper (protocol/shelf_keeper.py), and what falls off its shelf goes into a real
room (fairness.py), as on a node's disk. A tenth of the real sizes: 10 000 releases by 100 keys, against
shelves of 1 000 voices.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from p2pvoice.node.fairness import Fairness, Limits, Row
from p2pvoice.protocol.shelf import RING, SHARE, Arc, voice_key
from p2pvoice.protocol.shelf_keeper import Keeper
from p2pvoice.protocol.shelf_talk import Store

from ..protocol.shelves import NOW, TAG, Node, Voice, introduce, meet

ROOM = 1_000
PLACES = Limits(places=2_000, facet=1_000, author=20, guests=50, away=500)


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


def honest_nodes(count: int) -> list[Honest]:
    nodes = []
    for number in range(count):
        keeper = Keeper(f"honest-{number}", room=ROOM, of_all=2 * ROOM, chance=random.Random(number))
        keeper.keep([TAG])
        nodes.append(Honest(keeper.peer, keeper))
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


def share_of(nodes: list[Honest], voices: list[Voice]) -> list[float]:
    return [sum(node.knows(voice) for voice in voices) / len(voices) for node in nodes]


@pytest.mark.parametrize("first", ["honest", "flood"])
def test_a_flood_through_shelves_hides_nobody_and_fills_nothing(first: str) -> None:
    chance = random.Random(1)
    authors = [chance.randbytes(32) for _ in range(20)]
    honest = [Voice(author, f"voice-{n}") for at, author in enumerate(authors) for n in range(1 + at % 5)]
    keys = [chance.randbytes(32) for _ in range(100)]
    junk = [Voice(key, f"junk-{number}") for key in keys for number in range(100)]
    nodes, bad = honest_nodes(6), flooders(2, junk)
    introduce(*nodes, *bad)
    if first == "flood":
        rounds(nodes, bad, 2, chance)
    for number, voice in enumerate(honest):
        nodes[number % len(nodes)].offer(voice)
    sent = rounds(nodes, bad, 6, chance)
    print(f"bytes sent by honest nodes in each round: {sent}")

    assert min(share_of(nodes, honest)) >= 0.99
    for node in nodes:
        shelf = node.keeper.shelf(TAG)
        assert shelf is not None
        assert not shelf.partial
        assert SHARE <= shelf.arc.share < 12
        assert shelf.held <= ROOM
        assert len(node.keeper.cards) == len(shelf.values)
        assert node.room.places <= PLACES.facet
    # When all is settled nothing is fetched any more, and what still differs costs little.
    assert sent[-1] / len(nodes) < 100_000
    for node in nodes:
        assert sum(meet(node, other).taken for other in (*nodes, *bad) if other is not node) == 0


def test_more_keys_than_places_leave_each_keeper_a_part_and_all_of_them_everything() -> None:
    chance = random.Random(2)
    honest = [Voice(chance.randbytes(32), f"voice-{n}") for n in range(100)]
    junk = [Voice(chance.randbytes(32), f"junk-{n}") for n in range(3_000)]
    nodes, bad = honest_nodes(10), flooders(1, junk)
    introduce(*nodes, *bad)
    for number, voice in enumerate(honest):
        nodes[0 if number % 2 else 1].offer(voice)
    rounds(nodes, bad, 3, chance)
    others = nodes[2:]
    assert all(0.1 < share < 0.6 for share in share_of(others, honest))
    kept = sum(any(node.knows(voice) for node in others) for voice in honest)
    assert kept >= 0.85 * len(honest)


def ground(arc: Arc, count: int, chance: random.Random) -> list[bytes]:
    """Authors whose place lies in an arc, found by trying."""
    found: list[bytes] = []
    while len(found) < count:
        author = chance.randbytes(32)
        if voice_key(author, "a") in arc:
            found.append(author)
    return found


def test_keys_made_for_the_place_of_a_keeper_have_their_shares_there() -> None:
    """It takes a key made for the place for each eighth voice of the room of one keeper."""
    chance = random.Random(3)
    honest = [Voice(chance.randbytes(32), f"voice-{n}") for n in range(100)]
    nodes = honest_nodes(5)
    made = ground(Arc(nodes[0].keeper.point, RING // 64), 150, chance)
    bad = flooders(1, [Voice(author, f"junk-{n}") for author in made[:60] for n in range(50)])
    introduce(*nodes, *bad)
    for voice in honest:
        nodes[1].offer(voice)
    rounds(nodes, bad, 3, chance)
    # 3 000 releases by 60 keys around the point: each key has its share, and nobody was left out for them.
    assert share_of(nodes, honest) == [1.0] * 5
    for author in made:
        for number in range(SHARE):
            bad[0].offer(Voice(author, f"junk-{number}"))
    rounds(nodes, bad, 3, chance)
    # 150 keys are more than an eighth of the room: that keeper is lost to strangers. Others reach as far as
    # to that place, which is half of the ring in the mean.
    assert share_of(nodes, honest)[0] < 0.1
    assert all(share > 0.3 for share in share_of(nodes, honest)[1:])
