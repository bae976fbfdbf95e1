"""Shelves between real hosts: all answer for all, traffic follows the difference, hints, recall."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node import seeking
from p2pvoice.node.shelves import rounds
from p2pvoice.node.tombstone import Kind
from p2pvoice.protocol.revocation import Revocation, sign_revocation

from .commons import eventually
from .conftest import Publication
from .keepers import TAG, Node, keeper, keepers

Make = Callable[..., Publication]


def traffic(*nodes: Node) -> int:
    """Payload bytes that left these nodes."""
    return sum(node.host.peers.sent for node in nodes)


async def test_keepers_answer_for_the_voices_of_all(tmp_path: Path, publish: Make) -> None:
    """Each offers one voice; they find each other by themselves, and anyone answers a search alone."""
    made = [publish(slug=f"voice-{number}") for number in range(5)]
    async with keepers(tmp_path, 5, run=True) as nodes:
        for node, publication in zip(nodes, made, strict=True):
            node.install(publication)
        for node in nodes[1:]:
            await node.host.joined.wait()
        for node, publication in zip(nodes, made, strict=True):
            node.announce(publication)
        await eventually(lambda: all(node.knows(one) for node in nodes for one in made))
        for node in nodes[:3]:
            page = await node.shelves.reader.read([TAG], 50, "")
            assert page is not None
            assert (len(page.entries), page.size, page.partial) == (4, 5, False)


async def test_the_second_talk_costs_what_is_new_and_not_what_there_is(tmp_path: Path, publish: Make) -> None:
    made = [publish(slug=f"voice-{number}", sizes={"voice.json": 100}) for number in range(500)]
    async with keepers(tmp_path, 2) as (a, b):
        await a.offer(*made)
        await b.offer(publish(slug="one-of-its-own"))
        outcome = await b.talk(a)
        assert outcome is not None
        assert (outcome.taken, outcome.told) == (500, 1)
        first = traffic(a, b)
        await b.talk(a)
        equal = traffic(a, b) - first
        news = publish(slug="news", sizes={"voice.json": 100})
        await a.offer(news)
        before = traffic(a, b)
        outcome = await b.talk(a)
        cost = traffic(a, b) - before
        assert outcome is not None
        assert (outcome.taken, b.knows(news)) == (1, True)
        assert equal < 1_500
        assert cost < 10_000 < first / 20


async def test_a_search_that_reaches_few_keepers_finds_the_voices_of_all(
    tmp_path: Path, publish: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More keepers than one search asks, as where a tag has over a hundred: the others' are on shelves."""
    made = [publish(slug=f"voice-{number}", sizes={"voice.json": 100}) for number in range(8)]
    async with keepers(tmp_path, 8) as nodes:
        for node, publication in zip(nodes, made, strict=True):
            await node.offer(publication)
        # One after another: they share one process here.
        for node in nodes:
            await node.provide()
            await node.shelves.rounds.once()
        for node in nodes:
            await node.shelves.rounds.once()
        monkeypatch.setattr(seeking, "FIND_PEERS_LIMIT", 3)
        monkeypatch.setattr(seeking, "FIND_WIDTH", 1)
        async with keeper(tmp_path / "reader", bootstrap=nodes[0].host.addresses()) as reader:
            await reader.host.joined.wait()
            found = await reader.find()
            assert set(found) == {one.release.id for one in made}
            assert len(set(found.values())) <= 3


