"""Serving others: catalog queries and chunks.

A client costs at most one chunk of memory a stream, streams are few per peer, and whoever reads too slowly
or asks too much is cut off. Requests are answered in order, so a client may send several ahead: that is
the window of window.py. Nothing is served that the library does not offer. Follows specs/exchange.md.
"""

import logging
import time
from contextlib import ExitStack
from typing import TypeAlias, cast, get_args

import trio

from p2pvoice.node.host import P2PHost
from p2pvoice.node.library import Library
from p2pvoice.node.packing import Outflow, Packing
from p2pvoice.node.slots import Slots
from p2pvoice.node.turns import BUSY, IDLE_TIMEOUT, Turns, next_request
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.catalog_messages import (
    CATALOG,
    KNOWN_SIZE,
    PAGE_LIMIT,
    GetHead,
    GetRelease,
    HeadReply,
    Query,
    QueryPage,
    ReleaseReply,
)
from p2pvoice.protocol.codec import DELTA, encode_chunk
from p2pvoice.protocol.collection_messages import CollectionReply, GetCollection
from p2pvoice.protocol.errors import NotFoundError, P2PVoiceError
from p2pvoice.protocol.exchange_messages import EXCHANGE, ChunkFrame, GetHave, Have, Want
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.messages import Fail, Wire, encode_message
from p2pvoice.protocol.recall_messages import (
    GetRevocations,
    GetSuccessor,
    Revocations,
    SuccessorReply,
    TellRevocation,
)

CHUNK_TIMEOUT = 60.0
"""Seconds one chunk may take to pass; slower peers (under 17 KiB/s) are cut off."""

REQUESTS_PER_STREAM = 512
"""Catalog requests on one stream; a client that wants more opens another."""

PAGE_RELEASES = 16
"""Releases in one page of a query's answer, at most."""

NOT_HELD = Fail.of(NotFoundError("not held here"))
"""What a client hears that asks for what is not offered."""

CatalogRequest: TypeAlias = (
    Query | GetRelease | GetHead | GetRevocations | TellRevocation | GetSuccessor | GetCollection
)
"""What may be asked on a catalog stream."""

CATALOG_REQUESTS = get_args(CatalogRequest)

log = logging.getLogger(__name__)


class ExchangeServer:
    """Answers catalog and exchange streams out of a library, from :meth:`attach` on."""

    def __init__(self, host: P2PHost, library: Library, *, idle: float = IDLE_TIMEOUT) -> None:
        self._host = host
        self._library = library
        self._idle = idle
        self._catalog = Turns(
            host, CATALOG_REQUESTS, self._answer, Slots(), count=REQUESTS_PER_STREAM, idle=idle
        )
        self._exchange_slots = Slots()
        self._packing = Packing()
        self.chunk_bytes = 0
        #: Digest of each file that peers had chunks of -> when last, in trio's time.
        self.served_at: dict[bytes, float] = {}

    def attach(self) -> None:
        """Begin to serve."""
        self._host.serve(CATALOG, self._catalog.serve)
        self._host.serve(EXCHANGE, self._exchange)

    async def _answer(
        self, _: str, request: CatalogRequest
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
        known = frozenset(query.known[at : at + KNOWN_SIZE] for at in range(0, len(query.known), KNOWN_SIZE))
        while True:
            page = await self._library.query(
                query.tags, limit, query.cursor, offered=query.offered, known=known
            )
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
            outflow = Outflow()
            with ExitStack() as held:
                placed = False
                while True:
                    asked = await next_request(channel, Want, GetHave, idle=self._idle)
                    request = cast("Want | GetHave | None", asked)
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
                        if not await self._send_chunk(channel, request, index, outflow):
                            break
                        slot.worked()
                        self.served_at[request.file] = trio.current_time()

    async def _send_have(self, channel: Channel, file: Digest) -> None:
        answer: Wire
        try:
            held = await self._library.get_have(file)
            answer = NOT_HELD if held is None else Have(held.count, held.to_bytes())
        except P2PVoiceError as error:
            log.warning("could not tell what is here of %s: %s", file.hex()[:12], error.message)
            answer = NOT_HELD
        await channel.send(encode_message(answer))

    async def _send_chunk(self, channel: Channel, want: Want, index: int, outflow: Outflow) -> bool:
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
            if "zstd" in want.codecs and self._packing.worth(want.file, outflow.seconds_a_byte):
                codec, blob = await self._pack(want.file, raw)
            frame = ChunkFrame(index, codec, len(blob))
        began = trio.current_time()
        await self._host.limits.send(channel, encode_message(frame), blob, within=CHUNK_TIMEOUT)
        outflow.note(len(blob), trio.current_time() - began)
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
