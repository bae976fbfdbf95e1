"""The daemon's side of a worker process: starts it when first needed, one request at a time.

Workers are the only processes of a node that load torch: one speaks, one trains. A worker starts on first
use, ends after some idle time, and when it dies only the request it was working on fails: the next one
starts a new worker. A cancelled request is cancelled in the worker, and a worker that does not let go in
time is killed. Not for how a process is started and spoken to (process.py), nor for what the requests mean
(worker.py). Follows specs/worker.md.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node import jobs, written
from p2pvoice.node.config import WorkerConfig
from p2pvoice.node.process import Launch, WorkerGone, WorkerProcess, resident_bytes
from p2pvoice.node.sandbox.room import Room
from p2pvoice.protocol.errors import (
    BugError,
    DiskFullError,
    P2PVoiceError,
    SynthesisError,
    WorkerDiedError,
    from_dict,
)

log = logging.getLogger("p2pvoice.engine")

#: Seconds a cancelled request gets to end in the worker before the worker is killed.
CANCEL_GRACE = 10.0

#: Seconds the worker gets to leave when its stdin was closed.
EXIT_GRACE = 5.0

#: Seconds for either when the daemon stops: whoever stopped it is waiting.
HURRIED_GRACE = 0.2

#: Requests that may wait for the worker; more are turned away.
WAITING_LIMIT = 64

OnProgress = Callable[[Mapping[str, Any]], Awaitable[None]]
OnPiece = Callable[[bytes], Awaitable[None]]


class Engine:
    """A worker process, when there is one.

    ``nice`` is how far it stands back behind everything else on the machine, ``grace`` the seconds a
    cancelled request gets (None: CANCEL_GRACE). ``room`` is what it may see; without one it is not held in.
    ``scratch`` is the one folder it may always write, emptied before each start.
    """

    def __init__(
        self,
        config: WorkerConfig,
        log_path: Path,
        *,
        nice: int = 0,
        grace: float | None = None,
        room: Room | None = None,
        scratch: Path | None = None,
    ) -> None:
        self._idle_seconds = config.idle_seconds
        self._launch = Launch(config, log_path, nice, room or Room("off"), scratch)
        self._grace = grace
        self._writes: tuple[str, ...] = ()
        self._greeted = False
        self._hurried = False
        #: Why the worker was ended over what it wrote; empty as long as it was not.
        self._excess = ""
        #: What the newest worker said of its sandbox; None before the first one said anything.
        self.sandbox: dict[str, Any] | None = None
        self._process: WorkerProcess | None = None
        self._turn = trio.Lock()
        self._waiting = 0
        self._next_id = 1
        self._last_used = trio.current_time()
        self._used = trio.Event()
        self._unneeded: set[str] = set()
        self._removed = trio.Event()
        self.starts = 0

    @property
    def state(self) -> str:
        """``stopped``, ``idle`` or ``busy``."""
        if self._process is None or not self._process.running:
            return "stopped"
        return "busy" if self._turn.locked() else "idle"

    @property
    def scratch(self) -> Path:
        """The folder that the worker may write: what a request leaves there is moved away afterwards."""
        if self._launch.scratch is None:
            raise BugError("this worker was given no folder to write in")
        return self._launch.scratch

    @property
    def pid(self) -> int | None:
        """The worker's process id, while it runs."""
        return self._process.pid if self._process is not None and self._process.running else None

    def rss(self) -> int:
        """The worker's resident memory in bytes; 0 when it does not run."""
        return resident_bytes(self.pid) if self.pid is not None else 0

    async def call(
        self,
        operation: str,
        arguments: Mapping[str, Any],
        *,
        on_progress: OnProgress | None = None,
        on_piece: OnPiece | None = None,
        writes: Sequence[Path] = (),
        again: bool = False,
    ) -> dict[str, Any]:
        """Have the worker do something and return its result.

        Requests are served in the order in which they come. ``again`` says that this is a further turn of one
        that was let in before, which is not turned away, however many wait.
        ``writes`` are folders that this request may write, beside the scratch folder. A sandbox is never
        widened, so a worker that was started for other folders leaves first. Raises what the worker raised,
        PolicyError when it may not run without a sandbox that cannot be had, or WorkerDiedError when it died
        over this request. Cancelling the call cancels the work.
        """
        if self._waiting >= WAITING_LIMIT and not again:
            raise SynthesisError("too many requests are waiting for the worker", hint="try again later")
        self._waiting += 1
        try:
            async with self._turn:
                try:
                    await self._prepare(tuple(map(str, writes)))
                    return await self._work(operation, arguments, on_progress, on_piece)
                finally:
                    self._last_used = trio.current_time()
                    self._used.set()
        finally:
            self._waiting -= 1

    def forget(self, key: str) -> None:
        """Have the worker drop a voice that is not there any more, as soon as it has time for that."""
        self._unneeded.add(key)
        self._removed.set()

    async def _work(
        self,
        operation: str,
        arguments: Mapping[str, Any],
        on_progress: OnProgress | None,
        on_piece: OnPiece | None,
    ) -> dict[str, Any]:
        process = await self._ready()
        if not self._greeted:
            await self._greet(process)
        request = jobs.Request(self._next_id, operation, dict(arguments))
        self._next_id += 1
        answered = False
        try:
            await process.send(request)
            while True:
                answer = await process.receive()
                if isinstance(answer, jobs.Hello) or answer.id != request.id:
                    raise WorkerGone
                match answer:
                    case jobs.Result(data=data):
                        answered = True
                        return data
                    case jobs.Failure(error=error):
                        answered = True
                        raise from_dict(error)
                    case jobs.Progress(data=data):
                        if on_progress is not None:
                            await on_progress(data)
                    case jobs.Piece(data=piece):
                        if on_piece is not None:
                            await on_piece(piece)
        except WorkerGone:
            answered = True
            await self._kill(process)
            log.error("the worker died", extra={"operation": operation, "returncode": process.returncode})
            if self._excess:
                raise DiskFullError(f"the worker was ended: {self._excess}") from None
            raise WorkerDiedError(
                f"the worker process died while it worked on this ({process.ending})"
            ) from None
        finally:
            # Cancelled, or a callback failed: the pipe still holds the rest of this request's answers.
            if not answered:
                await self._let_go(process, request)

    async def _prepare(self, writes: tuple[str, ...]) -> None:
        """Make sure that a worker which runs may write these folders, and make room for one that will."""
        if self.pid is not None and writes == self._writes:
            return
        await self._end()
        self._writes = writes
        await self._launch.empty_scratch()

    async def _greet(self, process: WorkerProcess) -> None:
        """Hear what the worker says of its sandbox; raises its error when it refuses to run without one."""
        try:
            answer = await process.receive()
        except WorkerGone:
            await self._kill(process)
            raise WorkerDiedError(f"the worker did not start ({process.ending})") from None
        if isinstance(answer, jobs.Hello):
            self.sandbox, self._greeted = answer.sandbox, True
            log.log(
                logging.INFO if not answer.sandbox["missing"] else logging.WARNING,
                "the worker's sandbox",
                extra=answer.sandbox,
            )
            return
        await self._kill(process)
        if isinstance(answer, jobs.Failure):
            raise from_dict(answer.error)
        raise WorkerDiedError("the worker did not say what it is")

    async def _ready(self) -> WorkerProcess:
        if self._process is not None and self._process.running:
            return self._process
        self.starts += 1
        self._greeted, self._excess = False, ""
        self._process = await self._launch.start(self._writes)
        return self._process

    async def _let_go(self, process: WorkerProcess, request: jobs.Request) -> None:
        """End a request that nobody waits for any more, kindly if the worker lets us."""
        with trio.CancelScope(deadline=trio.current_time() + self._patience, shield=True):
            try:
                await process.send(jobs.Cancel(request.id))
                while not isinstance(await process.receive(), jobs.Result | jobs.Failure):
                    pass
                return
            except WorkerGone:
                pass
        with trio.CancelScope(shield=True):
            await self._kill(process)

    async def _kill(self, process: WorkerProcess) -> None:
        if process.running:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        if self._process is process:
            self._process = None

    async def run(self) -> None:
        """Watch over the worker until cancelled: end it when it was idle long enough, and at the end.

        One that writes more than it may is ended at once, whatever it was doing.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_writing)
            nursery.start_soon(self._watch_removing)
            await self._watch_idling()

    async def _watch_writing(self) -> None:
        while True:
            await trio.sleep(written.LOOK_SECONDS)
            process = self._process
            if process is None or not process.running or not self._turn.locked():
                continue
            folders = [Path(folder) for folder in self._launch.room_with(self._writes).writes]
            self._excess = await trio.to_thread.run_sync(written.too_much, folders)
            if self._excess:
                log.error("the worker wrote too much", extra={"pid": process.pid, "reason": self._excess})
                process.kill()

    async def _watch_removing(self) -> None:
        while True:
            await self._removed.wait()
            self._removed = trio.Event()
            keys, self._unneeded = self._unneeded, set()
            for key in keys:
                # One that does not run holds nothing, and one that dies lets go of everything.
                if self.pid is not None:
                    with suppress(P2PVoiceError):
                        await self.call("forget", {"key": key}, again=True)

    async def _watch_idling(self) -> None:
        try:
            while True:
                await self._used.wait()
                due = self._last_used + self._idle_seconds
                if trio.current_time() < due:
                    await trio.sleep_until(due)
                    continue
                if self._turn.locked():
                    self._used = trio.Event()
                    continue
                self._used = trio.Event()
                await self.unload()
        finally:
            # A request that is being cancelled gets its time: a training writes a checkpoint in it.
            with trio.CancelScope(shield=True):
                with trio.move_on_after(self._patience):
                    await self._turn.acquire()
                await self._end()

    def hurry(self) -> None:
        """The daemon stops: from now on a worker gets little time to let go, unless it was promised more."""
        self._hurried = True

    @property
    def _patience(self) -> float:
        if self._hurried and self._grace is None:
            return HURRIED_GRACE
        return CANCEL_GRACE if self._grace is None else self._grace

    async def unload(self) -> None:
        """End the worker, once the requests before this one are done; the next request starts another."""
        async with self._turn:
            await self._end()

    async def _end(self) -> None:
        process = self._process
        self._process = None
        if process is None or not process.running:
            return
        await process.leave(HURRIED_GRACE if self._hurried else EXIT_GRACE)
        log.info("the worker ended", extra={"pid": process.pid})
