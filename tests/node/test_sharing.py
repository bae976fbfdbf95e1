"""What is given to peers of a file that is still being fetched, and what is not."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.announcing import Announcer
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.host import open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.layout import PART
from p2pvoice.node.offer import Landing, Offer
from p2pvoice.node.schema import open_database
from p2pvoice.node.sharing import Sharing
from p2pvoice.node.store import Store
from p2pvoice.node.successors import Successors
from p2pvoice.node.tombstone import Kind
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.ids import digest_of
from p2pvoice.protocol.manifest import FileEntry, Release, sign_manifest

from .nodes import LOOPBACK
from .recall_parts import make_release, make_revocation

PIECE = 1000
CONTENT = b"".join(bytes([number]) * PIECE for number in range(1, 5))


def cut(content: bytes, piece: int = PIECE, path: str = "gpt.safetensors") -> FileEntry:
    pieces = [content[at : at + piece] for at in range(0, len(content), piece)]
    chunks = tuple(Chunk(len(one), digest_of(one)) for one in pieces)
    return FileEntry(path, len(content), digest_of(content), chunks)


def of_files(key: Ed25519PrivateKey, *files: FileEntry, slug: str = "storyteller") -> Release:
    return sign_manifest(replace(make_release(key, slug).manifest, files=files), key)


@dataclass
class Place:
    """A node's store and catalog, what it offers, and a release of which two chunks of four are here."""

    store: Store
    catalog: Catalog
    offer: Offer
    sharing: Sharing
    announcer: Announcer
    landing: Landing
    key: Ed25519PrivateKey
    release: Release

    @property
    def file(self) -> FileEntry:
        return self.release.manifest.files[0]

    async def given(self, file: FileEntry | None = None) -> list[int] | None:
        """The chunks that a peer is told of; each of them can be had, and no other."""
        file = file or self.file
        held = await self.offer.get_have(file.digest)
        found = [await self.offer.read_chunk(file.digest, index) for index in range(len(file.chunks) + 1)]
        had = [index for index, data in enumerate(found) if data is not None]
        if held is None:
            assert had == []
            return None
        assert held.count == len(file.chunks)
        assert [index for index in range(held.count) if index in held] == had
        return had


@pytest.fixture
async def place(tmp_path: Path) -> Any:
    database = open_database(tmp_path / "catalog.sqlite")
    store, catalog = Store(tmp_path / "store"), Catalog(database)
    disk = trio.CapacityLimiter(2)
    key = Ed25519PrivateKey.generate()
    release = of_files(key, cut(CONTENT))
    catalog.add_release(release.envelope.to_bytes())
    async with open_host(generate(), listen=(LOOPBACK,)) as host:
        announcer = Announcer(host)
        offer = Offer(store, catalog, Successors(database), disk)
        offer.sharing = Sharing(announcer)

        async def silent(file: FileEntry, have: int) -> None:
            pass

        landing = Landing(store, disk, silent)
        file = release.manifest.files[0]
        assert await landing.missing(file) == [0, 1, 2, 3]
        for index in (0, 2):
            await landing.write_many(file, [(index, CONTENT[index * PIECE : (index + 1) * PIECE])])
        yield Place(store, catalog, offer, offer.sharing, announcer, landing, key, release)
    landing.close()
    store.close()
    database.close()


async def test_what_is_here_is_given_from_the_first_chunk_until_the_fetch_ends(place: Place) -> None:
    assert await place.given() is None
    with place.sharing.while_fetching(place.release) as begin:
        assert await place.given() is None
        assert place.announcer.status()["keys"] == 0
        begin()
        begin()
        assert place.announcer.status()["keys"] == 1  # The release, and none of its tags.
        assert await place.given() == [0, 2]
        assert await place.offer.get_release(place.release.id) == place.release.envelope.to_bytes()
        assert (await place.offer.query((), 10, "")).releases == ()
        await place.landing.write_many(place.file, [(1, CONTENT[PIECE : 2 * PIECE])])
        assert await place.given() == [0, 1, 2]
        with place.sharing.while_fetching(place.release) as again:
            again()
        assert await place.given() == [0, 1, 2]
    assert await place.given() is None
    assert await place.offer.get_release(place.release.id) is None
    assert place.announcer.status()["keys"] == 0


