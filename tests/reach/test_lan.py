"""mDNS: two daemons find each other without being told, and strangers' records stay within their limits."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
import trio
import zeroconf
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from p2pvoice.node.config import load_config
from p2pvoice.node.host import open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.interfaces import spelled_out
from p2pvoice.node.lan import (
    NAMES_WAITING,
    PEERS_REMEMBERED,
    PREFIX,
    SERVICE,
    TEXT_LIMIT,
    Lan,
    open_lan,
    reachable,
    read_text,
    write_text,
)
from p2pvoice.node.paths import Home
from p2pvoice.node.peers import ADDRESS_LIMIT
from p2pvoice.protocol.errors import UsageError

from ..node.nodes import Daemon, eventually

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)
PEER = "12D3KooWGe8euDtio82hywBt439D3esTi9vAm6Uno2ameq7uTEYf"
OTHER = "12D3KooWCEPwmFeBtosz13jFX8U7k43ZDCNCKwtZ7bEAFjMZKd2G"


def someone() -> ID:
    """A peer id that nobody has the key of any more."""
    return ID.from_pubkey(create_new_key_pair(generate().peer_seed).public_key)


def settings(daemon: Daemon, mdns: bool) -> Daemon:
    (daemon.home / "config.toml").write_text(f"[network]\nmdns = {json.dumps(mdns)}\n")
    return daemon


def test_two_daemons_find_each_other(daemons: Callable[[], Daemon]) -> None:
    one, two = (settings(daemons(), True).start() for _ in range(2))
    for here, there in ((one, two), (two, one)):
        eventually(
            lambda here=here, there=there: any(
                row["id"] == there.peer_id and row["connected"] for row in here.client.peers()
            )
        )
        told = eventually(lambda here=here: here.client.status()["lan"]["addresses"])
        assert told == here.addresses
    # The one that comes back has another port, and is found there.
    assert two.end() == 0
    eventually(lambda: not any(row["connected"] for row in one.client.peers()))
    two.start()
    eventually(lambda: any(row["connected"] for row in one.client.peers()))


def test_a_setting_and_loopback_keep_it_quiet(daemons: Callable[[], Daemon]) -> None:
    loopback, off = daemons().start(), settings(daemons(), False).start()
    assert loopback.client.status()["lan"] is None
    assert off.client.status()["lan"] is None


async def test_whether_it_runs_follows_from_where_the_node_listens() -> None:
    async with open_host(generate(), listen=LOOPBACK) as narrow, open_host(generate()) as wide:
        assert open_lan(narrow, None) is None
        assert open_lan(wide, False) is None
        assert isinstance(open_lan(wide, None), Lan)
        assert isinstance(open_lan(narrow, True), Lan)


def test_setting_of_another_type_is_refused(daemons: Callable[[], Daemon]) -> None:
    home = Home.at(str(daemons().home))
    home.config.write_text('[network]\nmdns = "yes"\n')
    with pytest.raises(UsageError, match="mdns"):
        load_config(home)


def test_a_record_survives_the_way() -> None:
    told = [f"/ip4/192.168.7.{n}/tcp/4001/p2p/{PEER}" for n in range(3)]
    assert write_text(told).count(PREFIX) == 3
    info = read_text(write_text(told))
    assert info is not None
    assert [f"{a}/p2p/{info.peer_id}" for a in info.addrs] == told


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/8.8.8.8/tcp/1",
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/0.0.0.0/tcp/1",
        "/ip4/224.0.0.251/tcp/1",
        "/ip4/100.64.0.1/tcp/1",
        "/ip6/::1/tcp/1",
        "/ip6/2001:db8::1/tcp/1",
        "/dns4/example.org/tcp/1",
        "/ip4/192.168.1.1/udp/1",
        "/ip4/192.168.1.1/tcp/1/ws",
        "/ip4/192.168.1.999/tcp/1",
        "/ip4/192.168.1.1/tcp/99999",
        "",
    ],
)
def test_no_other_address_is_taken(address: str) -> None:
    assert read_text(write_text([f"{address}/p2p/{PEER}"])) is None
    # Beside a good one it is left out, and the good one is taken.
    good = f"/ip4/10.0.0.1/tcp/1/p2p/{PEER}"
    info = read_text(write_text([f"{address}/p2p/{PEER}", good]))
    assert info is not None
    assert [str(a) for a in info.addrs] == ["/ip4/10.0.0.1/tcp/1"]


def test_records_are_read_within_limits() -> None:
    many = [f"/ip4/10.0.0.{n}/tcp/1/p2p/{PEER}" for n in range(ADDRESS_LIMIT + 1)]
    info = read_text(write_text(many))
    assert info is not None
    assert len(info.addrs) == ADDRESS_LIMIT
    # The first peer counts; a record does not speak for two.
    mixed = read_text(write_text([many[0], f"/ip4/10.0.0.9/tcp/1/p2p/{OTHER}"]))
    assert mixed is not None
    assert (str(mixed.peer_id), len(mixed.addrs)) == (PEER, 1)
    good = write_text(many[:1])
    filler = b"\x01x" * ((TEXT_LIMIT - len(good)) // 2)
    filler += b"\x00" * (TEXT_LIMIT - len(good) - len(filler))
    assert read_text(filler + good) is not None
    assert read_text(b"\x00" + filler + good) is None
    for torn in (good[:-1], b"\xff" + good[1:], b"\xff", b"", b"\xff\xfe\xfd"):
        read_text(torn)


def test_what_is_told_is_what_can_be_dialed() -> None:
    wide = reachable([f"/ip4/0.0.0.0/tcp/4001/p2p/{PEER}"])
    assert all(one.endswith(f"/tcp/4001/p2p/{PEER}") and "/127." not in one for one in wide)
    assert "0.0.0.0" not in "".join(spelled_out([f"/ip4/0.0.0.0/tcp/4001/p2p/{PEER}"]))
    assert reachable([f"/ip4/8.8.8.8/tcp/4001/p2p/{PEER}"]) == []
    assert reachable([f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"]) == []


async def test_a_crowd_is_remembered_within_bounds() -> None:
    async with open_host(generate(), listen=LOOPBACK) as host:
        lan = Lan(host, loopback=True)
        for _ in range(NAMES_WAITING + 1):
            lan._hear("somebody")
        assert lan._names.statistics().current_buffer_used == NAMES_WAITING
        for _ in range(PEERS_REMEMBERED + 1):
            info = read_text(write_text([f"/ip4/10.0.0.1/tcp/1/p2p/{someone()}"]))
            assert info is not None
            lan._remember(info, 0)
        assert lan.facts()["heard"] == PEERS_REMEMBERED


async def test_a_flood_of_names_does_not_hide_a_peer() -> None:
    """Another program announces 20 names that lead nowhere; the one real node is met all the same."""
    async with (
        open_host(generate(), listen=LOOPBACK) as one,
        open_host(generate(), listen=LOOPBACK) as two,
        trio.open_nursery() as nursery,
    ):
        loud = await trio.to_thread.run_sync(lambda: zeroconf.Zeroconf(interfaces=["127.0.0.1"]))
        try:
            await trio.to_thread.run_sync(_flood, loud)
            for host in (one, two):
                nursery.start_soon(Lan(host, loopback=True).run)
            with trio.fail_after(90):
                await one.arrival()
            assert one.connected() == [two.id]
        finally:
            await trio.to_thread.run_sync(loud.close)
        nursery.cancel_scope.cancel()


def _flood(loud: zeroconf.Zeroconf) -> None:
    for n in range(20):
        text = write_text([f"/ip4/127.0.0.1/tcp/1/p2p/{someone()}"])
        name = f"flood{n}.{SERVICE}"
        info = zeroconf.ServiceInfo(SERVICE, name, port=1, properties=text, server="x.local.")
        # What register_service() does after three seconds of asking whether the name is taken.
        loud.registry.async_add(info)


def test_without_multicast_the_node_runs_and_says_so(daemons: Callable[[], Daemon]) -> None:
    program = """
import trio, zeroconf
from p2pvoice.node.host import open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.lan import Lan
def refuse(*_, **__): raise OSError("no such device")
zeroconf.Zeroconf = refuse
async def main():
    async with open_host(generate(), listen=["/ip4/127.0.0.1/tcp/0"]) as host:
        lan = Lan(host, loopback=True)
        await lan.run()
        print(lan.facts())
trio.run(main)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "mDNS does not work here: no such device" in ended.stdout, ended.stderr
