"""Shelves on the disk beside the catalog's room: who has which places, and what falls off into the room."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node import eviction
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.pools import Limits
from p2pvoice.node.schema import open_database
from p2pvoice.node.shelves.tables import RELEASE_BYTES, ShelfTable
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.manifest import FileEntry, sign_manifest
from p2pvoice.protocol.shelf import Card, epoch_of
from p2pvoice.protocol.shelf_entry import Entry

from .flooding import Maker
from .recall_parts import NOW, make_release

MIB = 1 << 20
SMALL = Limits(places=10, facet=5, author=4, guests=0)


@dataclass
class Disk:
    database: Database
    catalog: Catalog
    table: ShelfTable
    maker: Maker

    def check(self, data: bytes) -> Card | None:
        return self.table.check([Entry(data, b"", epoch_of(b"\0" * 32, NOW))]).cards[0]

    def shelve(self, author: str, number: int) -> Card:
        data = self.maker.make(author, number)[1]
        card = self.check(data)
        assert card is not None
        self.table.store([(card, Entry(data))], [])
        return card

    def shelved(self) -> int:
        return len(self.table.voices())


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A fresh database whose room has few places."""
    monkeypatch.setattr(eviction, "LIMITS", SMALL)
    database = open_database(tmp_path / "catalog.sqlite")
    catalog = Catalog(database, clock=lambda: NOW)
    yield Disk(database, catalog, ShelfTable(database, catalog, clock=lambda: NOW), Maker())
    database.close()


def test_the_room_takes_nothing_from_a_shelf(disk: Disk) -> None:
    for number in range(20):
        disk.shelve("one author", number)
    assert disk.shelved() == 20
    # A mirror of an author begins with the voices that stand on shelves here.
    [author] = {author for _, _, author in disk.catalog.releases_tagged("language/yue")}
    assert len(disk.catalog.names_of({author}, 100)) == 20
    for number in range(40):
        disk.catalog.add_release(disk.maker.make(f"flood {number}", 0)[1])
    assert disk.shelved() == 20
    # And the shelf nothing from the room: of the flood as much is here as without it.
    assert disk.catalog.counts()[0] == 20 + SMALL.facet
    # The same after the rules are read from the tables again.
    again = Catalog(disk.database, clock=lambda: NOW)
    again.add_release(disk.maker.make("one more", 0)[1])
    assert again.counts()[0] == 20 + SMALL.facet


def test_what_falls_off_a_shelf_comes_under_the_rules_of_the_room(disk: Disk) -> None:
    cards = [disk.shelve("one author", number) for number in range(20)]
    disk.table.remove(card.key for card in cards[:10])
    assert disk.shelved() == 10
    assert disk.catalog.counts()[0] == 10 + SMALL.author


def test_what_a_newer_release_replaces_on_a_shelf_does_too(disk: Disk) -> None:
    key = Ed25519PrivateKey.generate()
    for number in range(10):
        data = make_release(key, created=NOW + number).envelope.to_bytes()
        card = disk.check(data)
        assert card is not None
        disk.table.store([(card, Entry(data))], [])
    assert disk.shelved() == 1
    assert disk.catalog.counts()[0] == 1 + SMALL.author


@pytest.mark.parametrize(("more", "taken"), [(0, True), (1, False)])
def test_a_release_of_more_than_two_places_is_on_no_shelf(disk: Disk, more: int, taken: bool) -> None:
    key = Ed25519PrivateKey.generate()
    small = make_release(key)
    digest = small.manifest.files[0].digest
    # 600 MiB have a chunk list of 24 kB; the rest is description.
    file = FileEntry("gpt.safetensors", 600 * MIB, digest, (Chunk(MIB, digest),) * 600)

    def described(length: int) -> bytes:
        manifest = replace(small.manifest, files=(file,), description="x" * length)
        return sign_manifest(manifest, key).envelope.to_bytes()

    # Beyond 256 characters the description costs its length and a head that stays the same.
    length = 300 + RELEASE_BYTES - len(described(300)) + more
    data = described(length)
    assert len(data) == RELEASE_BYTES + more
    assert (disk.check(data) is not None) is taken
    # What is offered here is told or not by the same rule.
    disk.catalog.install(disk.catalog.add_release(data), seed=True)
    assert (len(disk.table.offered()) == 1) is taken
