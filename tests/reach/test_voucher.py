"""Vouchers of relays: given, checked, and refused when they are not what they should be."""

from typing import Any

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.envelope import Envelope, make_unsigned
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, Reservation, Voucher
from libp2p.relay.circuit_v2.resources import RelayLimits as StockLimits
from libp2p.relay.circuit_v2.resources import RelayResourceManager

from p2pvoice.node.relay_server import RelayLimits
from p2pvoice.node.relay_wire import HOP, OK, read_message, write_message
from p2pvoice.node.voucher import DOMAIN, PAYLOAD, check_voucher, write_voucher
from p2pvoice.protocol.errors import ManifestError

from .test_relay import RESERVE, ask, hosts, place

KEYS = [create_new_key_pair(bytes([n]) * 32) for n in range(3)]
RELAY, PEER, OTHER = (ID.from_pubkey(pair.public_key) for pair in KEYS)


def forged(signer: int, *, domain: str = DOMAIN, payload: bytes = PAYLOAD, relay: ID = RELAY) -> bytes:
    """A voucher that somebody else signed, or for something else."""
    body = Voucher(relay=relay.to_bytes(), peer=PEER.to_bytes(), expiration=9).SerializeToString()
    signature = KEYS[signer].private_key.sign(make_unsigned(domain, payload, body))
    return bytes(Envelope(KEYS[signer].public_key, payload, body, signature).marshal_envelope())


def test_a_voucher_names_relay_peer_and_time() -> None:
    good = write_voucher(KEYS[0].private_key, PEER, 1_800_000_000)
    assert check_voucher(good, RELAY, PEER) == 1_800_000_000
    for relay, peer in ((OTHER, PEER), (RELAY, OTHER)):
        with pytest.raises(ManifestError):
            check_voucher(good, relay, peer)
    assert check_voucher(forged(0), RELAY, PEER) == 9
    changed = [good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :] for n in range(len(good))]
    for bad in (*changed, good[:-1], b"", b"\xff", forged(2), forged(2, relay=OTHER)):
        with pytest.raises(ManifestError):
            check_voucher(bad, RELAY, PEER)
    for bad in (forged(0, domain="libp2p-peer-record"), forged(0, payload=b"\x03\x01")):
        with pytest.raises(ManifestError):
            check_voucher(bad, RELAY, PEER)


async def test_our_relay_gives_one_that_stock_libp2p_accepts() -> None:
    async with hosts() as one:
        relay, asker = await one(limits=RelayLimits()), await one(relay=False)
        await asker.connect(relay.addresses()[0])
        given: Any = (await ask(asker, relay, RESERVE))[1].reservation
        own, other = ID.from_string(asker.id), ID.from_string(relay.id)
        assert check_voucher(given.voucher, other, own) == given.expire
        stock = RelayResourceManager(StockLimits(3600, 1 << 20, 4, 4), relay.host)
        stock.create_reservation(own)
        assert stock._verify_voucher(own, given.voucher)


async def test_a_relay_with_a_wrong_voucher_gives_no_place() -> None:
    """One without any does: other implementations give none."""
    async with hosts() as one:
        relay = await one(relay=False)
        told: list[bytes] = []
        vouchers = [forged(0), b""]

        async def reserve(stream: Any) -> None:
            await read_message(stream, HopMessage)
            told.append(vouchers.pop(0))
            answer = HopMessage(
                type=HopMessage.STATUS,
                status=OK,  # type: ignore[arg-type]
                reservation=Reservation(expire=1_900_000_000, voucher=told[-1]),
            )
            await write_message(stream, answer)
            await stream.close()

        relay.host.set_stream_handler(HOP, reserve)
        first = await one(relay)
        with trio.fail_after(30):
            while not told:  # noqa: ASYNC110 - what the other side does sets no event here
                await trio.sleep(0.05)
            assert first.relaying is not None
            while not first.relaying.facts()["refused"]:  # noqa: ASYNC110 - the same
                await trio.sleep(0.05)
        assert first.relaying.facts()["refused"] == {relay.id: "the voucher of another relay"}
        assert first.relaying.facts()["relays"] == []
        second = await one(relay)
        assert relay.id in await place(second)
