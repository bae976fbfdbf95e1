"""Successor records between real hosts: what is let in, what is believed, and what a forger gets."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.ask import get_successor
from p2pvoice.node.discovery import find_successor
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.records import SuccessorValidator
from p2pvoice.node.schema import open_database
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.canonical import encode
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.errors import NotFoundError, RefusedError, SignatureError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.successor import CHAIN_LIMIT, Successor, sign_successor, successor_key

Network = Callable[..., Any]


def make(old: Ed25519PrivateKey, new: Ed25519PrivateKey, reason: str = "") -> bytes:
    keys = [key.public_key().public_bytes_raw() for key in (old, new)]
    return sign_successor(Successor(keys[0], keys[1], int(time.time()), reason), old, new)


def forged(old: Ed25519PrivateKey, new: Ed25519PrivateKey, signer: Ed25519PrivateKey) -> bytes:
    """Signed by one key alone: it stands for the envelope and for the agreement of the new key."""
    a, b = (key.public_key().public_bytes_raw() for key in (old, new))
    agreement = signer.sign(Successor(a, b, 1).agreement())
    body = {"v": 1, "min_reader": 1, "old": a, "new": b, "created": 1, "reason": "", "agreement": agreement}
    return seal("successor", encode(body), signer).to_bytes()


def name(key: Ed25519PrivateKey) -> str:
    return author_id(key.public_key().public_bytes_raw())


async def test_record_travels_and_forgeries_do_not(network: Network, shelf: Any) -> None:
    old, new, thief = (Ed25519PrivateKey.generate() for _ in range(3))
    place, good, rival = successor_key(name(old)), make(old, new), make(old, thief)
    async with network(3) as (_, a, b):
        store = a.kad.dht.value_store._store_at_peer
        with trio.fail_after(60):
            await a.connect(b.addresses()[0])
            bad_all = (forged(old, thief, thief), forged(old, thief, old), make(thief, new), b"", bytes(1300))
            for bad in bad_all:
                assert not await store(ID.from_string(b.id), place, bad)
                assert b.kad.dht.value_store.get(place) is None
            assert await a.kad.put(place, good) >= 1
            assert await find_successor(b, name(old)) == good
            assert await find_successor(b, name(new)) is None
            # Equal is taken, so that it can be refreshed; another successor is not, whoever signed it.
            assert await store(ID.from_string(b.id), place, good)
            await store(ID.from_string(b.id), place, rival)
            held = b.kad.dht.value_store.get(place)
            assert held is not None
            assert held.value == good
            with pytest.raises(RefusedError):
                await a.kad.put(place, rival)


async def test_peer_that_sends_a_forged_record_is_shunned(network: Network, shelf: Any) -> None:
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    async with network(3) as (_, a, c):
        library = shelf()
        library.successors[name(old)] = make(old, new)
        ExchangeServer(a, library).attach()
        peer = PeerInfo(ID.from_string(a.id), a.host.get_addrs())
        with trio.fail_after(60):
            assert await get_successor(c, peer, name(old)) == make(old, new)
            with pytest.raises(NotFoundError):
                await get_successor(c, peer, name(new))
            library.successors[name(new)] = library.successors[name(old)]
            with pytest.raises(SignatureError):
                await get_successor(c, peer, name(new))
        assert c.peers.is_shunned(a.id)


def test_first_record_is_believed_and_a_fork_is_kept(tmp_path: Path) -> None:
    old, new, thief, other = (Ed25519PrivateKey.generate() for _ in range(4))
    table = Successors(open_database(tmp_path / "catalog.sqlite"))
    good = make(old, new)
    assert table.current(name(old)) == name(old)
    assert table.add(good)
    assert not table.add(good)
    assert not table.add(make(old, new, "said again"))
    assert table.rival(name(old)) is None
    assert not table.add(make(old, thief))
    assert not table.add(make(old, other))
    assert (table.current(name(old)), table.rival(name(old))) == (name(new), name(thief))
    assert table.record_bytes(name(old)) == good
    for signer in (thief, old):
        with pytest.raises(SignatureError):
            table.add(forged(new, thief, signer))
    with pytest.raises(SignatureError):
        table.add(forged(new, thief, new))
    assert table.current(name(old)) == name(new)
    # A circle leads nowhere, and ends.
    assert table.add(make(new, old))
    assert table.chain(name(old)) == [name(old), name(new)]


def test_chains_end_at_their_limit(tmp_path: Path) -> None:
    keys = [Ed25519PrivateKey.generate() for _ in range(CHAIN_LIMIT + 2)]
    table = Successors(open_database(tmp_path / "catalog.sqlite"))
    for old, new in pairwise(keys[:-1]):
        assert table.add(make(old, new))
    assert table.current(name(keys[0])) == name(keys[CHAIN_LIMIT])
    assert table.add(make(keys[-2], keys[-1]))
    assert table.current(name(keys[0])) == name(keys[CHAIN_LIMIT])


def test_select_keeps_the_first_and_the_last_of_its_equals() -> None:
    old, new, thief = (Ed25519PrivateKey.generate() for _ in range(3))
    good, rival, place = make(old, new), make(old, thief), successor_key(name(old)).decode()
    select = SuccessorValidator().select
    assert select(place, [good, rival]) == 0
    assert select(place, [rival, good]) == 0
    assert select(place, [good, good]) == 1
    assert select(place, [b"junk", good, rival, good]) == 3
    with pytest.raises(RefusedError):
        select(place, [b"junk"])
