"""Real hosts on loopback, for tests that speak over real sockets."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import pytest
import trio

from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import generate

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)


class Network(Protocol):
    """Opens a few hosts that know each other through the first of them."""

    def __call__(self, count: int, **options: Any) -> AbstractAsyncContextManager[list[P2PHost]]: ...


@asynccontextmanager
async def _network(count: int, **options: Any) -> AsyncIterator[list[P2PHost]]:
    hosts: list[P2PHost] = []
    ready = [trio.Event() for _ in range(count)]
    finished = trio.Event()

    async def run(index: int) -> None:
        bootstrap = hosts[0].addresses() if index else []
        async with open_host(generate(), listen=LOOPBACK, bootstrap=bootstrap, **options) as host:
            hosts.append(host)
            if index:
                await host.arrival()
            ready[index].set()
            await finished.wait()

    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):
            for index in range(count):
                nursery.start_soon(run, index)
                await ready[index].wait()
        try:
            yield hosts
        finally:
            finished.set()


@pytest.fixture
def network() -> Network:
    return _network
