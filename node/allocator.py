"""How the C library hands memory of chunk size to this process and takes it back.

By default every buffer from 128 KiB on is fetched from the kernel, zeroed by it, and given back when it is
freed: moving a gigabyte in chunks of 1 MiB then costs a quarter of a second a copy for that alone. And each
thread gets an arena of its own that keeps what was freed in it. Here buffers of a chunk come from the heap,
of which at most a few megabytes stay unused, and arenas are few. Only glibc has these switches; elsewhere
nothing is done. Follows specs/exchange.md, "Memory".
"""

import ctypes
import sys

#: Buffers from this size on come from the kernel one by one: none that carries a chunk does.
MMAP_FROM = 4 << 20

#: Bytes at the end of the heap that are kept for the next buffers.
KEPT = 16 << 20

#: Arenas; more would only keep what other threads freed.
ARENAS = 2

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def settle() -> bool:
    """Set the switches, before threads start; whether there are any."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_ARENA_MAX, ARENAS), (_M_MMAP_THRESHOLD, MMAP_FROM), (_M_TRIM_THRESHOLD, KEPT))
    return all([mallopt(ctypes.c_int(what), ctypes.c_int(value)) == 1 for what, value in settings])
