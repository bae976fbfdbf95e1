"""Shelves: values that order themselves, arcs, room, talks that follow the difference, hints, memory."""

import random

import pytest

from p2pvoice.protocol.errors import ManifestError, NotFoundError
from p2pvoice.protocol.ids import cid_of, digest_of
from p2pvoice.protocol.shelf import (
    EPOCH,
    EPOCHS_KEPT,
    HALF,
    SHARE,
    SHARE_LIMIT,
    Arc,
    Shelf,
    Verdict,
    epoch_in,
    epoch_of,
    is_current,
    renewed,
    same_release,
    value_of,
)
from p2pvoice.protocol.shelf_entry import Entry
from p2pvoice.protocol.shelf_keeper import HINT_AGE
from p2pvoice.protocol.shelf_memory import MEMORY_SECONDS, Memory
from p2pvoice.protocol.shelf_messages import CompareShelf, Contact, TellEntries
from p2pvoice.protocol.shelf_peers import (
    FAILURES,
    KEEPERS_KNOWN,
    KEEPERS_LIVE,
    LOOKUP_EVERY,
    LOOKUP_RARELY,
    TALK_EVERY,
)
from p2pvoice.protocol.shelf_talk import answer

from .shelves import NOW, TAG, Node, Voice, drive, introduce, meet, tell_news, voices

RELEASES = [cid_of(digest_of(bytes([number]))) for number in range(3)]


def test_of_two_values_the_larger_one_is_the_newer() -> None:
    first, second = value_of(RELEASES[0], 1, 690), value_of(RELEASES[1], 2, 600)
    assert second > first > value_of(RELEASES[2], 0, 690)
    assert renewed(first, 691) > first
    assert same_release(renewed(first, 691), first)
    assert renewed(first, 10) == first
    assert epoch_in(renewed(first, 691)) == 691
    assert not same_release(first, value_of(RELEASES[1], 1, 690))


def test_the_epochs_of_voices_begin_at_different_times() -> None:
    keys = [digest_of(bytes([number])) for number in range(200)]
    day = 86_400.0
    moved = sum(epoch_of(key, NOW) != epoch_of(key, NOW + day) for key in keys)
    assert 0 < moved < 30
    key = keys[0]
    value = value_of(RELEASES[0], 1, epoch_of(key, NOW))
    assert is_current(key, value, NOW + EPOCHS_KEPT * EPOCH)
    assert not is_current(key, value, NOW + (EPOCHS_KEPT + 1) * EPOCH)
    assert is_current(key, value, NOW - EPOCH)
    assert not is_current(key, value, NOW - 2 * EPOCH)


def author_at(place: int) -> bytes:
    """A key of an author at a place on the ring, in units of 2^128."""
    return (place % (1 << 128)).to_bytes(16) + b"\x77" * 16


def test_an_arc_is_a_part_of_a_ring_of_authors() -> None:
    unit = 1 << 128
    arc = Arc(5 * unit, 10 * unit)
    assert author_at(-5) in arc
    assert author_at(16) not in arc
    # All voices of an author are in or out.
    assert author_at(15) in arc
    assert author_at(15)[:16] + b"\xff" * 16 in arc
    assert Arc(0).whole
    assert b"\xff" * 32 in Arc(0)
    assert HALF.to_bytes(32) in Arc(0)
    assert arc.overlaps(Arc(25 * unit, 10 * unit))
    assert not arc.overlaps(Arc(26 * unit, 10 * unit))
    for broken in ({"reach": HALF + 1}, {"share": 0}, {"share": SHARE_LIMIT}):
        with pytest.raises(ManifestError):
            Arc(0, **broken)


