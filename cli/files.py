"""Writing what the daemon sent where the user asked. Follows specs/cli.md."""

import os
import sys
from pathlib import Path

from p2pvoice.protocol.errors import UsageError


def check_output(target: Path) -> None:
    """UsageError when a file cannot be written there, before anybody works for it."""
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}", hint=f"mkdir -p {target.parent}")


def write_output(target: Path, data: bytes) -> None:
    """Write data to a file, or to stdout for `-`.

    A regular file appears whole or not at all: a player must never meet half a clip, nor the user lose the
    old one to a full disk. Raises OSError, which the command line reports by its file name.
    """
    if str(target) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    if target.exists() and not target.is_file():  # /dev/null, a pipe: nothing to protect
        target.write_bytes(data)
        return
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data)
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
