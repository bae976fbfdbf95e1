"""The window of one peer in a fetch: what is asked of it and not yet written, and what it is known to have.

A chunk counts against the window until it is on disk, so memory is bounded, the stream is always drained, and
a crash loses at most one window a peer. How much is asked ahead is in pacing.py, which chunk in work.py. Not
for choosing peers nor judging them: see fetch.py. Follows specs/exchange.md.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

from p2pvoice.node.exchange_client import Answer, ExchangeClient, PeerBusy
from p2pvoice.node.pacing import WINDOW_CHUNKS, Pace, room, spare
from p2pvoice.node.work import Job, Work
from p2pvoice.protocol.chunks import CHUNK_LIMIT, Bitmap
from p2pvoice.protocol.codec import decode_chunk
from p2pvoice.protocol.errors import NetworkError, NotFoundError, P2PVoiceError
from p2pvoice.protocol.manifest import FileEntry

BATCH_BYTES = 4 * CHUNK_LIMIT
"""Bytes that are verified and synced together when they are there: a sync costs as much as a chunk."""

GATHER = 0.02
"""Seconds that a chunk waits for others on their way, to be verified and synced together."""

MISSES_LIMIT = 3
"""Chunks in a row a peer may not have, or not have though it said so, before it is left alone."""

LOOKS_LIMIT = 3
"""Looks in a row at what a partial holder has that show nothing new, before it is left when all are stuck."""

LOOK_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between looks at what a partial holder has; from the beginning again when there was news."""

TICK = 0.25
"""Seconds after which a peer with nothing to do looks again whether somebody slower owes a chunk."""

Look = Callable[[Sequence[FileEntry]], Awaitable[Sequence[Bitmap | None]]]
"""Asks which chunks of files the peer has; None for a file that it cannot tell of."""


@dataclass(eq=False)
class Arrival:
    """A chunk as it came, the seconds that took, and for a delta the chunk that it is to be applied to.

    ``data`` are its bytes once they were found to be right, and ``wrong`` is what is wrong with them.
    ``kept`` says that they are on disk.
    """

    job: Job
    answer: Answer
    seconds: float
    base: bytes | None
    data: bytes | None = None
    wrong: P2PVoiceError | None = None
    kept: bool = False


class SinkFailed(Exception):
    """Our own side failed, say a full disk: the fetch ends and no peer is to blame."""

    def __init__(self, cause: P2PVoiceError | OSError) -> None:
        self.cause = cause


