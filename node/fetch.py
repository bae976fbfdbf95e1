"""Fetching the files of a release from several peers at once, every chunk verified before it is kept.

Each peer has a window of chunks asked for and not yet written (window.py). A peer that serves wrong bytes or
hangs is dropped with the reason noted, one that is slow makes room for others (pacing.py); its chunks go to
the others. Not for deciding what to fetch, nor for admitting it. Follows specs/exchange.md.
"""

import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.discovery import connected_peers
from p2pvoice.node.exchange_client import PeerBusy
from p2pvoice.node.fetch_report import FetchReport, Progress
from p2pvoice.node.have import ask_have
from p2pvoice.node.host import P2PHost
from p2pvoice.node.library import Sink
from p2pvoice.node.moving import MovingClient
from p2pvoice.node.pacing import ENOUGH, FAR_BELOW, FETCH_PEERS, Standing, gives_way, points
from p2pvoice.node.peers import Fault
from p2pvoice.node.window import Arrival, SinkFailed, Window, first_failure, verified
from p2pvoice.node.wire import STALL_TIMEOUT
from p2pvoice.node.work import Work
from p2pvoice.protocol.chunks import Bitmap
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
from p2pvoice.protocol.exchange_messages import BASES_LIMIT
from p2pvoice.protocol.manifest import FileEntry

SEARCH_PAUSES = (0.0, 1.0, 3.0)
"""Seconds before each search for new providers when none is left; an announcement may be on its way."""

BUSY_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before peers that had no place for us are asked again; a server frees idle places after 5 s."""

LOOK_EVERY = 1.0
"""Seconds between two looks at who is slow while others wait; at most one gives way each time."""

MORE_AFTER = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds before each search for further providers while a fetch goes on and none waits; the last repeats."""

FindMore = Callable[[], Awaitable[Sequence[PeerInfo]]]
"""Looks for providers."""

log = logging.getLogger(__name__)


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
        self.rates: dict[str, int] = {}
        #: Peers at work, and providers that wait for a place.
        self.lanes: dict[str, Window] = {}
        self.queue: deque[PeerInfo] = deque()
        #: Peers that were asked, are not now, and may be asked again when nobody else is left.
        self.busy: dict[str, PeerInfo] = {}
        self.slow: dict[str, PeerInfo] = {}
        self.tried: set[str] = set()
        #: Peers that never said that they have the release: what they send may be right and not fit.
        self.unasked: set[str] = set()
        self.started = trio.current_time()
        self._progress = progress
        self.work = Work(crowded=lambda: bool(self.queue))

    async def prepare(self) -> None:
        """Ask the sink what is missing; files that are whole already are finished at once."""
        for file in self.files:
            missing = await self.sink.missing(file)
            held = file.size - sum(file.chunks[i].size for i in missing)
            self.have += held
            self.reused += held
            if missing:
                bases = await self.sink.delta_bases(file)
                self.work.add(file, missing, tuple(bases)[:BASES_LIMIT])
            else:
                await self.sink.finish(file)
        self.report("")

    # -- peers -------------------------------------------------------------------------------------------

    def enqueue(self, found: Sequence[PeerInfo]) -> bool:
        """Let providers that were not tried yet wait for a place, best score first; whether there are any."""
        fresh = {str(info.peer_id): info for info in found if str(info.peer_id) not in self.tried}
        self.tried.update(fresh)
        self.queue.extend(fresh[name] for name in self.host.peers.best_first(fresh))
        return bool(fresh)

    async def run(self, find_more: FindMore | None) -> None:
        """Fetch from those who wait until nobody is left or nothing is missing. Raises SinkFailed."""
        async with trio.open_nursery() as nursery:

            async def lane(info: PeerInfo) -> None:
                await self.from_peer(info)
                fill()

            def fill() -> None:
                most = self.host.limits.lanes(FETCH_PEERS)
                while self.queue and self.work.open_jobs and len(self.lanes) < most:
                    info = self.queue.popleft()
                    self.lanes[str(info.peer_id)] = self._window(info)
                    nursery.start_soon(lane, info)
                if not self.lanes:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(self._watch)
            if find_more is not None:
                nursery.start_soon(self._search, find_more, fill)
            fill()

    async def _watch(self) -> None:
        """While untried providers wait, whoever is far too slow makes room, one at a time."""
        while True:
            await trio.sleep(LOOK_EVERY)
            if not self.queue or len(self.lanes) < FETCH_PEERS:
                continue
            now = trio.current_time()
            standings = [
                Standing(name, lane.pace.best(now), lane.pace.owing(now)) for name, lane in self.lanes.items()
            ]
            name = gives_way(standings)
            if name is not None:
                self.lanes[name].slow = True
                self.lanes[name].scope.cancel()

    async def _search(self, find_more: FindMore, fill: Callable[[], None]) -> None:
        """Look for further providers now and then: partial holders come up, and those at work may be slow."""
        for pause in itertools.chain(MORE_AFTER, itertools.repeat(MORE_AFTER[-1])):
            await trio.sleep(pause)
            if self.queue:
                continue
            try:
                found = await find_more()
            except NetworkError as error:
                log.info("no further providers: %s", error.message)
                continue
            if self.enqueue(found):
                fill()

    def _window(self, info: PeerInfo) -> Window:
        async def look(files: Sequence[FileEntry]) -> Sequence[Bitmap | None]:
            return await ask_have(self.host, info, files, stall=self.stall)

        return Window(self.work, partial(self.keep, str(info.peer_id)), self.read_base, look)

    async def from_peer(self, info: PeerInfo) -> None:
        """Fetch from one peer until nothing is left for it; every failure is noted, none escapes but ours."""
        name = str(info.peer_id)
        window = self.lanes[name]
        self.work.holders.append(window)
        fault: Fault | None = None
        detail = ""
        try:
            with window.scope:
                async with await MovingClient.open(self.host, info, stall=self.stall) as client:
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
            if window.slow and window.scope.cancelled_caught:
                best = window.pace.best(trio.current_time())
                fault, detail = Fault.SLOW, f"at most {best / 1024:.0f} KiB/s"
                self.slow[name] = info
            del self.lanes[name]
            self.work.holders.remove(window)
            window.leave()
            if window.pace.delivered:
                self.rates[name] = int(window.pace.mean())
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

    # -- chunks ------------------------------------------------------------------------------------------

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

    async def keep(self, peer: str, chunks: Sequence[Arrival]) -> None:
        """Verify chunks, write those up to the first wrong one, and account for them.

        Both in one thread: going to another one costs about as much as copying a chunk.
        """
        files: dict[bytes, list[Arrival]] = {}
        for one in chunks:
            files.setdefault(one.job.file.digest, []).append(one)
        for digest, arrived in files.items():
            file = arrived[0].job.file
            try:
                await self.sink.write_many(file, verified(arrived))
                same = [one for one in arrived if one.data is not None]
                if not same:
                    break
                if self.work.left[digest] == len(same):
                    await self.sink.finish(file)
            except (P2PVoiceError, OSError) as error:
                raise SinkFailed(error) from error
            size = sum(one.job.chunk.size for one in same)
            self.have += size
            self.received += size
            self.wire += sum(len(one.answer.blob) for one in same)
            self.peers[peer] = self.peers.get(peer, 0) + size
            for one in same:
                self.host.peers.reward(peer, points(one.job.chunk.size, one.seconds))
            self.work.left[digest] -= len(same)
            self.work.open_jobs -= len(same)
            for one in same:
                one.kept, one.data = True, None
            self.report(file.path)
            if len(same) < len(arrived):
                break
        if self.work.open_jobs == 0:
            self._end()

    def _end(self) -> None:
        """Everything is here: whoever still owes a copy is let go, and noted when it is far too slow."""
        now = trio.current_time()
        for lane in self.lanes.values():
            if lane.asked:
                lane.slow = lane.pace.best(now) < FAR_BELOW * ENOUGH
            if lane.asked or not lane.connected:
                lane.scope.cancel()
        self.work.wake()

    def report(self, path: str) -> None:
        if self._progress is None:
            return
        seconds = max(trio.current_time() - self.started, 1e-6)
        rates = {name: int(lane.pace.rate) for name, lane in self.lanes.items() if lane.pace.rate is not None}
        self._progress(
            Progress(
                self.have,
                self.total,
                self.received,
                self.received / seconds,
                len(self.lanes),
                path,
                self.wire,
                rates,
            )
        )


