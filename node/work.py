"""The chunks that a fetch has to bring, shared by the tasks of its peers: who takes which, and when twice.

A chunk waits, or is owed by one peer, or, at the end, by two; it is kept once. Chunks wait in a random order
within their file, the header first, and those go first that the fewest partial holders have, so that several
who fetch the same file complete each other. Single-threaded; nothing here touches the network. Follows
specs/exchange.md, "Fetching".
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from p2pvoice.node.pacing import Pace, worth_a_second
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.manifest import FileEntry


@dataclass(frozen=True, eq=False)
class Job:
    """One chunk to fetch; there is one job for each, so that jobs are compared by being the same."""

    file: FileEntry
    index: int
    chunk: Chunk


class Holder(Protocol):
    """A peer at work, as the others see it."""

    pace: Pace
    asked: deque[Job]

    def outstanding(self) -> list[Job]:
        """Jobs this peer took and did not finish."""

    def owed_bytes(self) -> int:
        """Bytes of these jobs."""


@dataclass
class Work:
    """What is left to do. ``crowded`` says whether providers wait for a place."""

    crowded: Callable[[], bool] = lambda: False
    chance: random.Random = field(default_factory=random.Random)
    pending: deque[Job] = field(default_factory=deque)
    #: Chunks not written yet: of each file, and of all.
    left: Counter[bytes] = field(default_factory=Counter)
    open_jobs: int = 0
    #: By digest of a file: all its jobs, and files held here that its chunks may come as deltas to.
    jobs: dict[bytes, list[Job]] = field(default_factory=dict)
    bases: dict[bytes, Sequence[bytes]] = field(default_factory=dict)
    #: How many partial holders at work have a chunk.
    spread: Counter[Job] = field(default_factory=Counter)
    holders: list[Holder] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)
    _done: set[Job] = field(default_factory=set)

    def add(self, file: FileEntry, missing: Iterable[int], bases: Sequence[bytes]) -> None:
        """Add the missing chunks of a file."""
        jobs = [Job(file, index, file.chunks[index]) for index in missing]
        # From a place drawn by chance and in order, two could go in step and fetch the same.
        self.chance.shuffle(jobs)
        jobs.sort(key=lambda job: job.index != 0)
        self.jobs[file.digest], self.bases[file.digest] = jobs, bases
        self.pending.extend(jobs)
        self.left[file.digest] = len(jobs)
        self.open_jobs += len(jobs)

    def take(self, may: Callable[[Job], bool], room: int) -> Job | None:
        """The job for a peer that may be asked for it and has room: the rarest, the first of equals."""
        best, rank = -1, 0
        for position, job in enumerate(self.pending):
            if (best < 0 or self.spread[job] < rank) and job.chunk.size <= room and may(job):
                best, rank = position, self.spread[job]
                if not rank:
                    break
        if best < 0:
            return None
        job = self.pending[best]
        del self.pending[best]
        return job

    def second(self, me: Holder, may: Callable[[Job], bool], room: int, now: float) -> Job | None:
        """A job that somebody slower owes, and that is worth asking ``me`` for, too: the longest awaited."""
        mine, found, longest = me.outstanding(), None, 0.0
        owed = Counter(job for holder in self.holders for job in holder.asked)
        for holder in self.holders:
            if holder is me:
                continue
            ahead, best = 0, holder.pace.best(now)
            for job in holder.asked:
                ahead += job.chunk.size
                if ahead / max(best, 1.0) <= longest or owed[job] > 1 or job in mine or job in self._done:
                    continue
                if job.chunk.size > room or not may(job):
                    continue
                if worth_a_second(ahead, best, job.chunk.size, me.pace.rate):
                    found, longest = job, ahead / max(best, 1.0)
        return found

    def claim(self, job: Job) -> bool:
        """Whether a verified copy is the first: then it is to be kept, else it is dropped."""
        if job in self._done:
            return False
        self._done.add(job)
        return True

    def unclaim(self, job: Job) -> None:
        """It could not be kept after all."""
        self._done.discard(job)

    def is_open(self, job: Job) -> bool:
        """Whether no verified copy has come yet."""
        return job not in self._done

    def stuck(self) -> bool:
        """Whether every job left is waiting, that is, no peer is working on any."""
        return len(self.pending) == self.open_jobs

    def give_back(self, jobs: Sequence[Job]) -> None:
        """Put jobs back to the front, for somebody else, unless they are done or another peer owes them."""
        owed = {job for holder in self.holders for job in holder.outstanding()}
        back = [job for job in jobs if job not in owed and job not in self._done]
        if back:
            self.pending.extendleft(reversed(back))
            self.wake()

    def wake(self) -> None:
        """Let every peer's task look again."""
        self.changed.set()
        self.changed = trio.Event()
