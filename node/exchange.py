"""Serving others: catalog queries and chunks; and the client side of one chunk stream.

A client costs at most one chunk of memory a stream, streams are few per peer, and whoever reads too slowly
or asks too much is cut off. Requests are answered in order, so a client may send several ahead: that is
the window of window.py. Nothing is served that the library does not offer. Follows specs/exchange.md.
"""

import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias, TypeVar, cast, get_args

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.host import P2PHost
from p2pvoice.node.library import Library
from p2pvoice.node.packing import Pace, Packing
from p2pvoice.node.ratelimit import Limits
from p2pvoice.node.slots import Slots
from p2pvoice.node.wire import STALL_TIMEOUT, Channel
from p2pvoice.protocol.codec import DELTA, encode_chunk
from p2pvoice.protocol.collection_messages import CollectionReply, GetCollection
from p2pvoice.protocol.errors import (
    ManifestError,
    NetworkError,
    NotFoundError,
    P2PVoiceError,
    PeerTimeoutError,
    ProtocolMismatchError,
    RefusedError,
)
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.messages import (
    CATALOG,
    CODECS,
    EXCHANGE,
    PAGE_LIMIT,
    PLAIN_CODECS,
    REQUEST_LIMIT,
    ChunkFrame,
    Fail,
    GetHave,
    GetHead,
    GetRelease,
    GetRevocations,
    GetSuccessor,
    Have,
    HeadReply,
    Message,
    Query,
    QueryPage,
    ReleaseReply,
    Revocations,
    SuccessorReply,
    TellRevocation,
    Want,
    decode_message,
    encode_message,
    message_limit,
)

IDLE_TIMEOUT = 60.0
"""Seconds a client may keep a stream without asking for anything, while nobody else wants its place."""

CHUNK_TIMEOUT = 60.0
"""Seconds one chunk may take to pass; slower peers (under 17 KiB/s) are cut off."""

REQUESTS_PER_STREAM = 512
"""Catalog requests on one stream; a client that wants more opens another."""

WANTS_HELD = 64
"""Wants that are kept back until an answer is waited for, at most."""

PAGE_RELEASES = 16
"""Releases in one page of a query's answer, at most."""

BUSY = Fail("busy", "too many streams")
"""What a client hears that finds no free slot."""

NOT_HELD = Fail.of(NotFoundError("not held here"))
"""What a client hears that asks for what is not offered."""

CatalogRequest: TypeAlias = (
    Query | GetRelease | GetHead | GetRevocations | TellRevocation | GetSuccessor | GetCollection
)
"""What may be asked on a catalog stream."""

CATALOG_REQUESTS = get_args(CatalogRequest)

class PeerBusy(Exception):
    """The peer has no free place just now: no fault of it, and worth asking again."""


_Request = TypeVar("_Request", bound=Message)

log = logging.getLogger(__name__)


