"""Relays: real hosts call each other through a real relay, and what it gives away is bounded."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, PeerId, StopMessage
from multiaddr import Multiaddr

from p2pvoice.node import relay_server
from p2pvoice.node.addresses import is_circuit, parse_peer, without_peer
from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.punching import PUNCH_ADDRESSES, worth_punching
from p2pvoice.node.relay_server import RelayLimits, splice
from p2pvoice.node.relay_wire import (
    DENIED,
    HOP,
    LIMIT_EXCEEDED,
    MALFORMED,
    MESSAGE_LIMIT,
    NO_RESERVATION,
    OK,
    REFUSED,
    STOP,
    read_message,
    write_message,
)
from p2pvoice.node.relaying import RelaySettings
from p2pvoice.node.wire import STREAM_ERRORS, Channel
from p2pvoice.protocol.errors import NetworkError

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)
ECHO = "/echo/1"
Open = Callable[..., Awaitable[P2PHost]]


@asynccontextmanager
async def hosts() -> AsyncIterator[Open]:
    """Opens hosts that end with the block."""
    async with AsyncExitStack() as stack:

        async def one(*bootstrap: P2PHost, limits: RelayLimits | None = None, relay: bool = True) -> P2PHost:
            host = await stack.enter_async_context(
                open_host(
                    generate(),
                    listen=LOOPBACK,
                    bootstrap=[a for other in bootstrap for a in other.addresses()],
                    relay=RelaySettings(limits) if relay else None,
                )
            )

            async def echo(channel: Channel) -> None:
                while (data := await channel.receive(1 << 20)) is not None:
                    await channel.send(data)

            host.serve(ECHO, echo)
            return host

        yield one


async def place(host: P2PHost) -> str:
    """The host's address at a relay, as soon as it has one."""
    with trio.fail_after(30):
        while True:
            found = [a for a in host.addresses() if "p2p-circuit" in a]
            if found:
                return found[0]
            await trio.sleep(0.05)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - what others do sets no event here
            await trio.sleep(0.05)


async def status(host: P2PHost, relay: P2PHost, message: HopMessage) -> int:
    """What the relay answers to a message."""
    return int((await ask(host, relay, message))[1].status)


async def answers(host: P2PHost, relay: P2PHost, message: HopMessage, wanted: int) -> None:
    """Ask until the relay gives this answer."""
    with trio.fail_after(20):
        while await status(host, relay, message) != wanted:  # noqa: ASYNC110 - the same
            await trio.sleep(0.1)


async def drain(stream: Any) -> None:
    """Read until the other side has ended it."""
    with suppress(*STREAM_ERRORS):
        while await stream.read(1000):
            pass


def serves(relay: P2PHost) -> Any:
    assert relay.relaying is not None
    return relay.relaying.facts()["serves"]


def link(here: P2PHost, there: P2PHost) -> str:
    return next(row["link"] for row in here.peers.rows() if row["id"] == there.id)


async def ask(host: P2PHost, peer: P2PHost, message: Any, protocol: Any = HOP) -> Any:
    """Send one relay message by hand; the stream and the answer."""
    stream = await host.host.new_stream(ID.from_string(peer.id), [protocol])
    await write_message(stream, message)
    return stream, await read_message(stream, type(message))


def call(peer: P2PHost) -> HopMessage:
    return HopMessage(type=HopMessage.CONNECT, peer=PeerId(id=ID.from_string(peer.id).to_bytes()))


RESERVE = HopMessage(type=HopMessage.RESERVE)


async def test_two_nodes_talk_through_a_relay() -> None:
    async with hosts() as one:
        relay = await one(limits=RelayLimits())
        called, caller = await one(relay), await one()
        address = await place(called)
        assert await caller.connect(address) == called.id
        assert link(caller, called) == link(called, caller) == "relayed"
        assert link(caller, relay) == "lan"
        channel = await caller.open_stream(called.id, ECHO)
        async with channel:
            for _ in range(3):
                await channel.send(b"x" * 500_000)
                assert await channel.receive(1 << 20) == b"x" * 500_000
        assert serves(relay)["circuits"] == 1
        assert serves(relay)["bytes"] > 3_000_000
        # The end of the circuit is the end of the connection, and frees its place.
        await caller.disconnect(called.id)
        await until(lambda: not serves(relay)["circuits"])
        await until(lambda: called.id not in caller.connected() and caller.id not in called.connected())


