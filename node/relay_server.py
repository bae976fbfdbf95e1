"""Being a relay: reservations, circuits between two peers, and what each may cost.

A relay sees sizes and times and no content: Noise runs between the two ends. libp2p's own server is not used;
specs/reach.md says why. Not for using a relay (relay_client.py). Follows specs/reach.md, "Relay".
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.abc import IHost, INetStream
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, Limit, Reservation, StopMessage
from libp2p.relay.circuit_v2.pb.circuit_pb2 import PeerId as PeerMessage

from p2pvoice.node.dialing import Dialer
from p2pvoice.node.interfaces import parse_ip, site
from p2pvoice.node.links import RELAYED, kind_of_muxed
from p2pvoice.node.peers import PeerBook
from p2pvoice.node.relay_wire import (
    DENIED,
    FAILED,
    HOP,
    LIMIT_EXCEEDED,
    MALFORMED,
    MESSAGE_TIMEOUT,
    NO_RESERVATION,
    OK,
    REFUSED,
    STOP,
    read_message,
    reset,
    write_message,
)
from p2pvoice.node.voucher import write_voucher
from p2pvoice.node.wire import READ_SIZE, STREAM_ERRORS, WRITE_BUDGET
from p2pvoice.protocol.errors import ManifestError, P2PVoiceError

RESERVATION_SECONDS = 3600
"""Seconds a reservation holds; a client renews it at half time."""

PER_HOST = 8
"""Reservations that one IP address may have."""

CIRCUITS = 64
"""Circuits at the same time, of all peers."""

PER_PEER = 8
"""Circuits at the same time that one peer may have, at either end."""

IDLE_SECONDS = 60.0
"""Seconds without a byte either way after which a circuit ends; both ends ping each other every 15 s."""

PEER_ID_LIMIT = 64
"""Bytes of a peer id."""

log = logging.getLogger("p2pvoice.relay")


@dataclass(frozen=True)
class RelayLimits:
    """What a relay gives: places, and of one circuit the bytes (both ways together) and seconds."""

    reservations: int = 64
    bytes: int = 1 << 30
    seconds: int = 3600


class RelayServer:
    """The relay on one host."""

    def __init__(self, host: IHost, dialer: Dialer, book: PeerBook, limits: RelayLimits) -> None:
        self._host = host
        self._dialer = dialer
        self._book = book
        self._limits = limits
        #: Who may be called through us -> until when (seconds since 1970), and the IP address they came from.
        self._reserved: dict[ID, tuple[float, str]] = {}
        self._circuits: Counter[ID] = Counter()
        self.relayed = 0
        """Bytes passed on since the start."""

    def attach(self) -> None:
        """Serve; until then nobody is told that this is a relay."""
        self._host.set_stream_handler(HOP, self._serve)

    def facts(self) -> dict[str, int]:
        """What ``status`` shows."""
        self._forget()
        return {
            "reservations": len(self._reserved),
            "circuits": self._circuits.total() // 2,
            "bytes": self.relayed,
        }

    async def _serve(self, stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        try:
            if self._book.is_shunned(str(peer)) or kind_of_muxed(stream.muxed_conn) == RELAYED:
                await self._answer(stream, DENIED)
                return
            message = await read_message(stream, HopMessage)
            if message.type == HopMessage.RESERVE:
                await self._reserve(stream, peer)
            elif message.type == HopMessage.CONNECT and 0 < len(message.peer.id) <= PEER_ID_LIMIT:
                await self._connect(stream, peer, ID(message.peer.id))
            else:
                await self._answer(stream, MALFORMED)
        except ManifestError:
            await self._answer(stream, MALFORMED)
        except P2PVoiceError as error:
            log.debug("a relay stream of %s ended: %s", peer, error)
        except STREAM_ERRORS as error:
            log.debug("a relay stream of %s ended: %r", peer, error)
        finally:
            await reset(stream)

    async def _answer(self, stream: INetStream, status: int, message: HopMessage | None = None) -> None:
        answer = message or HopMessage()
        answer.type, answer.status = HopMessage.STATUS, status  # type: ignore[assignment]
        try:
            await write_message(stream, answer)
            stream_: Any = stream
            await stream_.close()
            # The reset that follows would overtake what was written; the reader closes, or the time is up.
            with trio.move_on_after(MESSAGE_TIMEOUT):
                while await stream.read(READ_SIZE):
                    pass
        except (P2PVoiceError, *STREAM_ERRORS) as error:
            log.debug("a relay answer was not taken: %r", error)

    def _forget(self) -> None:
        now = time.time()
        for peer, (until, _) in list(self._reserved.items()):
            if until < now or not self._dialer.live(peer):
                del self._reserved[peer]

    async def _reserve(self, stream: INetStream, peer: ID) -> None:
        self._forget()
        muxed: Any = stream.muxed_conn
        end = muxed.get_remote_address()
        ip = parse_ip(end[0]) if end else None
        address = site(ip) if ip is not None else ""
        others = [at for name, (_, at) in self._reserved.items() if name != peer]
        if len(others) >= self._limits.reservations or others.count(address) >= PER_HOST:
            await self._answer(stream, REFUSED)
            return
        until = int(time.time()) + RESERVATION_SECONDS
        self._reserved[peer] = until, address
        ours = [a.to_bytes() for a in self._host.get_addrs() if "/p2p-circuit" not in str(a)]
        voucher = write_voucher(self._host.get_private_key(), peer, until)
        given = Reservation(expire=until, addrs=ours, voucher=voucher)
        await self._answer(stream, OK, HopMessage(reservation=given, limit=self._limit()))

    def _count(self, size: int) -> None:
        self.relayed += size

    def _limit(self) -> Limit:
        return Limit(duration=self._limits.seconds, data=self._limits.bytes)

    async def _connect(self, stream: INetStream, caller: ID, called: ID) -> None:
        self._forget()
        if called not in self._reserved:
            await self._answer(stream, NO_RESERVATION)
            return
        ends = (caller, called)
        if self._circuits.total() >= 2 * CIRCUITS or max(self._circuits[one] for one in ends) >= PER_PEER:
            await self._answer(stream, LIMIT_EXCEEDED)
            return
        self._circuits.update(ends)
        far: INetStream | None = None
        try:
            try:
                with trio.fail_after(MESSAGE_TIMEOUT):
                    far = await self._host.new_stream(called, [STOP])
                hello = StopMessage(
                    type=StopMessage.CONNECT, peer=PeerMessage(id=caller.to_bytes()), limit=self._limit()
                )
                await write_message(far, hello)
                status = (await read_message(far, StopMessage)).status
            except (trio.TooSlowError, P2PVoiceError, *STREAM_ERRORS) as error:
                log.debug("%s was not reached for %s: %r", called, caller, error)
                await self._answer(stream, FAILED)
                return
            if status != OK:
                await self._answer(stream, FAILED)
                return
            answer = HopMessage(type=HopMessage.STATUS, status=OK, limit=self._limit())  # type: ignore[arg-type]
            await write_message(stream, answer)
            await splice(stream, far, self._limits, self._count)
        finally:
            self._circuits.subtract(ends)
            self._circuits += Counter()
            await reset(far)


async def splice(
    one: INetStream, other: INetStream, limits: RelayLimits, count: Callable[[int], None]
) -> None:
    """Pass bytes both ways until either end closes or a limit is reached; ``count`` hears of each piece.

    The connection above is Noise, for which half an end is none, so both directions end together.
    """
    left = limits.bytes
    heard = trio.current_time()

    async def pass_on(source: INetStream, target: INetStream, done: trio.CancelScope) -> None:
        nonlocal left, heard
        try:
            while data := await source.read(READ_SIZE):
                heard = trio.current_time()
                if len(data) > left:
                    break
                left -= len(data)
                with trio.fail_after(WRITE_BUDGET):
                    await target.write(data)
                count(len(data))
        except (trio.TooSlowError, *STREAM_ERRORS) as error:
            log.debug("a circuit ended: %r", error)
        done.cancel()

    async def watch(done: trio.CancelScope) -> None:
        while (rest := heard + IDLE_SECONDS - trio.current_time()) > 0:  # noqa: ASYNC110 - it only grows
            await trio.sleep(rest)
        done.cancel()

    with trio.move_on_after(limits.seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pass_on, one, other, nursery.cancel_scope)
            nursery.start_soon(pass_on, other, one, nursery.cancel_scope)
            nursery.start_soon(watch, nursery.cancel_scope)