def test_a_full_shelf_keeps_the_authors_that_are_near_and_says_so() -> None:
    shelf = Shelf(0, room=64)
    cards = [voice.card(1) for voice in voices(200)]
    for card in cards:
        shelf.put(card)
    assert 60 <= len(shelf) <= 64
    assert shelf.partial
    near = sorted(cards, key=lambda card: shelf.arc.distance(card.key))[: len(shelf)]
    assert set(shelf.values) == {card.key for card in near}
    for card in cards:
        assert shelf.has_place(card.key) == (card.key in shelf.arc) == (card.key in shelf.values)
    for card in near[10:]:
        shelf.remove(card.key)
    before = shelf.arc.reach
    shelf.widen()
    assert shelf.arc.reach > before


def test_a_full_shelf_has_less_of_each_author_before_it_leaves_any_out() -> None:
    shelf = Shelf(0, room=100)
    few = [Voice(bytes([number]) * 32, f"voice-{turn}") for number in range(8) for turn in range(5)]
    for voice in [*few, *voices(300, author=b"s" * 32), *voices(300, author=b"t" * 32)]:
        shelf.put(voice.card(1))
    assert len(shelf) <= 100
    assert not shelf.partial
    assert {voice.key for voice in few} <= set(shelf.values)
    # What is kept of an author does not depend on who keeps it, nor on what came first.
    kept = {key for key in shelf.values if key[:16] == voices(1, author=b"s" * 32)[0].key[:16]}
    assert kept == set(sorted(voice.key for voice in voices(300, author=b"s" * 32))[: shelf.arc.share])
    share = shelf.arc.share
    for voice in few:
        shelf.remove(voice.key)
    shelf.widen()
    assert shelf.arc.share > share


def test_what_is_offered_here_stays_whatever_the_room() -> None:
    node = Node.make("a", room=5)
    own = voices(8, seed=1)
    for voice in own:
        node.offer(voice)
    for voice in voices(50):
        node.keeper.put(voice.card(epoch_of(voice.key, NOW)), NOW)
    shelf = node.keeper.shelf(TAG)
    assert shelf is not None
    assert len(shelf) == 13
    assert {voice.key for voice in own} <= set(shelf.values)


def test_one_author_does_not_fill_a_shelf() -> None:
    node = Node.make("a", room=100, author_room=10)
    honest = voices(20)
    for voice in [*honest, *voices(500, author=b"s" * 32)]:
        node.keeper.put(voice.card(epoch_of(voice.key, NOW)), NOW)
    shelf = node.keeper.shelf(TAG)
    assert shelf is not None
    assert len(shelf) == 30
    assert {voice.key for voice in honest} <= set(shelf.values)


def test_a_flood_of_one_tag_takes_nothing_from_the_shelves_of_others() -> None:
    other = "gender/male"
    node = Node.make("a", tags=(TAG, other), room=200, of_all=250)
    quiet = [Voice(voice.author, voice.slug, tags=(other,)) for voice in voices(100, seed=1)]
    for voice in (*quiet, *voices(600)):
        node.keeper.put(voice.card(epoch_of(voice.key, NOW)), NOW)
    mine, flooded = node.keeper.shelf(other), node.keeper.shelf(TAG)
    assert mine is not None
    assert flooded is not None
    assert set(mine.values) == {voice.key for voice in quiet}
    assert not mine.partial
    assert flooded.partial
    assert 100 <= flooded.held <= 150
    assert len(node.keeper.cards) == mine.held + flooded.held
    # It reaches no further while there is room on the one shelf only, and not in all.
    reach = flooded.arc.reach
    node.keeper.tidy(NOW)
    assert flooded.arc.reach == reach


def test_a_voice_offered_here_shows_with_keepers_that_have_room_for_more_of_its_author() -> None:
    a, b = Node.make("a", room=20), Node.make("b")
    mine = voices(12, author=b"x" * 32)
    for voice in mine:
        a.offer(voice)
    for voice in voices(60):
        a.keeper.put(voice.card(epoch_of(voice.key, NOW)), NOW)
    shelf = a.keeper.shelf(TAG)
    assert shelf is not None
    assert shelf.arc.share == SHARE
    meet(a, b)
    assert all(b.knows(voice) for voice in mine)


