"""One look-up's order, width and end, without a network; and silent peers, with real hosts."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.utils import sort_peer_ids_by_distance
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node import kad, seeking
from p2pvoice.node.dht_store import PROVIDERS_OF_KEY, PROVIDERS_TOLD
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.kad import KAD_PROTOCOL
from p2pvoice.node.lookup import LOOKUP_AHEAD, LOOKUP_NEAREST, LOOKUP_QUERIES, LOOKUP_WIDTH, Lookup
from p2pvoice.node.seeking import FIND_STALL, find_releases
from p2pvoice.protocol.head import tag_key

Network = Callable[..., Any]
Make = Callable[..., Any]

KEY = b"k" * 32


def peers(count: int) -> list[ID]:
    """Ids made of seeds, the nearest to KEY first."""
    made = [ID.from_pubkey(create_new_key_pair(bytes([n % 256]) * 32).public_key) for n in range(count)]
    return sort_peer_ids_by_distance(KEY, made)


class World:
    """Answers a look-up out of a list; the ``silent`` ones say nothing until they are let go."""

    def __init__(self, known: list[ID], silent: set[ID] | None = None) -> None:
        self.known = known
        self.silent = silent or set()
        self.let_go = trio.Event()
        self.walked = trio.Event()
        self.asked: list[ID] = []
        self.under_way = self.most = 0

    async def walk(self, key: bytes) -> list[ID]:
        await self.walked.wait()
        return self.known[:20]

    async def ask(self, peer: ID, key: bytes) -> list[ID]:
        self.asked.append(peer)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if peer in self.silent:
            await self.let_go.wait()
        await trio.lowlevel.checkpoint()
        self.under_way -= 1
        return [] if peer in self.silent else self.known


async def test_all_of_the_nearest_are_asked_and_hardly_anybody_else() -> None:
    known = peers(100)
    world = World(known)
    world.walked.set()
    with trio.fail_after(5):
        await Lookup(KEY, known[-1], known[30:50], world.walk, world.ask).run()
    assert set(world.asked) >= set(known[:LOOKUP_NEAREST])
    assert len(world.asked) == len(set(world.asked)) <= LOOKUP_NEAREST + LOOKUP_AHEAD + LOOKUP_WIDTH
    assert world.most == LOOKUP_WIDTH


async def test_peers_of_the_own_table_are_asked_before_the_walk_ends() -> None:
    known = peers(60)
    world = World(known)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Lookup(KEY, known[-1], known[20:50], world.walk, world.ask).run)
        await trio.testing.wait_all_tasks_blocked()
        assert world.asked == known[20 : 20 + LOOKUP_AHEAD]
        world.walked.set()
    assert set(world.asked) >= set(known[:LOOKUP_NEAREST])


async def test_silent_peers_hold_up_their_own_places_only() -> None:
    known = peers(40)
    world = World(known, silent=set(known[: LOOKUP_WIDTH - 1]))
    world.walked.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Lookup(KEY, known[-1], [], world.walk, world.ask).run)
        await trio.testing.wait_all_tasks_blocked()
        assert set(world.asked) >= set(known[: LOOKUP_WIDTH - 1 + LOOKUP_NEAREST])
        world.let_go.set()


async def test_no_more_are_asked_than_the_limit() -> None:
    known = peers(100)
    world = World(known, silent=set(known))
    world.walked.set()
    world.let_go.set()
    with trio.fail_after(5):
        await Lookup(KEY, ID(b"me"), known, world.walk, world.ask).run()
    assert len(world.asked) == LOOKUP_QUERIES


async def test_a_hundred_providers_of_a_key_are_held_and_twenty_are_told(network: Network) -> None:
    async with network(1) as (host,):
        store = host.kad.dht.provider_store
        names = peers(PROVIDERS_OF_KEY + 1)
        for peer in names[:-1]:
            store.add_provider(KEY, PeerInfo(peer, []))
        assert len(store.all_providers(KEY)) == PROVIDERS_OF_KEY
        store.add_provider(KEY, PeerInfo(names[-1], []))
        assert {info.peer_id for info in store.all_providers(KEY)} == set(names[:-1])
        told = [store.get_providers(KEY) for _ in range(40)]
        assert {len(one) for one in told} == {PROVIDERS_TOLD}
        # That 40 draws of a fifth leave one out has a chance of one in a hundred.
        assert len({info.peer_id for one in told for info in one}) > PROVIDERS_OF_KEY * 0.9
        assert len(host.kad.dht.provider_store) == PROVIDERS_OF_KEY


async def test_a_peer_that_lets_queries_run_out_of_time_is_passed_over(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kad, "SPARE_PEERS", 0)
    async with network(3) as (a, b, c):
        opened = 0

        async def silent(stream: Any) -> None:
            nonlocal opened
            opened += 1
            await trio.sleep_forever()

        b.host.set_stream_handler(TProtocol(KAD_PROTOCOL), silent)
        with trio.fail_after(30):
            await c.kad.find_providers(KEY)
            assert opened
            before = opened
            began = trio.current_time()
            await c.kad.find_providers(b"x" * 32)
            assert trio.current_time() - began < 2
        assert opened == before
        assert a.id in c.connected()


async def test_where_peers_are_few_a_silent_one_is_asked_again(network: Network) -> None:
    async with network(2) as (a, b):
        opened = 0

        async def silent(stream: Any) -> None:
            nonlocal opened
            opened += 1
            await trio.sleep_forever()

        a.host.set_stream_handler(TProtocol(KAD_PROTOCOL), silent)
        with trio.fail_after(30):
            await b.kad.find_providers(KEY)
            before = opened
            assert before
            await b.kad.find_providers(b"x" * 32)
        assert opened > before


@pytest.mark.parametrize("silent", [1, 4])
async def test_silent_providers_hold_up_no_search(
    network: Network, publish: Make, shelf: Make, silent: int
) -> None:
    """What the others have comes at once, and the search does not wait for the silent ones for long."""
    voice = publish(tags=("language/yue",))

    class Silent(shelf):  # type: ignore[misc]
        async def query(self, *rest: Any, **others: Any) -> Any:
            await trio.sleep_forever()

    async with network(silent + 3) as hosts, trio.open_nursery() as nursery:
        for host in hosts[1:-2]:
            ExchangeServer(host, Silent()).attach()
        ExchangeServer(hosts[-2], shelf(voice)).attach()
        found: list[str] = []
        came = trio.Event()

        async def deliver(one: Any) -> None:
            found.append(one.release.id)
            came.set()

        with trio.fail_after(60):
            for host in hosts[1:-1]:
                assert await host.kad.provide(tag_key("language/yue"))
            began = trio.current_time()
            nursery.start_soon(find_releases, hosts[-1], ["language/yue"], deliver)
            await came.wait()
            assert trio.current_time() - began < FIND_STALL
        with trio.fail_after(2 * FIND_STALL):
            # A nursery has no event for its last task.
            while nursery.child_tasks:  # noqa: ASYNC110
                await trio.sleep(0.05)
        assert found == [voice.release.id]
        drops = [hosts[-1].peers.entry(host.id).drop for host in hosts[1:-2]]
        assert all(drop is not None and "in a search" in drop.detail for drop in drops)


async def test_a_search_goes_on_while_answers_bring_something_new(
    network: Network, publish: Make, shelf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four keepers of one voice each, where two answers would have been enough had they been alike."""
    monkeypatch.setattr(seeking, "FIND_PEERS", 2)
    monkeypatch.setattr(seeking, "FIND_WIDTH", 1)
    voices = [publish(slug=f"voice-{number}", tags=("language/yue",), seed=number) for number in range(4)]
    async with network(6) as hosts:
        for host, voice in zip(hosts[1:], voices, strict=False):
            ExchangeServer(host, shelf(voice)).attach()
        found: set[str] = set()

        async def deliver(one: Any) -> None:
            found.add(one.release.id)

        with trio.fail_after(60):
            for host in hosts[1:5]:
                assert await host.kad.provide(tag_key("language/yue"))
            assert await find_releases(hosts[5], ["language/yue"], deliver) == 4
        assert found == {voice.release.id for voice in voices}
