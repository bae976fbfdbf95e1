"""Floods of sockets, streams, bytes and slow readers against a real daemon, while an honest peer fetches.

The daemon's memory is its process's: the peak since the attack began, less what it had before.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from p2pvoice.node import door, exchange, held
from p2pvoice.node.fetch import fetch_files
from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.slots import STREAMS_PER_PEER, STREAMS_TOTAL, Slots
from p2pvoice.protocol.exchange_messages import Want

from . import attacks
from .victim import MIB, Victim

Tally = Callable[..., None]
Make = Callable[..., Any]

#: MiB by which a flood may make the daemon grow, beyond what the limits of held.py themselves allow.
GROWTH = 48


async def honest_fetch(victim: Victim, shelf: Make, within: float = 30) -> float:
    """A stranger connects, fetches the voice and checks it; seconds it took."""
    began = trio.current_time()
    with trio.fail_after(within):
        async with open_host(generate(), listen=["/ip4/127.0.0.1/tcp/0"]) as host:
            await host.connect(victim.address)
            sink = shelf()
            where = attacks.PeerInfo(attacks.ID.from_string(victim.id), [])
            await fetch_files(host, victim.voice.files, [where], sink)
            assert len(sink.finished) == 3
    return trio.current_time() - began


async def closed(streams: list[trio.SocketStream], within: float) -> int:
    """How many of the sockets the victim closes in time."""
    count = 0

    async def watch(stream: trio.SocketStream) -> None:
        nonlocal count
        try:
            while await stream.receive_some(100):
                pass
        except trio.BrokenResourceError:
            pass
        count += 1

    with trio.move_on_after(within):
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(watch, stream)
    return count


async def test_sockets_that_never_finish_their_handshake(victim: Victim, shelf: Make, tally: Tally) -> None:
    before = victim.forget_peak()
    sockets = []
    with trio.fail_after(60):
        async for socket in attacks.half_handshakes(victim.port, 300):
            sockets.append(socket)
        seconds = await honest_fetch(victim, shelf)
        # The newer ones displaced the older ones; those that are left have ten seconds.
        gone = await closed(sockets, 1)
        for socket in sockets:
            await socket.aclose()
    growth = victim.peak() - before
    assert growth < GROWTH
    gone = min(gone, 300 - door.HANDSHAKES)
    tally(
        "sockets held in the middle of a handshake", tried=300 - door.HANDSHAKES, refused=gone,
        cost=f"+{growth:.0f} MiB at most; honest fetch {seconds:.1f} s",
    )  # fmt: skip


async def test_streams_opened_and_held(victim: Victim, shelf: Make, tally: Tally) -> None:
    before = victim.forget_peak()
    with trio.fail_after(60):
        async with attacks.attackers(2, victim.address) as hosts:
            connections = [attacks.muxed(host, victim.id) for host in hosts]
            for connection in connections:
                await attacks.raw_frames(connection, attacks.held_streams(1000, 1001))
            seconds = await honest_fetch(victim, shelf)
            for connection in connections:
                await connection.event_closed.wait()
    growth = victim.peak() - before
    assert growth < GROWTH
    tally(
        f"1,000 streams on a connection (limit {held.CONNECTION_STREAMS})", tried=2, refused=2,
        cost=f"+{growth:.0f} MiB at most; honest fetch {seconds:.1f} s",
    )  # fmt: skip


@pytest.mark.slow
async def test_bytes_that_nobody_reads(victim: Victim, shelf: Make, tally: Tally) -> None:
    """First more than one connection may hold, then as much as it may, on many connections."""
    before = victim.forget_peak()
    with trio.fail_after(90):
        async with attacks.attackers(1, victim.address) as (host,):
            connection = attacks.muxed(host, victim.id)
            await attacks.raw_frames(connection, attacks.stuffed_streams(80, 250_000, 1001))
            await connection.event_closed.wait()
        async with attacks.attackers(8, victim.address) as hosts:
            connections = [attacks.muxed(host, victim.id) for host in hosts]
            await stuff(connections, 62)
            seconds = await honest_fetch(victim, shelf)
            cut = sum(connection.event_shutting_down.is_set() for connection in connections)
    growth = victim.peak() - before
    # Buffers take half as much again while they grow.
    assert growth < 1.5 * held.TOTAL_BYTES / MIB + GROWTH
    assert cut >= 1  # eight times about 10 MiB that stay unread, of which 64 MiB may
    tally(
        "connections stuffed with bytes that nobody reads", tried=1 + cut, refused=1 + cut,
        cost=f"+{growth:.0f} MiB at most; honest fetch {seconds:.1f} s",
    )  # fmt: skip


async def test_what_connections_hold_is_counted_together(
    network: Make, publish: Make, shelf: Make, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three connections within their own limit, together beyond the limit of all: one of them closes.

    Of libp2p's Yamux: ours keeps no bytes of refused streams, and is in tests/net/wire.
    """
    monkeypatch.setattr(held, "TOTAL_BYTES", 4 * MIB)
    with trio.fail_after(60):
        async with network(1, wire="stock") as (node,):
            exchange.ExchangeServer(node, shelf(publish())).attach()
            async with attacks.attackers(3, node.addresses()[0]) as hosts:
                connections = [attacks.muxed(host, node.id) for host in hosts]
                await stuff(connections, 14)

                def left() -> int:
                    here = node.host.get_network().get_connections()
                    return sum(held.measure(connection.muxed_conn)[0] for connection in here)

                def cut() -> int:
                    return sum(connection.event_shutting_down.is_set() for connection in connections)

                while not cut() or left() > 4 * MIB:
                    await trio.lowlevel.checkpoint()
                closed_ones, rest = cut(), left() / MIB
    assert 1 <= closed_ones < 3
    cost = f"{rest:.1f} MiB left"
    tally("connections stuffed, 4 MiB for all", tried=closed_ones, refused=closed_ones, cost=cost)


