"""A client of the exchange that outlives its connection, where there is another one to the same peer.

A connection through a relay ends when a direct one stands, or when the relay's limits say so. Neither is the
peer's fault: what was asked and not answered is asked again over the other connection. Not for asking
(exchange.py) nor for whom to ask (fetch.py). Follows specs/reach.md, "Hole punching".
"""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Self

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.exchange_client import Answer, ExchangeClient
from p2pvoice.node.host import P2PHost
from p2pvoice.node.links import RELAYED, kind_of_muxed
from p2pvoice.node.wire import STALL_TIMEOUT
from p2pvoice.protocol.errors import NetworkError, P2PVoiceError, PeerTimeoutError
from p2pvoice.protocol.exchange_messages import EXCHANGE
from p2pvoice.protocol.ids import Digest

CLOSED_SECONDS = 1.0
"""Seconds for the end of a connection to show, when a stream of it ended."""

MOVE_SECONDS = 10.0
"""Seconds to have a stream over another connection."""

log = logging.getLogger(__name__)


class MovingClient(ExchangeClient):
    """An exchange client that moves on. It moves again only when an answer came since the last time."""

    _host: P2PHost
    _info: PeerInfo

    @classmethod
    async def open(cls, host: P2PHost, peer: PeerInfo, *, stall: float = STALL_TIMEOUT) -> Self:
        """Reach the peer and open the stream; raises as :meth:`P2PHost.open_stream` does."""
        client: Any = await super().open(host, peer, stall=stall)
        client._host, client._info = host, peer
        client._unanswered = deque()
        client._may_move = True
        moving: Self = client
        return moving

    _unanswered: deque[tuple[tuple[Any, ...], dict[str, Any]]]
    _may_move: bool

    async def want(self, *words: Any, **named: Any) -> None:
        """As :meth:`ExchangeClient.want`."""
        self._unanswered.append((words, named))
        try:
            await super().want(*words, **named)
        except PeerTimeoutError:
            raise
        except NetworkError as error:
            await self._move(error)

    async def chunk(self, index: int, size: int, bases: Sequence[Digest] = ()) -> Answer | None:
        """As :meth:`ExchangeClient.chunk`."""
        while True:
            try:
                answer = await super().chunk(index, size, bases)
            except PeerTimeoutError:
                raise
            except NetworkError as error:
                await self._move(error)
                continue
            self._unanswered.popleft()
            self._may_move = True
            return answer

    async def _move(self, error: NetworkError) -> None:
        """Ask what is unanswered again over another connection; raises ``error`` when there is none."""
        muxed: Any = self._channel.stream.muxed_conn
        peer = str(self._info.peer_id)
        relayed = kind_of_muxed(muxed) == RELAYED
        with trio.move_on_after(CLOSED_SECONDS):
            await muxed.event_closed.wait()
        # A peer that refuses, or ends the stream alone, is not to be asked again; nor one that is gone.
        if not self._may_move or not muxed.is_closed or not (relayed or self._host.is_connected(peer)):
            raise error
        self._may_move = False
        self._forget_asked()
        await self._channel.close(reset=True)
        try:
            with trio.fail_after(MOVE_SECONDS):
                self._channel = await self._host.open_stream(self._info, EXCHANGE)
                self._limited = self._host.limits.applies(self._channel)
                for words, named in list(self._unanswered):
                    await super().want(*words, **named)
        except (trio.TooSlowError, P2PVoiceError) as again:
            log.info("no other way to %s: %r", peer, again)
            raise error from again
        log.info("a fetch goes on over another connection", extra={"peer": peer})