class ExchangeServer:
    """Answers catalog and exchange streams out of a library, from :meth:`attach` on."""

    def __init__(self, host: P2PHost, library: Library, *, idle: float = IDLE_TIMEOUT) -> None:
        self._host = host
        self._library = library
        self._idle = idle
        self._catalog_slots = Slots()
        self._exchange_slots = Slots()
        self._packing = Packing()
        self.chunk_bytes = 0
        #: Digest of each file that peers had chunks of -> when last, in trio's time.
        self.served_at: dict[bytes, float] = {}

    def attach(self) -> None:
        """Begin to serve."""
        self._host.serve(CATALOG, self._catalog)
        self._host.serve(EXCHANGE, self._exchange)

    async def _catalog(self, channel: Channel) -> None:
        with self._catalog_slots.hold(channel.peer) as slot:
            if not slot.free:
                await channel.send(encode_message(BUSY))
                return
            for _ in range(REQUESTS_PER_STREAM):
                request = cast("CatalogRequest | None", await self._request(channel, *CATALOG_REQUESTS))
                if request is None:
                    return
                slot.worked()
                answer: Message
                try:
                    answer = await self._answer(request)
                except P2PVoiceError as error:
                    answer = Fail.of(error)
                await channel.send(encode_message(answer))

    async def _request(self, channel: Channel, *kinds: type[_Request]) -> _Request | None:
        """The next request, or ``None`` at the end, after silence, or after one that makes no sense."""
        try:
            frame = await channel.receive(REQUEST_LIMIT, stall=self._idle)
            return None if frame is None else decode_message(frame, *kinds)
        except PeerTimeoutError:
            return None
        except (RefusedError, ProtocolMismatchError) as error:
            await channel.send(encode_message(Fail.of(error)))
            return None

    async def _answer(
        self, request: CatalogRequest
    ) -> QueryPage | ReleaseReply | HeadReply | Revocations | SuccessorReply | CollectionReply:
        match request:
            case Query():
                return await self._page(request)
            case GetRelease():
                found = await self._library.get_release(request.id)
                if found is not None:
                    return ReleaseReply(found)
            case GetHead():
                found = await self._library.get_head(request.author, request.slug)
                if found is not None:
                    return HeadReply(found)
            case GetRevocations(releases, author, slug, proofs):
                known = await self._library.get_revocations(releases, author, slug, proofs=proofs)
                return Revocations(*known)
            case TellRevocation(record):
                await self._library.hear(record)
                return Revocations()
            case GetSuccessor():
                found = await self._library.get_successor(request.author)
                if found is not None:
                    return SuccessorReply(found)
            case GetCollection():
                found = await self._library.get_collection(request.author, request.slug)
                if found is not None:
                    return CollectionReply(found)
        raise NotFoundError("not held here")

    async def _page(self, query: Query) -> QueryPage:
        """One page of an answer, with fewer releases when they are too large together."""
        limit = min(query.limit, PAGE_RELEASES)
        while True:
            page = await self._library.query(query.tags, limit, query.cursor)
            if sum(map(len, page.releases)) + sum(map(len, page.heads)) <= PAGE_LIMIT or limit == 1:
                return QueryPage(
                    page.releases, page.heads, page.next, page.revocations, page.shelf, page.partial
                )
            limit //= 2

    async def _exchange(self, channel: Channel) -> None:
        with self._exchange_slots.hold(channel.peer) as slot:
            if not slot.free:
                await channel.send(encode_message(BUSY))
                return
            pace = Pace()
            with ExitStack() as held:
                placed = False
                while True:
                    request = cast("Want | GetHave | None", await self._request(channel, Want, GetHave))
                    if request is None:
                        return
                    if isinstance(request, GetHave):
                        await self._send_have(channel, request.file)
                        slot.worked()
                        continue
                    if not placed:
                        placed = held.enter_context(self._host.limits.serving(channel))
                    if not placed:
                        await channel.send(encode_message(BUSY))
                        return
                    for index in range(request.first, request.first + request.count):
                        if not await self._send_chunk(channel, request, index, pace):
                            break
                        slot.worked()
                        self.served_at[request.file] = trio.current_time()

    async def _send_have(self, channel: Channel, file: Digest) -> None:
        answer: Message
        try:
            held = await self._library.get_have(file)
            answer = NOT_HELD if held is None else Have(held.count, held.to_bytes())
        except P2PVoiceError as error:
            log.warning("could not tell what is here of %s: %s", file.hex()[:12], error.message)
            answer = NOT_HELD
        await channel.send(encode_message(answer))

    async def _send_chunk(self, channel: Channel, want: Want, index: int, pace: Pace) -> bool:
        found = await self._delta(want, index)
        if found is not None:
            base, blob = found
            frame = ChunkFrame(index, DELTA, len(blob), base)
        else:
            raw = await self._read(want.file, index)
            if raw is None:
                await channel.send(encode_message(NOT_HELD))
                return False
            codec, blob = "raw", raw
            if "zstd" in want.codecs and self._packing.worth(want.file, pace.seconds_a_byte):
                codec, blob = await self._pack(want.file, raw)
            frame = ChunkFrame(index, codec, len(blob))
        began = trio.current_time()
        await self._host.limits.send(channel, encode_message(frame), blob, within=CHUNK_TIMEOUT)
        pace.note(len(blob), trio.current_time() - began)
        self.chunk_bytes += len(blob)
        return True

    async def _pack(self, file: Digest, raw: bytes) -> tuple[str, bytes]:
        def work() -> tuple[str, bytes, float]:
            began = time.perf_counter()
            codec, blob = encode_chunk(raw)
            return codec, blob, time.perf_counter() - began

        codec, blob, seconds = await trio.to_thread.run_sync(work)
        self._packing.note(file, len(raw), len(blob), seconds)
        return codec, blob

    async def _read(self, file: Digest, index: int) -> bytes | None:
        try:
            return await self._library.read_chunk(file, index)
        except P2PVoiceError as error:
            log.warning("could not read chunk %d of %s: %s", index, file.hex()[:12], error.message)
            return None

    async def _delta(self, want: Want, index: int) -> tuple[int, bytes] | None:
        if DELTA not in want.codecs or not want.bases:
            return None
        try:
            return await self._library.read_delta(want.file, index, want.bases)
        except P2PVoiceError as error:
            # The chunk itself can be sent; a base that cannot be read is no reason to fail.
            log.warning("no delta of chunk %d of %s: %s", index, want.file.hex()[:12], error.message)
            return None


