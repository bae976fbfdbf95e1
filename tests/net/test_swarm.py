"""Several peers at once: slow ones, partial holders, and those who fetch the same file at the same time."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node import fetch as fetching
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.fetch import fetch_files
from p2pvoice.node.fetch_report import Progress
from p2pvoice.node.have import ask_have
from p2pvoice.node.host import P2PHost
from p2pvoice.node.pacing import ALL_BYTES, POINTS, WINDOW_BYTES
from p2pvoice.node.peers import Fault
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.chunks import CHUNKS_LIMIT, Bitmap
from p2pvoice.protocol.errors import ManifestError, NetworkError, NotFoundError
from p2pvoice.protocol.exchange_messages import EXCHANGE, ChunkFrame, GetHave, Have, Want
from p2pvoice.protocol.framing import encode_frame
from p2pvoice.protocol.messages import Fail, decode_message, encode_message

MIB = 1 << 20
Network = Callable[..., Any]
Make = Callable[..., Any]
Handler = Callable[[Channel], Awaitable[None]]

JUST_ENOUGH = 18 * 1024
"""Bytes a second of a peer that is slow on purpose: a chunk takes 58 s, and one that takes 60 is given up."""


def info(host: P2PHost) -> PeerInfo:
    return PeerInfo(ID.from_string(host.id), host.host.get_transport_addrs())


def serve(host: P2PHost, library: Any) -> Any:
    ExchangeServer(host, library).attach()
    return library


def trickling(chunks: dict[tuple[bytes, int], bytes], rate: float, asked: Counter[int]) -> Handler:
    """Serves right chunks, bit by bit: never silent, and never faster than ``rate`` bytes a second."""

    async def answer(channel: Channel) -> None:
        while (frame := await channel.receive(4096)) is not None:
            want = decode_message(frame, Want, GetHave)
            if isinstance(want, GetHave):
                return
            asked[want.first] += 1
            blob = chunks[want.file, want.first]
            await channel.send(encode_message(ChunkFrame(want.first, "raw", len(blob))))
            step = max(int(rate / 10), 1)
            for start in range(0, len(blob), step):
                await trio.sleep(0.1)
                await channel.stream.write(blob[start : start + step])

    return answer


class Uplink:
    """A line of so many bytes a second, whoever sends through it."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._line = trio.Lock()

    async def pass_on(self, size: int) -> None:
        async with self._line:
            await trio.sleep(size / self._rate)


def keep_only(library: Any, file: bytes, indexes: Iterable[int]) -> None:
    for index in {i for digest, i in library.chunks if digest == file} - set(indexes):
        del library.chunks[file, index]


# -- slow peers -------------------------------------------------------------------------------------------


