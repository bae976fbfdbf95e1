"""Revocations over real hosts: the DHT's records, and what a peer alone cannot make anybody believe."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.announcing import Announcer
from p2pvoice.node.ask import (
    Recalled,
    fetch_manifest,
    get_head,
    get_release,
    get_revocations,
    query,
    tell_revocation,
)
from p2pvoice.node.discovery import find_revocation
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.host import P2PHost
from p2pvoice.node.records import RecordValidator
from p2pvoice.protocol.errors import NetworkError, NoPeersError, P2PVoiceError, RefusedError, RevokedError
from p2pvoice.protocol.head import HEAD_NAMESPACE
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.recall_messages import GetRevocations
from p2pvoice.protocol.revocation import Revocation, key_of, sign_revocation

Network = Callable[..., Any]
Make = Callable[..., Any]

STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
NOW = 1_790_000_000


def info(host: P2PHost) -> PeerInfo:
    return PeerInfo(ID.from_string(host.id), host.host.get_transport_addrs())


def made(voice: Any, key: Ed25519PrivateKey, *, whole: bool = False, created: int = NOW) -> Revocation:
    manifest = voice.release.manifest
    release = None if whole else voice.release.id
    signer = key.public_key().public_bytes_raw()
    return Revocation(signer, manifest.author, manifest.slug, created, release, reason="enough")


class Refuser:
    """A library whose owner says that everything is revoked, with these records and proofs."""

    def __init__(self, records: Sequence[bytes], proofs: Sequence[bytes]) -> None:
        self.answer = (tuple(records), tuple(proofs))
        self.heard: list[bytes] = []

    async def get_release(self, release: str) -> bytes | None:
        raise RevokedError("believe me")

    async def get_head(self, author: str, slug: str) -> bytes | None:
        raise RevokedError("believe me")

    async def get_revocations(
        self, releases: Sequence[str], author: str, slug: str, *, proofs: bool
    ) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        return self.answer[0], self.answer[1] if proofs else ()

    async def hear(self, record: bytes) -> None:
        self.heard.append(record)


async def test_a_record_stands_in_the_dht_under_its_signers_key(network: Network, publish: Make) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    async with network(3) as (_, a, c), trio.open_nursery() as nursery:
        announcer = Announcer(a)
        nursery.start_soon(announcer.run)
        with trio.fail_after(30):
            for whole in (False, True):
                revocation = made(voice, key, whole=whole)
                data = sign_revocation(revocation, key)
                placed = announcer.record(key_of(revocation), "a revocation", lambda data=data: data)
                assert await announcer.done([placed], 20)
                c.kad.forget(key_of(revocation))  # what was put with c itself, as one of the nearest
                assert await find_revocation(c, key_of(revocation)) == data
            assert await find_revocation(c, key_of(made(voice, STRANGER))) is None
        nursery.cancel_scope.cancel()


async def test_libp2p_does_not_answer_for_a_long_key(network: Network) -> None:
    """Why the keys of revocations are hashes, and those of the heads of long slugs hold one."""
    async with network(2) as (a, c):
        with trio.fail_after(30):
            for length, found in ((128, True), (129, False)):
                place = HEAD_NAMESPACE.ljust(length, b"s")
                a.kad.dht.value_store.put(place, b"value")
                asked = await c.kad.dht.value_store._get_from_peer(ID.from_string(a.id), place)
                assert asked == (b"value" if found else None)


async def test_forged_records_are_refused_by_strangers(network: Network, publish: Make) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    right = made(voice, key)
    good = sign_revocation(right, key)
    theirs = sign_revocation(made(voice, STRANGER), STRANGER)
    whole = sign_revocation(made(voice, key, whole=True), key)
    async with network(2) as (a, b):
        store = a.kad.dht.value_store._store_at_peer
        place = key_of(right)
        with trio.fail_after(30):
            for value in (theirs, whole, voice.head, good[:-1] + bytes([good[-1] ^ 1]), b"", bytes(3000)):
                assert not await store(ID.from_string(b.id), place, value)
                assert b.kad.dht.value_store.get(place) is None
                with pytest.raises(P2PVoiceError):
                    await a.kad.put(place, value)
            assert await store(ID.from_string(b.id), place, good)
            assert await a.kad.put(place, good) == 1


def test_select_prefers_the_last_made_and_of_equals_the_last(publish: Make) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    place = key_of(made(voice, key)).decode()
    one, two = (sign_revocation(made(voice, key, created=NOW + n), key) for n in range(2))
    select = RecordValidator().select
    assert select(place, [one, two]) == 1
    assert select(place, [two, one]) == 0
    assert select(place, [two, two]) == 1
    assert select(place, [b"junk", one, b"junk", sign_revocation(made(voice, STRANGER), STRANGER)]) == 1
    with pytest.raises(RefusedError):
        select(place, [b"junk"])


async def test_a_peer_alone_cannot_revoke(network: Network, publish: Make) -> None:
    key = Ed25519PrivateKey.generate()
    voice, other = publish(key=key), publish(key=STRANGER, seed=1)
    manifest, release = voice.release.manifest, voice.release.id
    proof, foreign = voice.release.envelope.to_bytes(), other.release.envelope.to_bytes()
    stranger = made(voice, STRANGER)
    lies: list[tuple[list[bytes], list[bytes]]] = [
        ([], []),
        ([], [proof]),
        ([sign_revocation(stranger, STRANGER)], [proof]),
        # A stranger's own release, revoked rightly, in place of the one that was asked for.
        ([sign_revocation(made(other, STRANGER), STRANGER)], [foreign]),
        ([sign_revocation(made(other, STRANGER), STRANGER)], [proof]),
        # The author's word, without the release that shows whose it is.
        ([sign_revocation(made(voice, key), key)], []),
        ([sign_revocation(made(voice, key), key)], [foreign]),
    ]
    for records, proofs in lies:
        async with network(2) as (a, c):
            ExchangeServer(a, Refuser(records, proofs)).attach()  # type: ignore[arg-type]
            with trio.fail_after(30):
                with pytest.raises(NetworkError, match="does not show it"):
                    await get_release(c, info(a), release)
                with pytest.raises(NoPeersError):
                    await fetch_manifest(c, release, [info(a)])
                with pytest.raises(NetworkError):
                    await get_head(c, info(a), author_id(manifest.author), manifest.slug)


async def test_a_peer_that_shows_it_is_believed(network: Network, publish: Make) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    manifest = voice.release.manifest
    for whole in (False, True):
        data = sign_revocation(made(voice, key, whole=whole), key)
        async with network(2) as (a, c):
            ExchangeServer(a, Refuser([data], [voice.release.envelope.to_bytes()])).attach()  # type: ignore[arg-type]
            with trio.fail_after(30):
                with pytest.raises(Recalled) as caught:
                    await fetch_manifest(c, voice.release.id, [info(a)])
                assert (caught.value.data, caught.value.proof) == (data, voice.release)
                with pytest.raises(Recalled if whole else NetworkError):
                    await get_head(c, info(a), author_id(manifest.author), manifest.slug)


async def test_a_bad_signature_among_revocations_is_a_lie(network: Network, publish: Make) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    data = bytearray(sign_revocation(made(voice, key), key))
    data[-5] ^= 1
    async with network(2) as (a, c):
        ExchangeServer(a, Refuser([bytes(data)], [])).attach()  # type: ignore[arg-type]
        with trio.fail_after(30):
            with pytest.raises(RefusedError):
                await get_revocations(c, info(a), GetRevocations((voice.release.id,)))
        assert c.peers.is_shunned(a.id)


async def test_a_peer_without_our_protocol_is_not_blamed_for_it(network: Network, publish: Make) -> None:
    async with network(2) as (a, c):
        with trio.fail_after(30):
            with pytest.raises(P2PVoiceError):
                await get_revocations(c, info(a), GetRevocations())
            with pytest.raises(P2PVoiceError):
                await tell_revocation(c, info(a), sign_revocation(made(publish(), STRANGER), STRANGER))
        assert not c.peers.is_shunned(a.id)


async def test_telling_and_pages_reach_the_listener(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish()
    record = sign_revocation(made(voice, STRANGER), STRANGER)
    async with network(2) as (a, c):
        library = shelf(voice)
        library.revoked = [record]
        ExchangeServer(a, library).attach()
        heard: list[bytes] = []

        async def hear(data: bytes) -> None:
            heard.append(data)

        async def deliver(*found: Any) -> None:
            assert heard == [record]

        with trio.fail_after(30):
            await tell_revocation(c, info(a), record)
            assert library.heard == [record]
            assert await query(c, info(a), ["language/yue"], deliver, limit=10, hear=hear) == 1
            assert await query(c, info(a), ["language/yue"], deliver, limit=10) == 1
        assert heard == [record]
