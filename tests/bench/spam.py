"""Prints what 10⁵ spam operations on one voice leave behind: `python -m tests.bench.spam [OPERATIONS]`.

Three floods, each in a process of its own against a fresh database: by one key, by a thousand, and by a new
key for each operation. Everything is verified and taken as from a peer, without the allowance that a peer
has (which alone makes such a flood last an hour). Seconds are of CPU, without signing the spam. The bounds
are those of node/community/room.py; tests/node/test_community_room.py holds a smaller flood against them in
the test suite.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPERATIONS = 100_000


def flood_once(operations: int, keys: int) -> None:
    """One flood; a line of figures."""
    from p2pvoice.node.community.room import VOICE_BYTES, VOICE_CHAINS
    from p2pvoice.node.community.sets import Sets
    from p2pvoice.node.process import resident_bytes
    from p2pvoice.protocol.operations import verify_operation

    from ..node.community_parts import Desk
    from ..node.spam import flood, settle

    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder) / "catalog.sqlite")
        voice, honest = settle(desk)
        before, taken, kept = resident_bytes(os.getpid()) or 0, 0.0, 0
        most = 0
        for batch in flood(voice, operations, keys):
            started = time.process_time()
            verified = [verify_operation(one.data) for one in batch]
            kept += desk.logs.take(voice, verified).kept
            taken += time.process_time() - started
            most = max(most, desk.logs.sizes()["stranger_bytes"])
        started = time.process_time()
        view = desk.views.look(desk.lines.of_voice(voice))
        issue = view.issues()["issues"][0]
        view.comments()
        looked = time.process_time() - started
        Sets(desk.logs).of(voice)
        memory = (resident_bytes(os.getpid()) or 0) - before
        sizes = desk.logs.sizes()
        visible = honest.visible(desk, voice)
        desk.close()
        disk = sum(path.stat().st_size for path in Path(folder).iterdir())
    assert sizes["chains"] <= VOICE_CHAINS + 3, sizes
    assert most <= VOICE_BYTES, most
    assert visible == len(honest.said), visible
    print(
        f"{operations:>7} by {keys:>6} keys: {taken:6.1f} s of CPU, {kept} joined;"
        f" left: {sizes['chains']} chains, {sizes['operations']} operations,"
        f" {sizes['bytes'] / 1e6:.2f} MB signed (most {most / 1e6:.2f}),"
        f" database {disk / 1e6:.2f} MB, memory +{memory / 1e6:.1f} MB;"
        f" honest {visible} of {len(honest.said)}, issue shown: {issue['shown']},"
        f" view {looked * 1000:.0f} ms",
        flush=True,
    )


def main() -> None:
    operations = int(sys.argv[1]) if len(sys.argv) > 1 else OPERATIONS
    if len(sys.argv) > 2:
        flood_once(operations, int(sys.argv[2]))
        return
    for keys in (1, 1_000, operations):
        subprocess.run([sys.executable, "-m", "tests.bench.spam", str(operations), str(keys)], check=True)


if __name__ == "__main__":
    main()
