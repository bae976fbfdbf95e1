"""One node of the network under test: a real host, catalog, offer, exchange server and announcer on
loopback.

No daemon around it: no RPC, no worker, no files of voices; the manifests are as large as those of real
voices. Follows specs/scale.md, "What is real".
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.announcing import Announcer
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import Identity
from p2pvoice.node.offer import Offer
from p2pvoice.node.schema import open_database
from p2pvoice.node.shelves.parts import Shelving, open_shelves
from p2pvoice.node.store import Store
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.chunks import Chunk, plan_chunks
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.head import tag_key
from p2pvoice.protocol.ids import digest_of
from p2pvoice.protocol.manifest import Engine, FileEntry, Manifest, Release, sign_manifest

from .counting import Counting
from .plan import Plan, Voice

SIZES = {"gpt.safetensors": 77_000_000, "sovits.safetensors": 85_000_000, "voice.json": 500}
"""Bytes of a usual voice's files; only their entries in the manifest are made."""


def key_of(name: str) -> Ed25519PrivateKey:
    """The same key for the same name, in every process."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def sign_voice(voice: Voice, created: int) -> Release:
    """The release of a voice, signed by an author of its own."""
    files = []
    for path, size in SIZES.items():
        chunks = tuple(
            Chunk(length, digest_of(f"{voice.slug}/{path}/{n}".encode()))
            for n, length in enumerate(plan_chunks(size))
        )
        whole = chunks[0].digest if len(chunks) == 1 else digest_of(f"{voice.slug}/{path}".encode())
        files.append(FileEntry(path, size, whole, chunks))
    key = key_of(voice.slug)
    manifest = Manifest(
        author=key.public_key().public_bytes_raw(),
        slug=voice.slug,
        name=voice.slug.title(),
        created=created,
        license="CC-BY-4.0",
        consent=ConsentDeclaration(subject="self", ai_voice_permission=True),
        languages=("yue",),
        tags=voice.tags,
        files=tuple(files),
        engine=Engine("gpt-sovits", "v2", 32_000),
    )
    return sign_manifest(manifest, key)


@dataclass
class Keeper:
    """One running node and what counts it."""

    number: int
    host: P2PHost
    catalog: Catalog
    announcer: Announcer
    counting: Counting
    shelving: Shelving
    offer: Offer
    _nursery: trio.Nursery

    def keep_shelves(self) -> None:
        """Look up other keepers, compare shelves with them, pass news on: from now on, as a daemon does."""
        self._nursery.start_soon(self.shelving.run)

    def shelves(self) -> dict[str, int]:
        """How many voices stand on each shelf that is kept here."""
        keeper = self.shelving.keeping.keeper
        return {tag: len(shelf) for tag in keeper.tags if (shelf := keeper.shelf(tag)) is not None}

    def announce(self, releases: Sequence[Release], *, tags_only: bool) -> list[bytes]:
        """Put what the node offers into the announcer's queue, which keeps the pace; returns the keys."""
        keys: dict[bytes, None] = {}
        for release in releases:
            tags = release.manifest.finding_tags
            if tags_only:
                keys |= dict.fromkeys(self.announcer.provide(tag_key(tag), f"tag {tag}") for tag in tags)
            else:
                keys |= dict.fromkeys(self.announcer.release(release.id, tags))
        return list(keys)


async def _deaf(record: bytes) -> None:
    """Nothing is revoked here."""


@asynccontextmanager
async def keeper(
    plan: Plan, number: int, folder: Path, bootstrap: Sequence[str], disk: trio.CapacityLimiter
) -> AsyncIterator[Keeper]:
    """One node that holds its voices and serves them; announcing waits until it is told to."""
    home = folder / str(number)
    home.mkdir()
    database = open_database(home / "catalog.sqlite")
    store = Store(home / "store")
    catalog = Catalog(database)
    identity = Identity(key_of(f"author-{number}"), key_of(f"peer-{plan.seed}-{number}"))
    try:
        for voice in plan.kept_by(number):
            release = sign_voice(voice, plan.created)
            catalog.add_release(release.envelope.to_bytes())
            catalog.install(release, seed=True)
        async with (
            open_host(identity, listen=("/ip4/127.0.0.1/tcp/0",), bootstrap=bootstrap) as host,
            trio.open_nursery() as nursery,
        ):
            offer = Offer(store, catalog, Successors(database), disk)
            shelving = open_shelves(host, database, catalog, disk, _deaf)
            offer.shelves = shelving.reader
            ExchangeServer(host, offer).attach()
            shelving.server.attach()
            announcer = Announcer(host)
            nursery.start_soon(announcer.run)
            yield Keeper(number, host, catalog, announcer, Counting(host), shelving, offer, nursery)
            nursery.cancel_scope.cancel()
    finally:
        store.close()
        database.close()
