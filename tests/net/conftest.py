"""Real hosts on loopback, for tests that speak over real sockets."""

import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.host import P2PHost, open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.library import Page
from p2pvoice.protocol import delta
from p2pvoice.protocol.chunks import Bitmap, Chunk, plan_chunks
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.delta_planes import F16
from p2pvoice.protocol.head import Head, sign_head
from p2pvoice.protocol.ids import author_id, digest_of
from p2pvoice.protocol.manifest import Engine, FileEntry, Manifest, Release, sign_manifest

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
                await host.joined.wait()
            ready[index].set()
            await finished.wait()

    async with trio.open_nursery() as nursery:
        with trio.fail_after(90):
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


@dataclass(frozen=True)
class Publication:
    """A signed release, its head, and the bytes of its files by digest."""

    release: Release
    head: bytes
    blobs: dict[bytes, bytes]

    @property
    def files(self) -> tuple[FileEntry, ...]:
        return self.release.manifest.files


def make_publication(
    *,
    slug: str = "storyteller",
    tags: Sequence[str] = ("language/yue",),
    sizes: dict[str, int] | None = None,
    contents: dict[str, bytes] | None = None,
    sequence: int = 1,
    key: Ed25519PrivateKey | None = None,
    seed: int = 0,
    consent: ConsentDeclaration | None = None,
) -> Publication:
    """A release whose files are seeded random bytes of the given sizes, or ``contents``."""
    key = key or Ed25519PrivateKey.generate()
    chance = random.Random(seed)
    blobs, files = {}, []
    sizes = sizes or {"gpt.safetensors": 300_000, "voice.json": 500}
    for path, data in (contents or {path: chance.randbytes(size) for path, size in sizes.items()}).items():
        size = len(data)
        chunks, start = [], 0
        for length in plan_chunks(size):
            chunks.append(Chunk(length, digest_of(data[start : start + length])))
            start += length
        blobs[digest_of(data)] = data
        files.append(FileEntry(path, size, digest_of(data), tuple(chunks)))
    manifest = Manifest(
        author=key.public_key().public_bytes_raw(),
        slug=slug,
        name=slug.title(),
        created=int(time.time()),
        license="CC-BY-4.0",
        consent=consent or ConsentDeclaration(subject="self", ai_voice_permission=True),
        languages=("yue",),
        tags=tuple(tags),
        files=tuple(files),
        engine=Engine("gpt-sovits", "v2", 32_000),
    )
    release = sign_manifest(manifest, key)
    return Publication(release, make_head(key, slug, sequence, release.id), blobs)


def make_head(key: Ed25519PrivateKey, slug: str, sequence: int, release: str, lifetime: int = 3600) -> bytes:
    """A signed head that expires ``lifetime`` seconds from now."""
    public = key.public_key().public_bytes_raw()
    return sign_head(Head(public, slug, sequence, release, int(time.time()) + lifetime), key)


