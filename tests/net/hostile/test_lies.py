"""Lies in answers: manifests, chunks, wrong bytes, heads, DHT records; refused, and the liar remembered."""

import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.kad_dht.pb.kademlia_pb2 import Message as DhtMessage
from libp2p.kad_dht.pb.kademlia_pb2 import Record
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.utils.varint import encode_uvarint as varint
from multiaddr import Multiaddr

from p2pvoice.node import ask, dht_store, eviction, kad
from p2pvoice.node.ask import get_head, get_release, query
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.discovery import find_head
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.fairness import PLACE_BYTES
from p2pvoice.node.fetch import fetch_files
from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.peers import Fault
from p2pvoice.node.schema import open_database
from p2pvoice.node.seeking import find_releases
from p2pvoice.node.wire import STREAM_ERRORS, Channel
from p2pvoice.protocol.canonical import encode
from p2pvoice.protocol.catalog_messages import (
    CATALOG,
    CURSOR_LENGTH,
    PAGE_ITEMS,
    PAGE_LIMIT,
    HeadReply,
    QueryPage,
)
from p2pvoice.protocol.errors import ManifestError, NoPeersError, P2PVoiceError, SignatureError, StaleError
from p2pvoice.protocol.exchange_messages import EXCHANGE, ChunkFrame, Want
from p2pvoice.protocol.framing import MESSAGE_LIMIT
from p2pvoice.protocol.head import HEAD_LIMIT, Head, head_key, release_key, sign_head
from p2pvoice.protocol.ids import author_id, cid_of
from p2pvoice.protocol.manifest import RELEASE_LIMIT, Release, sign_manifest
from p2pvoice.protocol.messages import decode_message, encode_message

from . import attacks
from .victim import MIB, forget_peak, memory

Tally = Callable[..., None]
Make = Callable[..., Any]


# -- manifests ----------------------------------------------------------------------------------------------


def large_release(publish: Make, key: Ed25519PrivateKey, slug: str, size: int = 60_000) -> Release:
    """A validly signed release whose manifest is as large as asked for, by keys that nobody knows."""
    manifest = publish(slug=slug, key=key).release.manifest
    return sign_manifest(replace(manifest, extra={"junk": bytes(size)}), key)


async def test_frames_that_announce_too_much(network: Make, tally: Tally) -> None:
    sizes = [ask.message_limit(QueryPage, ask.Fail) + 1, MESSAGE_LIMIT + 1, 2**32 - 1]
    before = forget_peak()
    async with network(2) as (liar, victim):
        for size in sizes:
            liar.serve(CATALOG, attacks.huge_frame_then_trickle(size))
            victim.peers.forgive(liar.id)
            with trio.fail_after(10), pytest.raises(P2PVoiceError, match="is announced"):
                await query(victim, attacks.info(liar), [], deliver_nowhere, limit=10)
            drop = victim.peers.entry(liar.id).drop
            assert drop is not None
            assert drop.fault is Fault.BROKE_PROTOCOL
            assert victim.peers.is_shunned(liar.id)
    growth = memory("VmHWM") - before
    assert growth < 24  # two hosts among it
    tally("frames of too many bytes", tried=3, refused=3, cost=f"+{growth:.0f} MiB at most")


