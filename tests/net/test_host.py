"""Dialing, streams and start-up checks of the host, over real sockets."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
from libp2p.kad_dht import value_store
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from multiaddr import Multiaddr

from p2pvoice.node import kad
from p2pvoice.node.config import Wire
from p2pvoice.node.held import measure
from p2pvoice.node.host import open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.peers import Fault
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.errors import (
    BugError,
    ManifestError,
    NetworkError,
    PeerTimeoutError,
    PolicyError,
    ProtocolMismatchError,
    UsageError,
)

Network = Callable[..., Any]
LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]
ECHO = "/p2pvoice/test-echo/1.0.0"


async def echo(channel: Channel) -> None:
    while (frame := await channel.receive(2_000_000)) is not None:
        await channel.send(frame)


#: Whose Noise and Yamux run below: what libp2p's need from us stays in force, though they are no default.
kinds = pytest.mark.parametrize("wire", ["own", "stock"])


def dead_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@kinds
async def test_echo_between_hosts_is_counted_on_both_sides(network: Network, wire: Wire) -> None:
    sizes = (1, 65_535, 65_536, 1_048_577)
    async with network(2, wire=wire) as (a, b):
        a.serve(ECHO, echo)
        with trio.fail_after(20):
            async with await b.open_stream(a.id, ECHO) as channel:
                for size in sizes:
                    await channel.send(b"x" * size)
                    assert await channel.receive(2_000_000) == b"x" * size
                await channel.finish_sending()
                assert await channel.receive(10) is None
        total = sum(sizes) + 4 * len(sizes)
        assert b.peers.entry(a.id).bytes_out == total
        assert b.peers.entry(a.id).bytes_in == total
        assert b.peers.entry(a.id).connected
        assert b.peers.entry(a.id).direction == "outbound"
        assert a.peers.entry(b.id).direction == "inbound"


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_frame_over_the_limit_is_refused_before_it_is_read(
    network: Network, size: int, fits: bool
) -> None:
    async with network(2) as (a, b):
        a.serve(ECHO, echo)
        with trio.fail_after(20):
            async with await b.open_stream(a.id, ECHO) as channel:
                await channel.send(bytes(size))
                if fits:
                    assert await channel.receive(1000) == bytes(size)
                else:
                    with pytest.raises(ManifestError, match="a frame of 1001 bytes is announced"):
                        await channel.receive(1000)


async def test_first_address_dead_second_is_dialed(network: Network) -> None:
    async with network(1) as (a,), open_host(generate(), listen=LOOPBACK) as b:
        live = a.host.get_transport_addrs()
        dead = [Multiaddr(f"/ip4/127.0.0.1/tcp/{dead_port()}")]
        with trio.fail_after(20):
            await b.reach(PeerInfo(ID.from_string(a.id), dead + live))
        assert b.connected() == [a.id]


async def test_dht_finds_its_way_around_a_dead_first_address(network: Network) -> None:
    """libp2p itself dials one address a peer; its DHT must profit from our loop too."""
    async with network(2) as (a, b), open_host(generate(), listen=LOOPBACK) as c:
        with trio.fail_after(20):
            key = b"\7" * 32
            assert await b.kad.provide(key)
            store = c.host.get_peerstore()
            store.add_addrs(
                ID.from_string(a.id),
                [Multiaddr(f"/ip4/127.0.0.1/tcp/{dead_port()}"), *a.host.get_transport_addrs()],
                600,
            )
            found = await c.kad.find_providers(key)
        assert [str(i.peer_id) for i in found] == [b.id]


async def test_unreachable_peer_is_noted_and_not_shunned_for_good(network: Network) -> None:
    async with open_host(generate(), listen=LOOPBACK) as b:
        async with network(1) as (a,):
            address = a.addresses()[0]
            name = a.id
        with trio.fail_after(20):
            with pytest.raises(NetworkError):
                await b.connect(address)
        drop = b.peers.entry(name).drop
        assert drop is not None
        assert drop.fault is Fault.UNREACHABLE
        assert not b.peers.is_shunned(name)


async def test_peer_that_comes_back_is_reached_at_once(network: Network) -> None:
    """libp2p shuns a peer for 60 s after a failed dial; asking by hand must not wait for that."""
    identity = generate()
    port = dead_port()
    async with open_host(generate(), listen=LOOPBACK) as b:
        async with open_host(identity, listen=LOOPBACK) as probe:
            name = probe.id
        address = f"/ip4/127.0.0.1/tcp/{port}/p2p/{name}"
        with trio.fail_after(20):
            with pytest.raises(NetworkError):
                await b.connect(address)
            async with open_host(identity, listen=[f"/ip4/127.0.0.1/tcp/{port}"]):
                assert await b.connect(address) == name


async def test_mute_listener_costs_one_dial_timeout() -> None:
    """A listener that accepts and never speaks hangs libp2p's dial for 80 s."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        async with open_host(generate(), listen=LOOPBACK, dial_timeout=0.5) as b:
            async with open_host(generate(), listen=LOOPBACK) as somebody:
                name = somebody.id
            with trio.fail_after(20):
                with pytest.raises(PeerTimeoutError, match=r"did not answer in 0\.5 s"):
                    await b.connect(f"/ip4/127.0.0.1/tcp/{mute.getsockname()[1]}/p2p/{name}")


