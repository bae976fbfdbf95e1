"""A daemon that writes down what leaves it; test_leaks.py runs it in the place of ``p2pvoice.node.daemon``.

    python recorder.py RECORD --home HOME …

RECORD/sent.bin holds every byte that is handed to the encrypting layer, RECORD/events.jsonl what is told to
the DHT or asked of it, which stream protocols are served, and every address that a socket is connected to.
"""

import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from libp2p.security.noise.io import NoiseTransportReadWriter

from p2pvoice.node import daemon
from p2pvoice.node.kad import Kad
from p2pvoice.node.parts import Parts
from p2pvoice.node.transport.noise import NoiseSession

WATCHED = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")
"""Ways out of a process that Python tells of."""


def record(folder: Path) -> None:
    """Begin to write down what leaves this process."""
    sent = (folder / "sent.bin").open("ab", buffering=0)
    # A descriptor of its own, written at once: the daemon may be killed at any moment.
    events = os.open(folder / "events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(kind: str, value: object) -> None:
        os.write(events, json.dumps([kind, value]).encode() + b"\n")

    encrypt = NoiseTransportReadWriter.encrypt

    def kept(self: NoiseTransportReadWriter, data: bytes) -> bytes:
        sent.write(data)
        return encrypt(self, data)

    NoiseTransportReadWriter.encrypt = kept  # type: ignore[method-assign]

    seal = NoiseSession._encrypt

    def kept_too(self: NoiseSession, messages: Sequence[bytes]) -> bytes:
        for message in messages:
            sent.write(message)
        return seal(self, messages)

    NoiseSession._encrypt = kept_too  # type: ignore[method-assign]

    def told(name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def noted(self: Kad, key: bytes, *rest: Any) -> Any:
            note(name, key.hex())
            return await call(self, key, *rest)

        return noted

    for name in ("provide", "put", "find_providers", "get"):
        setattr(Kad, name, told(name, getattr(Kad, name)))

    say_ready = daemon._say_ready

    def ready(parts: Parts) -> None:
        for protocol in parts.network._host.host.get_mux().get_protocols():
            note("serves", str(protocol))
        say_ready(parts)

    daemon._say_ready = ready

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in WATCHED:
            # The first argument of what a socket does is the socket itself; look-ups have none.
            shown = arguments if event.startswith("socket.get") else arguments[1:]
            note(event, [str(part) for part in shown])

    sys.addaudithook(watch)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
    raise SystemExit(daemon.main(sys.argv[2:]))