async def stuff(connections: list[Any], streams: int) -> None:
    async with trio.open_nursery() as nursery:
        for connection in connections:
            frames = attacks.stuffed_streams(streams, 250_000, 1001)
            nursery.start_soon(attacks.raw_frames, connection, frames)


JUNK = (
    "unknown types",
    "a frame longer than any window",
    "data for streams that are not open",
    "streams opened and reset at once",
)


def junk(kind: str) -> AsyncIterator[bytes]:
    async def frames() -> AsyncIterator[bytes]:
        for number in range(20_000):
            match kind:
                case "unknown types":
                    yield attacks.header(7 + number % 200, number % 65_536, number, number)
                case "a frame longer than any window":
                    yield attacks.header(attacks.DATA, attacks.SYN, 1001, 16 << 20)
                    yield bytes(60_000)
                case "data for streams that are not open":
                    yield attacks.header(attacks.DATA, 0, 1001 + 2 * number, 1000) + bytes(1000)
                case "streams opened and reset at once":
                    yield attacks.header(attacks.WINDOW_UPDATE, attacks.SYN | 8, 1001 + 2 * number, 0)

    return frames()


async def test_junk_frames(victim: Victim, shelf: Make, tally: Tally) -> None:
    before = victim.forget_peak()
    with trio.fail_after(60):
        async with attacks.attackers(len(JUNK), victim.address) as hosts, trio.open_nursery() as nursery:
            connections = [attacks.muxed(host, victim.id) for host in hosts]
            for connection, kind in zip(connections, JUNK, strict=True):
                nursery.start_soon(attacks.raw_frames, connection, junk(kind))
            seconds = await honest_fetch(victim, shelf)
            await connections[1].event_closed.wait()
            nursery.cancel_scope.cancel()
    growth = victim.peak() - before
    assert growth < GROWTH
    tally("yamux frames of junk, four kinds", tried=4, refused=4,
          cost=f"+{growth:.0f} MiB; honest fetch {seconds:.1f} s")  # fmt: skip


@pytest.mark.slow
async def test_slow_readers_take_all_places(victim: Victim, shelf: Make, tally: Tally) -> None:
    """Enough peers to take every place ask for chunks; half never read, half read a byte at a time."""
    before = victim.forget_peak()
    peers = STREAMS_TOTAL // STREAMS_PER_PEER
    where = attacks.PeerInfo(attacks.ID.from_string(victim.id), [])
    with trio.fail_after(90):
        async with attacks.attackers(peers, victim.address) as hosts, trio.open_nursery() as nursery:
            await read_slowly(hosts, where, victim.voice.files[0].digest, nursery)
            seconds = await honest_fetch(victim, shelf, within=45)
            nursery.cancel_scope.cancel()
    growth = victim.peak() - before
    assert growth < STREAMS_TOTAL * 2 + GROWTH
    tally(
        "streams of slow readers that take every place", tried=STREAMS_TOTAL, refused=STREAMS_TOTAL,
        cost=f"+{growth:.0f} MiB at most; honest fetch {seconds:.1f} s",
    )  # fmt: skip