async def test_wrong_peer_id_is_not_accepted(network: Network) -> None:
    async with network(1) as (a,), open_host(generate(), listen=LOOPBACK) as b:
        async with open_host(generate(), listen=LOOPBACK) as other:
            name = other.id
        with trio.fail_after(20):
            with pytest.raises(NetworkError):
                await b.connect(f"{a.host.get_transport_addrs()[0]}/p2p/{name}")


async def test_peer_that_never_answers_a_frame_times_out(network: Network) -> None:
    async with network(2) as (a, b):
        asked = trio.Event()

        async def hang(channel: Channel) -> None:
            await channel.receive(10)
            asked.set()
            await trio.sleep_forever()

        a.serve(ECHO, hang)
        with trio.fail_after(20):
            async with await b.open_stream(a.id, ECHO) as channel:
                await channel.send(b"hello")
                await asked.wait()
                with pytest.raises(PeerTimeoutError, match="sent nothing"):
                    await channel.receive(10, stall=0.2)
            # The connection survived the cancelled read: another stream still works.
            a.serve(ECHO, echo)
            async with await b.open_stream(a.id, ECHO) as channel:
                await channel.send(b"again")
                assert await channel.receive(10) == b"again"


@kinds
async def test_cancelled_send_does_not_break_the_connection(network: Network, wire: Wire) -> None:
    """A cancelled write leaves half a Noise message behind in stock libp2p, and kills every stream."""
    async with network(2, wire=wire) as (a, b):
        a.serve(ECHO, echo)
        with trio.fail_after(30):
            async with await b.open_stream(a.id, ECHO) as witness:
                for _ in range(20):
                    async with await b.open_stream(a.id, ECHO) as channel, trio.open_nursery() as nursery:
                        nursery.start_soon(channel.send, bytes(1_000_000))
                        for _ in range(4):  # far enough to be in the middle of a write
                            await trio.lowlevel.checkpoint()
                        nursery.cancel_scope.cancel()
                await witness.send(b"still here")
                assert await witness.receive(100) == b"still here"


@kinds
async def test_sender_that_ignores_our_window_loses_the_connection(network: Network, wire: Wire) -> None:
    """libp2p logs such a sender and keeps all it sends: memory would fill up."""
    async with network(2, wire=wire) as (a, b):

        async def flood(channel: Channel) -> None:
            channel.stream.muxed_stream.send_window = 1 << 40
            for _ in range(64):
                await channel.stream.write(bytes(1_000_000))

        a.serve(ECHO, flood)
        with trio.fail_after(20):
            channel = await b.open_stream(a.id, ECHO)
            muxed: Any = channel.stream.muxed_stream
            most = 0
            while b.connected():
                most = max(most, measure(muxed.conn)[0])
                await trio.lowlevel.checkpoint()
            await channel.close(reset=True)
        assert most < 8_000_000


