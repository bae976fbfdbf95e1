"""The serving side against clients that misbehave, over real hosts."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from trio.testing import MockClock

from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.exchange_client import ExchangeClient, PeerBusy
from p2pvoice.node.host import P2PHost
from p2pvoice.node.slots import STREAMS_PER_PEER, Slots
from p2pvoice.protocol.canonical import encode
from p2pvoice.protocol.catalog_messages import CATALOG, GetRelease, Query, QueryPage, ReleaseReply
from p2pvoice.protocol.errors import ManifestError, NetworkError
from p2pvoice.protocol.exchange_messages import EXCHANGE, ChunkFrame, GetHave, Want
from p2pvoice.protocol.messages import REQUEST_LIMIT, Fail, decode_message, encode_message

MIB = 1 << 20
Network = Callable[..., Any]
Make = Callable[..., Any]


def info(host: P2PHost) -> PeerInfo:
    return PeerInfo(ID.from_string(host.id), host.host.get_transport_addrs())


async def ended(channel: Any) -> bool:
    """Nothing more comes. Our own Yamux tells a reset from an end, libp2p's does not always."""
    try:
        return await channel.receive(4096) is None
    except NetworkError:
        return True


async def test_requests_on_one_stream_are_answered_in_order(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice = publish()
    async with network(2) as (a, b):
        ExchangeServer(a, shelf(voice)).attach()
        with trio.fail_after(20):
            async with await b.open_stream(info(a), CATALOG) as channel:
                await channel.send(encode_message(Query(("language/yue",))))
                await channel.send(encode_message(GetRelease(voice.release.id)))
                page = decode_message(await channel.receive(2 * MIB) or b"", QueryPage)
                reply = decode_message(await channel.receive(2 * MIB) or b"", ReleaseReply)
    assert page.releases == (reply.data,)
    assert page.heads == (voice.head,)
    assert reply.data == voice.release.envelope.to_bytes()


async def test_long_answers_come_in_pages(network: Network, publish: Make, shelf: Make) -> None:
    voices = [publish(slug=f"v{n}", seed=n) for n in range(40)]
    async with network(2) as (a, b):
        ExchangeServer(a, shelf(*voices)).attach()
        names: list[bytes] = []
        pages = 0
        with trio.fail_after(20):
            async with await b.open_stream(info(a), CATALOG) as channel:
                cursor = ""
                while pages == 0 or cursor:
                    await channel.send(encode_message(Query((), 64, cursor)))
                    page = decode_message(await channel.receive(2 * MIB) or b"", QueryPage)
                    names += page.releases
                    cursor, pages = page.next, pages + 1
    assert len(set(names)) == len(names) == 40
    assert pages > 1


@pytest.mark.parametrize(
    ("protocol", "request_bytes", "code"),
    [
        (CATALOG, b"junk", "bad_manifest"),
        (CATALOG, encode({"t": "query", "tags": ["no such/tag"], "limit": 1, "cursor": ""}), "bad_manifest"),
        (CATALOG, encode({"t": "query", "tags": [], "limit": 10**6, "cursor": ""}), "bad_manifest"),
        (CATALOG, encode_message(Want(b"f" * 32, 0)), "protocol_mismatch"),
        (EXCHANGE, encode_message(Query()), "protocol_mismatch"),
        (EXCHANGE, encode({"t": "want", "file": b"f" * 32, "first": 0, "count": 65}), "bad_manifest"),
        (EXCHANGE, encode({"t": "get-have", "file": b"f" * 31}), "bad_manifest"),
        (CATALOG, encode_message(GetHave(b"f" * 32)), "protocol_mismatch"),
        (EXCHANGE, b"x" * REQUEST_LIMIT, "bad_manifest"),
        (EXCHANGE, b"x" * (REQUEST_LIMIT + 1), "bad_manifest"),
    ],
)
async def test_senseless_request_is_answered_once_and_ends_the_stream(
    network: Network, publish: Make, shelf: Make, protocol: str, request_bytes: bytes, code: str
) -> None:
    async with network(2) as (a, b):
        ExchangeServer(a, shelf(publish())).attach()
        with trio.fail_after(20):
            async with await b.open_stream(info(a), protocol) as channel:
                await channel.send(request_bytes)
                answer = decode_message(await channel.receive(4096) or b"", Fail)
                assert answer.code == code
                assert await ended(channel)


async def test_chunk_that_is_not_held_is_said_so(network: Network, publish: Make, shelf: Make) -> None:
    async with network(2) as (a, b):
        ExchangeServer(a, shelf(publish())).attach()
        with trio.fail_after(20):
            async with await ExchangeClient.open(b, info(a)) as client:
                await client.want(b"f" * 32, 0)
                assert await client.chunk(0, MIB) is None


async def test_asker_that_decodes_raw_only_gets_raw(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish(sizes={"voice.json": 5000})
    digest = voice.files[0].digest
    async with network(2) as (a, b):
        library = shelf(voice)
        library.chunks[digest, 0] = bytes(5000)  # compresses well
        ExchangeServer(a, library).attach()
        for codecs, codec in ((("raw",), "raw"), (("raw", "zstd"), "zstd"), (("unheard-of",), "raw")):
            with trio.fail_after(20):
                async with await b.open_stream(info(a), EXCHANGE) as channel:
                    await channel.send(encode_message(Want(digest, 0, 1, codecs)))
                    frame = decode_message(await channel.receive(4096) or b"", ChunkFrame)
                    assert frame.codec == codec
                    assert len(await channel.receive_exactly(frame.size)) == frame.size


async def test_peer_gets_only_so_many_streams(network: Network, publish: Make, shelf: Make) -> None:
    async with network(3) as (a, b, c):
        ExchangeServer(a, shelf(publish(), hang=0)).attach()
        file = b"f" * 32
        async with trio.open_nursery() as nursery:
            opened = trio.Semaphore(0)

            async def hold() -> None:
                async with await ExchangeClient.open(b, info(a)) as client:
                    await client.want(file, 0)
                    opened.release()
                    await trio.sleep_forever()

            with trio.fail_after(20):
                for _ in range(STREAMS_PER_PEER):
                    nursery.start_soon(hold)
                for _ in range(STREAMS_PER_PEER):
                    await opened.acquire()
                async with await ExchangeClient.open(b, info(a)) as extra:
                    await extra.want(file, 0)
                    with pytest.raises(PeerBusy, match="too many streams"):
                        await extra.chunk(0, MIB)
            nursery.cancel_scope.cancel()
        # Another peer, and the same one after it let go, are served.
        ExchangeServer(a, shelf()).attach()
        for host in (b, c):
            with trio.fail_after(20):
                async with await ExchangeClient.open(host, info(a)) as client:
                    await client.want(file, 0)
                    assert await client.chunk(0, MIB) is None


async def test_slots_are_counted_and_given_back() -> None:
    slots = Slots(per_peer=1, total=2)
    with slots.hold("a") as first, slots.hold("a") as second, slots.hold("b") as third:
        assert (first.free, second.free, third.free) == (True, False, True)
        with slots.hold("c") as fourth:
            assert not fourth.free
    with slots.hold("a") as again:
        assert again.free
    assert len(slots) == 0


async def test_idle_stream_gives_way_when_all_places_are_taken(autojump_clock: MockClock) -> None:
    slots = Slots(per_peer=2, total=2, idle=5.0)
    ended: list[str] = []

    async def hold(peer: str, worked_after: float) -> None:
        with slots.hold(peer) as slot:
            assert slot.free
            await trio.sleep(worked_after)
            slot.worked()
            await trio.sleep_forever()
        assert slot.yielded
        ended.append(peer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, "lazy", 0.0)
        nursery.start_soon(hold, "busy", 4.0)
        await trio.sleep(4.9)
        with slots.hold("late") as early:
            assert not early.free
        await trio.sleep(0.2)
        with slots.hold("late") as late:
            assert late.free
            await trio.testing.wait_all_tasks_blocked()
            assert ended == ["lazy"]
        nursery.cancel_scope.cancel()


async def test_silent_client_loses_its_stream(network: Network, publish: Make, shelf: Make) -> None:
    async with network(2) as (a, b):
        ExchangeServer(a, shelf(publish()), idle=0.3).attach()
        with trio.fail_after(20):
            async with await b.open_stream(info(a), EXCHANGE) as channel:
                assert await ended(channel)


async def test_client_that_does_not_read_is_cut_off_and_holds_little(
    network: Network, publish: Make, shelf: Make
) -> None:
    """It asks for 20 MiB and reads nothing: the server must give up once the stream's window is full."""
    voice = publish(sizes={"gpt.safetensors": 20 * MIB})
    async with network(3) as (a, b, c):
        library = shelf(voice)
        server = ExchangeServer(a, library)
        server.attach()
        ended = trio.Event()

        async def watched(channel: Any) -> None:
            try:
                await server._exchange(channel)
            finally:
                ended.set()

        with trio.fail_after(30):
            a.serve(EXCHANGE, watched)
            channel = await b.open_stream(info(a), EXCHANGE)
            await channel.send(encode_message(Want(voice.files[0].digest, 0, 20)))
            await ended.wait()  # libp2p gives up after five seconds at a closed window, ours after twenty
            assert library.asked < 20
            # Another client is served meanwhile and after.
            async with await ExchangeClient.open(c, info(a)) as client:
                await client.want(voice.files[0].digest, 0)
                answer = await client.chunk(0, MIB)
                assert answer is not None
                assert len(answer.blob) == MIB
            await channel.close(reset=True)


@pytest.mark.parametrize(
    "frame",
    [
        encode_message(ChunkFrame(1, "raw", 10)),  # another chunk than asked
        encode_message(ChunkFrame(0, "raw", 11)),  # longer than the chunk can be
        encode({"t": "chunk", "index": 0, "codec": "pickle", "size": 10}),
        b"\xff" * 20,
    ],
)
async def test_client_refuses_answers_it_did_not_ask_for(network: Network, frame: bytes) -> None:
    async with network(2) as (a, b):

        async def lie(channel: Any) -> None:
            await channel.receive(4096)
            await channel.send(frame, bytes(11))

        a.serve(EXCHANGE, lie)
        with trio.fail_after(20):
            async with await ExchangeClient.open(b, info(a)) as client:
                await client.want(b"f" * 32, 0)
                with pytest.raises(ManifestError):
                    await client.chunk(0, 10)
