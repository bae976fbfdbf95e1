"""Read this first: what a p2pvoice daemon is made of, in the order in which it starts and stops.

    lock the home -> identity -> store and catalog -> libp2p host -> announcer, exchange, catalog
    queries -> worker engines (no process yet), trainer -> RPC socket, Wyoming's port if asked for -> ready
    line on stdout

Everything that runs concurrently runs in the one nursery of :func:`run`. SIGTERM, SIGINT and the RPC's
shutdown set one event; then the RPC ends its requests, a training writes its checkpoint, the workers leave,
the host closes, and the files follow. To see what a caller may ask, go on to rpc/app.py; what a peer may
ask, to exchange.py and offer.py; how a voice comes in, to fetching.py; how it goes out, to publish.py; how it
is called back, to recalling.py; how one is made of clips, to enrol.py; what is said of one, to community/;
what lists of voices are, to collecting.py; how whole
collections are kept alive, to mirroring.py; how the keepers of a tag come to answer alike, to shelves/; what
programs made for other servers may ask, to api/. Follows specs/daemon.md.
"""

import argparse
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from p2pvoice.node import allocator, collecting, expiry, keys
from p2pvoice.node.announcing import Announcer
from p2pvoice.node.api.door import ApiDoor
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.community.parts import open_community
from p2pvoice.node.config import Config, load_config
from p2pvoice.node.delta_cache import DeltaCache
from p2pvoice.node.deltas import Deltas
from p2pvoice.node.drafts import Drafts
from p2pvoice.node.engine import Engine
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.following import Following
from p2pvoice.node.host import open_host
from p2pvoice.node.identity import load_or_create
from p2pvoice.node.keys import settle_rotation
from p2pvoice.node.lan import open_lan
from p2pvoice.node.logs import start_log
from p2pvoice.node.mirror_tables import Mirrors
from p2pvoice.node.mirroring import Mirroring
from p2pvoice.node.names import Names
from p2pvoice.node.network import Network
from p2pvoice.node.notify import notify
from p2pvoice.node.offer import Offer
from p2pvoice.node.page.door import PageDoor
from p2pvoice.node.parts import DISK_THREADS, Parts
from p2pvoice.node.paths import Home, HomeLock
from p2pvoice.node.ratelimit import Limits
from p2pvoice.node.relaying import relay_settings
from p2pvoice.node.rooms import speaking_room, training_room
from p2pvoice.node.rpc.app import build_app
from p2pvoice.node.rpc.errors import to_error
from p2pvoice.node.rpc.server import serve_rpc
from p2pvoice.node.samples import Samples
from p2pvoice.node.schema import open_database
from p2pvoice.node.shelves.parts import open_shelves
from p2pvoice.node.store import Store
from p2pvoice.node.successors import Successors
from p2pvoice.node.tidy import at_start
from p2pvoice.node.training import STOP_GRACE, Trainer
from p2pvoice.node.trainings import Trainings
from p2pvoice.node.uploads import Uploads
from p2pvoice.node.user_words import UserWords
from p2pvoice.node.wyoming.place import place
from p2pvoice.node.wyoming.server import WyomingDoor
from p2pvoice.protocol.amounts import parse_rate
from p2pvoice.protocol.errors import DiskFullError, P2PVoiceError, StorageError
from p2pvoice.protocol.ids import author_id

log = logging.getLogger("p2pvoice.daemon")

#: Mode bits taken from every file the daemon makes: a home is its user's alone.
UMASK = 0o077


