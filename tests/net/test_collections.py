"""Collections between real hosts: the newest of several providers, and what a peer that lies or lags gets."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.announcing import Announcer
from p2pvoice.node.ask import get_collection
from p2pvoice.node.collection_swarm import CollectionSwarm
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.host import P2PHost
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.catalog_messages import CATALOG
from p2pvoice.protocol.collection import (
    COLLECTION_PAYLOAD_LIMIT,
    ITEMS_LIMIT,
    KIND,
    Collection,
    Item,
    SignedCollection,
    sign_collection,
    verify_collection,
)
from p2pvoice.protocol.envelope import ENVELOPE_OVERHEAD, seal
from p2pvoice.protocol.errors import (
    NoPeersError,
    NotFoundError,
    ProtocolMismatchError,
    RefusedError,
    StaleError,
)
from p2pvoice.protocol.ids import author_id, release_id
from p2pvoice.protocol.messages import REQUEST_LIMIT, Fail, encode_message

Network = Callable[..., Any]

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
AUTHOR = author_id(KEY.public_key().public_bytes_raw())
RELEASES = tuple(release_id(str(number).encode()) for number in range(ITEMS_LIMIT + 1))


def make(
    sequence: int = 1, *releases: str, key: Ed25519PrivateKey = KEY, slug: str = "set"
) -> SignedCollection:
    items = tuple(Item(release) for release in releases)
    public = key.public_key().public_bytes_raw()
    return sign_collection(Collection(public, slug, sequence, "A set", 1_790_000_000, items), key)


def forged(**changes: Any) -> bytes:
    """Rightly signed by the author, and nothing that a collection may be."""
    body = decode(make(1, RELEASES[0]).collection.payload, limit=COLLECTION_PAYLOAD_LIMIT)
    return seal(KIND, encode(body | changes), KEY).to_bytes()


def peer(host: P2PHost) -> PeerInfo:
    return PeerInfo(ID.from_string(host.id), [])


def serve(host: P2PHost, shelf: Any, *collections: bytes) -> Any:
    """Serve what stands under the author and ``set``, true or not; the library."""
    library = shelf()
    for data in collections:
        library.collections[AUTHOR, "set"] = data
    ExchangeServer(host, library).attach()
    return library


def swarm(host: P2PHost) -> CollectionSwarm:
    return CollectionSwarm(host, Announcer(host))


async def test_the_newest_of_several_providers_wins(network: Network, shelf: Any) -> None:
    old, new = make(1, RELEASES[0]), make(2, *RELEASES[:2])
    async with network(4) as hosts:
        first, *others = hosts
        for host, one in zip(hosts[1:], (old, new, None), strict=True):
            serve(host, shelf, *([one.data] if one is not None else []))
        with trio.fail_after(60):
            for host in others:
                await first.connect(host.addresses()[0])
            # One with an older list, one with the newest, one that has none; none has announced anything.
            assert await swarm(first).newest(AUTHOR, "set", None) == new
            assert await swarm(first).newest(AUTHOR, "set", old) == new
            with pytest.raises(NotFoundError):
                await swarm(first).newest(AUTHOR, "other", None)
        assert all(not first.peers.is_shunned(host.id) for host in others)


async def test_a_provider_is_found_by_the_key_and_goes_before_others(network: Network, shelf: Any) -> None:
    one = make(3, RELEASES[0])
    async with network(3) as (hub, keeper, seeker), trio.open_nursery() as nursery:
        serve(hub, shelf)
        serve(keeper, shelf, one.data)
        announcer = Announcer(keeper)
        nursery.start_soon(announcer.run)
        with trio.fail_after(60):
            key = CollectionSwarm(keeper, announcer).announce(AUTHOR, "set")
            assert CollectionSwarm(keeper, announcer).announce(AUTHOR, "set") == key
            assert await announcer.done([key], 30)
            assert [str(info.peer_id) for info in await seeker.kad.find_providers(key)] == [keeper.id]
            assert await swarm(seeker).newest(AUTHOR, "set", None) == one
            CollectionSwarm(keeper, announcer).withdraw(AUTHOR, "set")
            assert announcer.status()["keys"] == 0
        nursery.cancel_scope.cancel()


async def test_an_old_list_is_refused_and_its_holder_not_blamed(network: Network, shelf: Any) -> None:
    old, new, rival = make(1, RELEASES[0]), make(2), make(2, RELEASES[1])
    async with network(2) as (a, b):
        library = serve(b, shelf, old.data)
        with trio.fail_after(60):
            await a.connect(b.addresses()[0])
            with pytest.raises(StaleError):
                await swarm(a).newest(AUTHOR, "set", new)
            # A second list at one sequence comes through, so that the fork is seen.
            library.collections[AUTHOR, "set"] = rival.data
            assert await swarm(a).newest(AUTHOR, "set", new) == rival
            assert not a.peers.is_shunned(b.id)


BAD: Sequence[tuple[str, bytes]] = [
    ("too many items", forged(items=[Item(one).to_map() for one in RELEASES])),
    ("one release twice", forged(items=[Item(RELEASES[0]).to_map()] * 2)),
    ("another author's", make(9, key=Ed25519PrivateKey.from_private_bytes(bytes(32))).data),
    ("another slug", make(9, slug="other").data),
    ("signed by a stranger", seal(KIND, make().collection.payload, Ed25519PrivateKey.generate()).to_bytes()),
    ("of another kind", seal("head", make().collection.payload, KEY).to_bytes()),
    ("longer than any", b"\0" * (COLLECTION_PAYLOAD_LIMIT + ENVELOPE_OVERHEAD)),
    ("no form at all", b"\xc1"),
]


@pytest.mark.parametrize(("about", "data"), BAD, ids=[about for about, _ in BAD])
async def test_a_lie_is_refused_and_its_teller_shunned(
    network: Network, shelf: Any, about: str, data: bytes
) -> None:
    async with network(2) as (a, b):
        serve(b, shelf, data)
        with trio.fail_after(60):
            await a.connect(b.addresses()[0])
            with pytest.raises(RefusedError):
                await get_collection(a, peer(b), AUTHOR, "set", None)
            assert a.peers.is_shunned(b.id)


async def test_the_most_items_travel(network: Network, shelf: Any) -> None:
    full = make(1, *RELEASES[:ITEMS_LIMIT])
    async with network(2) as (a, b):
        serve(b, shelf, full.data)
        with trio.fail_after(60):
            await a.connect(b.addresses()[0])
            assert await get_collection(a, peer(b), AUTHOR, "set", None) == full
            assert verify_collection(full.data) == full


async def test_a_liar_does_not_keep_the_truth_away(network: Network, shelf: Any) -> None:
    one = make(1, RELEASES[0])
    async with network(3) as (a, liar, honest):
        serve(liar, shelf, BAD[0][1])
        serve(honest, shelf, one.data)
        with trio.fail_after(60):
            for host in (liar, honest):
                await a.connect(host.addresses()[0])
            assert await swarm(a).newest(AUTHOR, "set", None) == one


async def test_an_older_version_is_not_blamed_and_said_nothing(network: Network) -> None:
    async def older(channel: Channel) -> None:
        # What a version without collections does with a request that it does not know: see specs/messages.md.
        await channel.receive(REQUEST_LIMIT)
        await channel.send(encode_message(Fail.of(ProtocolMismatchError("makes no sense"))))

    async with network(2) as (a, b):
        b.serve(CATALOG, older)
        with trio.fail_after(60):
            await a.connect(b.addresses()[0])
            with pytest.raises(NoPeersError):
                await swarm(a).newest(AUTHOR, "set", None)
            assert not a.peers.is_shunned(b.id)
