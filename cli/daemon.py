"""Starting and stopping a daemon process from the outside: used by `daemon start|stop` and by the demo.

It knows the daemon as a program (`python -m p2pvoice.node.daemon`) and as a socket, never as code to import.
Ready means that the socket answers `/v1/status`; gone means that the process has ended. Both waits are
bounded. Follows specs/cli.md and specs/home.md.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.amounts import parse_rate
from p2pvoice.protocol.errors import ConflictError, DaemonUnavailableError, P2PVoiceError, UsageError

MODULE = "p2pvoice.node.daemon"
"""What `python -m` runs."""

START_TIMEOUT = 60.0
"""Seconds a daemon may take until its socket answers; a busy small machine needs about five."""

STOP_TIMEOUT = 30.0
"""Seconds a daemon may take to end after it was asked to; then it is told by signal."""

POLL = 0.05
"""Seconds between two looks at a process that is starting or ending."""

PR_SET_PDEATHSIG = 1
"""Linux's prctl number for the signal that a process gets when its parent dies."""

LOG_TAIL = 4096
"""Bytes of its last words that are searched for the reason of a failed start."""


def doors(
    *,
    wyoming: str | None = None,
    wyoming_network: Sequence[str] = (),
    api: int | None = None,
    up: str | None = None,
    down: str | None = None,
) -> list[str]:
    """The daemon's options for the ports that are closed until somebody asks for them, and for its rates.

    ``api`` opens the compatible APIs at that port, -1 at the usual one. UsageError for what is no rate.
    """
    line = [word for network in wyoming_network for word in ("--wyoming-network", network)]
    if wyoming is not None:
        line += ["--wyoming", *([wyoming] if wyoming else [])]
    if api is not None:
        line += ["--api"] if api < 0 else ["--api", str(api)]
    for option, rate in (("--up", up), ("--down", down)):
        if rate is not None:
            line += [option, str(parse_rate(rate))]
    return line


def command(listen: Sequence[str], bootstrap: Sequence[str], doors: Sequence[str] = ()) -> list[str]:
    """The daemon's command line."""
    line = [sys.executable, "-m", MODULE]
    for address in listen:
        line += ["--listen", address]
    for address in bootstrap:
        line += ["--bootstrap", address]
    return [*line, *doors]


def spawn(
    client: Client,
    listen: Sequence[str],
    bootstrap: Sequence[str],
    *,
    doors: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    tied: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a daemon on the client's home; it writes its own log there.

    It gets a session of its own, so that it outlives the terminal and its Ctrl-C. A `tied` one ends with the
    calling process, however that ends (Linux only; elsewhere it is ended by whoever started it).
    """
    home = client.home
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    named = {"P2PVOICE_HOME": str(home.root), "PYTHONUNBUFFERED": "1"}
    # What it says before its log is open, and what a crashing interpreter says, lands beside the log.
    with complaints(client).open("wb") as said:
        return subprocess.Popen(
            command(listen, bootstrap, doors),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            cwd="/",
            env={**os.environ, **(environment or {}), **named},
            preexec_fn=_end_with_parent if tied and sys.platform == "linux" else None,
        )


def complaints(client: Client) -> Path:
    """The file beside the log that holds a background daemon's stdout and stderr."""
    return client.home.root / "daemon.err"


def _end_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the parent dies. Runs in the child, before the daemon does."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def wait_ready(
    client: Client, process: subprocess.Popen[bytes], timeout: float = START_TIMEOUT
) -> dict[str, Any]:
    """The first status the daemon answers with.

    Raises what the log says when the process ends first, DaemonUnavailableError when the time is over.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return client.status()
        except DaemonUnavailableError:
            ended = process.poll()
        if ended is not None:
            raise failure(complaints(client), ended)
        if time.monotonic() > deadline:
            raise DaemonUnavailableError(
                f"the daemon did not answer within {timeout:.0f} s", hint=f"its log: {client.home.log}"
            )
        time.sleep(POLL)


def failure(said: Path, code: int) -> P2PVoiceError:
    """Why a daemon ended at its start, from its own last `error:` and `hint:` lines."""
    with said.open("rb") as opened:
        opened.seek(max(0, said.stat().st_size - LOG_TAIL))
        lines = opened.read().decode("utf-8", "replace").splitlines()
    message = next((line.split("error:", 1)[1].strip() for line in reversed(lines) if "error:" in line), "")
    hint = next(
        (line.split("hint:", 1)[1].strip() for line in reversed(lines) if line.startswith("hint:")), ""
    )
    kinds: dict[int, type[P2PVoiceError]] = {one.exit_code: one for one in (ConflictError, UsageError)}
    kind = kinds.get(code, P2PVoiceError)
    return kind(
        message or f"the daemon ended at once with exit code {code}", hint=hint or f"what it said: {said}"
    )


def stop(client: Client, timeout: float = STOP_TIMEOUT) -> int:
    """Ask the daemon to stop and wait until its process is gone; returns its process id.

    Raises DaemonUnavailableError when none runs.
    """
    pid = int(client.status()["pid"])
    with contextlib.suppress(DaemonUnavailableError):  # it may be gone before its answer is read
        client.shutdown()
    deadline = time.monotonic() + timeout
    while is_running(pid):
        if time.monotonic() > deadline:
            raise P2PVoiceError(
                f"the daemon (process {pid}) was asked to stop and still runs",
                hint=f"kill {pid}",
            )
        time.sleep(POLL)
    return pid


def end(process: subprocess.Popen[bytes], timeout: float = STOP_TIMEOUT) -> None:
    """End a daemon that we started ourselves, politely first; returns when it is gone."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def is_running(pid: int) -> bool:
    """Whether a process runs. A zombie, which only waits for its parent to ask, runs no more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z"