async def run(home: Home, config: Config, *, ready: Callable[[Parts], None] | None = None) -> None:
    """Run a daemon on a home that is locked, until a signal or the RPC stops it.

    ``ready`` is called when the host listens and the RPC answers.
    """
    socket_path = home.choose_socket()
    wyoming = place(config.wyoming)
    async with _parts(home, config) as parts, trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, parts.stop)
        nursery.start_soon(parts.engine.run)
        nursery.start_soon(parts.training_engine.run)
        nursery.start_soon(parts.trainer.run)
        nursery.start_soon(expiry.run, parts)
        nursery.start_soon(parts.recall.run)
        nursery.start_soon(parts.hearsay.run)
        nursery.start_soon(parts.community.run)
        nursery.start_soon(parts.mirroring.run, parts)
        nursery.start_soon(parts.shelves.run)
        nursery.start_soon(keys.resume, parts)
        parts.recall.announce_all()
        collecting.announce_all(parts)
        for release in expiry.offered_releases(parts, time.time())[0]:
            parts.network.announce(release)
        # The RPC has a nursery of its own, so that its last requests are answered before the rest stops.
        async with trio.open_nursery() as answering:
            await answering.start(parts.page.run, parts)
            await answering.start(parts.api.run, parts)
            await answering.start(serve_rpc, build_app(parts), socket_path, parts.stop)
            if wyoming is not None:
                parts.wyoming = WyomingDoor(wyoming)
                door = partial(parts.wyoming.run, parts, advertise=config.wyoming.advertise)
                await answering.start(door)
            home.addresses.write_text("".join(address + "\n" for address in parts.network.addresses()))
            facts = {"peer_id": parts.network.peer_id, "addresses": parts.network.addresses()}
            log.info("ready", extra=facts)
            # What is here now stays: it need not be looked through again each time garbage is collected.
            gc.collect()
            gc.freeze()
            notify("READY=1", f"STATUS=listening, peer {parts.network.peer_id}")
            if ready is not None:
                ready(parts)
            await parts.stop.wait()
            log.info("stopping")
            notify("STOPPING=1")
            parts.engine.hurry()
            parts.training_engine.hurry()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _parts(home: Home, config: Config) -> AsyncIterator[Parts]:
    """The parts of a daemon, from the disk up to the network; closed in the opposite order."""
    identity = load_or_create(home.keys)
    disk = trio.CapacityLimiter(DISK_THREADS)
    store = Store(home.store, quota=config.quota_bytes)
    new_catalog = not home.catalog.exists()
    database = open_database(home.catalog)
    catalog = Catalog(database, own=lambda: author_id(identity.author_public))
    successors, following = Successors(database), Following(database)
    settle_rotation(home.keys, identity, successors)
    uploads, drafts, trainings = Uploads(home.uploads), Drafts(home.drafts), Trainings(home.trainings)
    uploads.clean(all_of_them=True)
    drafts.clean()
    trainings.clean()
    at_start(home, store, catalog, author_id(identity.author_public), new_catalog=new_catalog)
    try:
        async with (
            open_host(
                identity,
                listen=config.listen,
                bootstrap=config.bootstrap,
                book_path=home.root / "peers.json",
                relay=relay_settings(config.network),
                wire=config.network.wire,
            ) as host,
            trio.open_nursery() as nursery,
        ):
            settings = config.network
            host.limits = Limits(parse_rate(settings.up), parse_rate(settings.down), lan=settings.limit_lan)
            announcer = Announcer(host)
            deltas = Deltas(store, DeltaCache(home.deltas, config.delta_cache_bytes))
            offer = Offer(store, catalog, successors, disk, deltas)
            server = ExchangeServer(host, offer)
            network = Network(host, announcer, server, catalog, identity, disk, home.voices, home.bases)
            offer.hearer, offer.sharing = network.hearsay.hear, network.sharing
            server.attach()
            names = Names(catalog, following, successors, lambda: author_id(identity.author_public))
            community = open_community(host, database, catalog, following, successors, names, identity, disk)
            community.server.attach()
            shelves = open_shelves(host, database, catalog, disk, network.hearsay.hear)
            shelves.server.attach()
            offer.shelves, network.on_offer = shelves.reader, shelves.keeping.wake
            catalog.stars = lambda author, slug: int(
                community.views.figures(community.lines.of(author, slug))["stars"]
            )
            nursery.start_soon(announcer.run)
            lan = open_lan(host, config.network.mdns)
            if lan is not None:
                nursery.start_soon(lan.run)
            engine = Engine(
                config.worker, home.log, room=speaking_room(home, config), scratch=home.scratch / "speaking"
            )
            learning = Engine(
                config.training.worker(),
                home.log,
                nice=config.training.nice,
                grace=STOP_GRACE,
                room=training_room(home, config),
                scratch=home.scratch / "training",
            )
            drafting = trio.Lock()
            mirrors = Mirrors(database)
            yield Parts(
                home=home,
                config=config,
                identity=identity,
                store=store,
                catalog=catalog,
                drafts=drafts,
                uploads=uploads,
                samples=Samples(home.scratch / "samples"),
                trainings=trainings,
                engine=engine,
                training_engine=learning,
                trainer=Trainer(trainings, drafts, learning, home.bases, disk, drafting),
                network=network,
                lan=lan,
                successors=successors,
                following=following,
                names=names,
                mirrors=mirrors,
                mirroring=Mirroring(mirrors),
                community=community,
                shelves=shelves,
                words=UserWords(home.words),
                page=PageDoor(),
                api=ApiDoor(),
                disk=disk,
                drafting=drafting,
            )
            nursery.cancel_scope.cancel()
    finally:
        database.close()
        store.close()