async def test_slow_readers_give_way(
    network: Make, publish: Make, shelf: Make, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with four places, all taken, and an honest peer that comes last."""
    monkeypatch.setattr(exchange, "Slots", lambda: Slots(per_peer=2, total=4, idle=1.0))
    voice = publish(sizes={"gpt.safetensors": 5 * MIB})
    with trio.fail_after(60):
        async with network(1) as (node,):
            server = exchange.ExchangeServer(node, shelf(voice))
            server.attach()
            async with attacks.attackers(2, node.addresses()[0]) as hosts, trio.open_nursery() as nursery:
                await read_slowly(hosts, attacks.info(node), voice.files[0].digest, nursery, each=2)
                while len(server._exchange_slots) < 4:
                    await trio.lowlevel.checkpoint()
                async with open_host(generate(), listen=["/ip4/127.0.0.1/tcp/0"]) as guest:
                    sink, began = shelf(), trio.current_time()
                    report = await fetch_files(guest, voice.files, [attacks.info(node)], sink)
                    seconds = trio.current_time() - began
                nursery.cancel_scope.cancel()
    assert sink.finished == ["gpt.safetensors"]
    assert report.peers == {node.id: 5 * MIB}
    tally("slow readers on all four places", tried=4, refused=4, cost=f"honest fetch {seconds:.1f} s")


async def read_slowly(
    hosts: list[P2PHost], where: Any, file: bytes, nursery: trio.Nursery, each: int = STREAMS_PER_PEER
) -> None:
    for number, host in enumerate(hosts):
        for _ in range(each):
            channel = await attacks.hoard(host, where, Want(file, 0, 5, ("raw",)))
            if number % 2:
                nursery.start_soon(sip_until_cut, channel)


async def sip_until_cut(channel: Any) -> None:
    with contextlib.suppress(*attacks.STREAM_ERRORS):
        await attacks.sip(channel)


async def test_identify_that_never_ends(shelf: Make, tally: Tally, victim: Victim) -> None:
    """libp2p goes on to read what follows a malformed identify message; here the stream ends."""
    before = victim.forget_peak()
    sent = 0

    async def endless(stream: Any) -> None:
        nonlocal sent
        try:
            while sent < 400 << 20:
                await stream.write(b"\xff" * 60_000)
                sent += 60_000
        except attacks.STREAM_ERRORS:
            pass
        ended.set()

    ended = trio.Event()
    with trio.fail_after(60):
        async with open_host(generate(), listen=["/ip4/127.0.0.1/tcp/0"]) as host:
            host.host.set_stream_handler(attacks.TProtocol("/ipfs/id/1.0.0"), endless)
            await host.connect(victim.address)
            await ended.wait()
    growth = victim.peak() - before
    assert sent < 20 << 20
    assert growth < GROWTH
    cost = f"{sent >> 10} KiB sent, +{growth:.0f} MiB"
    tally("an identify message without end", tried=1, refused=1, cost=cost)


async def test_places_of_connections_that_closed_are_free_again(
    shelf: Make, tally: Tally, network: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libp2p gives a place of an inbound connection back when the node ends."""
    monkeypatch.setattr("p2pvoice.node.swarm.MAX_CONNECTIONS", 4)
    async with network(1) as (node,):
        for _ in range(8):
            async with open_host(generate(), listen=["/ip4/127.0.0.1/tcp/0"]) as guest:
                with trio.fail_after(10):
                    await guest.connect(node.addresses()[0])
                    await node.arrival()
                assert guest.connected() == [node.id]
    tally("connections that come and go (4 places)", tried=8, refused=8, cost="none stays taken")


async def test_of_too_many_connections_the_idle_one_closes(
    tally: Tally, network: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "INBOUND_LIMIT", 3)
    async with network(1) as (node,), attacks.attackers(3, node.addresses()[0]) as idle:
        friend: P2PHost = idle[0]
        node.peers.reward(friend.id, 1.0)
        async with open_host(generate(), listen=["/ip4/127.0.0.1/tcp/0"]) as guest:
            with trio.fail_after(10):
                await guest.connect(node.addresses()[0])
                while len(node.connected()) > 3:
                    await trio.lowlevel.checkpoint()
            assert set(node.connected()) >= {friend.id, guest.id}
    tally("idle connections that fill the node (3 places)", tried=1, refused=1)