async def test_a_lost_relay_is_no_address_any_more() -> None:
    async with hosts() as one:
        relay = await one(limits=RelayLimits())
        called = await one(relay)
        await place(called)
        await called.disconnect(relay.id)
        await until(lambda: not any("p2p-circuit" in a for a in called.addresses()))


async def test_places_are_bounded() -> None:
    async with hosts() as one:
        relay = await one(limits=RelayLimits(reservations=2))
        three = [await one(relay=False) for _ in range(3)]
        for host in three:
            await host.connect(relay.addresses()[0])
        given = [await status(host, relay, RESERVE) for host in three]
        assert given == [OK, OK, REFUSED]
        # Who has a place may renew it, and one that is left is free.
        assert (await ask(three[1], relay, RESERVE))[1].status == OK
        await three[0].disconnect(relay.id)
        await answers(three[2], relay, RESERVE, OK)


async def test_one_address_gets_some_places_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_server, "PER_HOST", 1)
    async with hosts() as one:
        relay = await one(limits=RelayLimits())
        two = [await one(relay=False) for _ in range(2)]
        for host in two:
            await host.connect(relay.addresses()[0])
        assert [await status(host, relay, RESERVE) for host in two] == [OK, REFUSED]


async def test_calls_are_bounded_and_need_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_server, "PER_PEER", 1)
    async with hosts() as one:
        relay = await one(limits=RelayLimits())
        called, caller, stranger = await one(relay), await one(), await one(relay=False)
        await place(called)
        for host in (caller, stranger):
            await host.connect(relay.addresses()[0])
        assert (await ask(caller, relay, call(stranger)))[1].status == NO_RESERVATION
        held, answer = await ask(caller, relay, call(called))
        assert answer.status == OK
        assert (await ask(stranger, relay, call(called)))[1].status == LIMIT_EXCEEDED
        await held.reset()
        await answers(stranger, relay, call(called), OK)


async def test_bytes_of_a_circuit_are_bounded() -> None:
    """At the limit everything arrives, both ways together; one byte more ends the circuit."""
    async with hosts() as one:
        hub = await one(relay=False)
        ends = [await one(relay=False) for _ in range(2)]
        arrived: list[Any] = []

        async def keep(stream: Any) -> None:
            arrived.append(stream)
            await trio.sleep_forever()

        hub.host.set_stream_handler(HOP, keep)
        streams = []
        for end in ends:
            await end.connect(hub.addresses()[0])
            streams.append(await end.host.new_stream(ID.from_string(hub.id), [HOP]))
        await until(lambda: len(arrived) == 2)
        async with trio.open_nursery() as nursery:
            counted: list[int] = []
            limits = RelayLimits(bytes=100_000)
            nursery.start_soon(splice, *arrived, limits, counted.append)
            for source, target, size in ((*streams, 60_000), (*reversed(streams), 40_000)):
                await source.write(b"x" * size)
                got = 0
                with trio.fail_after(20):
                    while got < size:
                        got += len(await target.read(size))
            assert sum(counted) == 100_000
            await streams[0].write(b"x")
            await until(lambda: not nursery.child_tasks)
            assert sum(counted) == 100_000