def test_two_keepers_end_alike_and_then_one_message_each_way_says_so() -> None:
    a, b = Node.make("a"), Node.make("b")
    all_of_them = voices(400)
    for voice in all_of_them[:250]:
        a.offer(voice)
    for voice in all_of_them[150:]:
        b.offer(voice)
    outcome = meet(a, b)
    assert (outcome.taken, outcome.told) == (150, 150)
    assert all(node.knows(voice) for node in (a, b) for voice in all_of_them)
    a.sent = b.sent = a.messages = b.messages = 0
    meet(b, a)
    assert (a.messages, b.messages) == (1, 1)
    assert a.sent + b.sent < 1_000


@pytest.mark.parametrize("size", [500, 4_000])
def test_one_new_release_costs_the_same_whatever_the_shelf_holds(size: int) -> None:
    a, b = Node.make("a"), Node.make("b")
    for voice in voices(size):
        a.offer(voice)
        b.offer(voice)
    a.offer(Voice(b"n" * 32, "news"))
    meet(b, a)
    assert b.knows(Voice(b"n" * 32, "news"))
    # Two rounds of sixteen fingerprints and one list of pairs.
    assert a.sent + b.sent < 8_000


def test_a_new_release_takes_the_place_of_the_old_one_everywhere() -> None:
    a, b = Node.make("a"), Node.make("b")
    old = Voice(b"x" * 32, "voice")
    for node in (a, b):
        node.offer(old)
    new = Voice(old.author, old.slug, sequence=2)
    a.offer(new)
    assert meet(b, a).taken == 1
    assert b.knows(new)
    # Who still offers the old one does not bring it back.
    b.keeper.put(old.card(epoch_of(old.key, NOW), own=True), NOW)
    assert meet(a, b).taken == 0
    assert a.knows(new)
    assert b.keeper.cards[new.key].value == a.keeper.cards[new.key].value


def test_what_nobody_renews_leaves_and_what_somebody_renews_stays_everywhere() -> None:
    a, b, c = Node.make("a"), Node.make("b"), Node.make("c")
    held, gone = voices(2)
    a.offer(held)
    c.offer(gone)
    meet(b, a)
    meet(b, c)
    assert b.knows(held)
    assert b.knows(gone)
    now, sent = NOW, 0
    for _ in range(EPOCHS_KEPT + 1):
        now += EPOCH
        for node in (a, b):
            node.keeper.tidy(now)
        a.sent = b.sent = 0
        meet(b, a, now)
        sent = a.sent + b.sent
    assert held.key in b.keeper.cards
    assert gone.key not in b.keeper.cards
    # A renewal travels as a pair, and not as a release.
    assert sent < 1_000
    assert b.keeper.renewed == {held.key}
    assert b.keeper.judge("c", TAG, gone.key, gone.card(epoch_of(gone.key, NOW)).value, now) is Verdict.DATED


def test_partial_shelves_are_alike_where_they_overlap_and_do_not_talk_for_ever() -> None:
    nodes = [Node.make(f"n{number}", room=200) for number in range(4)]
    everything = voices(800)
    for number, voice in enumerate(everything):
        nodes[number % 4].offer(voice)
    for _ in range(4):
        for a in nodes:
            for b in nodes:
                if a is not b:
                    meet(a, b)
    for node in nodes:
        node.sent = node.messages = 0
    assert sum(meet(a, b).taken for a in nodes for b in nodes if a is not b) == 0
    assert sum(node.sent for node in nodes) / 12 < 6_000
    for node in nodes:
        shelf = node.keeper.shelf(TAG)
        assert shelf is not None
        assert shelf.partial
        # It holds all that lies in its arc, wherever that is offered.
        assert {v.key for v in everything if v.key in shelf.arc} <= set(shelf.values)


def test_a_keeper_without_a_slot_gets_onto_the_shelves_by_telling() -> None:
    a, b = Node.make("slot"), Node.make("none")
    [voice] = voices(1)
    b.offer(voice)
    assert meet(b, a).told == 1
    assert a.knows(voice)


