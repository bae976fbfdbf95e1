"""libp2p's own host as this network wants it: what it speaks, how much it holds, how it ends.

TCP, Noise and Yamux only; plaintext and the other stock options are never offered. Not for what a node does
with it: see host.py. Follows specs/network.md, "Connections".
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import trio
from libp2p import new_host
from libp2p.abc import IHost
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node import ends, unbounded
from p2pvoice.node.config import DEFAULT_WIRE, Wire
from p2pvoice.node.transport.muxer import OurMuxer
from p2pvoice.node.transport.noise import OurNoise
from p2pvoice.node.wire import Noise

MAX_CONNECTIONS = 256
"""Connections in all; about 80 KB each."""

CLOSE_TIMEOUT = 5.0
"""Seconds for closing connections and listeners at the end."""


Announce = Callable[[list[Multiaddr]], list[Multiaddr]]


def make_host(
    peer_seed: bytes,
    listening: Sequence[Multiaddr],
    announce: Announce | None = None,
    wire: Wire = DEFAULT_WIRE,
) -> IHost:
    """A host of the peer key with this seed, which does not run yet.

    ``announce`` makes of libp2p's addresses, which end in our peer id, those that others are told. (libp2p
    has a place for such a function, and cuts what it returns off at the first peer id, which for a relayed
    address is the relay's.)

    Raises ``BugError`` when libp2p is not the one this code was written for.
    """
    unbounded.install()
    ends.install()
    keys = create_new_key_pair(peer_seed)
    host = new_host(
        keys,
        listen_addrs=listening,
        sec_opt={NOISE: OurNoise(keys) if wire == "own" else Noise(keys)},
        muxer_opt={TProtocol(YAMUX): Yamux},
        negotiate_timeout=10,
        connection_config=ConnectionConfig(
            max_connections=MAX_CONNECTIONS,
            high_watermark=MAX_CONNECTIONS,
            min_connections=0,
            low_watermark=0,
            max_connections_per_peer=1,
            enable_health_monitoring=True,
            abort_connection_on_ping_failure=True,
            health_check_interval=15,
            health_initial_delay=5,
            ping_timeout=15,
        ),
    )
    if announce is not None:
        own, stock, change = cast(Any, host), host.get_addrs, announce
        own.get_addrs = lambda: change(stock())
    network: Any = host.get_network()
    if wire == "own":
        # libp2p's own ignores the class in muxer_opt and names its Yamux.
        network.upgrader.muxer_multistream = OurMuxer({TProtocol(YAMUX): Yamux}, negotiate_timeout=10)
    network.retry_config = RetryConfig(max_retries=0)
    # With any settings libp2p dials whoever it heard of until half of the connection limit is used.
    network.auto_connector.maybe_connect = _dial_nobody
    return host


async def _dial_nobody() -> None:
    """Stands in for libp2p's auto-connector: the DHT and this node know whom they need."""


async def say_goodbye(host: IHost) -> None:
    """Close all connections at once, then the listeners, even when the node is being cancelled.

    libp2p's own way takes 0.1 s a connection, one after the other, and leaves a listener accepting.
    """
    with trio.move_on_after(CLOSE_TIMEOUT) as scope:
        scope.shield = True
        async with trio.open_nursery() as nursery:
            for peer in list(host.get_connected_peers()):
                nursery.start_soon(host.disconnect, peer)
        await host.close()
