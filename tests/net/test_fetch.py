"""Fetching from real hosts: several peers, liars, the silent, interruptions, and what each costs."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.config import Wire
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.fetch import fetch_files
from p2pvoice.node.fetch_report import Progress
from p2pvoice.node.host import P2PHost
from p2pvoice.node.pacing import WINDOW_BYTES
from p2pvoice.node.peers import Fault
from p2pvoice.protocol.errors import DiskFullError, NoPeersError

MIB = 1 << 20
Network = Callable[..., Any]
Make = Callable[..., Any]


def info(host: P2PHost) -> PeerInfo:
    return PeerInfo(ID.from_string(host.id), host.host.get_transport_addrs())


def serve(host: P2PHost, library: Any) -> Any:
    ExchangeServer(host, library).attach()
    return library


@pytest.mark.parametrize("wire", ["own", "stock"])
async def test_fetch_from_one_provider(network: Network, publish: Make, shelf: Make, wire: Wire) -> None:
    voice = publish(sizes={"gpt.safetensors": 3 * MIB + 5, "sovits.safetensors": MIB, "voice.json": 1})
    async with network(2, wire=wire) as (a, b):
        serve(a, shelf(voice))
        sink, seen = shelf(), list[Progress]()
        with trio.fail_after(30):
            report = await fetch_files(b, voice.files, [info(a)], sink, progress=seen.append)
    assert sorted(sink.finished) == ["gpt.safetensors", "sovits.safetensors", "voice.json"]
    assert report.received == report.total == 4 * MIB + 6
    assert report.reused == 0
    assert report.peers == {a.id: report.total}
    assert not report.dropped
    assert [p.have for p in seen] == sorted(p.have for p in seen)
    assert seen[-1].have == seen[-1].total == report.total
    assert b.peers.entry(a.id).bytes_in >= report.total
    assert a.peers.entry(b.id).bytes_out >= report.total


async def test_one_file_only_for_a_preview(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish(sizes={"gpt.safetensors": 3 * MIB, "preview.wav": 70_000})
    async with network(2) as (a, b):
        library = serve(a, shelf(voice))
        sink = shelf()
        with trio.fail_after(30):
            await fetch_files(b, [voice.release.manifest.file("preview.wav")], [info(a)], sink)
        assert sink.finished == ["preview.wav"]
        assert library.served == 70_000


async def test_liar_and_hanger_are_dropped_and_the_third_completes(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice = publish(sizes={"gpt.safetensors": 24 * MIB})
    async with network(4) as (liar, hanger, honest, b):
        serve(liar, shelf(voice, spoil=True))
        serve(hanger, shelf(voice, hang=1))
        serve(honest, shelf(voice))
        sink = shelf()

        async def more() -> list[PeerInfo]:
            return [info(honest)]

        # The honest one is found when the others are gone: it would be done before the silent one is noticed.
        with trio.fail_after(60):
            report = await fetch_files(
                b, voice.files, [info(liar), info(hanger)], sink, find_more=more, stall=1.0
            )
        assert sink.finished == ["gpt.safetensors"]
        assert liar.id not in report.peers
        assert report.peers[honest.id] >= 20 * MIB
        rows = {row["id"]: row for row in b.peers.rows()}
        assert rows[liar.id]["dropped"]["reason"].startswith("served wrong bytes: A chunk")
        assert rows[hanger.id]["dropped"]["reason"].startswith("stopped answering: ")
        assert rows[honest.id]["dropped"] is None
        assert rows[liar.id]["score"] < rows[hanger.id]["score"] < 0 < rows[honest.id]["score"]
        assert b.peers.is_shunned(liar.id)
        assert set(report.dropped) == {liar.id, hanger.id}


async def test_known_liar_is_not_asked_again(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish()
    async with network(2) as (a, b):
        library = serve(a, shelf(voice))
        b.peers.drop(a.id, Fault.WRONG_BYTES, "yesterday")
        with trio.fail_after(20), pytest.raises(NoPeersError):
            await fetch_files(b, voice.files, [info(a)], shelf())
        assert library.asked == 0


async def test_interrupted_fetch_costs_at_most_a_window_each_time(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice = publish(sizes={"gpt.safetensors": 20 * MIB})
    # Four chunks are kept at a time, so the last cut still leaves some.
    cuts = (1, 3, 7, 12, 16)
    async with network(2) as (a, b):
        library = serve(a, shelf(voice))
        sink = shelf()
        with trio.fail_after(60):
            for cut in cuts:
                with trio.CancelScope() as scope:

                    def stop(progress: Progress, scope: trio.CancelScope = scope, cut: int = cut) -> None:
                        if progress.have >= cut * MIB:
                            scope.cancel()

                    await fetch_files(b, voice.files, [info(a)], sink, progress=stop)
                assert scope.cancelled_caught
            before = sum(len(c) for c in sink.chunks.values())
            report = await fetch_files(b, voice.files, [info(a)], sink)
        assert report.reused == before
        assert report.received == 20 * MIB - before
        assert sink.finished == ["gpt.safetensors"]
        assert library.served <= 20 * MIB + len(cuts) * WINDOW_BYTES


async def test_partial_providers_complete_each_other(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish(sizes={"gpt.safetensors": 6 * MIB, "sovits.safetensors": 6 * MIB})
    first, second = voice.files
    async with network(3) as (a, c, b):
        left, right = serve(a, shelf(voice)), serve(c, shelf(voice))
        for index in range(6):
            del left.chunks[first.digest, index]
            del right.chunks[second.digest, index]
        sink = shelf()
        with trio.fail_after(30):
            report = await fetch_files(b, voice.files, [info(a), info(c)], sink)
        assert report.peers == {a.id: 6 * MIB, c.id: 6 * MIB}
        assert len(sink.finished) == 2


async def test_chunk_nobody_has_ends_the_fetch_and_keeps_the_rest(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice = publish(sizes={"gpt.safetensors": 6 * MIB})
    async with network(3) as (a, c, b):
        for host in (a, c):
            del serve(host, shelf(voice)).chunks[voice.files[0].digest, 4]
        sink = shelf()
        with trio.fail_after(30), pytest.raises(NoPeersError, match="none of 2 peers"):
            await fetch_files(b, voice.files, [info(a), info(c)], sink)
        assert len(sink.chunks) == 5
        assert not sink.finished
        assert b.peers.entry(a.id).drop is None


async def test_later_found_provider_is_used(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish()
    async with network(3) as (a, c, b):
        serve(a, shelf())
        serve(c, shelf(voice))

        async def more() -> list[PeerInfo]:
            return [info(a), info(c)]

        sink = shelf()
        with trio.fail_after(30):
            report = await fetch_files(b, voice.files, [info(a)], sink, find_more=more)
        assert set(report.peers) == {c.id}


async def test_connected_peer_that_has_not_announced_is_the_last_resort(
    network: Network, publish: Make, shelf: Make
) -> None:
    voice = publish()
    async with network(2) as (a, b):
        serve(a, shelf(voice))

        async def nobody() -> list[PeerInfo]:
            return []

        with trio.fail_after(30):
            report = await fetch_files(b, voice.files, [], shelf(), find_more=nobody)
        assert set(report.peers) == {a.id}


async def test_provider_that_leaves_in_the_middle(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish(sizes={"gpt.safetensors": 12 * MIB})
    async with network(3) as (a, c, b):
        leaver = serve(a, shelf(voice, hang=2))
        serve(c, shelf(voice))
        sink = shelf()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:

                async def leave() -> None:
                    await leaver.hung.wait()
                    await a.disconnect(b.id)

                nursery.start_soon(leave)
                report = await fetch_files(b, voice.files, [info(a), info(c)], sink)
        assert sink.finished == ["gpt.safetensors"]
        assert a.id in report.dropped
        drop = b.peers.entry(a.id).drop
        assert drop is not None
        assert drop.fault is Fault.LEFT


async def test_full_disk_is_our_own_fault(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish(sizes={"gpt.safetensors": 4 * MIB})
    async with network(2) as (a, b):
        serve(a, shelf(voice))

        class Full(shelf):  # type: ignore[misc]
            async def write_many(self, file: Any, chunks: Any) -> None:
                raise DiskFullError()

        with trio.fail_after(30), pytest.raises(DiskFullError):
            await fetch_files(b, voice.files, [info(a)], Full())
        assert b.peers.entry(a.id).drop is None


async def test_no_providers_at_all(network: Network, publish: Make, shelf: Make) -> None:
    async with network(1) as (b,):
        with pytest.raises(NoPeersError, match="nobody who holds these files"):
            await fetch_files(b, publish().files, [], shelf())


async def test_nothing_missing_asks_nobody(network: Network, publish: Make, shelf: Make) -> None:
    voice = publish()
    async with network(1) as (b,):
        sink = shelf(voice)
        report = await fetch_files(b, voice.files, [], sink)
        assert report.received == 0
        assert report.reused == report.total
        assert len(sink.finished) == 2