async def test_an_announcement_outlasts_the_fetch_when_the_voice_is_installed(place: Place) -> None:
    with place.sharing.while_fetching(place.release) as begin:
        begin()
        for index in (1, 3):
            piece = CONTENT[index * PIECE : (index + 1) * PIECE]
            await place.landing.write_many(place.file, [(index, piece)])
        await place.landing.finish(place.file)
        assert await place.given() == [0, 1, 2, 3]
        place.catalog.install(place.release, seed=True)
        place.announcer.release(place.release.id, ["language/yue"])
    assert await place.given() == [0, 1, 2, 3]
    assert place.announcer.status()["keys"] == 2


async def test_of_a_fetch_without_seeding_nothing_is_given(place: Place) -> None:
    other = of_files(place.key, cut(b"of another voice", 16), slug="another")
    place.catalog.add_release(other.envelope.to_bytes())
    with place.sharing.while_fetching(other) as begin:
        begin()
        assert await place.given() is None
    place.catalog.install(place.release, seed=False)
    assert await place.given() is None


async def test_of_what_was_revoked_meanwhile_nothing_is_given(place: Place) -> None:
    with place.sharing.while_fetching(place.release) as begin:
        begin()
        assert await place.given() == [0, 2]
        stone, new = place.catalog.tombstones.add(
            make_revocation(place.release, place.key),
            Kind.SEEN,
            proof=place.release,
            within=lambda connection: place.catalog.drop(connection, place.release.id),
        )
        assert stone is not None
        assert new
        assert await place.given() is None


async def test_a_chunk_that_was_damaged_is_not_given(place: Place) -> None:
    with place.sharing.while_fetching(place.release) as begin:
        begin()
        with place.store.layout.partial(place.file.digest, PART).open("r+b") as file:
            file.seek(2 * PIECE + 7)
            file.write(b"\xff")
            os.fsync(file.fileno())
        assert await place.offer.read_chunk(place.file.digest, 2) is None
        assert await place.given() == [0]
        # It is fetched again like one that never came.
        assert await place.landing.missing(place.file) == [1, 2, 3]


async def test_a_manifest_that_cuts_a_whole_file_otherwise_gets_nobody_blamed(
    place: Place, tmp_path: Path
) -> None:
    """Who fetches by such a manifest holds our true chunks for wrong ones, so they are not given under it."""
    (tmp_path / "whole").write_bytes(CONTENT)
    place.landing.close()
    place.store.add_file(tmp_path / "whole", place.file.chunks)
    for lie in (
        cut(CONTENT, 800),
        replace(place.file, chunks=(*place.file.chunks[:3], Chunk(PIECE, digest_of(b"no such chunk")))),
    ):
        bad = of_files(place.key, lie, slug=f"lie-{len(lie.chunks)}")
        place.catalog.add_release(bad.envelope.to_bytes())
        with place.sharing.while_fetching(bad) as begin:
            begin()
            assert await place.offer.get_have(lie.digest) is None
            assert await place.offer.read_chunk(lie.digest, 3) is None
    with place.sharing.while_fetching(place.release) as begin:
        begin()
        assert await place.given() == [0, 1, 2, 3]


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[tuple[Store, FileEntry]]:
    store, file = Store(tmp_path / "store"), cut(CONTENT)
    yield store, file
    store.close()


def test_reading_from_a_file_whose_fetch_has_ended(closed: tuple[Store, FileEntry]) -> None:
    store, file = closed
    partial = store.open_partial(file.digest, file.chunks)
    assert partial.write(0, CONTENT[:PIECE])
    assert partial.read(0) == CONTENT[:PIECE]
    store.close_partial(file.digest)
    assert partial.read(0) is None
    assert store.held(file.digest) is None
    # It comes back with the next attempt: reading after the end was no sign of damage.
    assert store.open_partial(file.digest, file.chunks).missing() == [1, 2, 3]
