"""Fetching the files of a release from several peers at once, every chunk verified before it is kept.

Each peer has a window of chunks asked for and not yet written. A chunk counts against the window until it
is on disk, so memory is bounded, the stream is always drained, and a crash loses at most one window a peer.
A peer that serves wrong bytes or hangs is dropped with the reason noted; its chunks go to the others.
Not for deciding what to fetch, nor for admitting it. Follows specs/exchange.md.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.exchange import ExchangeClient, PeerBusy
from p2pvoice.node.host import P2PHost
from p2pvoice.node.library import Sink
from p2pvoice.node.peers import Fault
from p2pvoice.node.wire import STALL_TIMEOUT
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.codec import decode_chunk
from p2pvoice.protocol.errors import (
    IntegrityError,
    ManifestError,
    NetworkError,
    NoPeersError,
    NotFoundError,
    P2PVoiceError,
    PeerTimeoutError,
    PolicyError,
    ProtocolMismatchError,
)
from p2pvoice.protocol.manifest import FileEntry

WINDOW_CHUNKS = 8
"""Chunks asked of one peer and not yet written."""

WINDOW_BYTES = 4 * 1024 * 1024
"""Raw bytes asked of one peer and not yet written: what a kill costs at most, per peer."""

FETCH_PEERS = 6
"""Peers fetched from at the same time."""

MISSES_LIMIT = 3
"""Chunks in a row a peer may not have before it is left alone for this fetch."""

SEARCH_PAUSES = (0.0, 1.0, 3.0)
"""Seconds before each search for new providers when none is left; an announcement may be on its way."""

BUSY_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before peers that had no place for us are asked again; a server frees idle places after 5 s."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a fetch is: bytes of the files, bytes received now, bytes a second, peers at work."""

    have: int
    total: int
    received: int
    rate: float
    peers: int
    file: str


@dataclass(frozen=True)
class FetchReport:
    """What a fetch did. ``reused`` bytes were on disk already; ``peers`` maps peers to bytes received."""

    total: int
    received: int
    reused: int
    seconds: float
    peers: dict[str, int]
    dropped: dict[str, str]


@dataclass(frozen=True)
class Job:
    """One chunk to fetch."""

    file: FileEntry
    index: int

    @property
    def chunk(self) -> Chunk:
        return self.file.chunks[self.index]


