"""Lies about heads, and in the DHT: refused, and the liar remembered."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from libp2p.kad_dht.pb.kademlia_pb2 import Message as DhtMessage
from libp2p.kad_dht.pb.kademlia_pb2 import Record
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.utils.varint import encode_uvarint as varint
from multiaddr import Multiaddr

from p2pvoice.node import dht_store, kad
from p2pvoice.node.ask import get_head
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.discovery import find_head
from p2pvoice.node.host import P2PHost
from p2pvoice.node.peers import Fault
from p2pvoice.node.schema import open_database
from p2pvoice.node.wire import STREAM_ERRORS
from p2pvoice.protocol.catalog_messages import (
    CATALOG,
    HeadReply,
)
from p2pvoice.protocol.errors import P2PVoiceError, SignatureError, StaleError
from p2pvoice.protocol.head import Head, head_key, release_key, sign_head
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.messages import encode_message

from . import attacks
from .attacks import answering
from .victim import forget_peak, memory

Tally = Callable[..., None]
Make = Callable[..., Any]


async def test_heads_that_lie(
    network: Make, publish: Make, sign_old_head: Make, tally: Tally, tmp_path: Path
) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    voice, fork = publish(key=key, sequence=5), publish(key=key, sequence=5, seed=1)
    author = author_id(key.public_key().public_bytes_raw())
    database = open_database(tmp_path / "catalog.sqlite")
    catalog = Catalog(database)
    known = catalog.add_head(voice.head)
    stranger = other.public_key().public_bytes_raw()
    forged = sign_head(Head(stranger, "storyteller", 9, voice.release.id, known.expires), other)
    elsewhere = sign_old_head(key, "other", 6, voice.release.id)
    lies = {
        "replayed": (sign_old_head(key, "storyteller", 4, voice.release.id), StaleError, None),
        "expired": (sign_old_head(key, "storyteller", 6, voice.release.id, -1), StaleError, None),
        "by another key": (forged, SignatureError, Fault.BAD_SIGNATURE),
        "of another voice": (elsewhere, SignatureError, Fault.BAD_SIGNATURE),
        "a bit changed": (flip(voice.head), P2PVoiceError, None),
    }
    async with network(3) as (liar, holder, victim):
        for name, (data, error, fault) in lies.items():
            liar.serve(CATALOG, answering(encode_message(HeadReply(data))))
            victim.peers.forgive(liar.id)
            with trio.fail_after(10), pytest.raises(error):
                await get_head(victim, attacks.info(liar), author, "storyteller", known)
            if fault is not None:
                drop = victim.peers.entry(liar.id).drop
                assert drop is not None, name
                assert drop.fault is fault, name
        # Over the DHT: nobody stores the lie, whoever is told; and a replayed head is not an answer.
        dht_key = head_key(known.author, "storyteller")
        with trio.fail_after(20):
            assert await victim.kad.put(dht_key, voice.head) > 0
            for data in (forged, flip(voice.head), lies["replayed"][0], lies["expired"][0]):
                assert not await put(liar, holder, dht_key, data)
                assert holder.kad.dht.value_store.get(dht_key).value == voice.head
            assert (await find_head(victim, author, "storyteller", known)).to_bytes() == voice.head
            for host in (holder, liar, victim):
                host.kad.forget(dht_key)
            assert await put(liar, holder, dht_key, lies["replayed"][0])  # it knows no better
            with pytest.raises(StaleError):
                await find_head(victim, author, "storyteller", known)
        # A fork at the same sequence: the first stays.
        assert catalog.add_head(fork.head).release == voice.release.id
        assert catalog.head_bytes(author, "storyteller") == voice.head
    database.close()
    tried = len(lies) + 5 + 1
    tally("heads: replayed, expired, forged, changed, forked", tried=tried, refused=tried)


def flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


async def dht_call(liar: P2PHost, victim: P2PHost, message: bytes) -> bool:
    """Send one DHT message; whether it was answered."""
    stream = await attacks.dht_stream(liar, victim.id)
    try:
        await stream.write(varint(len(message)) + message)
        return bool(await stream.read(1))
    except STREAM_ERRORS:
        return False
    finally:
        await stream.reset()


async def held_dht_streams(liar: P2PHost, victim: P2PHost, count: int) -> list[Any]:
    """As many DHT streams as there are places for one peer; the others are reset."""
    streams = []
    for _ in range(count):
        with contextlib.suppress(*STREAM_ERRORS):
            streams.append(await attacks.dht_stream(liar, victim.id))
    return streams


async def put(liar: P2PHost, victim: P2PHost, key: bytes, value: bytes, **more: bytes) -> bool:
    message = DhtMessage(type=DhtMessage.PUT_VALUE, key=key, record=Record(key=key, value=value, **more))
    return await dht_call(liar, victim, message.SerializeToString())


def provide(key: bytes, peer: bytes, addresses: list[bytes]) -> bytes:
    message = DhtMessage(type=DhtMessage.ADD_PROVIDER, key=key)
    entry = message.providerPeers.add()
    entry.id = peer
    entry.addrs.extend(addresses)
    return bytes(message.SerializeToString())


async def test_dht_floods(network: Make, publish: Make, tally: Tally) -> None:
    address = Multiaddr("/ip4/192.0.2.1/tcp/4001").to_bytes()
    voice = publish()
    async with network(3) as (victim, liar, honest):
        store = victim.kad.dht.provider_store
        mine = ID.from_string(liar.id).to_bytes()
        with trio.fail_after(60):
            # Records that are not heads, too large, or carry more than a head.
            junk_key = b"/p2pvoice/head/nobody/nothing"
            values = {b"/p2pvoice/junk/x": b"x", b"/pk/x": b"x", b"x": b"x", junk_key: b"\x80",
                      junk_key + b"2": bytes(768), junk_key + b"3": bytes(kad.MESSAGE_LIMIT + 1)}  # fmt: skip
            for key, value in values.items():
                assert not await put(liar, victim, key, value)
            assert victim.kad.dht.value_store.size() == 0
            manifest = voice.release.manifest
            key = head_key(manifest.author, manifest.slug)
            assert await put(liar, victim, key, voice.head, author=bytes(50_000))
            assert victim.kad.dht.value_store.get(key).ByteSize() < 1500
            # Providers: in another's name, under keys that are none of ours, with too many addresses.
            other = ID.from_string(honest.id).to_bytes()
            assert await dht_call(liar, victim, provide(b"k" * 32, other, [address]))
            assert await dht_call(liar, victim, provide(b"k" * 33, mine, [address]))
            long = Multiaddr("/dns4/" + "x.".join("y" * 60 for _ in range(4)) + "/tcp/1").to_bytes()
            assert await dht_call(liar, victim, provide(b"l" * 32, mine, [long] + [address] * 2000))
            assert len(store) == 1
            (kept,) = store.get_providers(b"l" * 32)
            assert len(kept.addrs) == dht_store.ADDRESSES_PER_RECORD - 1
            # More than one sender may announce.
            taken = 3
            for number in range(100):
                taken += await dht_call(liar, victim, provide(number.to_bytes(32, "big"), mine, [address]))
            assert taken <= 10
            # Streams that are held: each peer has its own places.
            streams = await held_dht_streams(liar, victim, 20)
            assert await honest.kad.provide(release_key(voice.release.id))
            # The announcement was sent; nobody says when it was taken.
            while not (found := store.get_providers(release_key(voice.release.id))):
                await trio.lowlevel.checkpoint()
            assert [str(i.peer_id) for i in found] == [honest.id]
            for stream in streams:
                await stream.reset()
    tried = len(values) + 1 + 3 + 90 + 20
    tally("DHT: foreign records, forged providers, too many, held", tried=tried, refused=tried)


async def test_provider_records_beyond_the_limit(network: Make, tally: Tally) -> None:
    """By thousands of peer ids, for random keys and for one; what was known before stays."""
    async with network(1) as (victim,):
        store = victim.kad.dht.provider_store
        addresses = [Multiaddr(f"/ip4/192.0.2.1/tcp/{port}") for port in range(1, 20)]
        ids = [ID(b"\x00\x24\x08\x01\x12\x20" + n.to_bytes(32, "big")) for n in range(3_000)]
        known = [n.to_bytes(32, "little") for n in range(1, 1001)]
        before = forget_peak()
        for number, key in enumerate(known):
            store.add_provider(key, PeerInfo(ids[number % 10], addresses))
        for number in range(24_000):
            key = number.to_bytes(32, "big") if number % 10 else b"k" * 32
            store.add_provider(key, PeerInfo(ids[number // 8], addresses))
        growth = memory("VmHWM") - before
        assert len(store) <= dht_store.PROVIDERS_LIMIT
        assert store.size() == len(store)
        assert len(store.get_providers(b"k" * 32)) == 20
        assert all(store.get_providers(key) for key in known)
        # One peer does not get more than its share.
        for number in range(dht_store.KEYS_PER_PEER + 1):
            store.add_provider(number.to_bytes(32, "little") + b"", PeerInfo(ids[2_999], addresses))
        assert len(store.get_provided_keys(ids[2_999])) <= dht_store.KEYS_PER_PEER
    assert growth < 64
    tally("provider records by 3,000 peer ids", tried=24_000, refused=24_000, cost=f"+{growth:.0f} MiB")


async def test_head_records_beyond_the_limit(
    network: Make, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dht_store, "VALUES_LIMIT", 100)
    async with network(1) as (victim,):
        store = victim.kad.dht.value_store
        for number in range(1000):
            key = f"/p2pvoice/head/x/{number}".encode()
            store.put_record(key, Record(key=key, value=b"v", author=bytes(1000)))
        assert store.size() <= 100
        assert all(store.get(f"/p2pvoice/head/x/{number}".encode()) for number in (*range(75), 999))
    tally("head records, 1,000 for 100 places", tried=900, refused=900)