async def test_six_slow_providers_do_not_hold_all_lanes(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish(sizes={"gpt.safetensors": 24 * MIB})
    library = shelf(voice)
    async with network(8) as hosts:
        *slow, fast, b = hosts
        for host in slow:
            host.serve(EXCHANGE, trickling(library.chunks, JUST_ENOUGH, Counter()))
            b.peers.reward(host.id, 50)  # They come first.
        serve(fast, library)
        with trio.fail_after(120):  # The six alone take 230 s.
            report = await fetch_files(b, voice.files, [info(host) for host in (*slow, fast)], shelf())
        assert report.peers == {fast.id: 24 * MIB}
        gone = [host for host in slow if b.peers.entry(host.id).drop is not None]
        assert gone
        for host in gone:
            entry = b.peers.entry(host.id)
            assert entry.drop is not None
            assert entry.drop.fault is Fault.SLOW
            assert report.dropped[host.id].startswith("was too slow: at most ")
            assert entry.score == 48
            assert not b.peers.is_shunned(host.id)
        assert b.peers.entry(fast.id).drop is None


async def test_the_last_chunks_of_a_slow_peer_are_asked_twice(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice = publish(sizes={"gpt.safetensors": 16 * MIB})
    library, asked = shelf(voice), Counter[int]()
    async with network(4) as (slow, first, second, b):
        slow.serve(EXCHANGE, trickling(library.chunks, JUST_ENOUGH, asked))
        fast = [serve(host, shelf(voice)) for host in (first, second)]
        b.peers.reward(slow.id, 50)
        sink = shelf()
        with trio.fail_after(30):
            report = await fetch_files(b, voice.files, [info(h) for h in (slow, first, second)], sink)
        assert sink.finished == ["gpt.safetensors"]
        assert set(report.peers) <= {first.id, second.id}
        assert report.received == 16 * MIB
        # At the end a fast one, too, may seem slow to the other for a moment.
        assert 16 * MIB <= sum(library.served for library in fast) <= 19 * MIB
        assert asked  # What the slow one was asked for came from elsewhere, and nobody is shunned for it.
        assert not b.peers.is_shunned(slow.id)


async def test_a_slow_peer_comes_back_when_nobody_else_is_left(
    network: Network, publish: Make, shelf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FETCH_PEERS", 1)
    voice = publish(sizes={"gpt.safetensors": 4 * MIB})
    library, asked = shelf(voice), Counter[int]()
    async with network(3) as (slow, part, b):
        slow.serve(EXCHANGE, trickling(library.chunks, 200 * 1024, asked))
        keep_only(serve(part, shelf(voice)), voice.files[0].digest, [1, 2])
        b.peers.reward(slow.id)
        with trio.fail_after(60):
            report = await fetch_files(b, voice.files, [info(slow), info(part)], shelf())
        # It gave way once: the other one gave what it had, and the rest came from the slow one.
        assert set(report.peers) == {slow.id, part.id}
        drop = b.peers.entry(slow.id).drop
        assert drop is not None
        assert drop.fault is Fault.SLOW
        assert b.peers.drops[Fault.SLOW] == 1
        assert report.rates[slow.id] < 256 * 1024 < report.rates[part.id]


async def test_who_delivers_in_time_is_asked_first_the_next_time(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice = publish(sizes={"gpt.safetensors": 8 * MIB})
    async with network(3) as (a, c, b):
        serve(c, shelf(voice))
        seen = list[Progress]()
        with trio.fail_after(30):
            report = await fetch_files(b, voice.files, [info(c)], shelf(), progress=seen.append)
        assert b.peers.entry(c.id).score == pytest.approx(8 * POINTS)
        assert b.peers.best_first([a.id, c.id]) == [c.id, a.id]
        assert report.rates[c.id] > MIB
        assert seen[-1].rates.keys() == {c.id}
        assert seen[-1].rates[c.id] > MIB


async def test_what_all_peers_were_asked_for_is_bounded(network: Network, publish: Make, shelf: Make) -> None:
    """A sink that does not write any more: nobody has sent more than its window, nor all more than theirs."""
    voice = publish(sizes={"gpt.safetensors": 60 * MIB})

    class Stuck(shelf):  # type: ignore[misc]
        taken = 0

        async def write_many(self, file: Any, chunks: Any) -> None:
            room, chunks = 12 - self.taken, list(chunks)
            self.taken += min(room, len(chunks))
            await super().write_many(file, chunks[:room])
            if room < len(chunks):
                await trio.sleep_forever()

    async with network(5) as (*hosts, b):
        libraries = [serve(host, shelf(voice)) for host in hosts]
        sink = Stuck()
        with trio.move_on_after(8):
            await fetch_files(b, voice.files, [info(host) for host in hosts], sink)
        assert len(sink.chunks) == 12
        served = [library.served for library in libraries]
        assert sum(served) - 12 * MIB <= ALL_BYTES
        assert max(served) - 12 * MIB <= WINDOW_BYTES
        assert sum(served) > 12 * MIB


# -- partial holders --------------------------------------------------------------------------------------


async def test_three_with_a_third_each_complete_a_fourth(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice = publish(sizes={"gpt.safetensors": 12 * MIB, "sovits.safetensors": 6 * MIB})
    async with network(4) as (*hosts, b):
        for third, host in enumerate(hosts):
            library = serve(host, shelf(voice))
            for file in voice.files:
                keep_only(library, file.digest, range(third, len(file.chunks), 3))
        sink = shelf()
        with trio.fail_after(30):
            report = await fetch_files(b, voice.files, [info(host) for host in hosts], sink)
        assert len(sink.finished) == 2
        assert report.peers == {host.id: 6 * MIB for host in hosts}
        assert not any(b.peers.entry(host.id).drop for host in hosts)


async def test_two_who_fetch_at_the_same_time_serve_each_other(
    network: Network, publish: Make, shelf: Make
) -> None:
    size = 32 * MIB
    voice = publish(sizes={"gpt.safetensors": size})
    line = Uplink(4 * MIB)

    class Seed(shelf):  # type: ignore[misc]
        async def read_chunk(self, file: bytes, index: int) -> bytes | None:
            await line.pass_on(MIB)
            return await super().read_chunk(file, index)

    async with network(3) as (seed, b, c):
        library = serve(seed, Seed(voice))
        left, right = serve(b, shelf()), serve(c, shelf())
        reports: list[Any] = []

        async def bring(host: P2PHost, other: P2PHost, sink: Any) -> None:
            reports.append(await fetch_files(host, voice.files, [info(seed), info(other)], sink))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bring, b, c, left)
                nursery.start_soon(bring, c, b, right)
        assert left.finished == right.finished == ["gpt.safetensors"]
        print(f"{size} bytes twice: the seed sent {library.served}, the two {left.served} and {right.served}")
        assert library.served < 1.5 * size
        assert left.served > 0
        assert right.served > 0


async def test_the_header_comes_first_and_the_rest_in_any_order(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice = publish(sizes={"gpt.safetensors": 30 * MIB})
    orders = []
    async with network(2) as (a, b):
        serve(a, shelf(voice))
        for _ in range(2):
            sink = shelf()
            with trio.fail_after(30):
                await fetch_files(b, voice.files, [info(a)], sink)
            orders.append([index for _, index in sink.chunks])
    assert [order[0] for order in orders] == [0, 0]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(30))


# -- what is said to be had -------------------------------------------------------------------------------


async def test_what_is_had_is_told(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish(sizes={"gpt.safetensors": 9 * MIB, "voice.json": 5})
    other = publish(seed=1)
    first, second = voice.files
    async with network(2) as (a, b):
        library = serve(a, shelf(voice))
        keep_only(library, first.digest, [0, 8])
        with trio.fail_after(20):
            found = await ask_have(b, info(a), [first, second, other.files[0]])
    assert [None if one is None else one.missing() for one in found] == [[1, 2, 3, 4, 5, 6, 7], [], [0]]


async def test_claiming_everything_and_having_nothing(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish(sizes={"gpt.safetensors": 40 * MIB})
    asked = 0

    async def claims(channel: Channel) -> None:
        nonlocal asked
        while (frame := await channel.receive(4096)) is not None:
            request = decode_message(frame, Want, GetHave)
            if isinstance(request, GetHave):
                await channel.send(encode_message(Have(40, Bitmap.full(40).to_bytes())))
            else:
                asked += 1
                await channel.send(encode_message(Fail.of(NotFoundError())))

    async with network(3) as (liar, honest, b):
        liar.serve(EXCHANGE, claims)
        serve(honest, shelf(voice))
        with trio.fail_after(30):
            report = await fetch_files(b, voice.files, [info(liar), info(honest)], shelf())
        assert report.peers == {honest.id: 40 * MIB}
        assert report.dropped == {liar.id: "has not what it said"}
        assert asked <= 8


@pytest.mark.parametrize(
    ("answer", "blamed"),
    [
        # Of another count: the manifest may lie about a file that an honest peer holds.
        (encode_message(Have(3, b"\x07")), False),
        (encode_message(Have(CHUNKS_LIMIT, bytes(CHUNKS_LIMIT // 8))), False),
        (encode_message(Have(0, b"")), False),
        # Of no form that a bitmap has, one chunk past the limit, one byte past the longest answer.
        (encode_message(Have(8, b"\x00")).replace(b"\xa5count\x08", b"\xa5count\x09"), True),
        (
            encode_message(Have(CHUNKS_LIMIT, bytes(CHUNKS_LIMIT // 8))).replace(
                CHUNKS_LIMIT.to_bytes(2, "big"), (CHUNKS_LIMIT + 1).to_bytes(2, "big")
            ),
            True,
        ),
        (bytes(max(Have.LIMIT, Fail.LIMIT)), True),
        (bytes(max(Have.LIMIT, Fail.LIMIT) + 1), True),
    ],
)
async def test_bitmaps_that_do_not_fit(
    network: Network, publish: Make, shelf: Make, answer: bytes, blamed: bool
) -> None:
    voice = publish(sizes={"gpt.safetensors": 4 * MIB})

    async def lies(channel: Channel) -> None:
        while (frame := await channel.receive(4096)) is not None:
            if isinstance(decode_message(frame, Want, GetHave), GetHave):
                await channel.stream.write(encode_frame(answer, 1 << 20))
            else:
                await channel.send(encode_message(Fail.of(NotFoundError())))

    async with network(3) as (liar, honest, b):
        liar.serve(EXCHANGE, lies)
        with trio.fail_after(20):
            if blamed:
                with pytest.raises(ManifestError):
                    await ask_have(b, info(liar), voice.files)
            else:
                assert await ask_have(b, info(liar), voice.files) == [Bitmap(4)]
        hold = trio.Event()

        class Late(shelf):  # type: ignore[misc]
            async def read_chunk(self, file: bytes, index: int) -> bytes | None:
                await hold.wait()
                return await super().read_chunk(file, index)

        serve(honest, Late(voice))

        async def let_go() -> None:
            while blamed and not b.peers.is_shunned(liar.id):  # noqa: ASYNC110 - the book has no event
                await trio.sleep(0.02)
            hold.set()

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(let_go)
                report = await fetch_files(b, voice.files, [info(liar), info(honest)], shelf())
        assert report.peers == {honest.id: 4 * MIB}
        drop = b.peers.entry(liar.id).drop
        assert (drop is not None and drop.fault is Fault.BROKE_PROTOCOL) is blamed


async def test_a_peer_that_does_not_know_the_question_is_not_blamed(
    network: Network, publish: Make, shelf: Make
) -> None:
    """As all nodes before this question was answered: the stream ends, and the chunks come nevertheless."""
    voice = publish(sizes={"gpt.safetensors": 4 * MIB})
    file = voice.files[0]
    library = shelf(voice)
    keep_only(library, file.digest, [0, 1])

    async def old(channel: Channel) -> None:
        while (frame := await channel.receive(4096)) is not None:
            try:
                want = decode_message(frame, Want)
            except NetworkError as error:
                await channel.send(encode_message(Fail.of(error)))
                return
            blob = library.chunks.get((file.digest, want.first))
            if blob is None:
                await channel.send(encode_message(Fail.of(NotFoundError())))
            else:
                await channel.send(encode_message(ChunkFrame(want.first, "raw", len(blob))), blob)

    async with network(3) as (a, c, b):
        a.serve(EXCHANGE, old)
        keep_only(serve(c, shelf(voice)), file.digest, [2, 3])
        with trio.fail_after(30):
            report = await fetch_files(b, voice.files, [info(a), info(c)], shelf())
        assert report.peers == {a.id: 2 * MIB, c.id: 2 * MIB}
        assert b.peers.entry(a.id).drop is None
