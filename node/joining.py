"""Joining: dialing a bootstrap peer until it answers, finding a place in the DHT, and not losing it.

Not for how one dial goes: see dialing.py. Follows specs/network.md, "Connections".
"""

import logging
import random
from collections.abc import Awaitable, Callable

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.addresses import parse_peer
from p2pvoice.node.dialing import Dialer
from p2pvoice.node.kad import Kad
from p2pvoice.node.peers import PeerBook
from p2pvoice.protocol.errors import NetworkError, UsageError

BOOTSTRAP_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds between attempts to reach a bootstrap peer; the last one repeats. Each is jittered by 20 %."""

BOOTSTRAP_CHECK = 30.0
"""Seconds between looks whether a bootstrap peer is still connected."""

REJOIN_PEERS = 8
"""Peers of the book that are dialed at the start."""

REJOIN_WIDTH = 4
"""How many of them at the same time."""

log = logging.getLogger(__name__)


async def keep_bootstrapped(
    address: str,
    dialer: Dialer,
    connect: Callable[[str], Awaitable[str]],
    kad: Kad,
    joined: trio.Event,
) -> None:
    """Dial a bootstrap peer until it answers, and again whenever it is lost. Runs until cancelled.

    ``joined`` is set once the peer was reached and the neighbourhood in the DHT was looked up.
    """
    attempt = 0
    peer = parse_peer(address).peer_id
    while True:
        if not dialer.live(peer):
            try:
                await connect(address)
            except NetworkError as error:
                pause = BOOTSTRAP_PAUSES[min(attempt, len(BOOTSTRAP_PAUSES) - 1)]
                attempt += 1
                log.info("bootstrap peer %s: %s; again in %g s", peer, error.message, pause)
                await trio.sleep(pause * random.uniform(0.8, 1.2))
                continue
            attempt = 0
            # The first query tells our addresses, and only the second puts us into the others' tables.
            await kad.refresh()
            await kad.refresh()
            joined.set()
        await trio.sleep(BOOTSTRAP_CHECK * random.uniform(0.8, 1.2))


async def rejoin(
    book: PeerBook, reach: Callable[[PeerInfo], Awaitable[None]], kad: Kad, joined: trio.Event
) -> None:
    """Dial the best peers of the book once, so that a node comes back without a bootstrap peer."""
    limiter = trio.CapacityLimiter(REJOIN_WIDTH)
    reached = 0

    async def dial(info: PeerInfo) -> None:
        nonlocal reached
        async with limiter:
            try:
                await reach(info)
            except NetworkError as error:
                log.info("peer %s of the book: %s", info.peer_id, error.message)
            else:
                reached += 1

    async with trio.open_nursery() as nursery:
        for entry in book.worth_dialing(REJOIN_PEERS):
            try:
                found = [parse_peer(f"{address}/p2p/{entry.id}") for address in entry.addresses]
            except UsageError:
                continue
            nursery.start_soon(dial, PeerInfo(found[0].peer_id, [a for one in found for a in one.addrs]))
    if reached and not joined.is_set():
        await kad.refresh()
        await kad.refresh()
        joined.set()
