"""A flood that comes through shelves, at a tenth of the real sizes: 10 000 releases, shelves of 1 000."""

import random

import pytest

from p2pvoice.protocol.shelf import RING, SHARE, Arc, voice_key

from ..protocol.shelves import TAG, Voice, introduce, meet
from .shelf_flooding import (
    PLACES,
    ROOM,
    flooders,
    honest_nodes,
    honest_voices,
    junk_voices,
    rounds,
    share_of,
)


@pytest.mark.parametrize("first", ["honest", "flood"])
def test_a_flood_through_shelves_hides_nobody_and_fills_nothing(first: str) -> None:
    chance = random.Random(1)
    honest, junk = honest_voices(20, chance), junk_voices(10_000, 100, chance)
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
