"""The text of a systemd user unit that runs this node's daemon, and where it lies.

It writes and removes one file and runs nothing: the manager is asked by the user, with the commands that are
printed. Not for starting a daemon by hand: see daemon.py. Follows specs/daemon.md, "Service".
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from p2pvoice.cli.daemon import MODULE
from p2pvoice.protocol.errors import ConflictError, NotFoundError, UsageError

NAME = "p2pvoice.service"

MARK = "# Written by `p2pvoice daemon install`; `p2pvoice daemon uninstall` removes it."
"""The first line of a unit of ours; a file without it is somebody else's and is left alone."""

STOP_SECONDS = 40
"""Seconds the manager waits: a training gets 20 for its checkpoint, and the rest 2."""

HARDENING = (
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictNamespaces=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures=native",
    "UMask=0077",
    "LimitCORE=0",
)
"""What a user's manager can take away without a namespace. Not MemoryDenyWriteExecute: torch makes code as it
runs. What holds a stranger's voice is the worker's own sandbox."""


def place() -> Path:
    """Where a user's units are."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".config") / "systemd" / "user" / NAME


def unit(
    home: Path, listen: Sequence[str] = (), bootstrap: Sequence[str] = (), doors: Sequence[str] = ()
) -> str:
    """The unit's text for the daemon of a home. Raises UsageError for what cannot stand on one line."""
    line = [sys.executable, "-m", MODULE, "--home", str(home)]
    for option, values in (("--listen", listen), ("--bootstrap", bootstrap)):
        for value in values:
            line += [option, value]
    line += doors
    hardening = "\n".join(HARDENING)
    return f"""{MARK}
[Unit]
Description=p2pvoice node
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={" ".join(quoted(word) for word in line)}
Restart=on-failure
RestartSec=5
KillMode=mixed
TimeoutStopSec={STOP_SECONDS}
{hardening}

[Install]
WantedBy=default.target
"""


def quoted(word: str) -> str:
    """A word as systemd reads it back: quotes and backslashes, and its own % and $."""
    if not word.isprintable():
        raise UsageError(f"{word!a} cannot stand in a unit")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def install(text: str) -> Path:
    """Write the unit; an older one of ours is replaced. Raises ConflictError when it is somebody else's."""
    path = place()
    if path.exists() and not is_ours(path):
        raise ConflictError(
            f"{path} was not written by p2pvoice", hint=f"look at it, and move it away: {path}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = path.with_name(path.name + ".part")
    growing.write_text(text)
    growing.replace(path)
    return path


def uninstall() -> Path:
    """Remove our unit. Raises NotFoundError when there is none, ConflictError when it is somebody else's."""
    path = place()
    if not path.exists():
        raise NotFoundError("no service is installed", hint="p2pvoice daemon install")
    if not is_ours(path):
        raise ConflictError(f"{path} was not written by p2pvoice", hint=f"remove it by hand: rm {path}")
    path.unlink()
    return path


def is_ours(path: Path) -> bool:
    """Whether a unit begins with our mark."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline(1000).rstrip("\n") == MARK
