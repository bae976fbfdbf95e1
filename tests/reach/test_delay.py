"""A voice over a link of 80 ms and 1 % loss, by either wire: `python tests/reach/delay.py`."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..node.nodes import Daemon, bring, eventually, install_encoder, large_gpt, publish
from .link import DELAY, LOSS, MTU, slow_link
from .placed import start
from .spaces import Spaces, missing, spaces

pytestmark = pytest.mark.netns

NEAR, FAR = "11.0.0.1", "11.0.0.2"
FEED = 24_000
"""Makes a voice of about 8 MB."""

CONNECT = """
import socket, sys, time
took = []
for _ in range(9):
    began = time.monotonic()
    try:
        socket.create_connection((sys.argv[1], 4001), 5).close()
    except OSError:
        continue  # the packet was one of those that are dropped
    took.append(time.monotonic() - began)
print(min(took))
"""


@contextlib.contextmanager
def two_ends(loss: float) -> Iterator[Spaces]:
    """Two namespaces, ``near`` and ``far``, and a slow link between them."""
    with spaces(["near", "far"]) as net:
        ends = ((net.space("near"), "out"), (net.space("far"), "out"))
        with slow_link(*ends, seed=7, loss=loss):
            for name, own, other in (("near", NEAR, FAR), ("far", FAR, NEAR)):
                net.inside(name, "ip", "address", "add", f"{own}/32", "peer", other, "dev", "out")
                net.inside(name, "ip", "link", "set", "out", "up", "mtu", str(MTU))
            yield net


def congestion(net: Spaces) -> str:
    """How TCP answers loss here: with cubic 1 % costs far more than with bbr."""
    command = [*net.prefix("near"), "sysctl", "-n", "net.ipv4.tcp_congestion_control"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


@pytest.mark.parametrize("loss", [LOSS, 0.0], ids=["loss", "clean"])
def test_a_voice_over_a_slow_link(
    loss: float, daemons: Callable[[], Daemon], encoder: Path, clip: Path, tmp_path: Path
) -> None:
    if reason := missing():
        pytest.skip(reason)
    gpt = large_gpt(tmp_path / "gpt.ckpt", feed=FEED, seed=1)
    with two_ends(loss) as net:
        lines = []
        for wire in ("stock", "own"):
            settings = f'[network]\nwire = "{wire}"\nmdns = false\n'
            near = start(daemons(), net, "near", "--listen", f"/ip4/{NEAR}/tcp/4001", settings=settings)
            install_encoder(near, encoder)
            bring(near, clip, gpt=gpt)
            release = publish(near)["release"]
            far = start(
                daemons(),
                net,
                "far",
                *("--listen", f"/ip4/{FAR}/tcp/4001", "--bootstrap", near.addresses[0]),
                settings=settings,
            )
            measured = [*net.prefix("far"), sys.executable, "-c", CONNECT, NEAR]
            trip = float(subprocess.run(measured, capture_output=True, text=True, check=True).stdout)
            # No packet is early; how late a loaded machine makes it is not ours to say.
            assert trip >= 2 * DELAY
            eventually(lambda far=far, release=release: release in str(list(far.client.find(tags=["yue"]))))
            *_, result = far.client.fetch(release)
            assert result["bytes_fetched"] == result["bytes_total"] > 2 * 128 * FEED
            size, took = result["bytes_fetched"] / 1e6, result["transfer_seconds"]
            lines.append(
                f"wire {wire:5}  round trip {1000 * trip:.0f} ms, loss {loss:.0%}, {congestion(net)}: "
                f"{size:.1f} MB in {took:.1f} s, {size / took:.2f} MB/s"
            )
            for daemon in (far, near):
                assert daemon.end() == 0
        print("\n" + "\n".join(lines))
