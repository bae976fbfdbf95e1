"""The order in which chunks wait to be fetched."""

import random

from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.node.work import Work
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.manifest import FileEntry

CHUNKS = tuple(Chunk(1 + number, bytes([number]) * 32) for number in range(40))
FILE = FileEntry("gpt.safetensors", sum(chunk.size for chunk in CHUNKS), b"f" * 32, CHUNKS)


def waiting(missing: set[int], seed: int) -> list[int]:
    work = Work(chance=random.Random(seed))
    work.add(FILE, missing, ())
    assert all(job.chunk == CHUNKS[job.index] for job in work.pending)
    assert work.open_jobs == work.left[FILE.digest] == len(missing)
    return [job.index for job in work.pending]


@given(st.sets(st.integers(0, 39)), st.integers(0, 1000))
def test_each_missing_chunk_waits_once_and_the_header_first(missing: set[int], seed: int) -> None:
    order = waiting(missing, seed)
    assert sorted(order) == sorted(missing)
    assert 0 not in missing or order[0] == 0


def test_each_fetch_has_an_order_of_its_own() -> None:
    assert len({waiting(set(range(40)), seed)[1] for seed in range(100)}) > 20
