"""IPv6: nodes at ::1 and :: are dialed, told of and met by mDNS. Skipped where the machine has no ::1."""

import ipaddress
import socket
from contextlib import closing
from pathlib import Path

import pytest
import trio

from p2pvoice.node import interfaces
from p2pvoice.node.host import open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.interfaces import machine_addresses, parse_ip, site, spelled_out
from p2pvoice.node.lan import Lan

from .test_relay import until

V6 = ("/ip6/::1/tcp/0",)


def there_is_ipv6() -> bool:
    try:
        with closing(socket.socket(socket.AF_INET6)) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not there_is_ipv6(), reason="no IPv6 here")


async def test_nodes_at_loopback_meet() -> None:
    async with open_host(generate(), listen=V6) as one, open_host(generate(), listen=V6) as two:
        assert one.addresses()[0].startswith("/ip6/::1/tcp/")
        await two.connect(one.addresses()[0])
        rows = {row["id"]: row["link"] for row in two.peers.rows()}
        assert rows[one.id] == "lan"


async def test_a_node_at_every_address_is_dialed_by_both_kinds() -> None:
    async with open_host(generate(), listen=("/ip6/::/tcp/0",)) as one:
        port = one.listening()[0].rpartition("/")[2]
        told = one.addresses()
        assert not any("/::/" in address for address in told)
        here = [address for address in machine_addresses() if not address.is_loopback]
        for address in here:
            assert f"/ip{address.version}/{address}/tcp/{port}/p2p/{one.id}" in told
        for way in ("/ip6/::1", "/ip4/127.0.0.1"):
            async with open_host(generate(), listen=V6) as other:
                await other.connect(f"{way}/tcp/{port}/p2p/{one.id}")
                await until(lambda other=other: other.id in one.connected())
                rows = {row["id"]: row["link"] for row in one.peers.rows()}
                # An IPv4 address in IPv6's dress is of the LAN as well.
                assert rows[other.id] == "lan"


async def test_mdns_tells_of_ipv6() -> None:
    async with (
        open_host(generate(), listen=V6) as one,
        open_host(generate(), listen=V6) as two,
        trio.open_nursery() as nursery,
    ):
        lans = [Lan(host, loopback=True) for host in (one, two)]
        for lan in lans:
            nursery.start_soon(lan.run)
        await until(lambda: all(lan.facts()["connected"] for lan in lans))
        assert one.connected() == [two.id]
        assert lans[0].told == one.addresses()
        nursery.cancel_scope.cancel()


def test_a_system_of_two_families_tells_only_ipv6(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where :: takes IPv6 alone, no IPv4 address is told for it."""
    both = spelled_out(["/ip6/::/tcp/1"])
    assert {address.split("/")[1] for address in both} >= {"ip4"}
    setting = tmp_path / "bindv6only"
    setting.write_text("1\n")
    monkeypatch.setattr(interfaces, "V6ONLY", setting)
    assert {address.split("/")[1] for address in spelled_out(["/ip6/::/tcp/1"])} == {"ip6"}


def test_a_sockets_end_is_what_it_is() -> None:
    assert str(parse_ip("::ffff:192.0.2.1")) == "192.0.2.1"
    assert str(parse_ip("fe80::1%eth0")) == "fe80::1"
    assert parse_ip("nonsense") is None


def test_an_ipv6_site_is_one() -> None:
    one, two, other = (
        ipaddress.ip_address(text) for text in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
    )
    assert site(one) == site(two) != site(other)
    assert site(ipaddress.ip_address("192.0.2.1")) != site(ipaddress.ip_address("192.0.2.2"))
