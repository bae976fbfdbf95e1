"""How soon one hears something, through a real daemon: ``python -m tests.bench.streaming``.

The starter speaks three sentences after a warm-up, streamed: time to the first sound and to the whole, beside
the time of the same text as a file; then a request is dropped in the middle, and what is timed is how long
the worker stays busy with it. The daemon may use all threads that it wants.
"""

import statistics
import tempfile
import time
from pathlib import Path

from p2pvoice.node.rpc.client import Client

from ..node.nodes import Daemon

TEXT = (
    "It was a bright cold day in April, and the clocks were striking. The old man walked slowly along the "
    "river. Nobody had seen him before."
)
ROUNDS = 7


def streamed(client: Client, seed: int) -> tuple[float, float, float]:
    """Seconds to the first sound, to the last, and of speech."""
    begun = time.perf_counter()
    first, size = 0.0, 0
    with client.speak_stream({**asked(seed), "format": "pcm"}) as sound:
        for piece in sound:
            first = first or time.perf_counter() - begun
            size += len(piece)
        return first, time.perf_counter() - begun, size / 2 / sound.rate


def asked(seed: int) -> dict[str, object]:
    return {"draft": "starter", "text": TEXT, "lang": "en", "seed": seed}


def dropped(client: Client, seed: int) -> float:
    """Seconds from hanging up until the worker is free for others."""
    body = {**asked(seed), "text": TEXT * 4, "format": "pcm"}
    with client.speak_stream(body) as sound:
        next(iter(sound))
        begun = time.perf_counter()
    while client.status()["worker"]["state"] == "busy":
        time.sleep(0.001)
    return time.perf_counter() - begun


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="p2pv-") as folder:
        daemon = Daemon(Path(folder)).start()
        try:
            client = daemon.client
            list(client.import_bundled("starter"))
            streamed(client, 0)
            print(f"{'seed':>4}{'first':>9}{'whole':>9}{'ratio':>8}{'speech':>9}{'as a file':>11}")
            ratios, firsts = [], []
            for seed in range(1, ROUNDS + 1):
                first, whole, speech = streamed(client, seed)
                begun = time.perf_counter()
                client.speak(asked(seed))
                file = time.perf_counter() - begun
                ratios.append(first / whole)
                firsts.append(first)
                times = f"{first:>8.3f}s{whole:>8.3f}s{first / whole:>8.3f}{speech:>8.2f}s{file:>10.3f}s"
                print(f"{seed:>4}{times}")
            middle, share = statistics.median(firsts), statistics.median(ratios)
            print(f"median: first audio after {middle:.3f} s, {share:.3f} of the time to the whole")
            free = [dropped(client, seed) * 1000 for seed in range(ROUNDS)]
            print(f"free after a hang-up: median {statistics.median(free):.0f} ms, most {max(free):.0f} ms")
        finally:
            daemon.end()


if __name__ == "__main__":
    main()
