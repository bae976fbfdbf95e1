"""Daemons that fetch the same voice at the same time from one slow seed give it to each other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.offer import Offer
from p2pvoice.node.paths import Home
from p2pvoice.node.schema import open_database
from p2pvoice.node.store import Store
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.head import release_key

from .nodes import LOOPBACK, PATIENCE, Daemon, bring, install_encoder, large_gpt, publish

RATE = 2 << 20
"""Bytes a second that the seed's line carries, whoever asks."""


class SlowOffer(Offer):
    """What a home offers, through a line of RATE bytes a second."""

    line: trio.Lock

    async def read_chunk(self, file: bytes, index: int) -> bytes | None:
        data = await super().read_chunk(file, index)
        async with self.line:
            await trio.sleep(len(data or b"") / RATE)
        return data


async def providers(host: P2PHost, release: str) -> set[str]:
    return {str(info.peer_id) for info in await host.kad.find_providers(release_key(release))}


async def until(look: Callable[[], Any]) -> None:
    with trio.fail_after(PATIENCE):
        while not await look():  # noqa: ASYNC110 - what is looked at lies in another process
            await trio.sleep(0.1)


@pytest.mark.parametrize("seed", [True, False])
async def test_a_daemon_gives_what_it_has_while_it_fetches(
    daemons: Callable[[], Daemon], encoder: Path, clip: Path, tmp_path: Path, seed: bool
) -> None:
    a, b, c = daemons().start(), daemons(), daemons()
    install_encoder(a, encoder)
    bring(a, clip, gpt=large_gpt(tmp_path / "gpt.ckpt", feed=30_000, seed=1, layers=3))
    release = publish(a)["release"]
    total = sum(file["size"] for file in a.client.show(release)["files"])
    a.end()
    home = Home.at(str(a.home))
    database, store = open_database(home.catalog), Store(home.store)
    offer = SlowOffer(store, Catalog(database), Successors(database), trio.CapacityLimiter(4))
    offer.line = trio.Lock()
    async with open_host(generate(), listen=(LOOPBACK,)) as host:
        server = ExchangeServer(host, offer)
        server.attach()
        for daemon in (b, c):
            daemon.addresses, daemon.peer_id = host.addresses(), host.id
            fake = Daemon(tmp_path, addresses=host.addresses())
            await trio.to_thread.run_sync(daemon.start, fake)
        await host.kad.provide(release_key(release))
        results: dict[str, Any] = {}

        async def fetch(daemon: Daemon, began: trio.Event | None = None) -> None:
            def run(token: Any) -> Any:
                for event in daemon.client.fetch(release, seed=seed):
                    if event.get("have", 0) and began is not None:
                        trio.from_thread.run_sync(began.set, trio_token=token)
                return event

            results[daemon.peer_id] = await trio.to_thread.run_sync(run, trio.lowlevel.current_trio_token())

        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                began = trio.Event()
                nursery.start_soon(fetch, b, began)
                await began.wait()
                if seed:

                    async def announced() -> bool:
                        return b.peer_id in await providers(host, release)

                    await until(announced)
                assert b.peer_id not in results
                nursery.start_soon(fetch, c)
        found = await providers(host, release)
        sent = server.chunk_bytes
    served = {d.peer_id: d.client.status()["debug"]["served_bytes"] for d in (b, c)}
    print(json.dumps({"bytes": total, "seed sent": sent, "others": list(served.values())}))
    for result in results.values():
        assert result["bytes_fetched"] == total
        assert sum(result["peers"].values()) == total
        assert set(result["rates"]) == set(result["peers"])
    if seed:
        # The second one was given by the first what that one had, while it was fetching itself.
        assert results[c.peer_id]["peers"][b.peer_id] > 0
        assert sent < 1.6 * total
    else:
        assert b.peer_id not in found
        assert set(served.values()) == {0}
    database.close()
    store.close()
