"""The few calls to the Linux kernel that the sandbox needs and that Python has no name for.

Only the calls: what is asked of them stands in landlock.py, seccomp.py and limits.py. Follows
specs/sandbox.md.
"""

import ctypes
import os
import platform
import sys

#: Audit names of the architectures whose system calls we know, by the name `uname -m` gives them.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_libc = ctypes.CDLL(None, use_errno=True)


def architecture() -> str:
    """``x86_64`` or ``aarch64`` on a 64-bit Linux that we know; empty on everything else."""
    machine = platform.machine()
    known = sys.platform == "linux" and sys.maxsize > 2**32 and machine in ARCHITECTURES
    return machine if known else ""


def syscall(number: int, *arguments: object) -> int:
    """A system call by its number; raises OSError."""
    found: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return found


def prctl(option: int, argument: int = 0, pointer: object = 0) -> int:
    """prctl(2); raises OSError."""
    second = pointer if pointer else ctypes.c_ulong(0)
    found: int = _libc.prctl(
        ctypes.c_int(option), ctypes.c_ulong(argument), second, ctypes.c_ulong(0), ctypes.c_ulong(0)
    )
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return found


def threads() -> int:
    """Threads of this process; 1 where it cannot be told."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
