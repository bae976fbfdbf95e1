"""Chunks that were asked for over a connection that ends are asked for again over another one, once each."""

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.host import P2PHost
from p2pvoice.node.moving import MovingClient
from p2pvoice.node.relay_server import RelayLimits
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.errors import NetworkError
from p2pvoice.protocol.exchange_messages import EXCHANGE, ChunkFrame, Want
from p2pvoice.protocol.framing import MESSAGE_LIMIT
from p2pvoice.protocol.messages import decode_message, encode_message

from .test_relay import hosts, link, place, until

FILE = bytes(32)


class Peer:
    """Serves as a peer of the exchange does, so many answers on each stream, and then it is silent."""

    def __init__(self, host: P2PHost, answers: list[int]) -> None:
        self.seen: list[list[int]] = []
        self._answers = answers
        host.serve(EXCHANGE, self._serve)

    async def _serve(self, channel: Channel) -> None:
        seen: list[int] = []
        self.seen.append(seen)
        left = self._answers.pop(0)
        while (frame := await channel.receive(MESSAGE_LIMIT)) is not None:
            want = decode_message(frame, Want)
            seen.append(want.first)
            if left:
                left -= 1
                await channel.send(encode_message(ChunkFrame(want.first, "raw", 1)), bytes([want.first]))


async def test_what_is_unanswered_is_asked_again() -> None:
    async with hosts() as one:
        relay = await one(limits=RelayLimits())
        holder, asker = await one(relay), await one()
        peer = Peer(holder, [1, 9])
        await asker.connect(await place(holder))
        assert link(asker, holder) == "relayed"
        with trio.fail_after(60):
            async with await MovingClient.open(asker, PeerInfo(ID.from_string(holder.id), [])) as client:
                for index in (1, 2, 3):
                    await client.want(FILE, index)
                first = await client.chunk(1, 1)
                assert first is not None
                assert first.blob == b"\x01"
                await relay.disconnect(holder.id)
                for index in (2, 3):
                    answer = await client.chunk(index, 1)
                    assert answer is not None
                    assert answer.blob == bytes([index])
        assert peer.seen == [[1, 2, 3], [2, 3]]


async def test_it_does_not_move_twice_without_an_answer() -> None:
    async with hosts() as one:
        relay = await one(limits=RelayLimits())
        holder, asker = await one(relay), await one()
        peer = Peer(holder, [0, 0, 9])
        await asker.connect(await place(holder))
        async with await MovingClient.open(asker, PeerInfo(ID.from_string(holder.id), [])) as client:
            await client.want(FILE, 1)
            async with trio.open_nursery() as nursery:

                async def cut() -> None:
                    await until(lambda: peer.seen == [[1]])
                    await relay.disconnect(holder.id)
                    await until(lambda: peer.seen == [[1], [1]])
                    await asker.disconnect(holder.id)

                nursery.start_soon(cut)
                with trio.fail_after(60), pytest.raises(NetworkError):
                    await client.chunk(1, 1)
        assert peer.seen == [[1], [1]]


async def test_a_peer_that_ends_the_stream_alone_is_left() -> None:
    async with hosts() as one:
        holder, asker = await one(), await one()
        streams = 0

        async def end(channel: Channel) -> None:
            nonlocal streams
            streams += 1
            await channel.receive(MESSAGE_LIMIT)

        holder.serve(EXCHANGE, end)
        await asker.connect(holder.addresses()[0])
        async with await MovingClient.open(asker, PeerInfo(ID.from_string(holder.id), [])) as client:
            await client.want(FILE, 1)
            with pytest.raises(NetworkError):
                await client.chunk(1, 1)
        assert streams == 1
