"""What a worker gives up that every Unix lets a process give up: privileges, descriptors, memory without end.

These hold on every system, beside Landlock and seccomp or without them. Follows specs/sandbox.md.
"""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

from p2pvoice.node.sandbox.kernel import architecture, prctl, syscall

FILE_BYTES = 16 << 30
"""Largest file a worker may write: the checkpoint of a training at full size has some gigabytes."""

OPEN_FILES = 1024
"""Files a worker may have open."""

THREADS = 16_384
"""Processes and threads of the user, all together, as the kernel counts them. root is not bound by it."""

LEAST_MEMORY = 4 << 30
"""Bytes of memory a worker may ask for even where the machine has less, swapped out if it must be."""

UMASK = 0o077

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_CAP_AMBIENT = 4, 38, 24, 47
CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITIES = 64
"""More than any kernel has; the first one that it does not know ends the loop."""

CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION_3 = 0x20080522


def give_up(*, gpu: bool, file_bytes: int = FILE_BYTES) -> None:
    """Drop privileges and set limits for good. ``gpu``: its driver maps more memory than there is.

    Standard input, output and error stay, and every descriptor above them that can be inherited is closed.
    """
    os.umask(UMASK)
    _close_inherited()
    # A core dump would hold somebody's voice and text.
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, file_bytes)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_NPROC, THREADS)
    if not gpu:
        _lower(resource.RLIMIT_DATA, max(LEAST_MEMORY, machine_memory()))
    if sys.platform == "linux":
        prctl(PR_SET_DUMPABLE, 0)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        _drop_capabilities()


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _lower(kind: int, limit: int) -> None:
    """Lower both limits of a kind; a limit that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (lowest, lowest))


def _close_inherited() -> None:
    """Close what can be inherited; Python's own files cannot, and neither can the pipe to the daemon."""
    for name in os.listdir("/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd"):
        with suppress(OSError):
            if int(name) > 2 and os.get_inheritable(int(name)):
                os.close(int(name))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def _drop_capabilities() -> None:
    """Give up every capability: a daemon that root runs must not hand root's to a worker."""
    with suppress(OSError):
        prctl(PR_CAP_AMBIENT, CAP_AMBIENT_CLEAR_ALL)
    for capability in range(CAPABILITIES):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break
    machine = architecture()
    if machine:
        nothing = (ctypes.c_uint32 * 6)()
        header = _Header(CAPABILITY_VERSION_3, 0)
        syscall(CAPSET[machine], ctypes.byref(header), ctypes.byref(nothing))
