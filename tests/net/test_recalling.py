"""Learning of a revocation and acting on it: whole network parts over real hosts, with real stores."""

import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.announcing import Announcer
from p2pvoice.node.ask import get_release
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.host import P2PHost
from p2pvoice.node.identity import generate
from p2pvoice.node.network import Network
from p2pvoice.node.offer import Landing, Offer
from p2pvoice.node.schema import open_database
from p2pvoice.node.store import Store
from p2pvoice.node.successors import Successors
from p2pvoice.node.tombstone import Kind
from p2pvoice.protocol.errors import NoPeersError, NotFoundError, PolicyError, RevokedError
from p2pvoice.protocol.head import head_key
from p2pvoice.protocol.manifest import FileEntry, Release
from p2pvoice.protocol.revocation import Revocation, sign_revocation

from ..node.recall_parts import signed_consent
from .test_recall import info, made

Make = Callable[..., Any]
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


@dataclass
class Node:
    """The network part of a daemon, with its store and catalog."""

    host: P2PHost
    store: Store
    catalog: Catalog
    network: Network
    disk: trio.CapacityLimiter

    def hold(self, voice: Any, folder: Path) -> Release:
        """Install a publication, as if it had been fetched or published here."""
        for file in voice.files:
            path = folder / "file"
            path.write_bytes(voice.blobs[file.digest])
            if not self.store.has(file.digest):
                self.store.add_file(path, file.chunks)
        release = self.catalog.add_release(voice.release.envelope.to_bytes())
        self.catalog.add_head(voice.head)
        self.catalog.install(release, seed=True)
        self.network.announce(release)
        return release

    async def learned(self) -> None:
        """Wait until a tombstone is here."""
        while not self.catalog.tombstones.all():
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def running(host: P2PHost, folder: Path, key: Ed25519PrivateKey | None = None) -> AsyncIterator[Node]:
    disk = trio.CapacityLimiter(4)
    os.makedirs(folder)
    database = open_database(folder / "catalog.sqlite")
    store, catalog = Store(folder / "store"), Catalog(database)
    identity = generate()
    if key is not None:
        identity = type(identity)(key, identity.peer)
    offer, announcer = Offer(store, catalog, Successors(database), disk), Announcer(host)
    server = ExchangeServer(host, offer)
    network = Network(host, announcer, server, catalog, identity, disk, folder / "voices", folder / "bases")
    offer.hearer = network.hearsay.hear
    server.attach()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announcer.run)
        nursery.start_soon(network.recall.run)
        nursery.start_soon(network.hearsay.run)
        yield Node(host, store, catalog, network, disk)
        nursery.cancel_scope.cancel()
    database.close()
    store.close()


async def silent(*_: object) -> None:
    """Nobody wants to hear of it."""


async def revoke(node: Node, release: Release, *, whole: bool = False) -> None:
    await node.network.recall.revoke(release, whole=whole, reason="enough", step=silent)


async def test_told_asked_and_gone(network: Make, publish: Make, tmp_path: Path) -> None:
    """One peer is told, another asks when it comes, and neither serves any more."""
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key, sizes={"gpt.safetensors": 3_000_000, "preview.wav": 1000})
    async with network(3) as hosts, running(hosts[0], tmp_path / "a", key) as a:
        release = a.hold(voice, tmp_path)
        async with running(hosts[1], tmp_path / "b") as b:
            b.hold(voice, tmp_path)
            with trio.fail_after(30):
                assert (await get_release(hosts[2], info(hosts[1]), release.id)) == release
                await revoke(a, release)
                await b.learned()
                for node in (a, b):
                    assert node.catalog.installed() == []
                    assert node.network._announced == {}
                    assert not node.catalog.offering(voice.files[0].digest)
                # The file itself waits for rm or garbage collection.
                assert b.store.has(voice.files[0].digest)
                async with running(hosts[2], tmp_path / "c") as c:
                    c.catalog.add_release(voice.release.envelope.to_bytes())
                    await c.network.connect(hosts[1].addresses()[0])
                    await c.learned()
                    assert c.catalog.release(release.id) is None
                    (stone,) = c.catalog.tombstones.all()
                    assert stone.kind is Kind.SEEN
                    with pytest.raises(RevokedError, match="enough"):
                        await c.network.find_release(release.id)