class Window:
    """The window of one peer: a task that asks and reads, a task that verifies and writes.

    ``keep`` is given chunks once they are verified; ``read_base`` reads a chunk of a base. Both raise
    SinkFailed when our own side failed.
    """

    def __init__(
        self,
        work: Work,
        keep: Callable[[Sequence[Arrival]], Awaitable[None]],
        read_base: Callable[[bytes, int], Awaitable[bytes | None]],
        look: Look,
    ) -> None:
        self._work = work
        self._keep = keep
        self._read_base = read_base
        self._look = look
        self.pace = Pace()
        self.connected = False
        #: Whether the peer lost its chunks because it is slow; its task is cancelled through ``scope``.
        self.slow = False
        self.scope = trio.CancelScope()
        self.misses = 0
        self.failure: P2PVoiceError | PeerBusy | None = None
        self.asked: deque[Job] = deque()  # asked of the peer, answer not here yet, in order
        self._arrived: deque[Job] = deque()  # answer here, not on disk yet
        self._room = trio.Event()
        self._lacking: set[Job] = set()
        self._held: dict[bytes, Bitmap] = {}  # by file, as the peer said
        self._looking: set[bytes] = set()  # files it is being asked about just now
        self._mute: set[bytes] = set()  # files it cannot tell of
        self._looks = 0
        self._next_look = 0.0

    def outstanding(self) -> list[Job]:
        """Jobs this peer took and did not finish."""
        return [*self._arrived, *self.asked]

    def owed_bytes(self) -> int:
        """Bytes asked of this peer and not written yet."""
        return sum(job.chunk.size for job in (*self._arrived, *self.asked))

    def may(self, job: Job) -> bool:
        """Whether the peer is to be asked for a chunk, as far as is known of what it has."""
        held = self._held.get(job.file.digest)
        return (
            job not in self._lacking
            and job.file.digest not in self._looking
            and (held is None or job.index in held)
        )

    def leave(self) -> None:
        """The peer's part in the work ends: others take what it did not finish."""
        for digest in list(self._held):
            self._spread(digest, -1)
        self._held.clear()
        self._work.give_back(self.outstanding())
        self._work.wake()

    async def run(self, client: ExchangeClient) -> None:
        """Work until nothing is left for this peer. Raises what the peer did wrong."""
        self.connected = True
        send, receive = trio.open_memory_channel[tuple[Job, Answer, float]](WINDOW_CHUNKS)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, receive)
                # A broken stream closes the channel and lets the writer keep what had arrived; a wrong
                # chunk, found by the writer, stops the reading at once.
                async with send, trio.open_nursery() as looks:
                    try:
                        await self._read(client, send, looks)
                    except (P2PVoiceError, PeerBusy) as error:
                        self.failure = error
                    except trio.BrokenResourceError:
                        # The writer ended first, and the nursery raises what it found wrong.
                        pass
                    looks.cancel_scope.cancel()
        except* (P2PVoiceError, PeerBusy) as group:
            raise _first(group) from None
        except* SinkFailed as failed:
            raise first_failure(failed) from None
        if self.failure is not None:
            raise self.failure

    # -- asking and reading ------------------------------------------------------------------------------

    async def _read(
        self,
        client: ExchangeClient,
        send: "trio.MemorySendChannel[tuple[Job, Answer, float]]",
        looks: trio.Nursery,
    ) -> None:
        work = self._work
        while work.open_jobs:
            held_back = await self._ask(client)
            if self.asked:
                job = self.asked[0]
                bases = work.bases.get(job.file.digest, ())
                answer = await client.chunk(job.index, job.chunk.size, bases)
                self.asked.popleft()
                if answer is None:
                    self.pace.lacks(trio.current_time())
                    self._miss(job, looks)
                    continue
                seconds = self.pace.delivers(trio.current_time())
                self.misses = 0
                self._arrived.append(job)
                await send.send((job, answer, seconds))
                continue
            if held_back:
                await self._turn(client)
                continue
            if not self._arrived:
                self._idle(looks)
            # Nothing to ask now: wait until a chunk is written, another peer gives work back, or one that
            # owes something turns out to be slow.
            with trio.move_on_after(TICK):
                await _either(work.changed, self._room)

    async def _turn(self, client: ExchangeClient) -> None:
        """Wait until the limit on receiving lets one more chunk be asked for, or until the work changes."""
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                await client.turn()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait)
            await self._work.changed.wait()
            nursery.cancel_scope.cancel()

    async def _ask(self, client: ExchangeClient) -> bool:
        """Ask for as many chunks as the peer's pace, everybody's memory and our own limit allow.

        True when it is the limit that allows no more.
        """
        work = self._work
        while self.misses < MISSES_LIMIT:
            now = trio.current_time()
            # What is here and not on disk yet says nothing of the peer; of that there is room for so much.
            if len(self.asked) >= self.pace.window(now):
                return False
            if len(self.asked) + len(self._arrived) >= WINDOW_CHUNKS:
                return False
            if not client.may_ask():
                return True
            left = spare(holder.owed_bytes() for holder in work.holders)
            size = room(self.owed_bytes(), left)
            job = work.take(self.may, size) or work.second(self, self.may, size, now)
            if job is None:
                return False
            self.asked.append(job)
            self.pace.asked(job.chunk.size, now)
            bases = work.bases.get(job.file.digest, ())
            await client.want(job.file.digest, job.index, bases, job.chunk.size)
        return False

    def _miss(self, job: Job, looks: trio.Nursery) -> None:
        """The peer does not have a chunk: ask what it has of this file, and leave the chunk to others."""
        digest = job.file.digest
        self._lacking.add(job)
        held = self._held.get(digest)
        if digest in self._mute or (held is not None and job.index in held):
            self.misses += 1
        elif held is None and digest not in self._looking:
            self._start_looking([job.file], looks)
        self._work.give_back([job])

    def _idle(self, looks: trio.Nursery) -> None:
        """The peer owes nothing and there is nothing to ask of it: NotFoundError when it is of no use."""
        work = self._work
        if self._looking:
            return
        if self.misses >= MISSES_LIMIT:
            raise NotFoundError("does not have these files" if not self._held else "has not what it said")
        growing = [
            jobs[0].file
            for digest, jobs in work.jobs.items()
            if digest in self._held and not self._held[digest].complete and work.left[digest]
        ]
        # Nobody brings what this peer could get from others, unless it has others than we know.
        useless = self._looks >= LOOKS_LIMIT or not any(self._held[file.digest] for file in growing)
        if work.stuck() and useless:
            raise NotFoundError("does not have these files")
        if work.crowded() and not any(self._is_useful(job) for jobs in work.jobs.values() for job in jobs):
            raise NotFoundError("has nothing more just now")
        if growing and trio.current_time() >= self._next_look:
            self._start_looking(growing, looks)

    def _is_useful(self, job: Job) -> bool:
        return self._work.is_open(job) and self.may(job)

    # -- what the peer has -------------------------------------------------------------------------------

    def _start_looking(self, files: Sequence[FileEntry], looks: trio.Nursery) -> None:
        self._looking.update(file.digest for file in files)
        looks.start_soon(self._find_out, files)

    async def _find_out(self, files: Sequence[FileEntry]) -> None:
        """Ask what the peer has of some files; what it was asked for and lacked may have come meanwhile."""
        try:
            found = await self._look(files)
        except NetworkError:
            # Too old to be asked, or just busy: misses tell, then.
            found = [None] * len(files)
        news = False
        for file, bitmap in zip(files, found, strict=True):
            if bitmap is None:
                self._mute.add(file.digest)
                continue
            before = self._held.get(file.digest)
            if before is None or len(bitmap) > len(before):
                news = True
                self._lacking -= set(self._work.jobs[file.digest])
            self._spread(file.digest, -1)
            self._held[file.digest] = bitmap
            self._spread(file.digest, 1)
        self._looks = 0 if news else self._looks + 1
        pause = LOOK_PAUSES[min(self._looks, len(LOOK_PAUSES) - 1)]
        self._next_look = trio.current_time() + pause
        self._looking.difference_update(file.digest for file in files)
        self._work.wake()

    def _spread(self, digest: bytes, step: int) -> None:
        """Count what the peer has of a file, or count it no more."""
        held = self._held.get(digest)
        if held is not None and not held.complete:
            for job in self._work.jobs[digest]:
                if job.index in held:
                    self._work.spread[job] += step

    # -- verifying and writing ---------------------------------------------------------------------------

    async def _write(self, receive: "trio.MemoryReceiveChannel[tuple[Job, Answer, float]]") -> None:
        async with receive:
            async for first in receive:
                # What arrived meanwhile, or arrives soon, is verified and synced with it.
                batch, size = [first], first[0].chunk.size
                with trio.move_on_after(GATHER), suppress(trio.EndOfChannel):
                    while size < BATCH_BYTES and (self.asked or receive.statistics().current_buffer_used):
                        batch.append(await receive.receive())
                        size += batch[-1][0].chunk.size
                await self._settle(batch)
                for job, *_ in batch:
                    self._arrived.remove(job)
                self._room.set()
                self._room = trio.Event()

    async def _settle(self, batch: Sequence[tuple[Job, Answer, float]]) -> None:
        """Verify chunks and keep those of which no copy from elsewhere was the first.

        Raises what is wrong with one after those before it were kept.
        """
        mine = [one for one in batch if self._work.claim(one[0])]
        arrived: list[Arrival] = []
        try:
            for job, answer, seconds in mine:
                base = None if answer.base is None else await self._read_base(answer.base, job.index)
                arrived.append(Arrival(job, answer, seconds, base))
            await self._keep(arrived)
        except BaseException:
            for job, *_ in mine:
                self._work.unclaim(job)
            raise
        for one in arrived:
            if not one.kept:
                self._work.unclaim(one.job)
        wrong = next((one.wrong for one in arrived if one.wrong is not None), None)
        if wrong is not None:
            raise wrong


def verified(arrived: Sequence[Arrival]) -> Iterator[tuple[int, bytes]]:
    """The chunks up to the first wrong one, each verified when its turn comes; blocking."""
    for one in arrived:
        chunk = one.job.chunk
        try:
            one.data = decode_chunk(one.answer.codec, one.answer.blob, chunk.size, chunk.digest, one.base)
        except P2PVoiceError as error:
            one.wrong = error
            return
        yield one.job.index, one.data


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
