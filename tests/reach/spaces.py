"""Network namespaces of a test: made, entered, and taken away with everything in them whatever happens.

Needs root, ``ip`` and /dev/net/tun. Nothing touches the machine's own network: every interface lives in a
namespace of its own. A guardian process takes them away even when the test is killed. Not for what lies
between namespaces (link.py) nor for what is built of them (internet.py).
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PREFIX = "p2pv"


def missing(*programs: str) -> str:
    """What namespaces and these programs need and do not have here; "" when all is there."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("ip", *programs):
        if shutil.which(program) is None:
            return f"needs {program}"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    name = f"{PREFIX}{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"no namespaces here: {made.stderr.strip()}"
    run("ip", "netns", "del", name)
    return ""


def run(*command: str) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@dataclass(frozen=True)
class Spaces:
    """The namespaces that stand, by their short names."""

    mark: str

    def space(self, name: str) -> str:
        return f"{self.mark}{name}"

    def inside(self, name: str, *command: str) -> None:
        """Run a command in a namespace."""
        run("ip", "netns", "exec", self.space(name), *command)

    def prefix(self, name: str) -> list[str]:
        """What a command line begins with to run in a namespace."""
        return ["ip", "netns", "exec", self.space(name)]


@contextlib.contextmanager
def spaces(names: Sequence[str]) -> Iterator[Spaces]:
    """Make these namespaces, with a loopback each; take everything away at the end."""
    _sweep()
    found = Spaces(f"{PREFIX}{os.getpid()}-")
    guardian = subprocess.Popen(
        [sys.executable, __file__, found.mark], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        for name in names:
            run("ip", "netns", "add", found.space(name))
            found.inside(name, "ip", "link", "set", "lo", "up")
        yield found
    finally:
        _delete(found.mark)
        guardian.communicate()


def _sweep() -> None:
    """Take away what runs that were killed together with their guardian have left."""
    for name in _spaces():
        number = name[len(PREFIX) :].partition("-")[0]
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            _delete(f"{PREFIX}{number}-")


def _spaces() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith(PREFIX)]


def _delete(mark: str) -> None:
    """End what still runs in the namespaces of this mark, and delete them."""
    for name in _spaces():
        if not name.startswith(mark):
            continue
        found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout
        for pid in found.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


if __name__ == "__main__":
    # The guardian of a mark: it ends when whoever started it closes the pipe, or is gone.
    sys.stdin.read()
    _delete(sys.argv[1])