async def test_what_was_kept_for_oneself_is_not_passed_on(
    network: Make, publish: Make, tmp_path: Path
) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    record = sign_revocation(made(voice, key), key)
    async with network(1) as hosts, running(hosts[0], tmp_path / "b") as b:
        release = b.hold(voice, tmp_path)
        b.catalog.install(release, seed=False)
        b.network.withdraw(release)
        await b.network.hearsay.hear(record)
        (stone,) = b.catalog.tombstones.all()
        assert stone.kind is Kind.HELD
        assert b.network.dht_facts()["keys"] == 0
        assert b.network.recall._telling.statistics().current_buffer_used == 0
        assert b.catalog.tombstones.passed_on() == []


async def test_the_subject_revokes_against_the_authors_will(
    network: Make, publish: Make, tmp_path: Path
) -> None:
    key, subject = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    consent = signed_consent(subject, key.public_key().public_bytes_raw())
    voice = publish(key=key, consent=consent)
    later = publish(key=key, seed=1, sequence=2)
    async with network(2) as hosts, running(hosts[0], tmp_path / "a", key) as a:
        release = a.hold(voice, tmp_path)
        async with running(hosts[1], tmp_path / "s", subject) as s:
            s.hold(voice, tmp_path)
            with trio.fail_after(30):
                await revoke(s, release, whole=True)
                await a.learned()
            assert a.catalog.installed() == []
            # Nor with another declaration, nor the same files under another key's name without one.
            with pytest.raises(RevokedError, match="by the person whose voice it is"):
                a.catalog.add_release(later.release.envelope.to_bytes())
            copied = publish(key=STRANGER, slug="copied")
            for node in (a, s):
                with pytest.raises(RevokedError):
                    node.catalog.add_release(copied.release.envelope.to_bytes())


