"""The window of one peer in a fetch: what is asked of it and not yet written, and the work all peers share.

A chunk counts against the window until it is on disk, so memory is bounded, the stream is always drained, and
a crash loses at most one window a peer. Not for choosing peers nor judging them: see fetch.py. Follows
specs/exchange.md.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from p2pvoice.node.exchange import Answer, ExchangeClient, PeerBusy
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.codec import decode_chunk
from p2pvoice.protocol.errors import NotFoundError, P2PVoiceError
from p2pvoice.protocol.manifest import FileEntry

WINDOW_CHUNKS = 8
"""Chunks asked of one peer and not yet written."""

WINDOW_BYTES = 4 * 1024 * 1024
"""Raw bytes asked of one peer and not yet written: what a kill costs at most, per peer."""

MISSES_LIMIT = 3
"""Chunks in a row a peer may not have before it is left alone for this fetch."""


@dataclass(frozen=True)
class Job:
    """One chunk to fetch."""

    file: FileEntry
    index: int

    @property
    def chunk(self) -> Chunk:
        """Its size and digest."""
        return self.file.chunks[self.index]


@dataclass
class Work:
    """What is left to do, shared by the peers' tasks of one fetch. Single-threaded."""

    pending: deque[Job]
    left: dict[bytes, int]
    open_jobs: int
    #: By digest of a file: files held here that its chunks may come as deltas to.
    bases: dict[bytes, Sequence[bytes]] = field(default_factory=dict)
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
        """Let every peer's task look again."""
        self.changed.set()
        self.changed = trio.Event()


class SinkFailed(Exception):
    """Our own side failed, say a full disk: the fetch ends and no peer is to blame."""

    def __init__(self, cause: P2PVoiceError | OSError) -> None:
        self.cause = cause


class Window:
    """The window of one peer: a task that asks and reads, a task that verifies and writes.

    ``keep`` is given each chunk once it is verified, with the bytes that it took on the wire; ``read_base``
    reads a chunk of a base. Both raise SinkFailed when our own side failed.
    """

    def __init__(
        self,
        work: Work,
        keep: Callable[[Job, bytes, int], Awaitable[None]],
        read_base: Callable[[bytes, int], Awaitable[bytes | None]],
    ) -> None:
        self._work = work
        self._keep = keep
        self._read_base = read_base
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
        send, receive = trio.open_memory_channel[tuple[Job, Answer]](WINDOW_CHUNKS)
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
                    except trio.BrokenResourceError:
                        # The writer ended first, and the nursery raises what it found wrong.
                        pass
        except* (P2PVoiceError, PeerBusy) as group:
            raise _first(group) from None
        except* SinkFailed as failed:
            raise first_failure(failed) from None
        if self.failure is not None:
            raise self.failure

    async def _read(
        self, client: ExchangeClient, send: "trio.MemorySendChannel[tuple[Job, Answer]]"
    ) -> None:
        work = self._work
        while work.open_jobs:
            while len(self._asked) + len(self._arrived) < WINDOW_CHUNKS:
                if self._asked and not client.may_ask():
                    break
                used = sum(j.chunk.size for j in (*self._asked, *self._arrived))
                job = work.take(self.lacking, WINDOW_BYTES - used)
                if job is None:
                    break
                self._asked.append(job)
                bases = work.bases.get(job.file.digest, ())
                await client.want(job.file.digest, job.index, bases, job.chunk.size)
            if self._asked:
                job = self._asked[0]
                bases = work.bases.get(job.file.digest, ())
                answer = await client.chunk(job.index, job.chunk.size, bases)
                self._asked.popleft()
                if answer is None:
                    self._miss(job)
                    continue
                self.misses = 0
                self._arrived.append(job)
                await send.send((job, answer))
                continue
            if not self._arrived and (self.misses >= MISSES_LIMIT or work.stuck()):
                raise NotFoundError("does not have these files")
            # Nothing to ask now: wait until a chunk is written or another peer gives work back.
            await _either(work.changed, self._room)

    def _miss(self, job: Job) -> None:
        self.lacking.add(job)
        self.misses += 1
        self._work.give_back([job])

    async def _write(self, receive: "trio.MemoryReceiveChannel[tuple[Job, Answer]]") -> None:
        async with receive:
            async for job, answer in receive:
                chunk = job.chunk
                base = None if answer.base is None else await self._read_base(answer.base, job.index)
                data = await trio.to_thread.run_sync(
                    decode_chunk, answer.codec, answer.blob, chunk.size, chunk.digest, base
                )
                await self._keep(job, data, len(answer.blob))
                self._arrived.remove(job)
                self._room.set()
                self._room = trio.Event()


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


def first_failure(group: BaseExceptionGroup[SinkFailed]) -> SinkFailed:
    """The failure of our own side in what a nursery raised."""
    error = _leaf(group)
    assert isinstance(error, SinkFailed)
    return error
