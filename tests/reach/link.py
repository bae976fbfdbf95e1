"""A slow link between two network namespaces, in user space: every IP packet comes late, and some not at all.

Each side has a TUN device; a process of its own carries packets between the two and ends with whoever started
it. It delays, drops by a seeded chance, and holds so many packets and no more, as a router does; on request
it is narrow. It shapes nothing else: no jitter, no reordering.
"""

import contextlib
import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator

DELAY = 0.040
"""Seconds each packet takes, so that a round trip over one link takes 80 ms."""

LOSS = 0.01
"""Part of the packets that is dropped, each way."""

QUEUE = 2048
"""Packets under way in one direction; more are dropped."""

BACKLOG = 0.2
"""Seconds that a packet waits for a narrow link to be free; those that would wait longer are dropped."""

MTU = 1400
"""Bytes of the largest packet."""

BATCH = 64
"""Packets read from one device before the other has its turn."""

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000


@contextlib.contextmanager
def slow_link(
    one: tuple[str, str],
    other: tuple[str, str],
    *,
    seed: int,
    delay: float = DELAY,
    loss: float = LOSS,
    bandwidth: float = 0.0,
) -> Iterator[None]:
    """Join two namespaces, each given with the name of its device, which is down at first.

    ``delay`` is in seconds, ``bandwidth`` in bytes a second each way; 0 is as fast as it goes.
    """
    ends = [tun(*one), tun(*other)]
    words = [str(word) for word in (*ends, delay, loss, bandwidth, seed)]
    carrier = subprocess.Popen(
        [sys.executable, __file__, *words], stdin=subprocess.PIPE, pass_fds=ends, start_new_session=True
    )
    for end in ends:
        os.close(end)
    try:
        yield
    finally:
        # The end of its input ends it; that happens also when this process is killed.
        carrier.communicate()


def tun(space: str, name: str) -> int:
    """An open TUN device in a namespace. A thread enters the namespace and ends there; we stay."""
    made: list[int] = []

    def make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{space}") as place:
            if libc.setns(place.fileno(), CLONE_NEWNET):
                return
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        made.append(device)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if not made:
        raise RuntimeError(f"no TUN device in {space}")
    return made[0]


def carry(one: int, other: int, delay: float, loss: float, bandwidth: float, seed: int, until: int) -> None:
    """Carry packets between two devices until ``until`` can be read, which means that it was closed."""
    chance = random.Random(seed)
    # The delay is the same for all, so a packet never overtakes another: a queue for each direction, and when
    # the link is free again.
    ways: dict[int, tuple[int, deque[tuple[float, bytes]]]] = {one: (other, deque()), other: (one, deque())}
    free = {one: 0.0, other: 0.0}
    while True:
        due = min((queue[0][0] for _, queue in ways.values() if queue), default=None)
        rest = None if due is None else max(0.0, due - time.monotonic())
        ready = select.select([one, other, until], [], [], rest)[0]
        if until in ready:
            return
        for source in ready:
            queue = ways[source][1]
            for _ in range(BATCH):
                try:
                    packet = os.read(source, MTU + 100)
                except OSError:
                    break
                now = time.monotonic()
                begins = max(now, free[source])
                if chance.random() < loss or len(queue) >= QUEUE or begins - now > BACKLOG:
                    continue
                free[source] = begins + (len(packet) / bandwidth if bandwidth else 0.0)
                queue.append((free[source] + delay, packet))
        now = time.monotonic()
        for target, queue in ways.values():
            while queue and queue[0][0] <= now:
                # A device that is down, or full, drops; so does a real one.
                with contextlib.suppress(OSError):
                    os.write(target, queue[0][1])
                queue.popleft()


if __name__ == "__main__":
    devices, numbers = [int(word) for word in sys.argv[1:3]], [float(word) for word in sys.argv[3:6]]
    carry(*devices, *numbers, int(sys.argv[6]), sys.stdin.fileno())
