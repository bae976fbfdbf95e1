"""How many bytes one CPU-second moves: our Noise and Yamux beside libp2p's, in one run.

`python -m tests.bench.wire [--mib 64] [--rounds 3]`. Two processes on loopback, serial requests of 1 MiB on
one stream; counted is the CPU time of the busier process while bytes flow. The kinds take turns, the best
round of each counts, so that what else the machine does weighs on both.

``--delay 80`` puts a round trip of so many milliseconds between them and asks for everything at once; then
MB/s counts, and ``--window 1`` bounds our windows to so many MiB. ``--idle 50`` measures instead the CPU time
of so many connections that do nothing for a minute.
"""

import argparse
import contextlib
import multiprocessing
import resource
from typing import Any

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519_key_pair
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID, Yamux

from p2pvoice.node.transport import windows
from p2pvoice.node.transport.muxer import OurMuxer
from p2pvoice.node.transport.noise import OurNoise
from tests.net.wire.delayed import delayed
from tests.net.wire.peers import connected

MIB = 1 << 20
SEEDS = (bytes(range(32)), bytes(range(1, 33)))


def cpu() -> float:
    """Seconds of CPU of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _secured(kind: str, socket: trio.SocketStream, initiator: bool) -> Any:
    keys = create_new_key_pair(SEEDS[0] if initiator else SEEDS[1])
    peer = ID.from_pubkey(create_new_key_pair(SEEDS[1] if initiator else SEEDS[0]).public_key)
    noise: Any = (
        OurNoise(keys)
        if kind == "own"
        else Transport(keys, noise_privkey=create_x25519_key_pair().private_key)
    )
    raw = RawConnection(TrioTCPStream(socket), initiator)
    session = await (noise.secure_outbound(raw, peer) if initiator else noise.secure_inbound(raw))
    options: Any = {PROTOCOL_ID: Yamux}
    muxer = OurMuxer(options) if kind == "own" else MuxerMultistream(options)
    return await muxer.new_conn(session, peer)


async def _serve(kind: str, pipe: Any) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    pipe.send(listener.socket.getsockname()[1])
    connection = await _secured(kind, await listener.accept(), False)
    piece = bytes(MIB)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.start)
        stream = await connection.accept_stream()
        began = 0.0
        while (order := await stream.read(1)) != b".":
            began = began or cpu()
            assert order == b"+"
            await stream.write(piece)
        pipe.send(cpu() - began)
        await stream.write(b"bye")
        await connection.event_closed.wait()
        nursery.cancel_scope.cancel()


async def _fetch(kind: str, port: int, count: int, delay: float) -> tuple[float, float]:
    if not delay:
        return await _ask(kind, port, count, ahead=1)
    async with delayed(port, delay / 2) as far:
        return await _ask(kind, far, count, ahead=count)


async def _ask(kind: str, port: int, count: int, ahead: int) -> tuple[float, float]:
    connection = await _secured(kind, await trio.open_tcp_stream("127.0.0.1", port), True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.start)
        await connection.event_started.wait()
        stream = await connection.open_stream()
        used, began = cpu(), trio.current_time()
        for number in range(count):
            if number % ahead == 0:
                await stream.write(b"+" * ahead)
            left = MIB
            while left:
                left -= len(await stream.read(left))
        used, took = cpu() - used, trio.current_time() - began
        await stream.write(b".")
        assert await stream.read(3) == b"bye"
        await connection.close()
        nursery.cancel_scope.cancel()
    return used, took


def _server(kind: str, pipe: Any) -> None:
    trio.run(_serve, kind, pipe)


def measure(dialer: str, listener: str, mib: int, delay: float = 0.0) -> tuple[float, float]:
    """MB per CPU-second of the busier process, and MB per second."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_server, args=(listener, there), daemon=True)
    process.start()
    used, took = trio.run(_fetch, dialer, here.recv(), mib, delay)
    busier = max(used, here.recv())
    process.join(10)
    size = mib * MIB / 1e6
    return size / busier, size / took


async def idle(kind: Any, count: int, seconds: float) -> float:
    """Seconds of CPU that ``count`` connections, both ends here, take in ``seconds`` of doing nothing."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(connected(kind, kind, within=seconds + 60))
        # The first pings are sent within a second.
        await trio.sleep(2)
        began = cpu()
        await trio.sleep(seconds)
        return cpu() - began


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds of a round trip")
    parser.add_argument("--window", type=float, help="most MiB of a window of ours")
    parser.add_argument("--idle", type=int, help="connections that do nothing")
    options = parser.parse_args()
    if options.idle:
        for one in ("stock", "own", "stock", "own"):
            used = trio.run(idle, one, options.idle, 60)
            print(
                f"{one:>6}: {1000 * used / options.idle:6.2f} ms of CPU a connection (both ends) and minute"
            )
        return
    if options.window:
        windows.WINDOW_LIMIT = int(options.window * MIB)
    kinds = [("stock", "stock"), ("own", "own"), ("own", "stock"), ("stock", "own")]
    best = dict.fromkeys(kinds, (0.0, 0.0))
    for _ in range(options.rounds):
        for kind in kinds:
            best[kind] = max(best[kind], measure(*kind, options.mib, options.delay / 1000))
    print(f"{'fetches':>8} {'serves':>8} {'MB/CPU-s':>10} {'MB/s':>8} {'ratio':>7}")
    for (dialer, listener), (rate, wall) in best.items():
        print(f"{dialer:>8} {listener:>8} {rate:>10.0f} {wall:>8.0f} {rate / best[kinds[0]][0]:>7.2f}")


if __name__ == "__main__":
    main()
