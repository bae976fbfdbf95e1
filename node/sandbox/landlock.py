"""Landlock: which files the process may open from now on, and no TCP, no abstract socket, no foreign signal.

Rules only ever take away, for this thread and all that it starts, so they are applied while there is one
thread. What a kernel does not know yet is left out; the number returned says how much it knew. Not for which
files those are: see room.py. Follows specs/sandbox.md.
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from p2pvoice.node.sandbox.kernel import architecture, syscall

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls; the numbers are the same on every architecture we know."""

VERSION_FLAG = 1
"""Asks create_ruleset for the version of the interface instead of a ruleset."""

PATH_BENEATH = 1
"""The kind of rule that speaks of a file hierarchy."""

WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

FILES_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Everything that can be forbidden of files, from a version of the interface on."""

TCP_BIND_CONNECT = 0b11
"""Forbidden without exception, from version 4 on."""

SCOPES = 0b11
"""Abstract unix sockets and signals stay within the sandbox, from version 6 on."""

READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER
"""Neither grants executing, nor making links, sockets, pipes or devices."""

DEVICE = READ_FILE | WRITE_FILE | IOCTL_DEV
FILE_RIGHTS = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
"""What may be granted of something that is no folder."""


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of Landlock that the kernel speaks; 0 when it has none or it is turned off."""
    if not architecture():
        return 0
    try:
        return syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION_FLAG))
    except OSError:
        return 0


def restrict(reads: Iterable[Path], writes: Iterable[Path], devices: Iterable[Path]) -> int:
    """Leave this process only these files and folders, and what lies in them; what is not there is left out.

    ``devices`` may be read, written and spoken to by ioctl. ``no_new_privs`` must be set. Returns the version
    of the interface, 0 when nothing was restricted because the kernel cannot. Raises OSError when it can but
    does not.
    """
    found = version()
    if not found:
        return 0
    files = FILES_BY_VERSION[max(one for one in FILES_BY_VERSION if one <= found)]
    rules = _Ruleset(files, TCP_BIND_CONNECT if found >= 4 else 0, SCOPES if found >= 6 else 0)
    size = 8 if found < 4 else 16 if found < 6 else 24
    ruleset = syscall(CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for paths, rights in ((reads, READ), (writes, WRITE), (devices, DEVICE)):
            for path in paths:
                _grant(ruleset, path, rights & files)
        syscall(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return found


def _grant(ruleset: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= FILE_RIGHTS
        rule = _PathBeneath(rights, opened)
        syscall(
            ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
    finally:
        os.close(opened)