@dataclass
class _Work:
    """What is left to do, shared by the peers' tasks of one fetch. Single-threaded."""

    pending: deque[Job]
    left: dict[bytes, int]
    open_jobs: int
    changed: trio.Event = field(default_factory=trio.Event)

    def take(self, lacking: set[Job], room: int) -> Job | None:
        """The first pending job the peer can have and that fits its window."""
        for position, job in enumerate(self.pending):
            if job not in lacking and job.chunk.size <= room:
                del self.pending[position]
                return job
        return None

    def stuck(self) -> bool:
        """Whether every job left is waiting, that is, no peer is working on any."""
        return len(self.pending) == self.open_jobs

    def give_back(self, jobs: Sequence[Job]) -> None:
        """Put jobs back to the front: somebody else does them."""
        if jobs:
            self.pending.extendleft(reversed(jobs))
            self.wake()

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class _Fetch:
    """One fetch under way."""

    def __init__(
        self,
        host: P2PHost,
        files: Sequence[FileEntry],
        sink: Sink,
        progress: Callable[[Progress], None] | None,
        stall: float,
    ) -> None:
        self.host = host
        self.files = files
        self.sink = sink
        self.stall = stall
        self.total = sum(f.size for f in files)
        self.have = 0
        self.reused = 0
        self.received = 0
        self.peers: dict[str, int] = {}
        self.dropped: dict[str, str] = {}
        self.active: set[str] = set()
        self.busy: dict[str, PeerInfo] = {}
        self.started = trio.current_time()
        self._progress = progress
        self.work = _Work(deque(), {}, 0)

    async def prepare(self) -> None:
        """Ask the sink what is missing; files that are whole already are finished at once."""
        jobs: list[Job] = []
        for file in self.files:
            missing = await self.sink.missing(file)
            jobs.extend(Job(file, index) for index in missing)
            held = file.size - sum(file.chunks[i].size for i in missing)
            self.have += held
            self.reused += held
            if missing:
                self.work.left[file.digest] = len(missing)
            else:
                await self.sink.finish(file)
        self.work.pending.extend(jobs)
        self.work.open_jobs = len(jobs)
        self.report("")

    async def from_peer(self, info: PeerInfo) -> None:
        """Fetch from one peer until nothing is left for it; every failure is noted, none escapes but ours."""
        name = str(info.peer_id)
        worker = _Worker(self, name)
        self.active.add(name)
        fault: Fault | None = None
        detail = ""
        try:
            async with await ExchangeClient.open(self.host, info, stall=self.stall) as client:
                await worker.run(client)
        except PeerBusy as error:
            self.busy[name] = info
            detail = str(error)
        except PolicyError as error:
            detail = error.message
        except PeerTimeoutError as error:
            fault, detail = (Fault.HUNG if worker.connected else Fault.UNREACHABLE), error.message
        except IntegrityError as error:
            fault, detail = Fault.WRONG_BYTES, error.message
        except (ManifestError, ProtocolMismatchError) as error:
            # A peer without our protocol is no liar; one that breaks it in the middle is.
            fault, detail = (Fault.BROKE_PROTOCOL if worker.connected else None), error.message
        except NetworkError as error:
            fault, detail = (Fault.LEFT if worker.connected else Fault.UNREACHABLE), error.message
        except NotFoundError as error:
            detail = error.message
        finally:
            self.active.discard(name)
            self.work.give_back(worker.outstanding())
            self.work.wake()
        if detail:
            self.dropped[name] = f"{fault.value}: {detail}" if fault is not None else detail
            log.info("peer %s left the fetch: %s", name, self.dropped[name])
        if fault is not None:
            self.host.peers.drop(name, fault, detail)
            if fault is Fault.WRONG_BYTES or fault is Fault.HUNG:
                await self.host.disconnect(name)

    async def keep(self, job: Job, data: bytes, peer: str) -> None:
        """Write a verified chunk and account for it."""
        try:
            await self.sink.write(job.file, job.index, data)
            if self.work.left[job.file.digest] == 1:
                await self.sink.finish(job.file)
        except (P2PVoiceError, OSError) as error:
            raise _SinkFailed(error) from error
        size = len(data)
        self.have += size
        self.received += size
        self.peers[peer] = self.peers.get(peer, 0) + size
        self.host.peers.reward(peer, 0.1)
        self.work.left[job.file.digest] -= 1
        self.work.open_jobs -= 1
        self.report(job.file.path)
        if self.work.open_jobs == 0:
            self.work.wake()

    def report(self, path: str) -> None:
        if self._progress is not None:
            seconds = max(trio.current_time() - self.started, 1e-6)
            self._progress(
                Progress(
                    self.have, self.total, self.received, self.received / seconds, len(self.active), path
                )
            )


class _SinkFailed(Exception):
    """Our own side failed, say a full disk: the fetch ends and no peer is to blame."""

    def __init__(self, cause: P2PVoiceError | OSError) -> None:
        self.cause = cause


class _Worker:
    """The window of one peer: a task that asks and reads, a task that verifies and writes."""

    def __init__(self, fetch: _Fetch, peer: str) -> None:
        self.fetch = fetch
        self.peer = peer
        self.connected = False
        self.lacking: set[Job] = set()
        self.misses = 0
        self.failure: P2PVoiceError | PeerBusy | None = None
        self._asked: deque[Job] = deque()  # asked of the peer, answer not here yet, in order
        self._arrived: deque[Job] = deque()  # answer here, not on disk yet
        self._room = trio.Event()

    def outstanding(self) -> list[Job]:
        """Jobs this peer took and did not finish."""
        return [*self._arrived, *self._asked]

    async def run(self, client: ExchangeClient) -> None:
        """Work until nothing is left for this peer. Raises what the peer did wrong."""
        self.connected = True
        send, receive = trio.open_memory_channel[tuple[Job, str, bytes]](WINDOW_CHUNKS)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, receive)
                # A broken stream closes the channel and lets the writer keep what had arrived; a wrong
                # chunk, found by the writer, stops the reading at once.
                async with send:
                    try:
                        await self._read(client, send)
                    except (P2PVoiceError, PeerBusy) as error:
                        self.failure = error
        except* (P2PVoiceError, PeerBusy) as group:
            raise _first(group) from None
        except* _SinkFailed as failed:
            raise _first_sink(failed) from None
        if self.failure is not None:
            raise self.failure

    async def _read(
        self, client: ExchangeClient, send: "trio.MemorySendChannel[tuple[Job, str, bytes]]"
    ) -> None:
        work = self.fetch.work
        while work.open_jobs:
            while len(self._asked) + len(self._arrived) < WINDOW_CHUNKS:
                used = sum(j.chunk.size for j in (*self._asked, *self._arrived))
                job = work.take(self.lacking, WINDOW_BYTES - used)
                if job is None:
                    break
                self._asked.append(job)
                await client.want(job.file.digest, job.index)
            if self._asked:
                job = self._asked[0]
                answer = await client.chunk(job.index, job.chunk.size)
                self._asked.popleft()
                if answer is None:
                    self._miss(job)
                    continue
                self.misses = 0
                self._arrived.append(job)
                await send.send((job, *answer))
                continue
            if not self._arrived and (self.misses >= MISSES_LIMIT or work.stuck()):
                raise NotFoundError("does not have these files")
            # Nothing to ask now: wait until a chunk is written or another peer gives work back.
            await _either(work.changed, self._room)

    def _miss(self, job: Job) -> None:
        self.lacking.add(job)
        self.misses += 1
        self.fetch.work.give_back([job])

    async def _write(self, receive: "trio.MemoryReceiveChannel[tuple[Job, str, bytes]]") -> None:
        async with receive:
            async for job, codec, blob in receive:
                chunk = job.chunk
                data = await trio.to_thread.run_sync(decode_chunk, codec, blob, chunk.size, chunk.digest)
                await self.fetch.keep(job, data, self.peer)
                self._arrived.remove(job)
                self._room.set()
                self._room = trio.Event()