async def test_unknown_protocol_and_shunned_peer_have_their_own_errors(network: Network) -> None:
    async with network(2) as (a, b):
        with trio.fail_after(20):
            with pytest.raises(ProtocolMismatchError, match="does not speak"):
                await b.open_stream(a.id, "/p2pvoice/nothing/1.0.0")
            b.peers.drop(a.id, Fault.WRONG_BYTES, "chunk 3")
            with pytest.raises(PolicyError):
                await b.open_stream(a.id, ECHO)
            await b.connect(a.addresses()[0])
            assert not b.peers.is_shunned(a.id)


async def test_streams_of_a_shunned_peer_are_refused(network: Network) -> None:
    async with network(2) as (a, b):
        a.serve(ECHO, echo)
        a.peers.drop(b.id, Fault.WRONG_BYTES)

        async def use() -> bytes | None:
            async with await b.open_stream(a.id, ECHO) as channel:
                await channel.send(b"x")
                return await channel.receive(10)

        with trio.fail_after(20):
            with pytest.raises(NetworkError) as caught:
                await use()
            assert not isinstance(caught.value, ProtocolMismatchError)
            a.peers.forgive(b.id)
            assert await use() == b"x"


async def test_only_noise_is_offered(network: Network) -> None:
    async with network(1) as (a,):
        offered = a.host.get_network().upgrader.security_multistream.transports
        assert list(offered) == ["/noise"]


async def test_plaintext_dialer_gets_nowhere(network: Network) -> None:
    async with network(1) as (a,):
        port = int(str(a.host.get_transport_addrs()[0]).rsplit("/", 1)[1])
        with trio.fail_after(20):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                for line in (b"/multistream/1.0.0\n", b"/plaintext/2.0.0\n"):
                    await stream.send_all(bytes([len(line)]) + line)
                heard = b""
                while b"na\n" not in heard:
                    data = await stream.receive_some(1000)
                    assert data
                    heard += data
        assert b"/plaintext" not in heard


async def test_start_is_refused_when_the_protocol_patch_is_not_in_force(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network(1) as (a,):
        kad.assert_installed(a.host, a.kad.dht)
        with monkeypatch.context() as patch:
            patch.setattr(value_store, "PROTOCOL_ID", "/ipfs/kad/1.0.0")
            with pytest.raises(BugError, match="value_store"):
                kad.assert_installed(a.host, a.kad.dht)
        with monkeypatch.context() as patch:
            patch.setattr(kad, "install", lambda: None)
            patch.setattr(kad.kad_dht, "QUERY_TIMEOUT", 10)
            with pytest.raises(BugError, match="still waits 10 s"):
                async with open_host(generate(), listen=LOOPBACK):
                    pass
        assert "/ipfs/kad/1.0.0" not in a.host.get_mux().handlers
        assert kad.KAD_PROTOCOL in a.host.get_mux().handlers


@pytest.mark.parametrize("listen", ["nonsense", "/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/1/ws"])
async def test_senseless_listen_address(listen: str) -> None:
    with pytest.raises(UsageError):
        async with open_host(generate(), listen=[listen]):
            pass


async def test_bootstrap_without_peer_id_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        async with open_host(generate(), listen=LOOPBACK, bootstrap=["/ip4/127.0.0.1/tcp/1"]):
            pass


async def test_taken_port_is_a_network_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(NetworkError, match="could not listen"):
            async with open_host(generate(), listen=[f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"]):
                pass


async def test_bootstrap_is_dialed_again_until_it_answers() -> None:
    identity, port = generate(), dead_port()
    async with open_host(identity, listen=LOOPBACK) as probe:
        name = probe.id
    address = f"/ip4/127.0.0.1/tcp/{port}/p2p/{name}"
    async with open_host(generate(), listen=LOOPBACK, bootstrap=[address]) as b:
        with trio.fail_after(30):
            while b.peers.entry(name).drop is None:  # the first attempt failed
                await trio.lowlevel.checkpoint()
            async with open_host(identity, listen=[f"/ip4/127.0.0.1/tcp/{port}"]):
                await b.arrival()
                assert b.connected() == [name]
