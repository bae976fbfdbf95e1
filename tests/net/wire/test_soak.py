"""A short soak; `python -m tests.bench.wire_soak` is the long one."""

import pytest

from .peers import Kind
from .soak import WAYS, soak


@pytest.mark.parametrize(("dialer", "listener"), [("own", "stock"), ("stock", "own"), ("own", "own")])
async def test_many_streams_ended_in_every_way(dialer: Kind, listener: Kind) -> None:
    done = await soak(dialer, listener, 60)
    assert done.total() == 120
    assert set(done) == set(WAYS.values())
