"""The switch: which kind a node runs is its own affair, and nodes of both kinds understand each other."""

from pathlib import Path
from typing import Any

import pytest
import trio
from libp2p.stream_muxer.yamux.yamux import Yamux

from p2pvoice.node.config import DEFAULT_WIRE, Wire, load_config
from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.paths import Home
from p2pvoice.node.transport.yamux import YamuxConnection
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.errors import UsageError

LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]
ECHO = "/p2pvoice/test-echo/1.0.0"


async def echo(channel: Channel) -> None:
    while (frame := await channel.receive(2_000_000)) is not None:
        await channel.send(frame)


def kind(host: P2PHost) -> type:
    (connection,) = host.host.get_network().get_connections()
    muxed: Any = connection.muxed_conn
    return type(muxed)


@pytest.mark.parametrize(
    ("one", "other"), [("own", "stock"), ("stock", "own"), ("own", "own"), ("stock", "stock")]
)
async def test_nodes_of_both_kinds(one: Wire, other: Wire) -> None:
    with trio.fail_after(30):
        async with open_host(generate(), listen=LOOPBACK, wire=one) as a:
            async with open_host(generate(), listen=LOOPBACK, wire=other) as b:
                a.serve(ECHO, echo)
                await b.connect(a.addresses()[0])
                async with await b.open_stream(a.id, ECHO) as channel:
                    for size in (1, 65_507, 1_000_000):
                        await channel.send(b"x" * size)
                        assert await channel.receive(2_000_000) == b"x" * size
                    await channel.finish_sending()
                    assert await channel.receive(10) is None
                assert kind(b) is (YamuxConnection if other == "own" else Yamux)
            while a.connected():
                await trio.lowlevel.checkpoint()


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.at(str(tmp_path))
    home.prepare()
    for said, meant in ((None, DEFAULT_WIRE), ("stock", "stock"), ("own", "own"), ("fast", DEFAULT_WIRE)):
        if said is None:
            monkeypatch.delenv("P2PVOICE_WIRE", raising=False)
        else:
            monkeypatch.setenv("P2PVOICE_WIRE", said)
        assert load_config(home).network.wire == meant
    for written in ("stock", "own"):
        home.config.write_text(f'[network]\nwire = "{written}"\n')
        assert load_config(home).network.wire == written
    home.config.write_text('[network]\nwire = "fast"\n')
    with pytest.raises(UsageError, match="wire"):
        load_config(home)