@dataclass(frozen=True)
class Answer:
    """A chunk as it came, unverified: its codec, its encoded bytes, and the base of a delta."""

    codec: str
    blob: bytes
    base: Digest | None = None


class ExchangeClient:
    """One stream on which chunks are asked of a peer. Answers come in the order of the wants."""

    def __init__(self, channel: Channel, stall: float, limits: Limits) -> None:
        self._channel = channel
        self._stall = stall
        self._wants: list[bytes] = []
        self._down = limits.down
        self._limited = limits.applies(channel)
        #: Bytes that were taken from the limit for each want that is not answered yet.
        self._taken: deque[int] = deque()

    @classmethod
    async def open(cls, host: P2PHost, peer: PeerInfo, *, stall: float = STALL_TIMEOUT) -> Self:
        """Reach the peer and open the stream; raises as :meth:`P2PHost.open_stream` does."""
        return cls(await host.open_stream(peer, EXCHANGE), stall, host.limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget_asked()
        await self._channel.__aexit__(kind, error, trace)

    def may_ask(self) -> bool:
        """Whether the limit on receiving lets one more chunk be asked for now."""
        return not self._limited or self._down.ready()

    async def turn(self) -> None:
        """Wait until it does, after everybody who waits already. Not while answers are on their way."""
        if self._limited:
            await self._down.turn()

    def _forget_asked(self) -> None:
        """Nothing of what was asked is awaited any more: what it took from the limit goes back."""
        self._wants.clear()
        while self._taken:
            self._settle(0)

    def _settle(self, size: int) -> None:
        """Account for the answer to the oldest want, of ``size`` bytes; what was taken beyond goes back."""
        taken = self._taken.popleft() if self._taken else 0
        self._down.note(size)
        if taken > size:
            self._down.give_back(taken - size)

    async def want(self, file: bytes, index: int, bases: Sequence[Digest] = (), size: int = 0) -> None:
        """Ask for one chunk, if possible as a delta to one of ``bases``; :meth:`chunk` reads the answer.

        What is asked leaves when an answer is waited for, so that several wants make one message below.
        ``size`` are the chunk's bytes, which the limit on receiving counts from now on.
        """
        self._taken.append(size if self._limited else 0)
        if self._limited:
            self._down.spend(size)
        codecs = CODECS if bases else PLAIN_CODECS
        self._wants.append(encode_message(Want(file, index, 1, codecs, tuple(bases))))
        if len(self._wants) > WANTS_HELD:
            await self._ask()

    async def _ask(self) -> None:
        wants, self._wants = self._wants, []
        if wants:
            await self._channel.send_frames(wants, within=self._stall)

    async def chunk(self, index: int, size: int, bases: Sequence[Digest] = ()) -> Answer | None:
        """The next answer, unverified, or ``None`` when the peer does not have it.

        ``bases`` are those that the want named. Raises :class:`PeerBusy` when the peer has no place
        for us, :class:`ManifestError` when it answers something else than was asked,
        :class:`PeerTimeoutError` when it stalls or is too slow, :class:`NetworkError` when it leaves.
        """
        try:
            with trio.fail_after(CHUNK_TIMEOUT):
                await self._ask()
                frame = await self._channel.receive(message_limit(ChunkFrame, Fail), stall=self._stall)
                if frame is None:
                    raise NetworkError(f"peer {self._channel.peer} ended the stream")
                answer = cast("ChunkFrame | Fail", decode_message(frame, ChunkFrame, Fail))
                if isinstance(answer, Fail):
                    if answer.code == NotFoundError.code:
                        self._settle(0)
                        return None
                    if answer.code == BUSY.code:
                        raise PeerBusy(f"peer {self._channel.peer}: {answer.error().message}")
                    raise NetworkError(f"peer {self._channel.peer} refused: {answer.error().message}")
                # An honest encoding is never longer than the chunk itself.
                if answer.index != index or answer.size > size:
                    raise ManifestError(f"peer {self._channel.peer} answered something that was not asked")
                base = None
                if answer.codec == DELTA:
                    if answer.base >= len(bases):
                        raise ManifestError(f"peer {self._channel.peer} sent a delta to a base not named")
                    base = bases[answer.base]
                blob = await self._channel.receive_exactly(answer.size, stall=self._stall)
                self._settle(len(blob))
                return Answer(answer.codec, blob, base)
        except trio.TooSlowError as error:
            raise PeerTimeoutError(f"peer {self._channel.peer} is too slow") from error
