"""Serving others: catalog queries and chunks; and the client side of one chunk stream.

A client costs at most one chunk of memory a stream, streams are few per peer, and whoever reads too slowly
or asks too much is cut off. Requests are answered in order, so a client may send several ahead: that is
the window of window.py. Nothing is served that the library does not offer. Follows specs/exchange.md.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias, TypeVar, cast, get_args

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.host import P2PHost
from p2pvoice.node.library import Library
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
    GetHead,
    GetRelease,
    GetRevocations,
    GetSuccessor,
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

PAGE_RELEASES = 16
"""Releases in one page of a query's answer, at most."""

BUSY = Fail("busy", "too many streams")
"""What a client hears that finds no free slot."""

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
        self.chunk_bytes = 0

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
            while (want := await self._request(channel, Want)) is not None:
                for index in range(want.first, want.first + want.count):
                    if not await self._send_chunk(channel, want, index):
                        break
                    slot.worked()

    async def _send_chunk(self, channel: Channel, want: Want, index: int) -> bool:
        found = await self._delta(want, index)
        if found is not None:
            base, blob = found
            frame = ChunkFrame(index, DELTA, len(blob), base)
        else:
            raw = await self._read(want.file, index)
            if raw is None:
                await channel.send(encode_message(Fail.of(NotFoundError("not held here"))))
                return False
            codec, blob = "raw", raw
            if "zstd" in want.codecs:
                codec, blob = await trio.to_thread.run_sync(encode_chunk, raw)
            frame = ChunkFrame(index, codec, len(blob))
        await channel.send(encode_message(frame), blob, within=CHUNK_TIMEOUT)
        self.chunk_bytes += len(blob)
        return True

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

    def __init__(self, channel: Channel, stall: float) -> None:
        self._channel = channel
        self._stall = stall

    @classmethod
    async def open(cls, host: P2PHost, peer: PeerInfo, *, stall: float = STALL_TIMEOUT) -> "ExchangeClient":
        """Reach the peer and open the stream; raises as :meth:`P2PHost.open_stream` does."""
        return cls(await host.open_stream(peer, EXCHANGE), stall)

    async def __aenter__(self) -> "ExchangeClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.__aexit__(kind, error, trace)

    async def want(self, file: bytes, index: int, bases: Sequence[Digest] = ()) -> None:
        """Ask for one chunk, if possible as a delta to one of ``bases``; :meth:`chunk` reads the answer."""
        codecs = CODECS if bases else PLAIN_CODECS
        await self._channel.send(
            encode_message(Want(file, index, 1, codecs, tuple(bases))), within=self._stall
        )

    async def chunk(self, index: int, size: int, bases: Sequence[Digest] = ()) -> Answer | None:
        """The next answer, unverified, or ``None`` when the peer does not have it.

        ``bases`` are those that the want named. Raises :class:`PeerBusy` when the peer has no place
        for us, :class:`ManifestError` when it answers something else than was asked,
        :class:`PeerTimeoutError` when it stalls or is too slow, :class:`NetworkError` when it leaves.
        """
        try:
            with trio.fail_after(CHUNK_TIMEOUT):
                frame = await self._channel.receive(message_limit(ChunkFrame, Fail), stall=self._stall)
                if frame is None:
                    raise NetworkError(f"peer {self._channel.peer} ended the stream")
                answer = cast("ChunkFrame | Fail", decode_message(frame, ChunkFrame, Fail))
                if isinstance(answer, Fail):
                    if answer.code == NotFoundError.code:
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
                return Answer(answer.codec, blob, base)
        except trio.TooSlowError as error:
            raise PeerTimeoutError(f"peer {self._channel.peer} is too slow") from error