@pytest.mark.parametrize("limit", ["seconds", "idle"])
async def test_time_of_a_circuit_is_bounded(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when no byte comes: the bare circuit below is silent."""
    if limit == "idle":
        monkeypatch.setattr(relay_server, "IDLE_SECONDS", 1.0)
    async with hosts() as one:
        relay = await one(limits=RelayLimits(seconds=2 if limit == "seconds" else 3600))
        called, caller = await one(relay), await one(relay=False)
        await place(called)
        await caller.connect(relay.addresses()[0])
        stream, answer = await ask(caller, relay, call(called))
        assert answer.status == OK
        with trio.fail_after(9):  # the handshake's own limit is 10 s
            await drain(stream)


async def test_nonsense_is_refused() -> None:
    async with hosts() as one:
        relay = await one(limits=RelayLimits())
        stranger = await one(relay=False)
        await stranger.connect(relay.addresses()[0])
        for message in (
            HopMessage(type=HopMessage.STATUS, status=OK),
            HopMessage(type=HopMessage.CONNECT),
            HopMessage(type=HopMessage.CONNECT, peer=PeerId(id=b"x" * 65)),
        ):
            assert (await ask(stranger, relay, message))[1].status == MALFORMED
        # Of 4096 bytes a message is read, of 4097 it is not, whatever it says.
        bare = HopMessage(type=HopMessage.RESERVE)
        for size, status in ((MESSAGE_LIMIT, OK), (MESSAGE_LIMIT + 1, MALFORMED)):
            message = HopMessage(type=HopMessage.RESERVE)
            message.senderRecord = b"x" * (size - bare.ByteSize() - 3)
            assert message.ByteSize() == size
            assert (await ask(stranger, relay, message))[1].status == status
        stream = await stranger.host.new_stream(ID.from_string(relay.id), [HOP])
        await stream.write(b"\xff\xff\xff")
        assert (await read_message(stream, HopMessage)).status == MALFORMED


async def test_calls_come_through_own_relays_only() -> None:
    async with hosts() as one:
        node, liar = await one(), await one(relay=False)
        await liar.connect(node.addresses()[0])
        hello = StopMessage(type=StopMessage.CONNECT, peer=PeerId(id=ID.from_string(liar.id).to_bytes()))
        with pytest.raises(NetworkError):
            await ask(liar, node, hello, STOP)


async def test_no_relay_behind_a_relay() -> None:
    async with hosts() as one:
        outer = await one(limits=RelayLimits())
        inner, caller = await one(outer, limits=RelayLimits()), await one()
        await caller.connect(await place(inner))
        assert link(caller, inner) == "relayed"
        assert (await ask(caller, inner, RESERVE))[1].status == DENIED


async def test_without_relays_a_relayed_address_is_no_way() -> None:
    async with hosts() as one:
        relay = await one(limits=RelayLimits())
        called, off = await one(relay), await one(relay=False)
        with pytest.raises(NetworkError):
            await off.connect(await place(called))
        assert off.connected() == []


def test_relayed_addresses_are_told_apart() -> None:
    relay, peer = (
        f"12D3KooW{c}"
        for c in (
            "Ge8euDtio82hywBt439D3esTi9vAm6Uno2ameq7uTEYf",
            "CEPwmFeBtosz13jFX8U7k43ZDCNCKwtZ7bEAFjMZKd2G",
        )
    )
    info = parse_peer(f"/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit/p2p/{peer}")
    assert (str(info.peer_id), str(info.addrs[0])) == (peer, f"/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit")
    assert is_circuit(info.addrs[0])
    assert without_peer(info.addrs[0]) == info.addrs[0]
    twice = parse_peer(f"/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit/p2p/{relay}/p2p-circuit/p2p/{peer}")
    assert not any(is_circuit(a) for a in twice.addrs)
    assert not is_circuit(parse_peer(f"/ip4/192.0.2.1/udp/1/p2p/{relay}/p2p-circuit/p2p/{peer}").addrs[0])


def test_of_what_a_peer_names_little_is_dialed() -> None:
    named = [Multiaddr(f"/ip4/198.51.100.{n}/tcp/1") for n in range(PUNCH_ADDRESSES + 1)]
    assert worth_punching(named) == named[:PUNCH_ADDRESSES]
    for bad in (
        "/ip4/10.0.0.1/tcp/1",
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/0.0.0.0/tcp/1",
        "/dns4/example.org/tcp/1",
        "/ip4/198.51.100.1/udp/1",
    ):
        assert worth_punching([Multiaddr(bad), named[0]]) == named[:1]
