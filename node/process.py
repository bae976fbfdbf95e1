"""A worker process as its daemon holds it: started in its room, frames in and out, its end.

What it may see and write is settled before it runs. Not for what it is asked, nor for when one is needed:
see engine.py. What runs inside of it is worker.py. Follows specs/worker.md.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from p2pvoice.node import jobs
from p2pvoice.node.config import WorkerConfig
from p2pvoice.node.sandbox.environment import worker_environment
from p2pvoice.node.sandbox.room import Room

log = logging.getLogger("p2pvoice.engine")

#: Bytes read from the worker at a time.
READ_SIZE = 256 * 1024

PIPE_ERRORS = (trio.BrokenResourceError, trio.ClosedResourceError)


class WorkerGone(Exception):
    """The worker's end of the pipe closed, or it said something that makes no sense."""


class WorkerProcess:
    """One worker process that was started. Used by one task at a time, but for :meth:`kill`."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = bytearray()

    @property
    def pid(self) -> int:
        """Its process id, also after its end."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """How it ended, negative for a signal; None as long as it runs."""
        return self._process.returncode

    @property
    def ending(self) -> str:
        """How it ended, for people."""
        code = self.returncode
        if code is None:
            return "it vanished"
        if code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    async def send(self, message: jobs.ToWorker) -> None:
        """Write one frame; raises WorkerGone."""
        assert self._process.stdin is not None
        # Half a frame would put the two sides out of step, so a cancellation waits until it is whole.
        with trio.CancelScope(shield=True):
            try:
                await self._process.stdin.send_all(jobs.frame(message))
            except PIPE_ERRORS as error:
                raise WorkerGone from error

    async def receive(self) -> jobs.FromWorker:
        """Read one frame; raises WorkerGone."""
        try:
            await self._fill(jobs.LENGTH.size)
            end = jobs.LENGTH.size + jobs.body_length(bytes(self._buffer[: jobs.LENGTH.size]))
            await self._fill(end)
            answer = jobs.read_answer(bytes(self._buffer[jobs.LENGTH.size : end]))
        except (ValueError, msgspec.MsgspecError, *PIPE_ERRORS) as error:
            raise WorkerGone from error
        del self._buffer[:end]
        return answer

    async def _fill(self, count: int) -> None:
        """Read until the buffer holds ``count`` bytes. What was read stays there when this is cancelled."""
        assert self._process.stdout is not None
        while len(self._buffer) < count:
            piece = await self._process.stdout.receive_some(READ_SIZE)
            if not piece:
                raise WorkerGone
            self._buffer += piece

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    async def leave(self, grace: float) -> None:
        """Close its stdin, upon which it leaves; kill it when it has not after ``grace`` seconds."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        with trio.move_on_after(grace):
            await self.wait()
        if self.running:
            self.kill()
            await self.wait()


@dataclass(frozen=True)
class Launch:
    """How the worker processes of one engine are started.

    ``nice`` is how far they stand back behind everything else on the machine. ``room`` is what they may see;
    ``scratch`` the one folder they may always write.
    """

    config: WorkerConfig
    log_path: Path
    nice: int
    room: Room
    scratch: Path | None

    def room_with(self, writes: tuple[str, ...]) -> Room:
        """The room of a worker that may write these folders, too."""
        scratch = (str(self.scratch),) if self.scratch is not None else ()
        return msgspec.structs.replace(self.room, writes=(*self.room.writes, *scratch, *writes))

    async def empty_scratch(self) -> None:
        """Make the scratch folder anew, if there is one; while no worker runs."""
        if self.scratch is not None:
            await trio.to_thread.run_sync(empty, self.scratch)

    async def start(self, writes: tuple[str, ...]) -> WorkerProcess:
        """Start a worker that may write these folders, too. What it says first is for the caller to hear."""
        environment = worker_environment(os.environ)
        if self.scratch is not None:
            environment |= dict.fromkeys(("HOME", "TMPDIR"), str(self.scratch))
        if self.config.threads:
            environment["OMP_NUM_THREADS"] = str(self.config.threads)
        # -P: the folder a process starts in is no place to import from, and `/` is nothing to let it see.
        command = [sys.executable, "-P", "-m", "p2pvoice.node.worker", "--voices", str(self.config.voices)]
        command += ["--precision", self.config.precision]
        command += ["--room", self.room_with(writes).to_json()]
        if self.nice:
            command += ["--nice", str(self.nice)]
        with self.log_path.open("ab") as errors:
            # Its own session: Ctrl-C reaches the daemon alone, which then stops the worker in order.
            process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env=environment,
                cwd="/",
            )
        log.info("the worker started", extra={"pid": process.pid})
        return WorkerProcess(process)


def empty(folder: Path) -> None:
    """Make a folder anew; blocking."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process in bytes; 0 when it cannot be told."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