async def test_a_hint_arrives_without_waiting(
    tmp_path: Path, publish: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain of three: what the first publishes is on the shelf of the last long before the next talk."""
    # Else one of two that have just met may begin its talk only when the news is there.
    monkeypatch.setattr(rounds, "YIELD_SECONDS", 0.0)
    made = [publish(slug=f"voice-{number}") for number in range(3)]
    async with keepers(tmp_path, 3, run=True) as (a, b, c):
        for node in (b, c):
            await node.host.joined.wait()
        for node, publication in zip((a, b, c), made, strict=True):
            node.install(publication)
            node.announce(publication)
        await eventually(lambda: all(node.knows(one) for node in (a, b, c) for one in made))
        await eventually(lambda: not any(node.shelves.rounds.busy for node in (a, b, c)))
        talks = [node.shelves.rounds.talks for node in (a, b, c)]
        news = publish(slug="news")
        a.install(news)
        a.announce(news)
        await eventually(lambda: b.knows(news) and c.knows(news))
        assert [node.shelves.rounds.talks for node in (a, b, c)] == talks
        assert a.shelves.rounds.hinted > 0


async def test_what_is_searched_or_kept_quietly_is_on_no_shelf(tmp_path: Path, publish: Make) -> None:
    mine, found, quiet = publish(slug="mine"), publish(slug="found"), publish(slug="quiet")
    async with keepers(tmp_path, 2) as (a, b):
        await a.offer(mine)
        a.catalog.add_release(found.release.envelope.to_bytes())
        await a.offer(quiet, seed=False)
        assert a.shelves.keeping.keeper.tags == [TAG]
        assert len(a.shelves.keeping.keeper.cards) == 1
        await b.offer(publish(slug="other"))
        outcome = await b.talk(a)
        assert outcome is not None
        assert (outcome.taken, b.knows(mine)) == (1, True)
        # A keeper brings it: then it is.
        await b.offer(found)
        await a.talk(b)
        assert a.knows(found)


async def test_who_offers_nothing_keeps_and_is_told_nothing(tmp_path: Path, publish: Make) -> None:
    voice = publish()
    async with keepers(tmp_path, 2) as (a, b):
        await a.offer(voice)
        await b.offer(publish(slug="quiet"), seed=False)
        assert b.shelves.keeping.keeper.tags == []
        outcome = await a.talk(b)
        assert outcome is not None
        assert (outcome.taken, outcome.told) == (0, 0)
        assert not b.knows(voice)


async def test_shelves_last_and_go_with_the_last_voice_of_the_tag(tmp_path: Path, publish: Make) -> None:
    mine, theirs = publish(slug="mine"), publish(slug="theirs")
    async with keepers(tmp_path, 1) as (a,):
        await a.offer(theirs)
        async with keeper(tmp_path / "b") as b:
            await b.offer(mine)
            await b.talk(a)
            assert b.knows(theirs)
    async with keeper(tmp_path / "b") as b:
        await b.shelves.keeping.refresh()
        assert b.knows(mine)
        assert b.knows(theirs)
        b.catalog.uninstall(mine.release.id)
        await b.shelves.keeping.refresh()
        assert b.shelves.keeping.keeper.tags == []
        assert b.database.row("SELECT count(*) AS n FROM shelved")["n"] == 0


async def test_a_new_release_replaces_the_old_on_every_shelf(tmp_path: Path, publish: Make) -> None:
    key = Ed25519PrivateKey.generate()
    old = publish(key=key)
    new = publish(key=key, sequence=2, seed=1)
    async with keepers(tmp_path, 3) as (a, b, c):
        await a.offer(old)
        await b.offer(publish(slug="b"))
        await c.offer(publish(slug="c"))
        await b.talk(a)
        await c.talk(b)
        await a.offer(new)
        await c.talk(a)
        await b.talk(c)
        assert all(node.knows(new) for node in (a, b, c))
        page = await b.shelves.reader.read([TAG], 50, "")
        assert page is not None
        assert len(page.entries) == 2
        assert old.release.envelope.to_bytes() not in {entry.release for entry in page.entries}


async def test_a_revoked_voice_leaves_the_shelves_it_meets(tmp_path: Path, publish: Make) -> None:
    """Told or pulled: who knows of the revocation shows it, and the voice does not come back."""
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    manifest = voice.release.manifest
    data = sign_revocation(Revocation(manifest.author, manifest.author, manifest.slug, 1_790_000_000), key)
    async with keepers(tmp_path, 3) as (a, b, c):
        await a.offer(voice)
        for node in (b, c):
            await node.offer(publish(slug="other"))
            await node.talk(a)
            assert node.knows(voice)
        await b.recall.take(data, kind=Kind.ASKED)
        await b.shelves.keeping.refresh()
        assert not b.knows(voice)
        # C tells B of it when it asks, and A gives it when B asks.
        await c.talk(b)
        await b.talk(a)
        for node in (a, c):
            await node.shelves.keeping.refresh()
            assert not node.knows(voice)
        await b.talk(c)
        assert not any(node.knows(voice) for node in (a, b, c))


async def test_full_shelves_are_alike_where_they_overlap_and_searches_find_all(
    tmp_path: Path, publish: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four keepers of thirty voices with room for twelve strangers: each answers for a part, and says so."""
    made = [publish(slug=f"voice-{number}", sizes={"voice.json": 100}) for number in range(32)]
    async with keepers(tmp_path, 4, room=12) as nodes:
        for number, node in enumerate(nodes):
            await node.offer(*made[number * 8 : number * 8 + 8])
        for _ in range(3):
            for a in nodes:
                for b in nodes:
                    if a is not b:
                        await a.talk(b)
        for node in nodes:
            shelf = node.shelves.keeping.keeper.shelf(TAG)
            assert shelf is not None
            assert shelf.partial
            assert len(shelf) <= 20
        settled = [await a.talk(b) for a in nodes for b in nodes if a is not b]
        assert sum(one.taken + one.told for one in settled if one is not None) == 0

        for node in nodes:
            await node.provide()
        monkeypatch.setattr(seeking, "QUIET_SHELVES", 1)
        async with keeper(tmp_path / "reader", bootstrap=nodes[0].host.addresses()) as reader:
            await reader.host.joined.wait()
            assert set(await reader.find()) == {one.release.id for one in made}


async def told_all(nodes: list[Node], publish: Make, each: int) -> list[Publication]:
    """So many voices by each node, on the shelves of all, and the tag announced by all."""
    made = [publish(slug=f"voice-{n}", sizes={"voice.json": 100}) for n in range(each * len(nodes))]
    for number, node in enumerate(nodes):
        await node.offer(*made[number * each : number * each + each])
    for _ in range(2):
        for node in nodes[1:]:
            await node.talk(nodes[0])
    for node in nodes:
        await node.provide()
    return made


async def test_a_search_reads_few_shelves_and_nothing_twice(
    tmp_path: Path, publish: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeking, "QUIET_SHELVES", 1)
    monkeypatch.setattr(seeking, "SHELVES_WIDTH", 1)
    monkeypatch.setattr(seeking, "FIND_WIDTH", 1)
    async with keepers(tmp_path, 4) as nodes:
        made = await told_all(nodes, publish, 10)
        async with keeper(tmp_path / "reader", bootstrap=nodes[0].host.addresses()) as reader:
            await reader.host.joined.wait()
            before = traffic(*nodes)
            found = await reader.find()
            assert set(found) == {one.release.id for one in made}
            # The first shelf that was read brought what was not known yet, the second nothing.
            assert len([node for node in nodes if node.shelves.reader.read_out]) == 1
            size = sum(len(one.release.envelope.to_bytes()) + len(one.head) for one in made)
            # Twice would be more; the look-up costs a tenth.
            assert traffic(*nodes) - before < 1.7 * size


async def test_what_only_its_own_keeper_has_is_found_behind_many_equal_shelves(
    tmp_path: Path, publish: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five whole and equal shelves lack a voice, and a search asks its keeper all the same."""
    monkeypatch.setattr(seeking, "QUIET_SHELVES", 1)
    monkeypatch.setattr(seeking, "FIND_PEERS", 2)
    monkeypatch.setattr(seeking, "BARREN_PEERS", 1)
    async with keepers(tmp_path, 6) as nodes:
        made = await told_all(nodes[:5], publish, 2)
        missing = publish(slug="missing")
        await nodes[5].offer(missing)
        await nodes[5].provide()
        assert not any(node.knows(missing) for node in nodes[:5])
        async with keeper(tmp_path / "reader", bootstrap=nodes[0].host.addresses()) as reader:
            await reader.host.joined.wait()
            found = await reader.find()
            assert set(found) == {one.release.id for one in (*made, missing)}
            assert found[missing.release.id] == nodes[5].host.id
