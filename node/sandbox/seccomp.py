"""A seccomp filter: system calls that a worker has no use for fail with EPERM, and nobody is killed.

It is a list of what is forbidden, not of what is allowed: torch, its threads and a graphics driver use too
many calls to list them all, and would break with every release. Files are Landlock's business. A call of
another architecture's numbering fails, too. Follows specs/sandbox.md.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from p2pvoice.node.sandbox.kernel import ARCHITECTURES, architecture, prctl
from p2pvoice.node.sandbox.syscalls import FORBIDDEN, number

PR_SET_SECCOMP = 22
MODE_FILTER = 2

LOAD, JUMP_EQUAL, JUMP_GREATER_OR_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Classic BPF: load a word of the call's data, compare it with a constant, end."""

NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
"""Offsets into the kernel's seccomp_data; an argument has 8 bytes, its low half first."""

ALLOW = 0x7FFF0000
FAIL = 0x00050000
"""With an errno in the low 16 bits."""

X32_BIT = 0x40000000
"""Marks x86_64's second numbering, under which every call would have to be listed once more."""

CLONE_THREAD = 0x00010000

TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""Requests that put words into a terminal as if its user had typed them."""

Program = list[tuple[int, int, int, int]]


def load(offset: int) -> tuple[int, int, int, int]:
    """Load the 32-bit word at an offset of the call's data."""
    return (LOAD, 0, 0, offset)


def end(verdict: int) -> tuple[int, int, int, int]:
    """End with a verdict."""
    return (RETURN, 0, 0, verdict)


def program(machine: str, pid: int) -> Program:
    """The filter for a process ``pid`` on a known machine, as (code, jump if, jump unless, constant)."""
    refuse = end(FAIL | errno.EPERM)
    lines: Program = [
        load(ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, ARCHITECTURES[machine]),
        refuse,
        load(NUMBER_AT),
    ]
    if machine == "x86_64":
        lines += [(JUMP_GREATER_OR_EQUAL, 0, 1, X32_BIT), refuse]
    for name in FORBIDDEN:
        lines += _case(name, machine, [refuse])
    # The arguments of clone3 lie in memory that a filter cannot read; without it libc takes clone.
    lines += _case("clone3", machine, [end(FAIL | errno.ENOSYS)])
    lines += _case("clone", machine, [load(_low(0)), (JUMP_SET, 1, 0, CLONE_THREAD), refuse, end(ALLOW)])
    lines += _case("kill", machine, _equal(0, (pid,), refuse))
    lines += _case("tgkill", machine, _equal(0, (pid,), refuse))
    lines += _case("prlimit64", machine, _equal(0, (0, pid), refuse))
    # Without a path it speaks of a file that was opened, and Landlock has judged the opening.
    lines += _case(
        "utimensat",
        machine,
        [load(_low(1)), (JUMP_EQUAL, 0, 2, 0), load(_high(1)), (JUMP_EQUAL, 1, 0, 0), refuse, end(ALLOW)],
    )
    terminal = [load(_low(1)), (JUMP_EQUAL, 2, 0, TIOCSTI), (JUMP_EQUAL, 1, 0, TIOCLINUX), end(ALLOW), refuse]
    lines += _case("ioctl", machine, terminal)
    return [*lines, end(ALLOW)]


def _case(name: str, machine: str, lines: Sequence[tuple[int, int, int, int]]) -> Program:
    """Lines for one call; every way through them ends. Nothing for a call that the machine does not have."""
    found = number(name, machine)
    return [] if found is None else [(JUMP_EQUAL, 0, len(lines), found), *lines]


def _equal(argument: int, values: Sequence[int], refuse: tuple[int, int, int, int]) -> Program:
    jumps = [(JUMP_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [load(_low(argument)), *jumps, refuse, end(ALLOW)]


def _low(argument: int) -> int:
    return ARGUMENTS_AT + 8 * argument


def _high(argument: int) -> int:
    return ARGUMENTS_AT + 8 * argument + 4


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def restrict() -> bool:
    """Put the filter on this process; ``no_new_privs`` must be set and there must be one thread.

    False when it cannot be had: another system or architecture, or a kernel without seccomp.
    """
    machine = architecture()
    if not machine:
        return False
    lines = program(machine, os.getpid())
    packed = b"".join(struct.pack("=HBBI", *line) for line in lines)
    try:
        prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(_Filter(len(lines), packed)))
    except OSError:
        return False
    return True
