"""`GET /metrics`: figures of this node in Prometheus' text format, on the RPC's socket and nowhere else.

Every figure is read when it is asked for; only requests are counted on the way, by :class:`CountedApp`. No
label holds a peer, a voice or a text: figures are for graphs, which people share. Follows specs/metrics.md.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2pvoice.node.engine import Engine
from p2pvoice.node.layout import Usage
from p2pvoice.node.parts import VERSION, Parts
from p2pvoice.node.process import resident_bytes

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

WORKER_STATES = ("stopped", "idle", "busy")


class CountedApp:
    """An application that counts its answers by method, endpoint and status."""

    def __init__(self, app: ASGIApp, endpoints: Iterable[str], counts: Counter[tuple[str, str, str]]) -> None:
        self.inner = app
        self._known = frozenset(endpoints)
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        # Names are a caller's own words: what is counted is the endpoint, of which there are few.
        endpoint = "/".join(str(scope["path"]).split("/")[:3])
        if endpoint not in self._known:
            endpoint = "other"
        method = str(scope["method"]) if endpoint != "other" else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counts[method, endpoint, str(message["status"])] += 1
            await send(message)

        await self.inner(scope, receive, counted)


async def metrics(parts: Parts, request: Request) -> Response:
    """The figures, as they are now."""
    disk = await trio.to_thread.run_sync(parts.store.layout.usage, limiter=parts.disk)
    known, installed = await trio.to_thread.run_sync(parts.catalog.counts, limiter=parts.disk)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(parts, disk, known, installed))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE)


class _Figures(Collector):
    def __init__(self, parts: Parts, disk: Usage, known: int, installed: int) -> None:
        self._parts, self._disk, self._known, self._installed = parts, disk, known, installed

    def collect(self) -> Iterator[Metric]:
        parts = self._parts
        yield InfoMetricFamily("p2pvoice", "This node's program.", {"version": VERSION})
        yield GaugeMetricFamily(
            "p2pvoice_uptime_seconds", "Since the start.", time.monotonic() - parts.started
        )
        yield GaugeMetricFamily(
            "p2pvoice_memory_bytes", "Resident, of the daemon.", resident_bytes(os.getpid())
        )
        yield GaugeMetricFamily(
            "p2pvoice_peers_connected", "Peers connected.", parts.network.connected_count()
        )
        yield GaugeMetricFamily("p2pvoice_voices_installed", "Voices installed.", self._installed)
        yield GaugeMetricFamily("p2pvoice_releases_known", "Releases remembered.", self._known)
        yield GaugeMetricFamily("p2pvoice_store_bytes", "Allocated by the store.", self._disk.bytes)
        yield GaugeMetricFamily("p2pvoice_store_files", "Whole files in the store.", self._disk.files)
        yield GaugeMetricFamily("p2pvoice_store_quota_bytes", "0: no quota.", parts.config.quota_bytes)
        yield from self._traffic()
        yield from self._requests()
        yield from self._workers()

    def _traffic(self) -> Iterator[Metric]:
        received, sent, drops = self._parts.network.traffic()
        moved = CounterMetricFamily(
            "p2pvoice_peer_bytes", "Payload on our own protocols.", labels=["direction"]
        )
        moved.add_metric(["in"], received)
        moved.add_metric(["out"], sent)
        yield moved
        limits = self._parts.network.limits
        rates = GaugeMetricFamily(
            "p2pvoice_chunk_bytes_per_second", "Of the last ten seconds.", labels=["direction"]
        )
        most = GaugeMetricFamily(
            "p2pvoice_chunk_limit_bytes_per_second", "0: no limit.", labels=["direction"]
        )
        for direction, one in (("in", limits.down), ("out", limits.up)):
            rates.add_metric([direction], one.current())
            most.add_metric([direction], one.rate)
        yield from (rates, most)
        dropped = CounterMetricFamily("p2pvoice_peer_drops", "Peers dropped, by reason.", labels=["reason"])
        for reason, count in drops.items():
            dropped.add_metric([reason], count)
        yield dropped

    def _requests(self) -> Iterator[Metric]:
        found = CounterMetricFamily(
            "p2pvoice_rpc_requests",
            "Requests of the RPC, by status.",
            labels=["method", "endpoint", "status"],
        )
        for labels, count in sorted(self._parts.requests.items()):
            found.add_metric(list(labels), count)
        yield found

    def _workers(self) -> Iterator[Metric]:
        engines: dict[str, Engine] = {
            "speaking": self._parts.engine,
            "training": self._parts.training_engine,
        }
        state = GaugeMetricFamily("p2pvoice_worker_state", "1 for its state.", labels=["worker", "state"])
        held = GaugeMetricFamily(
            "p2pvoice_worker_sandboxed", "1 when Landlock and seccomp hold it.", labels=["worker"]
        )
        memory = GaugeMetricFamily("p2pvoice_worker_memory_bytes", "Resident.", labels=["worker"])
        starts = CounterMetricFamily("p2pvoice_worker_starts", "Processes started.", labels=["worker"])
        for name, engine in engines.items():
            for one in WORKER_STATES:
                state.add_metric([name, one], float(engine.state == one))
            if engine.sandbox is not None:
                held.add_metric([name], float(engine.sandbox["sandbox"] == "landlock+seccomp"))
            memory.add_metric([name], engine.rss())
            starts.add_metric([name], engine.starts)
        yield from (state, held, memory, starts)