async def test_records_one_byte_over(network: Make, tally: Tally) -> None:
    over = {
        "a release": {"t": "release", "data": bytes(RELEASE_LIMIT + 1)},
        "a release in a page": {"t": "page", "releases": [bytes(RELEASE_LIMIT + 1)], "heads": [], "next": ""},
        "a head in a page": {"t": "page", "releases": [], "heads": [bytes(HEAD_LIMIT + 1)], "next": ""},
        "a page": {"t": "page", "releases": [bytes(PAGE_LIMIT // 4)] * 4, "heads": [b"h"], "next": ""},
        "a page of many": {"t": "page", "releases": [b"r"] * (PAGE_ITEMS + 1), "heads": [], "next": ""},
        "a cursor": {"t": "page", "releases": [], "heads": [], "next": "x" * (CURSOR_LENGTH + 1)},
    }
    async with network(2) as (liar, victim):
        for name, value in over.items():
            liar.serve(CATALOG, answering(encode(value)))
            victim.peers.forgive(liar.id)
            asking = (
                get_release(victim, attacks.info(liar), cid_of(bytes(32)))
                if value["t"] == "release"
                else query(victim, attacks.info(liar), [], deliver_nowhere, limit=10)
            )
            with trio.fail_after(10), pytest.raises(ManifestError):
                await asking
            assert victim.peers.is_shunned(liar.id), name
    tally("records, pages and cursors one over", tried=len(over), refused=len(over))


async def test_allowed_frame_that_trickles(network: Make, tally: Tally) -> None:
    """Bytes that come one by one keep a reader alive; the search's own time ends it."""
    async with network(2) as (liar, victim):
        liar.serve(CATALOG, attacks.huge_frame_then_trickle(MIB))
        began = trio.current_time()
        with trio.fail_after(10):
            answered = await find_releases(victim, [], deliver_nowhere, timeout=2.0)
        assert answered == 0
        seconds = trio.current_time() - began
    assert seconds < 5
    tally("an allowed frame, a byte at a time", tried=1, refused=1, cost=f"{seconds:.1f} s of a 2 s search")


async def deliver_nowhere(*_: object) -> None:
    """Nothing may be delivered by a liar."""
    raise AssertionError("something was delivered")


@pytest.mark.parametrize("next_cursor", ["another", "the same"])
async def test_pages_without_end(network: Make, publish: Make, tally: Tally, next_cursor: str) -> None:
    key = Ed25519PrivateKey.generate()
    release = large_release(publish, key, "junk").envelope.to_bytes()
    asked = 0

    def page(number: int) -> bytes:
        nonlocal asked
        asked += 1
        cursor = {"another": str(number), "the same": "x"}[next_cursor]
        # Without the tag that was asked for, so that nothing ever counts.
        return encode_message(QueryPage((release,) * 6, (), cursor))

    async with network(2) as (liar, victim):
        liar.serve(CATALOG, lambda channel: attacks.endless_pages(channel, page))
        began = time.process_time()
        with trio.fail_after(30):
            count = await query(victim, attacks.info(liar), ["gender/male"], deliver_nowhere, limit=200)
        cpu = time.process_time() - began
    assert count == 0
    assert asked == (2 if next_cursor == "the same" else ask.PAGES_LIMIT)
    cost = f"{asked} pages, {cpu:.1f} s CPU"
    tally(f"pages without end, cursor {next_cursor}", tried=1, refused=1, cost=cost)


async def test_flood_of_signed_junk_leaves_what_was_known(
    network: Make, publish: Make, tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer offers more validly signed releases by fresh keys than the catalog may hold."""
    monkeypatch.setattr(eviction, "LIMITS", replace(eviction.LIMITS, places=130, guests=20))
    database = open_database(tmp_path / "catalog.sqlite")
    now = time.time() - eviction.LIMITS.settled
    catalog = Catalog(database, clock=lambda: now)
    known = [publish(slug=f"known-{number}").release for number in range(40)]
    for release in known:
        catalog.add_release(release.envelope.to_bytes())
    now = time.time()
    junk = [large_release(publish, Ed25519PrivateKey.generate(), "junk", 40_000) for _ in range(100)]
    releases = itertools.cycle([release.envelope.to_bytes() for release in junk])

    def page(number: int) -> bytes:
        return encode_message(QueryPage(tuple(itertools.islice(releases, 16)), (), str(number)))

    async def keep(found: Any) -> None:
        catalog.add_release(found.release.envelope.to_bytes())

    async with network(2) as (liar, victim):
        liar.serve(CATALOG, lambda channel: attacks.endless_pages(channel, page))
        with trio.fail_after(30):
            await find_releases(victim, [], keep)
    assert all(catalog.release(release.id) for release in known)
    count = catalog.counts()[0]
    held = sum(len(catalog.release_bytes(r.id) or b"") for r in [*known, *junk])
    assert count <= 130 + 20
    assert held <= (130 + 20) * PLACE_BYTES < 2 * MIB
    database.close()
    disk = on_disk(tmp_path)
    assert disk < 3 * 2 + 4
    tally("signed junk by fresh keys, 4 MB for a catalog of 2", tried=100, refused=100,
          cost=f"{disk:.1f} MiB on disk; all 40 known voices stay")  # fmt: skip


def on_disk(folder: Path) -> float:
    """MiB of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir()) / MIB


@pytest.mark.slow
def test_ten_thousand_releases_by_fresh_keys(publish: Make, tally: Tally, tmp_path: Path) -> None:
    """10,000 releases of 32 KiB, 330 MB together, against the real limits."""
    database = open_database(tmp_path / "catalog.sqlite")
    now = time.time() - eviction.LIMITS.settled
    catalog = Catalog(database, clock=lambda: now)
    known = [publish(slug=f"known-{number}").release for number in range(100)]
    for release in known:
        catalog.add_release(release.envelope.to_bytes())
    now = time.time()
    began = time.monotonic()
    for _ in range(10_000):
        key = Ed25519PrivateKey.generate()
        catalog.add_release(large_release(publish, key, "junk", 32 << 10).envelope.to_bytes())
    seconds = time.monotonic() - began
    assert all(catalog.release(release.id) for release in known)
    database.close()
    disk = on_disk(tmp_path)
    assert disk < 2 * eviction.LIMITS.places * PLACE_BYTES / MIB
    tally("10,000 signed releases of 32 KiB by fresh keys", tried=10_000, refused=10_000,
          cost=f"{disk:.0f} MiB on disk, {seconds:.0f} s")  # fmt: skip


# -- chunks and wrong bytes ---------------------------------------------------------------------------------


def zeros(size: int, *, claim: bool = True) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=20, write_content_size=claim)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(size))


def claiming(size: int) -> bytes:
    """A frame that claims ``size`` bytes of content and has none of them."""
    return b"\x28\xb5\x2f\xfd" + b"\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"


Lie = Callable[[int, bytes], tuple[ChunkFrame, bytes]]

#: 64 MiB of zeros in 2 KiB, with and without saying so.
BOMB, SILENT_BOMB = zeros(64 * MIB), zeros(64 * MIB, claim=False)

LIES: dict[str, Lie] = {
    "zstd: claims the chunk, holds 64 MiB": lambda i, raw: said(
        i, "zstd", b"\x28\xb5\x2f\xfd\xa0" + len(raw).to_bytes(4, "little") + BOMB[9:]
    ),
    "zstd: claims 64 MiB": lambda i, raw: said(i, "zstd", BOMB),
    "zstd: claims 2**60 bytes": lambda i, raw: said(i, "zstd", claiming(1 << 60)),
    "zstd: claims no size, holds 64 MiB": lambda i, raw: said(i, "zstd", SILENT_BOMB),
    "zstd: bytes behind the frame": lambda i, raw: said(i, "zstd", zeros(len(raw)) + b"more"),
    "zstd: no frame at all": lambda i, raw: said(i, "zstd", b"\xff" * 100),
    "raw bytes called zstd": lambda i, raw: said(i, "zstd", raw),
    "zstd called raw": lambda i, raw: said(i, "raw", zeros(len(raw))),
    "a byte too few": lambda i, raw: said(i, "raw", raw[:-1]),
    "another chunk's index": lambda i, raw: said(i + 1, "raw", raw),
    "every bit wrong": lambda i, raw: said(i, "raw", bytes(b ^ 255 for b in raw)),
    "one bit wrong": lambda i, raw: said(i, "raw", raw[:-1] + bytes([raw[-1] ^ 1])),
    "the bytes of another chunk": lambda i, raw: said(i, "raw", bytes(len(raw))),
}


def said(index: int, codec: str, blob: bytes) -> tuple[ChunkFrame, bytes]:
    return ChunkFrame(index, codec, len(blob)), blob


def lying(
    chunks: dict[tuple[bytes, int], bytes], lie: Lie, asked: list[int]
) -> Callable[[Channel], Awaitable[None]]:
    async def answer(channel: Channel) -> None:
        while (frame := await channel.receive(4096)) is not None:
            want = decode_message(frame, Want)
            asked.append(want.first)
            announcement, blob = lie(want.first, chunks[want.file, want.first])
            await channel.send(encode_message(announcement), blob)

    return answer


async def test_every_lie_about_a_chunk_costs_the_liar_and_not_the_fetch(
    network: Make, publish: Make, shelf: Make, tally: Tally
) -> None:
    voice = publish(sizes={"gpt.safetensors": 2 * MIB})
    library = shelf(voice)
    before = forget_peak()
    async with network(3) as (liar, honest, victim):
        ExchangeServer(honest, library).attach()
        for name, lie in LIES.items():
            asked: list[int] = []
            liar.serve(EXCHANGE, lying(library.chunks, lie, asked))
            victim.peers.forgive(liar.id)
            # The liar is asked first, and alone at first.
            sink = shelf()
            with trio.fail_after(20), pytest.raises(NoPeersError):
                await fetch_files(victim, voice.files, [attacks.info(liar)], sink)
            assert asked, name
            assert not sink.chunks, name
            assert victim.peers.is_shunned(liar.id), name
            asked.clear()
            with trio.fail_after(20):
                report = await fetch_files(
                    victim, voice.files, [attacks.info(liar), attacks.info(honest)], sink
                )
            assert sink.finished == ["gpt.safetensors"]
            assert report.peers == {honest.id: 2 * MIB}, name
            assert not asked, f"{name}: a shunned liar was asked again"
    growth = memory("VmHWM") - before
    assert growth < 60  # three hosts and all copies of the voice among it; one bomb alone has 64
    cost = f"+{growth:.0f} MiB at most"
    tally("lies about chunks, each by one peer", tried=len(LIES), refused=len(LIES), cost=cost)


async def test_liar_in_the_last_chunk_is_remembered_over_a_restart(
    network: Make, publish: Make, shelf: Make, tally: Tally, tmp_path: Path
) -> None:
    voice = publish(sizes={"gpt.safetensors": 6 * MIB})
    book = tmp_path / "peers.json"
    asked: list[int] = []
    library = shelf(voice)

    def lie(index: int, raw: bytes) -> tuple[ChunkFrame, bytes]:
        # Chunks are asked in any order.
        return said(index, "raw", raw if len(asked) < 6 else raw[:-1] + bytes([raw[-1] ^ 1]))

    async with network(2) as (liar, honest):
        liar.serve(EXCHANGE, lying(library.chunks, lie, asked))
        ExchangeServer(honest, library).attach()
        identity = generate()
        async with open_host(identity, listen=["/ip4/127.0.0.1/tcp/0"], book_path=book) as victim:
            sink = shelf()
            with trio.fail_after(30), pytest.raises(NoPeersError):
                await fetch_files(victim, voice.files, [attacks.info(liar)], sink)
            assert len(sink.chunks) == 5
            with trio.fail_after(30):
                report = await fetch_files(victim, voice.files, [attacks.info(honest)], sink)
            # What the liar said truly is kept; only the rest is fetched again.
            assert report.received == MIB
            assert sink.finished == ["gpt.safetensors"]
        asked.clear()
        async with open_host(identity, listen=["/ip4/127.0.0.1/tcp/0"], book_path=book) as again:
            assert again.peers.is_shunned(liar.id)
            with trio.fail_after(30):
                both = [attacks.info(liar), attacks.info(honest)]
                report = await fetch_files(again, voice.files, both, shelf())
            assert set(report.peers) == {honest.id}
            assert not asked
    tally("one bit wrong in the last chunk; the liar after a restart", tried=2, refused=2)


async def test_forged_provider_records_cost_time_only(
    network: Make, publish: Make, shelf: Make, tally: Tally
) -> None:
    """Providers that are dead, that are others, and that never asked to be: twenty before the honest one."""
    voice = publish()
    chance = itertools.count(1)
    forged = [
        PeerInfo(
            ID.from_pubkey(create_new_key_pair(next(chance).to_bytes(32, "big")).public_key),
            [Multiaddr("/ip4/127.0.0.1/tcp/1"), Multiaddr("/ip4/127.0.0.1/tcp/2")],
        )
        for _ in range(20)
    ]
    async with network(3) as (honest, bystander, victim):
        ExchangeServer(honest, shelf(voice)).attach()
        ExchangeServer(bystander, shelf()).attach()
        elsewhere = PeerInfo(ID.from_string(bystander.id), bystander.host.get_transport_addrs())
        began = trio.current_time()
        with trio.fail_after(30):
            report = await fetch_files(
                victim, voice.files, [*forged, elsewhere, attacks.info(honest)], shelf()
            )
        seconds = trio.current_time() - began
        assert set(report.peers) == {honest.id}
        assert victim.peers.entry(bystander.id).drop is None
    tally("forged provider records before the honest one", tried=21, refused=21, cost=f"{seconds:.1f} s")


# -- heads --------------------------------------------------------------------------------------------------


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


def answering(payload: bytes) -> Callable[[Channel], Awaitable[None]]:
    async def answer(channel: Channel) -> None:
        await channel.receive(4096)
        await channel.send(payload)

    return answer


# -- the DHT ------------------------------------------------------------------------------------------------


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