async def _watch_signals(stop: trio.Event, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            stop.set()


def _say_ready(parts: Parts) -> None:
    """One JSON line on stdout: whoever started this process may now use it."""
    facts = {"ready": True, "peer_id": parts.network.peer_id, "addresses": parts.network.addresses()}
    print(json.dumps(facts), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a daemon in the foreground; the exit code is that of the error that ended it."""
    parser = argparse.ArgumentParser(prog="p2pvoice-daemon", description="Run a p2pvoice node.")
    parser.add_argument("--home", help="the node's home; default: P2PVOICE_HOME, or the platform's place")
    parser.add_argument("--foreground", action="store_true", help="log readable lines to stderr, too")
    parser.add_argument("--listen", action="append", default=[], metavar="MULTIADDR")
    parser.add_argument("--bootstrap", action="append", default=[], metavar="MULTIADDR")
    parser.add_argument("--wyoming", nargs="?", const="", metavar="HOST:PORT")
    parser.add_argument("--wyoming-network", action="append", default=[], metavar="CIDR")
    parser.add_argument(
        "--api", nargs="?", const=-1, type=int, metavar="PORT", help="open the compatible APIs (specs/api.md)"
    )
    for direction, what in (("--up", "send"), ("--down", "receive")):
        parser.add_argument(direction, metavar="RATE", help=f"most to {what}, such as 2MB; 0: no limit")
    options = parser.parse_args(arguments)
    os.umask(UMASK)
    allocator.settle()
    home = Home.at(options.home)
    try:
        _start(home, options)
    except Exception as error:
        known = to_error(error)
        print(f"error: {known.message}", file=sys.stderr)
        if known.hint:
            print(f"hint: {known.hint}", file=sys.stderr)
        return type(known).exit_code
    return 0


def _start(home: Home, options: argparse.Namespace) -> None:
    try:
        home.prepare()
    except OSError as error:
        kind: type[P2PVoiceError] = DiskFullError if error.errno == 28 else StorageError
        raise kind(f"the home {home.root} cannot be made: {error.strerror}") from error
    config = load_config(
        home,
        listen=options.listen,
        bootstrap=options.bootstrap,
        wyoming=options.wyoming,
        wyoming_networks=options.wyoming_network,
        api=options.api,
        up=options.up,
        down=options.down,
    )
    with HomeLock(home):
        start_log(home.log, foreground=options.foreground, level=config.log_level)
        home.pid.write_text(f"{os.getpid()}\n")
        try:
            trio.run(partial(run, home, config, ready=_say_ready))
            log.info("stopped")
        finally:
            home.pid.unlink(missing_ok=True)
            home.addresses.unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(main())
