"""Announcing and finding over at least three real hosts, and the DHT's traps on that path."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.records.record import make_signed_put_record

from p2pvoice.node.announcing import Announcer
from p2pvoice.node.ask import fetch_manifest, get_head
from p2pvoice.node.candidates import CONNECTED_BELOW, Candidates
from p2pvoice.node.discovery import find_head, find_providers
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.host import P2PHost
from p2pvoice.node.peers import Fault
from p2pvoice.node.records import HeadValidator
from p2pvoice.node.schedule import PACE_COUNT
from p2pvoice.node.seeking import Found, find_releases
from p2pvoice.protocol.errors import (
    NoPeersError,
    NotFoundError,
    P2PVoiceError,
    RefusedError,
    SignatureError,
    StaleError,
)
from p2pvoice.protocol.head import head_key, release_key, tag_key, verify_head
from p2pvoice.protocol.ids import author_id

Network = Callable[..., Any]
Make = Callable[..., Any]


def info(host: P2PHost) -> PeerInfo:
    return PeerInfo(ID.from_string(host.id), host.host.get_transport_addrs())


def author_of(voice: Any) -> str:
    return author_id(voice.release.manifest.author)


def badly_signed(voice: Any) -> bytes:
    """The release with one bit of its signature turned."""
    envelope = voice.release.envelope
    signature = bytes([envelope.signature[0] ^ 1]) + envelope.signature[1:]
    return dataclasses.replace(envelope, signature=signature).to_bytes()


async def announced(host: P2PHost, nursery: trio.Nursery, *voices: Any) -> Announcer:
    """An announcer that told the network of the voices and their heads."""
    announcer = Announcer(host)
    nursery.start_soon(announcer.run)
    keys: list[bytes] = []
    for voice in voices:
        keys += announcer.release(voice.release.id, voice.release.manifest.tags)
        keys.append(announcer.head(author_of(voice), voice.release.manifest.slug, lambda v=voice: v.head))
    assert await announcer.done(keys, 30)
    return announcer


async def collect(host: P2PHost, tags: list[str]) -> list[Found]:
    found: list[Found] = []

    async def deliver(item: Found) -> None:
        found.append(item)

    await find_releases(host, tags, deliver)
    return found


async def test_publish_and_find_through_the_bootstrap(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish(tags=("language/yue", "gender/male", "style/narration"))
    other = publish(slug="other", tags=("language/yue", "gender/female"), seed=1)
    async with network(4) as (_, a, b, c), trio.open_nursery() as nursery:
        for host, item in ((a, voice), (b, other)):
            ExchangeServer(host, shelf(item)).attach()
        with trio.fail_after(60):
            await announced(a, nursery, voice)
            await announced(b, nursery, other)
            both = await collect(c, ["language/yue"])
            assert {f.release.id for f in both} == {voice.release.id, other.release.id}
            (one,) = await collect(c, ["language/yue", "gender/male"])
            assert one.release == voice.release
            assert one.peer == a.id
            assert one.head is not None
            assert one.head.release == voice.release.id
            assert one.head.to_bytes() == voice.head
            assert await collect(c, ["gender/neutral"]) == []
            assert [str(i.peer_id) for i in await find_providers(c, voice.release.id)] == [a.id]
            assert (await find_head(c, author_of(voice), "storyteller")).release == voice.release.id
            assert {f.release.id for f in await collect(c, [])} >= {voice.release.id}
        nursery.cancel_scope.cancel()


async def test_a_neighbour_that_has_not_announced_yet_is_asked(
    network: Network, publish: Make, shelf: Make
) -> None:
    """Where the DHT names few, those we are connected to are asked; they need to have the tag still."""
    voice = publish(tags=("language/yue", "gender/male", "style/narration"))
    async with network(3) as (_, a, b):
        ExchangeServer(a, shelf(voice)).attach()
        with trio.fail_after(30):
            await b.reach(info(a))
            assert await find_providers(b, voice.release.id) == []
            (one,) = await collect(b, ["language/yue", "gender/male"])
            assert (one.release, one.peer) == (voice.release, a.id)
            assert await collect(b, ["gender/female"]) == []


async def whom_to_ask(host: P2PHost, tag: str) -> set[str]:
    candidates = Candidates(host, [tag])
    await candidates.look_up()
    given = set()
    while (one := await candidates.next()) is not None:
        given.add(str(one.peer_id))
    return given


async def test_where_enough_announced_neighbours_are_left_alone(network: Network) -> None:
    async with network(CONNECTED_BELOW + 4) as (_, b, *others):
        announcing = others[:CONNECTED_BELOW]
        with trio.fail_after(60):
            for host in others:
                await b.reach(info(host))
            for host in announcing:
                assert await host.kad.provide(tag_key("language/yue"))
            assert await whom_to_ask(b, "language/yue") == {host.id for host in announcing}
            assert len(await whom_to_ask(b, "language/nan")) == CONNECTED_BELOW < len(b.connected())


async def test_finding_again_asks_the_network_again(network: Network, publish: Make) -> None:
    """libp2p answers a second look-up from what the first one left behind, for up to 48 hours."""
    async with network(4) as (_, a, b, c):
        key = release_key(publish().release.id)
        with trio.fail_after(30):
            assert await a.kad.provide(key)
            assert [str(i.peer_id) for i in await c.kad.find_providers(key)] == [a.id]
            assert await b.kad.provide(key)
            assert {str(i.peer_id) for i in await c.kad.find_providers(key)} == {a.id, b.id}


async def test_each_provider_is_found_once(network: Network) -> None:
    async with network(5) as hosts:
        with trio.fail_after(30):
            for host in hosts[:4]:
                assert await host.kad.provide(b"k" * 32)
            found = await hosts[4].kad.find_providers(b"k" * 32)
        names = [str(i.peer_id) for i in found]
        assert sorted(names) == sorted(h.id for h in hosts[:4])
        assert all(i.addrs for i in found)


async def test_nobody_has_it(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish()
    async with network(2) as (a, c):
        ExchangeServer(a, shelf()).attach()
        with trio.fail_after(30):
            assert await find_providers(c, voice.release.id) == []
            with pytest.raises(NotFoundError):
                await fetch_manifest(c, voice.release.id, [info(a)])
            with pytest.raises(NoPeersError):
                await fetch_manifest(c, voice.release.id, [])
            with pytest.raises(NotFoundError):
                await find_head(c, author_of(voice), "storyteller")


async def test_announcements_keep_below_what_the_dht_drops(network: Network) -> None:
    """A receiver drops the eleventh announcement in ten seconds and the sender is told it went well."""
    async with network(2) as (a, b):
        with trio.fail_after(60):
            for number in range(15):
                assert await a.kad.provide(bytes([number]) * 32)
            held = b.kad.dht.provider_store.get_providers
            while sum(bool(held(bytes([n]) * 32)) for n in range(15)) < 10:
                await trio.lowlevel.checkpoint()  # the last of them are still on their way
            assert await a.kad.find_providers(b"x" * 32) == []
        assert sum(bool(held(bytes([n]) * 32)) for n in range(15)) == 10  # the trap, as libp2p 0.8.1 has it
        assert PACE_COUNT < 10


async def test_a_burst_of_announcements_waits_visibly_and_all_arrive(network: Network, publish: Make) -> None:
    voices = [publish(slug=f"v{n}", tags=("language/yue",), seed=n) for n in range(PACE_COUNT + 1)]
    async with network(2) as (a, b), trio.open_nursery() as nursery:
        announcer = Announcer(b)
        keys = [k for v in voices for k in announcer.release(v.release.id, ("language/yue",))]
        assert len(set(keys)) == PACE_COUNT + 2
        nursery.start_soon(announcer.run)
        with trio.fail_after(40):
            while announcer.status()["announced"] < PACE_COUNT:
                await trio.lowlevel.checkpoint()
            assert announcer.status()["queued"] == 2
            assert await announcer.done(keys, 30)
            while not all(a.kad.dht.provider_store.get_providers(key) for key in keys):
                await trio.lowlevel.checkpoint()  # told is not yet heard: the last may be on its way
        assert announcer.status() == {
            "keys": len(set(keys)),
            "queued": 0,
            "announced": len(set(keys)),
            "failed": 0,
            "last_error": "",
        }
        nursery.cancel_scope.cancel()


async def test_announcing_starts_when_the_first_peer_comes(network: Network, publish: Make) -> None:
    voice = publish()
    async with network(1) as (a,), network(1) as (b,), trio.open_nursery() as nursery:
        announcer = Announcer(a)
        nursery.start_soon(announcer.run)
        keys = announcer.release(voice.release.id, voice.release.manifest.tags)
        assert not await announcer.done(keys, 0)
        with trio.fail_after(30):
            await a.connect(b.addresses()[0])
            assert await announcer.done(keys, 20)
            assert b.kad.dht.provider_store.get_providers(release_key(voice.release.id))
        nursery.cancel_scope.cancel()


async def test_libp2p_does_not_republish_in_a_burst_of_its_own(network: Network) -> None:
    async with network(2) as (a, _):
        with trio.fail_after(30):
            assert await a.kad.provide(b"k" * 32)
        assert not a.kad.dht.provider_store.providing_keys


async def test_withdrawn_release_is_not_announced_and_shared_tags_stay(
    network: Network, publish: Make
) -> None:
    one = publish(slug="one", tags=("language/yue", "gender/male"))
    two = publish(slug="two", tags=("language/yue",), seed=1)
    async with network(2) as (_, a), trio.open_nursery() as nursery:
        with trio.fail_after(30):
            announcer = await announced(a, nursery, one, two)
        announcer.withdraw(one.release.id, ("language/yue", "gender/male"))
        held = a.kad.dht.provider_store.get_providers
        assert not held(release_key(one.release.id))
        assert not held(tag_key("gender/male"))
        assert held(tag_key("language/yue"))
        announcer.withdraw(two.release.id, ("language/yue",))
        assert not held(tag_key("language/yue"))
        announcer.withdraw_head(author_of(one), "one")
        assert announcer.status()["keys"] == 1  # the other voice's head
        nursery.cancel_scope.cancel()


async def test_head_moves_forward_and_a_replayed_old_one_is_refused(
    network: Network, publish: Make, sign_old_head: Make
) -> None:
    key = Ed25519PrivateKey.generate()
    old = publish(key=key)
    author, place = author_of(old), head_key(author_of(old), "storyteller")
    new_release = publish(key=key, seed=9).release.id
    new = sign_old_head(key, "storyteller", 2, new_release)
    async with network(4) as (first, a, b, c):
        with trio.fail_after(60):
            assert await a.kad.put(place, old.head) >= 2
            assert (await find_head(c, author, "storyteller")).sequence == 1
            assert await a.kad.put(place, new) >= 2
            # c holds a copy of the first head by now; libp2p itself would answer with that.
            known = await find_head(c, author, "storyteller")
            assert (known.sequence, known.release) == (2, new_release)
            with pytest.raises(RefusedError, match="a newer record"):
                await b.kad.put(place, old.head)
            replayed = make_signed_put_record(place, old.head, b.host.get_private_key())
            assert not await b.kad.dht.value_store._store_at_peer(
                ID.from_string(a.id), place, old.head, record=replayed
            )
            assert (await find_head(b, author, "storyteller", known)).sequence == 2
            # Even when every record in the network is turned back, a node does not go back.
            for host in (first, a, b, c):
                host.kad.forget(place)
            for host in (a, b):
                host.kad.dht.value_store.put(place, old.head)
            with pytest.raises(StaleError):
                await find_head(c, author, "storyteller", verify_head(new, time.time()))


async def test_head_of_a_long_slug_is_found(network: Network, publish: Make) -> None:
    """libp2p answers for no key of more than 128 bytes: a slug of 56 characters just fits."""
    key = Ed25519PrivateKey.generate()
    voices = [publish(key=key, slug="s" * length, seed=length) for length in (56, 57, 63)]
    async with network(3) as (_, a, c), trio.open_nursery() as nursery:
        with trio.fail_after(60):
            await announced(a, nursery, *voices)
            for voice in voices:
                author, slug = author_of(voice), voice.release.manifest.slug
                c.kad.forget(head_key(author, slug))  # what was put with c itself, as one of the nearest
                assert (await find_head(c, author, slug)).release == voice.release.id
            # Another long slug's head does not pass, nor does one under its bare slug.
            last = head_key(author, slug)
            for other in (voices[0], voices[1]):
                with pytest.raises(RefusedError, match="somebody else"):
                    await a.kad.put(last, other.head)
            bare = last.rpartition(b"/")[0] + b"/" + slug.encode()
            with pytest.raises(RefusedError, match="somebody else"):
                await a.kad.put(bare, voices[2].head)
        nursery.cancel_scope.cancel()


async def test_equal_head_refreshes_the_record(network: Network, publish: Make) -> None:
    """libp2p refuses to republish an equal value unless the last of equals wins."""
    voice = publish()
    place = head_key(author_of(voice), "storyteller")
    async with network(3) as (_, a, _b):
        with trio.fail_after(30):
            first = await a.kad.put(place, voice.head)
            assert first >= 2
            assert await a.kad.put(place, voice.head) == first


async def test_head_record_does_not_name_the_peer_that_put_it(network: Network, publish: Make) -> None:
    """Stock libp2p signs it with the peer key, which would tie that peer to the author in public."""
    voice = publish()
    place = head_key(author_of(voice), "storyteller")
    async with network(3) as (first, a, b):
        with trio.fail_after(30):
            await a.kad.put(place, voice.head)
            assert await b.kad.get(place) == voice.head
        for host in (first, a, b):
            record = host.kad.dht.value_store.get(place)
            assert record is not None
            assert not record.author
            assert not record.signature


async def test_forged_heads_are_refused_by_strangers(
    network: Network, publish: Make, sign_old_head: Make
) -> None:
    voice, mallory = publish(), Ed25519PrivateKey.generate()
    place = head_key(author_of(voice), "storyteller")
    forged = sign_old_head(mallory, "storyteller", 99, voice.release.id)
    broken = voice.head[:-1] + bytes([voice.head[-1] ^ 1])
    assert broken != voice.head
    stale = sign_old_head(mallory, "storyteller", 1, voice.release.id, lifetime=-10)
    async with network(3) as (_, a, b):
        store = a.kad.dht.value_store._store_at_peer
        with trio.fail_after(30):
            await a.connect(b.addresses()[0])
            for value in (forged, broken, stale, b"", bytes(2000)):
                assert not await store(ID.from_string(b.id), place, value)
                assert b.kad.dht.value_store.get(place) is None
                with pytest.raises(P2PVoiceError):
                    await a.kad.put(place, value)
            for other in (b"/pk/x", b"plain", b"/p2pvoice/other/x", b"/p2pvoice/head/x"):
                assert not await store(ID.from_string(b.id), other, voice.head)
                assert b.kad.dht.value_store.get(other) is None
            assert await store(ID.from_string(b.id), place, voice.head)


def test_select_prefers_sequence_then_expiry_then_the_last(publish: Make, sign_old_head: Make) -> None:
    key = Ed25519PrivateKey.generate()
    release = publish(key=key).release.id
    author = author_id(key.public_key().public_bytes_raw())
    place = head_key(author, "storyteller").decode()
    one, two = (sign_old_head(key, "storyteller", n, release) for n in (1, 2))
    longer = sign_old_head(key, "storyteller", 2, release, lifetime=7200)
    select = HeadValidator().select
    assert select(place, [one, two]) == 1
    assert select(place, [two, one]) == 0
    assert select(place, [two, two]) == 1
    assert select(place, [longer, two]) == 0
    assert select(place, [b"junk", one, b"junk"]) == 1
    with pytest.raises(RefusedError):
        select(place, [b"junk"])


async def test_peer_that_lies_about_a_release_is_shunned(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice, other = publish(), publish(slug="other", seed=1)
    async with network(4) as (_, liar, forger, c):
        swapped, broken = shelf(), shelf()
        swapped.releases[voice.release.id] = other.release.envelope.to_bytes()
        broken.releases[voice.release.id] = badly_signed(voice)
        ExchangeServer(liar, swapped).attach()
        ExchangeServer(forger, broken).attach()
        with trio.fail_after(30):
            with pytest.raises(NoPeersError):
                await fetch_manifest(c, voice.release.id, [info(liar), info(forger)])
        for host in (liar, forger):
            drop = c.peers.entry(host.id).drop
            assert drop is not None
            assert drop.fault is Fault.BAD_SIGNATURE
            assert c.peers.is_shunned(host.id)


async def test_query_with_one_forged_release_drops_the_peer(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice = publish()
    async with network(2) as (a, c):
        library = shelf(voice)
        library.releases[voice.release.id] = badly_signed(voice)
        ExchangeServer(a, library).attach()
        with trio.fail_after(30):
            await a.kad.provide(tag_key("language/yue"))
            assert await collect(c, ["language/yue"]) == []
        assert c.peers.is_shunned(a.id)


async def test_replayed_head_over_a_stream_is_refused(
    network: Network, publish: Make, shelf: Make, sign_old_head: Make
) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    known = verify_head(sign_old_head(key, "storyteller", 2, voice.release.id), time.time())
    async with network(2) as (a, c):
        ExchangeServer(a, shelf(voice)).attach()
        with trio.fail_after(30):
            assert (await get_head(c, info(a), author_of(voice), "storyteller")).sequence == 1
            with pytest.raises(StaleError):
                await get_head(c, info(a), author_of(voice), "storyteller", known)
            with pytest.raises(NotFoundError):
                await get_head(c, info(a), author_of(voice), "nothing")


async def test_other_voice_s_head_is_no_answer(network: Network, publish: Make, shelf: Make) -> None:
    voice, other = publish(), publish(slug="other", seed=1)
    async with network(2) as (a, c):
        library = shelf(voice)
        library.heads[author_of(voice), "storyteller"] = other.head
        ExchangeServer(a, library).attach()
        with trio.fail_after(30), pytest.raises(SignatureError):
            await get_head(c, info(a), author_of(voice), "storyteller")
        assert c.peers.is_shunned(a.id)