async def fetch_files(
    host: P2PHost,
    files: Sequence[FileEntry],
    providers: Sequence[PeerInfo],
    sink: Sink,
    *,
    progress: Callable[[Progress], None] | None = None,
    find_more: Callable[[], Awaitable[Sequence[PeerInfo]]] | None = None,
    stall: float = STALL_TIMEOUT,
) -> FetchReport:
    """Fetch what ``sink`` lacks of ``files`` from ``providers``; give one entry to fetch one file only.

    Cancellation is safe at any point: what was written is kept, and the next call resumes. Raises
    :class:`NoPeersError` when no provider is left and chunks are missing, and whatever the sink raises.
    """
    fetch = _Fetch(host, list({f.digest: f for f in files}.values()), sink, progress, stall)
    await fetch.prepare()
    tried: set[str] = set()
    waiting = list(providers)
    rounds = waits = 0
    while fetch.work.open_jobs:
        fresh = {str(i.peer_id): i for i in waiting if str(i.peer_id) not in tried}
        if not fresh and fetch.busy and waits < len(BUSY_PAUSES):
            await trio.sleep(BUSY_PAUSES[waits])
            waits += 1
            waiting, fetch.busy = list(fetch.busy.values()), {}
            tried.difference_update(str(i.peer_id) for i in waiting)
            continue
        if not fresh:
            if find_more is None or rounds > len(SEARCH_PAUSES):
                raise NoPeersError(_explain(fetch, tried))
            if rounds < len(SEARCH_PAUSES):
                await trio.sleep(SEARCH_PAUSES[rounds])
                waiting = list(await find_more())
            else:
                # Whoever we are connected to may hold it without having announced it yet.
                waiting = [PeerInfo(ID.from_string(name), []) for name in host.connected()]
            rounds += 1
            continue
        tried.update(fresh)
        queue = deque(fresh[name] for name in host.peers.best_first(fresh))
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(min(FETCH_PEERS, len(queue))):
                    nursery.start_soon(_lane, fetch, queue)
        except* _SinkFailed as failed:
            raise _first_sink(failed).cause from None
    return FetchReport(
        fetch.total,
        fetch.received,
        fetch.reused,
        trio.current_time() - fetch.started,
        fetch.peers,
        fetch.dropped,
    )


async def _lane(fetch: _Fetch, queue: deque[PeerInfo]) -> None:
    """One lane: the next provider takes the place of one that failed."""
    while queue and fetch.work.open_jobs:
        await fetch.from_peer(queue.popleft())


async def _either(first: trio.Event, second: trio.Event) -> None:
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait, first)
        nursery.start_soon(wait, second)


def _leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _first(group: BaseExceptionGroup[P2PVoiceError | PeerBusy]) -> P2PVoiceError | PeerBusy:
    error = _leaf(group)
    assert isinstance(error, P2PVoiceError | PeerBusy)
    return error


def _first_sink(group: BaseExceptionGroup[_SinkFailed]) -> _SinkFailed:
    error = _leaf(group)
    assert isinstance(error, _SinkFailed)
    return error


def _explain(fetch: _Fetch, tried: set[str]) -> str:
    if not tried:
        return "nobody who holds these files is known or may be asked"
    reasons = "; ".join(f"…{peer[-6:]} {reason}" for peer, reason in list(fetch.dropped.items())[:4])
    return f"none of {len(tried)} peers could give the rest" + (f" ({reasons})" if reasons else "")