def test_the_shelf_of_a_tag_that_is_not_kept_is_neither_told_nor_given() -> None:
    a, b = Node.make("a"), Node.make("b", tags=("gender/male",))
    introduce(a, b)
    a.offer(voices(1)[0])
    outcome = meet(a, b)
    assert (outcome.taken, outcome.told) == (0, 0)
    assert "b" not in a.keeper.peers.of(TAG)
    with pytest.raises(NotFoundError):
        drive(answer(b.keeper, "a", CompareShelf(TAG, Arc(0), ()), NOW), b.do)


def test_a_voice_without_the_tag_is_no_mistake() -> None:
    a = Node.make("a")
    other = Voice(b"x" * 32, "voice", tags=("gender/male",))
    entry = Entry(other.entry.release, other.entry.head, epoch_of(other.key, NOW))
    with pytest.raises(ManifestError, match="does not carry"):
        drive(answer(a.keeper, "b", TellEntries(TAG, (entry,)), NOW), a.do)
    assert not a.keeper.cards


def test_a_voice_with_two_tags_stands_on_both_shelves_and_leaves_with_the_last() -> None:
    a = Node.make("a", tags=(TAG, "gender/male"))
    voice = Voice(b"x" * 32, "voice", tags=(TAG, "gender/male", "style/narration"))
    a.keeper.put(voice.card(epoch_of(voice.key, NOW)), NOW)
    assert all(len(a.keeper.shelf(tag) or ()) == 1 for tag in a.keeper.tags)
    assert a.keeper.keep([TAG]) == []
    assert [card.key for card in a.keeper.keep([])] == [voice.key]


def test_a_hint_reaches_everybody_and_nobody_twice() -> None:
    nodes = {f"n{number}": Node.make(f"n{number}") for number in range(40)}
    introduce(*nodes.values())
    [voice] = voices(1)
    nodes["n0"].offer(voice)
    given = tell_news(nodes)
    reached = sum(node.knows(voice) for node in nodes.values())
    assert reached >= 38
    assert given <= 4 * 40 + 8
    # What was refused by none is told by one only: the release went to each node once.
    told = sum(node.sent for node in nodes.values())
    assert told < given * 400


def test_what_is_old_is_no_news() -> None:
    a, b = Node.make("a"), Node.make("b")
    introduce(a, b)
    young, old = voices(2)
    for voice, created in ((young, NOW - HINT_AGE + 1), (old, NOW - HINT_AGE)):
        a.keeper.put(voice.card(epoch_of(voice.key, NOW), own=True, created=int(created)), NOW)
    [(contact, tag, pairs)] = a.keeper.hints(NOW)
    assert (contact.peer, tag, [key for key, _ in pairs]) == ("b", TAG, [young.key])
    assert not a.keeper.has_news


def test_what_was_refused_is_not_fetched_again_for_a_while() -> None:
    a, b = Node.make("a"), Node.make("b")
    [voice] = voices(1)
    b.offer(voice)
    a.keeper.broke("b", voice.key, b.keeper.cards[voice.key].value, NOW)
    assert meet(a, b).taken == 0
    # Of somebody else it is.
    c = Node.make("c")
    c.offer(voice)
    assert meet(a, c).taken == 1
    newer = Voice(voice.author, voice.slug, sequence=2)
    b.offer(newer)
    assert meet(a, b).taken == 1
    a.keeper.remove(voice.key, NOW)
    assert meet(a, b, NOW + 1).taken == 0
    assert meet(a, b, NOW + MEMORY_SECONDS + 1).taken == 1


def test_memories_and_known_keepers_are_bounded() -> None:
    memory = Memory(10.0, 3)
    for number in range(4):
        memory.note("a", bytes([number]), b"v", NOW)
    assert len(memory) == 3
    assert not memory.holds("a", b"\0", b"v", NOW)
    assert memory.holds("a", b"\1", b"v", NOW)
    assert not memory.holds("a", b"\1", b"w", NOW)
    assert not memory.holds("a", b"\1", b"v", NOW + 10)
    node = Node.make("a")
    node.keeper.peers.providers(TAG, [Contact(f"p{number}") for number in range(3 * KEEPERS_KNOWN)])
    assert len(node.keeper.peers.of(TAG)) == KEEPERS_KNOWN


