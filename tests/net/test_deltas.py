"""Chunks that come as deltas, between real hosts: what they save, and what goes wrong on purpose."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.exchange_client import ExchangeClient
from p2pvoice.node.fetch import fetch_files
from p2pvoice.node.host import P2PHost
from p2pvoice.protocol.codec import DELTA
from p2pvoice.protocol.errors import ManifestError, NoPeersError, StorageError
from p2pvoice.protocol.exchange_messages import EXCHANGE, ChunkFrame, Want
from p2pvoice.protocol.messages import decode_message, encode_message

MIB = 1 << 20
Network = Callable[..., Any]
Make = Callable[..., Any]


def info(host: P2PHost) -> PeerInfo:
    return PeerInfo(ID.from_string(host.id), host.host.get_transport_addrs())


@pytest.fixture
def pair(publish: Make) -> tuple[Any, Any]:
    """Two releases of 16-bit weights, the second moved from the first by a small step."""
    rng = np.random.default_rng(1)
    before = rng.integers(0, 1 << 16, 3 * MIB // 2, np.uint16)
    after = before + rng.integers(0, 4, len(before)).astype(np.uint16)
    old, new = ({"gpt.safetensors": weights.tobytes()} for weights in (before, after))
    return publish(contents=old), publish(contents=new)


async def test_who_holds_the_base_is_sent_deltas(network: Network, pair: Any, shelf: Make) -> None:
    old, new = pair
    async with network(2) as (a, b):
        library = shelf(old, new)
        ExchangeServer(a, library).attach()
        sink = shelf(old)
        sink.kin = [old.files[0].digest]
        with trio.fail_after(30):
            report = await fetch_files(b, new.files, [info(a)], sink)
    assert sink.finished == ["gpt.safetensors"]
    assert report.received == 3 * MIB
    assert report.wire < 0.2 * report.received
    assert library.deltas == 3
    assert library.served == 0  # No chunk was read to be sent whole.


@pytest.mark.parametrize("who", ["neither", "only the asker", "only the server"])
async def test_without_a_common_base_chunks_come_whole(
    network: Network, pair: Any, shelf: Make, who: str
) -> None:
    old, new = pair
    async with network(2) as (a, b):
        library = shelf(new, old) if who == "only the server" else shelf(new)
        ExchangeServer(a, library).attach()
        sink = shelf(old) if who == "only the asker" else shelf()
        sink.kin = [old.files[0].digest] if who == "only the asker" else []
        with trio.fail_after(30):
            report = await fetch_files(b, new.files, [info(a)], sink)
    assert sink.finished == ["gpt.safetensors"]
    assert report.wire == report.received == library.served


async def test_wrong_delta_is_found_and_another_peer_gives_the_rest(
    network: Network, pair: Any, shelf: Make
) -> None:
    old, new = pair
    async with network(3) as (liar, honest, b):
        ExchangeServer(liar, shelf(old, new, spoil=True)).attach()
        ExchangeServer(honest, shelf(old, new)).attach()
        sink = shelf(old)
        sink.kin = [old.files[0].digest]
        with trio.fail_after(30):
            report = await fetch_files(b, new.files, [info(liar), info(honest)], sink)
        assert sink.finished == ["gpt.safetensors"]
        assert report.peers == {honest.id: 3 * MIB}
        rows = {row["id"]: row for row in b.peers.rows()}
        assert rows[liar.id]["dropped"]["reason"].startswith("served wrong bytes: ")


async def test_base_that_goes_away_blames_nobody(network: Network, pair: Any, shelf: Make) -> None:
    old, new = pair
    async with network(2) as (a, b):
        ExchangeServer(a, shelf(old, new)).attach()
        sink = shelf()  # It names a base that it does not hold.
        sink.kin = [old.files[0].digest]
        with trio.fail_after(30), pytest.raises(StorageError, match="went away"):
            await fetch_files(b, new.files, [info(a)], sink)
        assert [row["dropped"] for row in b.peers.rows() if row["id"] == a.id] == [None]


@pytest.mark.parametrize(
    ("frame", "bases"),
    [(ChunkFrame(0, DELTA, 10, 0), ()), (ChunkFrame(0, DELTA, 10, 1), (b"b" * 32,))],
)
async def test_delta_to_a_base_that_was_not_named(
    network: Network, frame: ChunkFrame, bases: tuple[bytes, ...]
) -> None:
    async with network(2) as (a, b):

        async def answer(channel: Any) -> None:
            decode_message(await channel.receive(4096) or b"", Want)
            await channel.send(encode_message(frame), bytes(10))

        a.serve(EXCHANGE, answer)
        with trio.fail_after(20):
            async with await ExchangeClient.open(b, info(a)) as client:
                await client.want(b"f" * 32, 0, bases)
                with pytest.raises(ManifestError, match="base not named"):
                    await client.chunk(0, MIB, bases)


async def test_delta_of_another_size_ends_the_peer(network: Network, pair: Any, shelf: Make) -> None:
    old, new = pair
    async with network(2) as (a, b):
        library = shelf(old, new)
        for index in range(3):  # What it sends are deltas to other, shorter chunks.
            for voice in (old, new):
                key = voice.files[0].digest, index
                library.chunks[key] = library.chunks[key][:-4096]
        ExchangeServer(a, library).attach()
        sink = shelf(old)
        sink.kin = [old.files[0].digest]
        with trio.fail_after(30), pytest.raises(NoPeersError):
            await fetch_files(b, new.files, [info(a)], sink)
        assert not sink.finished
