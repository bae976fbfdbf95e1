"""AutoNAT: real hosts dial back on loopback, nobody but the asker, and only what is seen is believed.

Whether it finds out the truth about NATs is tested in namespaces: test_nat.py.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

import pytest
from libp2p.host.autonat.pb.autonat_pb2 import Message
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from p2pvoice.node import dialback_client, dialback_server
from p2pvoice.node.dialback_client import CLOSED, OPEN, UNKNOWN, Reachability
from p2pvoice.node.dialback_server import ADDRESSES_DIALED, ADDRESSES_READ, AUTONAT, PER_MINUTE, worth_dialing
from p2pvoice.node.host import P2PHost
from p2pvoice.node.interfaces import parse_ip
from p2pvoice.node.relay_server import RelayLimits
from p2pvoice.node.relay_wire import MESSAGE_LIMIT, read_message, write_message
from p2pvoice.protocol.errors import NetworkError

from .test_relay import hosts, link, place

HERE = parse_ip("127.0.0.1")
DEAD = "/ip4/127.0.0.1/tcp/9"


def listening(host: P2PHost) -> str:
    return host.listening()[0]


def question(peer: str, addresses: Sequence[str]) -> Message:
    message = Message(type=Message.DIAL)
    message.dial.peer.id = ID.from_string(peer).to_bytes()
    message.dial.peer.addrs.extend(Multiaddr(a).to_bytes() for a in addresses)
    return message


async def ask(host: P2PHost, server: P2PHost, message: Message) -> Any:
    """Put a question by hand; the answer."""
    stream = await host.host.new_stream(ID.from_string(server.id), [AUTONAT])
    await write_message(stream, message)
    answer = await read_message(stream, Message)
    assert answer.type == Message.DIAL_RESPONSE
    return answer.dialResponse


def reachability(host: P2PHost) -> Reachability:
    assert host.relaying is not None
    found = host.relaying._reachability
    assert found is not None
    return found


async def test_an_asker_is_dialed_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialback_server, "PER_HOST_SECONDS", 0.0)
    async with hosts() as one:
        server, asker, third = await one(), await one(relay=False), await one(relay=False)
        await asker.connect(server.addresses()[0])
        own = listening(asker)
        reached = await ask(asker, server, question(asker.id, [DEAD, own]))
        assert (reached.status, Multiaddr(reached.addr)) == (Message.OK, Multiaddr(own))
        # It was a socket and no connection: the one that stands is still the only one.
        assert len(server.host.get_network().get_connections()) == 1
        for addresses, status in (
            ([DEAD], Message.E_DIAL_ERROR),
            ([listening(third)], Message.E_DIAL_ERROR),  # somebody answers, with another key
            (["/ip4/127.0.0.2/tcp/1", "/ip4/192.0.2.1/tcp/1"], Message.E_DIAL_REFUSED),
            ([], Message.E_DIAL_REFUSED),
        ):
            answer = await ask(asker, server, question(asker.id, addresses))
            assert (answer.status, answer.addr) == (status, b""), addresses
        assert (
            await ask(asker, server, question(third.id, [listening(third)]))
        ).status == Message.E_BAD_REQUEST
        assert third.connected() == []
        answer = await ask(asker, server, Message(type=Message.DIAL_RESPONSE))
        assert answer.status == Message.E_BAD_REQUEST


async def test_an_address_is_dialed_once_a_minute() -> None:
    async with hosts() as one:
        server = await one()
        for expected in (Message.OK, Message.E_DIAL_REFUSED):
            asker = await one(relay=False)
            await asker.connect(server.addresses()[0])
            assert (await ask(asker, server, question(asker.id, [listening(asker)]))).status == expected
        # Of all together only so many.
        whole = dialback_server.DialBackServer(server.host, server.peers)
        many = [ipaddress.ip_address(f"192.0.2.{n}") for n in range(PER_MINUTE + 1)]
        given = [whole._may_dial(ip) for ip in many]
        assert given == [True] * PER_MINUTE + [False]


async def test_who_comes_through_a_relay_is_not_dialed() -> None:
    async with hosts() as one:
        relay = await one(limits=RelayLimits())
        server, asker = await one(relay), await one()
        await asker.connect(await place(server))
        assert link(asker, server) == "relayed"
        answer = await ask(asker, server, question(asker.id, [listening(asker)]))
        assert answer.status == Message.E_DIAL_REFUSED


async def test_a_question_is_read_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialback_server, "PER_HOST_SECONDS", 0.0)
    async with hosts() as one:
        server, asker = await one(), await one(relay=False)
        await asker.connect(server.addresses()[0])
        own = question(asker.id, [listening(asker)])
        for size in (MESSAGE_LIMIT, MESSAGE_LIMIT + 1):
            long = Message()
            long.CopyFrom(own)
            long.dial.peer.addrs.append(b"x" * (size - own.ByteSize() - 6))
            while long.ByteSize() < size:
                long.dial.peer.addrs[-1] += b"x"
            assert long.ByteSize() == size
            if size == MESSAGE_LIMIT:
                assert (await ask(asker, server, long)).status == Message.OK
            else:
                with pytest.raises(NetworkError):
                    await ask(asker, server, long)


def test_of_what_is_named_little_is_dialed() -> None:
    assert HERE is not None
    many = [f"/ip4/127.0.0.1/tcp/{n}" for n in range(1, ADDRESSES_DIALED + 2)]
    raw = [Multiaddr(a).to_bytes() for a in many]
    assert [port for _, port in worth_dialing(raw, HERE)] == list(range(1, ADDRESSES_DIALED + 1))
    elsewhere = [Multiaddr("/ip4/127.0.0.2/tcp/1").to_bytes()]
    assert len(worth_dialing(elsewhere * (ADDRESSES_READ - 1) + raw[:1], HERE)) == 1
    assert worth_dialing(elsewhere * ADDRESSES_READ + raw[:1], HERE) == []
    for bad in (
        "/ip4/127.0.0.1/udp/1",
        "/ip4/127.0.0.1/tcp/1/ws",
        "/dns4/localhost/tcp/1",
        "/ip4/127.0.0.1/tcp/0",
    ):
        assert worth_dialing([Multiaddr(bad).to_bytes()], HERE) == [], bad
    assert worth_dialing([b"", b"\xff", b"\x04\x7f", raw[0][:-1]], HERE) == []
    v6 = parse_ip("::1")
    assert v6 is not None
    assert len(worth_dialing([Multiaddr("/ip6/::1/tcp/1").to_bytes()], v6)) == 1


async def test_only_what_was_seen_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialback_server, "PER_HOST_SECONDS", 0.0)
    assert HERE is not None
    async with hosts() as one:
        server, liar, asker = await one(), await one(relay=False), await one()
        own = Multiaddr(listening(asker))
        known = reachability(asker)

        async def lie(stream: Any) -> None:
            await read_message(stream, Message)
            answer = Message(type=Message.DIAL_RESPONSE)
            answer.dialResponse.status = Message.OK
            answer.dialResponse.addr = own.to_bytes()
            await write_message(stream, answer)
            await stream.close()

        liar.host.set_stream_handler(AUTONAT, lie)
        for host in (server, liar):
            await asker.connect(host.addresses()[0])
        assert known.verdict == UNKNOWN
        assert not known.can_be_dialed()  # it listens on loopback
        await known._ask(ID.from_string(liar.id), HERE, [own])
        assert known.verdict == UNKNOWN
        await known._ask(ID.from_string(server.id), HERE, [Multiaddr(DEAD)])
        assert (known.verdict, known.confirmed()) == (CLOSED, [])
        await known._ask(ID.from_string(server.id), HERE, [own])
        assert (known.verdict, known.confirmed()) == (OPEN, [own])
        assert known.can_be_dialed()
        assert known.facts() == {"verdict": OPEN, "asked": 1, "through": 1, "confirmed": [str(own)]}
        # What was found out lapses.
        monkeypatch.setattr(dialback_client, "KEEP", 0.0)
        assert (known.verdict, known.confirmed()) == (UNKNOWN, [])


async def test_on_a_lan_nobody_is_asked() -> None:
    """A neighbour gets through where the internet does not, so it says nothing."""
    async with hosts() as one:
        server = await one()
        asker = await one(server)
        await asker.arrival()
        known = reachability(asker)
        assert known._server(ID.from_string(server.id)) is None
        await known.look()
        assert known.facts()["asked"] == 0