async def test_the_head_goes_with_the_release_it_names(network: Make, publish: Make, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    old, new = publish(key=key), publish(key=key, seed=1, sequence=2)
    place = head_key(old.release.manifest.author, old.release.manifest.slug)
    async with network(1) as hosts, running(hosts[0], tmp_path / "a", key) as a:
        a.hold(old, tmp_path)
        a.hold(new, tmp_path)
        with trio.fail_after(30):
            await revoke(a, old.release)
            assert place in a.network._announcer._items
            assert [held.release for held in a.catalog.installed()] == [new.release.id]
            await revoke(a, new.release)
            assert place not in a.network._announcer._items


async def test_a_newcomer_who_asks_is_shown(network: Make, publish: Make, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    async with network(2) as hosts, running(hosts[0], tmp_path / "a", key) as a:
        release = a.hold(voice, tmp_path)
        async with running(hosts[1], tmp_path / "c") as c:
            with trio.fail_after(30):
                await revoke(a, release)
                found: list[Release] = []

                async def deliver(one: Release) -> None:
                    found.append(one)

                await c.network.find(["language/yue"], deliver, 5)
                assert found == []
                with pytest.raises(RevokedError, match="by its author"):
                    await c.network.find_release(release.id)
                (stone,) = c.catalog.tombstones.all()
                assert (stone.kind, stone.name) == (Kind.ASKED, "Storyteller")


async def test_what_was_heard_before_the_release_came_counts(
    network: Make, publish: Make, shelf: Make, tmp_path: Path
) -> None:
    """One peer's page brings the revocation, another's the release: neither order lets it through."""
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    manifest = voice.release.manifest
    record = sign_revocation(
        Revocation(manifest.author, manifest.author, manifest.slug, 1_790_000_000, voice.release.id), key
    )
    foreign = sign_revocation(
        Revocation(STRANGER.public_key().public_bytes_raw(), manifest.author, manifest.slug, 1_790_000_000),
        STRANGER,
    )
    async with network(1) as hosts, running(hosts[0], tmp_path / "c") as c:
        hearsay = c.network.hearsay
        await hearsay.hear(foreign)
        c.catalog.add_release(voice.release.envelope.to_bytes())
        assert await hearsay.judge(voice.release)
        c.catalog.forget(voice.release.id)
        await hearsay.hear(record)
        assert c.catalog.tombstones.all() == []
        c.catalog.add_release(voice.release.envelope.to_bytes())
        assert not await hearsay.judge(voice.release)
        assert c.catalog.release(voice.release.id) is None
        assert len(c.catalog.tombstones.all()) == 1


async def test_rumours_are_bounded(
    network: Make, publish: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from p2pvoice.node import hearsay

    monkeypatch.setattr(hearsay, "RUMOURS_LIMIT", 3)
    signer = STRANGER.public_key().public_bytes_raw()
    async with network(1) as hosts, running(hosts[0], tmp_path / "c") as c:
        for number in range(5):
            await c.network.hearsay.hear(
                sign_revocation(Revocation(signer, signer, f"v{number}", 1_790_000_000), STRANGER)
            )
        assert len(c.network.hearsay._rumours) == 3
        assert c.catalog.tombstones.all() == []


async def test_the_dht_tells_before_a_fetch(network: Make, publish: Make, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    async with network(2) as hosts:
        async with network(1) as (gone,), running(gone, tmp_path / "a", key) as a:
            release = a.hold(voice, tmp_path)
            with trio.fail_after(30):
                await gone.connect(hosts[0].addresses()[0])
                await revoke(a, release, whole=True)
        # The author's node is gone; the first host holds the record and has never heard of the voice.
        async with running(hosts[1], tmp_path / "c") as c:
            c.catalog.add_release(voice.release.envelope.to_bytes())
            with trio.fail_after(30):
                with pytest.raises(RevokedError, match="the whole voice"):
                    await c.network.hearsay.inquire(release)
            assert c.catalog.release(release.id) is None


class Slow(Landing):
    """A landing that stops after the first chunk until it is let go."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.store, node.disk, silent)
        self.arrived, self.go = trio.Event(), trio.Event()

    async def write_many(self, file: FileEntry, chunks: Iterable[tuple[int, bytes]]) -> None:
        """Keep chunks, and wait."""
        await super().write_many(file, chunks)
        self.arrived.set()
        await self.go.wait()


async def test_rm_and_revoke_stop_what_is_under_way(network: Make, publish: Make, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key, sizes={"gpt.safetensors": 40_000_000, "preview.wav": 1000})
    async with network(2) as hosts, running(hosts[0], tmp_path / "a", key) as a:
        release = a.hold(voice, tmp_path)
        async with running(hosts[1], tmp_path / "b") as b:
            b.catalog.add_release(voice.release.envelope.to_bytes())
            for revoked in (False, True):
                landing = Slow(b)
                outcome: list[BaseException] = []

                async def fetch(landing: Slow = landing, outcome: list[BaseException] = outcome) -> None:
                    try:
                        with b.network.recall.fetching(release):
                            await b.network.fetch(release.id, voice.files, landing)
                    except (NoPeersError, RevokedError) as error:
                        outcome.append(error)

                with trio.fail_after(60):
                    a.catalog.install(release, seed=True)
                    a.network.announce(release)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(fetch)
                        await landing.arrived.wait()
                        if revoked:
                            # The fetch ends although nothing lets the chunk go that it waits for.
                            await revoke(a, release)
                        else:
                            a.catalog.uninstall(release.id)
                            a.network.withdraw(release)
                            landing.go.set()
                landing.close()
                assert isinstance(outcome[0], RevokedError if revoked else NoPeersError)
                assert not b.store.has(voice.files[0].digest)
                with trio.fail_after(20):
                    with pytest.raises(RevokedError if revoked else NotFoundError):
                        await b.network.find_release(release.id)


async def test_a_stranger_cannot_revoke(network: Make, publish: Make, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    voice = publish(key=key)
    manifest = voice.release.manifest
    signer = STRANGER.public_key().public_bytes_raw()
    async with network(2) as hosts, running(hosts[0], tmp_path / "a", key) as a:
        release = a.hold(voice, tmp_path)
        async with running(hosts[1], tmp_path / "m", STRANGER) as m:
            m.hold(voice, tmp_path)
            with trio.fail_after(30):
                with pytest.raises(PolicyError):
                    await revoke(m, release)
                for name in (release.id, None):
                    record = sign_revocation(
                        Revocation(signer, manifest.author, manifest.slug, 1_790_000_000, name), STRANGER
                    )
                    await a.network.hearsay.hear(record)
                    assert await a.network.recall.take(record, kind=Kind.ASKED, proof=release) is None
        assert a.catalog.is_offered(release.id)
        assert a.catalog.tombstones.all() == []