async def fetch_files(
    host: P2PHost,
    files: Sequence[FileEntry],
    providers: Sequence[PeerInfo],
    sink: Sink,
    *,
    progress: Callable[[Progress], None] | None = None,
    find_more: FindMore | None = None,
    stall: float = STALL_TIMEOUT,
) -> FetchReport:
    """Fetch what ``sink`` lacks of ``files`` from ``providers``; give one entry to fetch one file only.

    Cancellation is safe at any point: what was written is kept, and the next call resumes. Raises
    :class:`NoPeersError` when no provider is left and chunks are missing, and whatever the sink raises.
    """
    fetch = _Fetch(host, list({f.digest: f for f in files}.values()), sink, progress, stall)
    await fetch.prepare()
    waiting = list(providers)
    rounds = waits = 0
    while fetch.work.open_jobs:
        if fetch.enqueue(waiting):
            try:
                await fetch.run(find_more)
            except* SinkFailed as failed:
                raise first_failure(failed).cause from None
            waiting = []
        elif fetch.slow:
            waiting, fetch.slow = list(fetch.slow.values()), {}
            fetch.tried.difference_update(str(i.peer_id) for i in waiting)
        elif fetch.busy and waits < len(BUSY_PAUSES):
            await trio.sleep(BUSY_PAUSES[waits])
            waits += 1
            waiting, fetch.busy = list(fetch.busy.values()), {}
            fetch.tried.difference_update(str(i.peer_id) for i in waiting)
        elif find_more is None or rounds > len(SEARCH_PAUSES):
            raise NoPeersError(_explain(fetch))
        else:
            if rounds < len(SEARCH_PAUSES):
                await trio.sleep(SEARCH_PAUSES[rounds])
                waiting = list(await find_more())
            else:
                # Whoever we are connected to may hold it without having announced it yet.
                waiting = connected_peers(host)
                fetch.unasked = {str(i.peer_id) for i in waiting} - fetch.tried
            rounds += 1
    return FetchReport(
        fetch.total,
        fetch.received,
        fetch.reused,
        fetch.wire,
        trio.current_time() - fetch.started,
        fetch.peers,
        fetch.dropped,
        fetch.rates,
    )


def _explain(fetch: _Fetch) -> str:
    if not fetch.tried:
        return "nobody who holds these files is known or may be asked"
    reasons = "; ".join(f"…{peer[-6:]} {reason}" for peer, reason in list(fetch.dropped.items())[:4])
    return f"none of {len(fetch.tried)} peers could give the rest" + (f" ({reasons})" if reasons else "")
