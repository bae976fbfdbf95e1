"""Telling a service manager that the daemon is ready or stopping: one datagram to the socket it named.

The protocol is that of systemd's sd_notify; without `NOTIFY_SOCKET` nothing happens, and a manager that does
not listen is no reason to stop. Follows specs/daemon.md, "Service".
"""

import logging
import os
import socket

log = logging.getLogger("p2pvoice.daemon")

VARIABLE = "NOTIFY_SOCKET"


def notify(*lines: str) -> bool:
    """Send lines such as ``READY=1``; False when nobody asked or it could not be sent."""
    address = os.environ.get(VARIABLE, "")
    if not address.startswith(("/", "@")):
        return False
    # A name that begins with @ is one in the abstract namespace, whose names begin with a zero byte.
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            made.setblocking(False)
            made.sendto("\n".join(lines).encode(), target)
    except OSError as error:
        log.warning("the service manager could not be told", extra={"reason": error.strerror})
        return False
    return True
