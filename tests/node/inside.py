"""Runs in a process of its own: enters a worker's room, or not, and tries what a worker must not do.

Arguments: the room as JSON, or `free`; facts of the test as JSON. Prints one JSON object: attempt -> `done`,
or the name of the errno it ended with.
"""

import ctypes
import errno
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pvoice.node.sandbox.room import Room, enter

PTRACE_SEIZE = 0x4206
PR_GET_DUMPABLE = 3

libc = ctypes.CDLL(None, use_errno=True)


def checked(found: int) -> None:
    if found < 0:
        raise OSError(ctypes.get_errno(), "refused")


def connect(family: int, address: Any, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(family, kind) as made:
        made.connect(address)
        if kind == socket.SOCK_DGRAM:
            made.send(b"x")


def fork() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def write(path: Path, data: bytes = b"x") -> None:
    with path.open("ab", buffering=0) as file:
        file.write(data)


def ptrace(pid: int) -> None:
    checked(libc.ptrace(PTRACE_SEIZE, pid, None, None))


def peek(pid: int) -> None:
    """Read some memory of a process; that it has none at this address is found after the permission."""
    libc.process_vm_readv.restype = ctypes.c_ssize_t
    here = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(here), 8)
    checked(libc.process_vm_readv(pid, vector, 1, vector, 1, 0))


def exhaust(path: Path, limit: int) -> None:
    with path.open("wb", buffering=0) as file:
        assert file.write(bytes(limit)) == limit
        if file.write(b"x") != 1:
            raise OSError(errno.EFBIG, "cut off")


def thread() -> None:
    began = threading.Thread(target=lambda: None)
    began.start()
    began.join()


def attempts(facts: dict[str, Any], victim: int) -> dict[str, Callable[[], object]]:
    home, scratch, outside = Path(facts["home"]), Path(facts["scratch"]), Path(facts["outside"])
    daemon = int(facts["daemon"])
    drafted = home / "drafts" / "storyteller" / "bundle"
    return {
        "read the author's key": (home / "keys" / "author.key").read_bytes,
        "read the peer's key": (home / "keys" / "peer.key").read_bytes,
        "read the catalog": (home / "catalog.sqlite").read_bytes,
        "read the store's index": (home / "store" / "index.sqlite").read_bytes,
        "read the log": (home / "daemon.log").read_bytes,
        "list the home": lambda: os.listdir(home),
        "list the user's home": lambda: os.listdir(facts["user"]),
        "list the root": lambda: os.listdir("/"),
        "read /etc/passwd": Path("/etc/passwd").read_bytes,
        "read the daemon's environment": Path(f"/proc/{daemon}/environ").read_bytes,
        "connect to the rpc": lambda: connect(socket.AF_UNIX, str(home / "rpc.sock")),
        "connect to an abstract socket": lambda: connect(socket.AF_UNIX, facts["abstract"]),
        "connect by tcp": lambda: connect(socket.AF_INET, ("127.0.0.1", facts["tcp"])),
        "send by udp": lambda: connect(socket.AF_INET, ("127.0.0.1", facts["tcp"]), socket.SOCK_DGRAM),
        "make a pair of sockets": lambda: [one.close() for one in socket.socketpair()],
        "signal the daemon": lambda: os.kill(daemon, 0),
        "change the daemon's limits": lambda: resource.prlimit(daemon, resource.RLIMIT_NOFILE),
        "read a process's memory": lambda: peek(victim),
        "trace a process": lambda: ptrace(victim),
        "fork": fork,
        "start a program": lambda: subprocess.run(["/bin/true"], check=True),
        "become a program": lambda: os.execv("/nonexistent", ["x"]),
        "write beside the home": lambda: write(outside / "new"),
        "write a draft": lambda: write(drafted / "voice.json", b" "),
        "write a voice": lambda: write(home / "voices" / "new"),
        "write a base": lambda: write(home / "bases" / "new"),
        "link to a key": lambda: (scratch / "link").symlink_to(home / "keys" / "author.key"),
        "take a key by a second name": lambda: os.link(home / "keys" / "author.key", scratch / "hard"),
        "move a draft out": lambda: os.rename(drafted / "preview.txt", scratch / "moved"),
        "open a key to all": lambda: (home / "keys" / "author.key").chmod(0o600),
        "touch a key": lambda: os.utime(home / "keys" / "author.key"),
        "make a pipe with a name": lambda: os.mkfifo(scratch / "pipe"),
        "write past the cap": lambda: exhaust(scratch / "large", facts["cap"]),
        # What must go on working.
        "may: write the scratch folder": lambda: write(scratch / "new"),
        "may: move within it": lambda: os.rename(scratch / "new", scratch / "newer"),
        "may: remove within it": lambda: os.unlink(scratch / "newer"),
        "may: read a draft": (drafted / "voice.json").read_bytes,
        "may: start a thread": thread,
        "may: read about itself": Path("/proc/self/status").read_bytes,
        "may: read the clock of an open file": lambda: os.utime(sys.stdout.fileno()),
    }


def main() -> None:
    room, facts = sys.argv[1], json.loads(sys.argv[2])
    # A child of this process: tracing it is allowed wherever tracing is.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim:
        found: dict[str, Any] = {}
        if room != "free":
            found["in force"] = enter(Room.from_json(room)).to_dict()
            found["status"] = dict(
                line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
            )
            found["limits"] = {
                name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
                for name in ("CORE", "FSIZE", "NOFILE", "NPROC", "DATA")
            }
            found["dumpable"] = libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
        for name, attempt in attempts(facts, victim.pid).items():
            try:
                attempt()
                found[name] = "done"
            except OSError as error:
                found[name] = errno.errorcode[error.errno or 0]
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