class Shelf:
    """A library and a sink that keep everything in memory.

    ``spoil`` changes a chunk before it is served; ``hang`` is the number of chunks after which it stops.
    """

    def __init__(self, *publications: Publication, spoil: bool = False, hang: int | None = None) -> None:
        self.releases: dict[str, bytes] = {}
        self.tags: dict[str, set[str]] = {}
        self.heads: dict[tuple[str, str], bytes] = {}
        self.successors: dict[str, bytes] = {}
        self.collections: dict[tuple[str, str], bytes] = {}
        self.chunks: dict[tuple[bytes, int], bytes] = {}
        self.finished: list[str] = []
        self.heard: list[bytes] = []
        self.revoked: list[bytes] = []
        self.served = 0
        self.asked = 0
        self.looked = 0
        #: Every file that was put or is being fetched: how many chunks it has.
        self.files: set[FileEntry] = set()
        #: Files that a fetch into this one may name as bases, and deltas that were made for others.
        self.kin: list[bytes] = []
        self.deltas = 0
        self.hung = trio.Event()
        self.spoil = spoil
        self.hang = hang
        for publication in publications:
            self.put(publication)

    def put(self, publication: Publication, *, data: bool = True) -> None:
        """Offer a publication; without ``data`` its manifest only."""
        manifest = publication.release.manifest
        self.releases[publication.release.id] = publication.release.envelope.to_bytes()
        self.tags[publication.release.id] = set(manifest.tags)
        self.heads[author_id(manifest.author), manifest.slug] = publication.head
        self.files |= set(manifest.files)
        for file in manifest.files if data else ():
            start = 0
            for index, chunk in enumerate(file.chunks):
                self.chunks[file.digest, index] = publication.blobs[file.digest][start : start + chunk.size]
                start += chunk.size

    async def query(self, tags: Sequence[str], limit: int, cursor: str, **others: Any) -> Page:
        names = sorted(name for name in self.releases if set(tags) <= self.tags[name] and name > cursor)
        page = names[:limit]
        return Page(
            tuple(self.releases[name] for name in page),
            tuple(self.heads.values())[:limit],
            page[-1] if len(names) > limit else "",
            tuple(self.revoked),
        )

    async def get_release(self, release: str) -> bytes | None:
        return self.releases.get(release)

    async def get_head(self, author: str, slug: str) -> bytes | None:
        return self.heads.get((author, slug))

    async def get_revocations(
        self, releases: Sequence[str], author: str, slug: str, *, proofs: bool
    ) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        return (), ()

    async def hear(self, record: bytes) -> None:
        self.heard.append(record)

    async def get_successor(self, author: str) -> bytes | None:
        return self.successors.get(author)

    async def get_collection(self, author: str, slug: str) -> bytes | None:
        return self.collections.get((author, slug))

    async def get_have(self, file: bytes) -> Bitmap | None:
        self.looked += 1
        counts = [len(f.chunks) for f in self.files if f.digest == file]
        held = Bitmap(counts[0]) if counts else None
        for digest, index in self.chunks if held is not None else ():
            if digest == file:
                held.set(index)
        return held

    async def read_chunk(self, file: bytes, index: int) -> bytes | None:
        self.asked += 1
        if self.hang is not None and self.asked > self.hang:
            self.hung.set()
            await trio.sleep_forever()
        data = self.chunks.get((file, index))
        if data is not None:
            self.served += len(data)
            if self.spoil:
                return bytes([data[0] ^ 1]) + data[1:]
        return data

    async def read_delta(self, file: bytes, index: int, bases: Sequence[bytes]) -> tuple[int, bytes] | None:
        """A delta to the first base that is here, of 16-bit numbers."""
        new = self.chunks.get((file, index))
        for number, base in enumerate(bases):
            old = self.chunks.get((base, index))
            if new is None or old is None or len(new) != len(old):
                continue
            blob = delta.encode(new, old, F16)
            if blob is not None:
                self.deltas += 1
                return number, bytes([*blob[:-1], blob[-1] ^ 1]) if self.spoil else blob
        return None

    async def delta_bases(self, file: FileEntry) -> list[bytes]:
        return self.kin

    async def read_delta_base(self, base: bytes, index: int) -> bytes | None:
        return self.chunks.get((base, index))

    async def missing(self, file: FileEntry) -> list[int]:
        self.files.add(file)
        return [i for i in range(len(file.chunks)) if (file.digest, i) not in self.chunks]

    async def write_many(self, file: FileEntry, chunks: Iterable[tuple[int, bytes]]) -> None:
        await trio.lowlevel.checkpoint()
        self.chunks.update({(file.digest, index): data for index, data in chunks})

    async def finish(self, file: FileEntry) -> None:
        data = b"".join(self.chunks[file.digest, i] for i in range(len(file.chunks)))
        assert digest_of(data) == file.digest
        self.finished.append(file.path)


@pytest.fixture
def publish() -> Callable[..., Publication]:
    return make_publication


@pytest.fixture
def sign_old_head() -> Callable[..., bytes]:
    return make_head


@pytest.fixture
def shelf() -> type[Shelf]:
    return Shelf
