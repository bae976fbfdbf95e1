"""Fetching the files of a release from several peers at once, every chunk verified before it is kept.

Each peer has a window of chunks asked for and not yet written (window.py). A peer that serves wrong bytes or
hangs is dropped with the reason noted; its chunks go to the others. Not for deciding what to fetch, nor for
admitting it. Follows specs/exchange.md.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.exchange import ExchangeClient, PeerBusy
from p2pvoice.node.host import P2PHost
from p2pvoice.node.library import Sink
from p2pvoice.node.peers import Fault
from p2pvoice.node.window import Job, SinkFailed, Window, Work, first_failure
from p2pvoice.node.wire import STALL_TIMEOUT
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
    StorageError,
)
from p2pvoice.protocol.manifest import FileEntry
from p2pvoice.protocol.messages import BASES_LIMIT

FETCH_PEERS = 6
"""Peers fetched from at the same time."""

SEARCH_PAUSES = (0.0, 1.0, 3.0)
"""Seconds before each search for new providers when none is left; an announcement may be on its way."""

BUSY_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before peers that had no place for us are asked again; a server frees idle places after 5 s."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a fetch is: bytes of the files, bytes received now, bytes a second, peers at work.

    ``received`` and ``rate`` count bytes of the files; ``wire`` counts what they took to be sent.
    """

    have: int
    total: int
    received: int
    rate: float
    peers: int
    file: str
    wire: int


@dataclass(frozen=True)
class FetchReport:
    """What a fetch did. ``reused`` bytes were on disk already; ``peers`` maps peers to bytes received.

    ``wire`` bytes were sent for the ``received`` ones: fewer where chunks came compressed or as deltas.
    """

    total: int
    received: int
    reused: int
    wire: int
    seconds: float
    peers: dict[str, int]
    dropped: dict[str, str]


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
        self.wire = 0
        self.peers: dict[str, int] = {}
        self.dropped: dict[str, str] = {}
        self.active: set[str] = set()
        self.busy: dict[str, PeerInfo] = {}
        #: Peers that never said that they have the release: what they send may be right and not fit.
        self.unasked: set[str] = set()
        self.started = trio.current_time()
        self._progress = progress
        self.work = Work(deque(), {}, 0)

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
                self.work.bases[file.digest] = tuple(await self.sink.delta_bases(file))[:BASES_LIMIT]
            else:
                await self.sink.finish(file)
        self.work.pending.extend(jobs)
        self.work.open_jobs = len(jobs)
        self.report("")

    async def from_peer(self, info: PeerInfo) -> None:
        """Fetch from one peer until nothing is left for it; every failure is noted, none escapes but ours."""
        name = str(info.peer_id)
        window = Window(self.work, partial(self.keep, name), self.read_base)
        self.active.add(name)
        fault: Fault | None = None
        detail = ""
        try:
            async with await ExchangeClient.open(self.host, info, stall=self.stall) as client:
                await window.run(client)
        except PeerBusy as error:
            self.busy[name] = info
            detail = str(error)
        except PolicyError as error:
            detail = error.message
        except PeerTimeoutError as error:
            fault, detail = (Fault.HUNG if window.connected else Fault.UNREACHABLE), error.message
        except IntegrityError as error:
            fault, detail = Fault.WRONG_BYTES, error.message
        except (ManifestError, ProtocolMismatchError) as error:
            # A peer without our protocol is no liar; one that breaks it in the middle is.
            fault, detail = (Fault.BROKE_PROTOCOL if window.connected else None), error.message
        except NetworkError as error:
            fault, detail = (Fault.LEFT if window.connected else Fault.UNREACHABLE), error.message
        except NotFoundError as error:
            detail = error.message
        finally:
            self.active.discard(name)
            self.work.give_back(window.outstanding())
            self.work.wake()
        if fault is Fault.WRONG_BYTES and name in self.unasked:
            # Of a manifest that lies about a file's chunks an honest peer knows nothing.
            fault = None
        if detail:
            self.dropped[name] = f"{fault.value}: {detail}" if fault is not None else detail
            log.info("peer %s left the fetch: %s", name, self.dropped[name])
        if fault is not None:
            self.host.peers.drop(name, fault, detail)
            if fault is Fault.WRONG_BYTES or fault is Fault.HUNG:
                await self.host.disconnect(name)

    async def read_base(self, base: bytes, index: int) -> bytes | None:
        """A chunk that a delta is to be applied to; one that is gone meanwhile is our own fault."""
        try:
            found = await self.sink.read_delta_base(base, index)
        except (P2PVoiceError, OSError) as error:
            raise SinkFailed(error) from error
        if found is None:
            gone = StorageError("a file that deltas were asked against went away", hint="fetch again")
            raise SinkFailed(gone)
        return found

    async def keep(self, peer: str, job: Job, data: bytes, wire: int) -> None:
        """Write a verified chunk, which took ``wire`` bytes to be sent, and account for it."""
        try:
            await self.sink.write(job.file, job.index, data)
            if self.work.left[job.file.digest] == 1:
                await self.sink.finish(job.file)
        except (P2PVoiceError, OSError) as error:
            raise SinkFailed(error) from error
        size = len(data)
        self.have += size
        self.received += size
        self.wire += wire
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
                    self.have,
                    self.total,
                    self.received,
                    self.received / seconds,
                    len(self.active),
                    path,
                    self.wire,
                )
            )


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
                fetch.unasked = {str(i.peer_id) for i in waiting} - tried
            rounds += 1
            continue
        tried.update(fresh)
        queue = deque(fresh[name] for name in host.peers.best_first(fresh))
        try:
            async with trio.open_nursery() as nursery:
                for number in range(min(FETCH_PEERS, len(queue))):
                    nursery.start_soon(_lane, fetch, queue, number == 0)
        except* SinkFailed as failed:
            raise first_failure(failed).cause from None
    return FetchReport(
        fetch.total,
        fetch.received,
        fetch.reused,
        fetch.wire,
        trio.current_time() - fetch.started,
        fetch.peers,
        fetch.dropped,
    )


async def _lane(fetch: _Fetch, queue: deque[PeerInfo], first: bool) -> None:
    """One lane: the next provider takes the place of one that failed.

    Where receiving is limited, lanes but the ``first`` end when there is no place for them.
    """
    while queue and fetch.work.open_jobs:
        info = queue.popleft()
        with fetch.host.limits.asking(str(info.peer_id), fetch.host.peers, first=first) as free:
            if not free:
                queue.appendleft(info)
                return
            await fetch.from_peer(info)


def _explain(fetch: _Fetch, tried: set[str]) -> str:
    if not tried:
        return "nobody who holds these files is known or may be asked"
    reasons = "; ".join(f"…{peer[-6:]} {reason}" for peer, reason in list(fetch.dropped.items())[:4])
    return f"none of {len(tried)} peers could give the rest" + (f" ({reasons})" if reasons else "")