def test_whom_to_talk_to_and_when() -> None:
    node = Node.make("a")
    assert node.keeper.partners(NOW) == []
    assert node.keeper.peers.lookups(NOW) == [TAG]
    assert node.keeper.peers.lookups(NOW + 1) == []
    node.keeper.peers.providers(TAG, [Contact("a"), *(Contact(f"p{number}") for number in range(10))])
    first = node.keeper.partners(NOW)
    assert len(first) == 3
    assert all(tags == [TAG] for _, tags in first)
    assert node.keeper.partners(NOW + 1) == []
    assert len(node.keeper.partners(NOW + 1.3 * TALK_EVERY)) == 3
    node.keeper.peers.arrived("p7")
    assert "p7" in {contact.peer for contact, _ in node.keeper.partners(NOW + 1.3 * TALK_EVERY)}
    for _ in range(FAILURES):
        node.keeper.peers.failed("p7", [TAG], NOW)
    assert "p7" not in node.keeper.peers.of(TAG)
    # A clock that was set back does not silence a keeper for long.
    assert len(node.keeper.partners(NOW - 10 * TALK_EVERY)) == 3


def test_who_knows_enough_live_keepers_looks_up_rarely() -> None:
    peers = Node.make("a").keeper.peers
    names = [f"p{number}" for number in range(KEEPERS_LIVE)]
    now, looked = NOW, 0
    assert peers.lookups(now) == [TAG]
    peers.providers(TAG, map(Contact, names))
    # Merely named ones are not enough: they may be dead.
    assert peers.lookups(now + 1.3 * LOOKUP_EVERY) == [TAG]
    for _ in range(10 * 24 * 4):
        now += 900
        for name in names:
            peers.met(name, TAG, Arc(0), now)
        looked += len(peers.lookups(now))
    assert 8 <= looked <= 13
    peers.lookups(now + 2 * LOOKUP_RARELY)
    now += 2 * LOOKUP_RARELY
    for name in names:
        peers.met(name, TAG, Arc(0), now)
    assert peers.lookups(now + 2 * LOOKUP_EVERY) == []
    # One of them fails: the next look-up comes within the hour.
    peers.failed(names[0], [TAG], now)
    assert peers.lookups(now + 2 * LOOKUP_EVERY) == [TAG]


def test_a_talk_that_was_too_long_goes_on_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pvoice.protocol.shelf_keeper.PULL_LIMIT", 40)
    a, b = Node.make("a"), Node.make("b")
    introduce(a, b)
    for voice in voices(100):
        b.offer(voice)
    counts, now = [], NOW
    while a.keeper.partners(now):
        counts.append(meet(a, b, now).taken)
        now += 15
    assert counts == [40, 40, 20]


def test_many_keepers_converge_through_a_few_slots() -> None:
    """Sixty keepers know three of them at first; the others they learn of by talking."""
    nodes = {f"n{number}": Node.make(f"n{number}") for number in range(60)}
    chance = random.Random(1)
    everything = voices(60)
    for node, voice in zip(nodes.values(), everything, strict=True):
        node.offer(voice)
        node.keeper.peers.providers(TAG, [Contact(f"n{number}") for number in range(3)])
    now = NOW
    for _ in range(8):
        now += 1.3 * TALK_EVERY
        for node in chance.sample(list(nodes.values()), len(nodes)):
            for contact, tags in node.keeper.partners(now):
                meet(node, nodes[contact.peer], now, tuple(tags))
    assert all(node.knows(voice) for node in nodes.values() for voice in everything)
    # Those with a slot are not asked by everybody for ever.
    assert all(len(node.keeper.peers.of(TAG)) > 10 for node in nodes.values())
