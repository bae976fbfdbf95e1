"""Running the command line as a user does: as a process, with a home of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.cli import daemon
from p2pvoice.node.rpc.client import Client

#: Seconds any one command of a test may take before the test fails instead of hanging.
COMMAND_TIMEOUT = 300


@dataclass(frozen=True)
class Ran:
    """What a finished command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Ran]


@pytest.fixture
def p2pvoice(home: Path) -> Command:
    """Run `p2pvoice …` on the test's home and return exit code, stdout and stderr."""

    def run(*words: str, stdin: bytes | None = None, cwd: Path | None = None, **environment: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "p2pvoice.cli.main", *words],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=COMMAND_TIMEOUT,
            cwd=cwd or home,
            env={**os.environ, "P2PVOICE_HOME": str(home), **environment},
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def running(home: Path) -> Iterator[Client]:
    """A real daemon on the test's home, on loopback; ended after the test."""
    client = Client(home)
    process = daemon.spawn(client, ["/ip4/127.0.0.1/tcp/0"], [])
    try:
        daemon.wait_ready(client, process)
        yield client
    finally:
        daemon.end(process)
