"""The tables of collections: forward only, within their limits, and what a name means."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node import collection_tables, evaluations
from p2pvoice.node.collection_tables import Collections, Draft, with_items
from p2pvoice.node.database import Database
from p2pvoice.node.evaluations import Evaluations
from p2pvoice.node.schema import open_database
from p2pvoice.protocol.collection import ITEMS_LIMIT, Collection, Item, SignedCollection, sign_collection
from p2pvoice.protocol.errors import ConflictError, NotFoundError, StaleError, UsageError
from p2pvoice.protocol.ids import author_id, release_id

KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(1, 4)]
NAMES = [author_id(key.public_key().public_bytes_raw()) for key in KEYS]
RELEASES = tuple(release_id(str(number).encode()) for number in range(ITEMS_LIMIT + 1))


def make(slug: str = "set", sequence: int = 1, *releases: str, key: int = 0) -> SignedCollection:
    public = KEYS[key].public_key().public_bytes_raw()
    items = tuple(Item(release) for release in releases)
    return sign_collection(Collection(public, slug, sequence, slug.title(), 1_790_000_000, items), KEYS[key])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "catalog.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def tables(database: Database) -> Collections:
    return Collections(database)


def test_it_moves_forward_only_and_shows_a_fork(tables: Collections) -> None:
    one, two, rival = make(), make("set", 2), make("set", 2, RELEASES[0])
    assert tables.keep(one.data, seed=True).signed == one
    assert tables.keep(two.data, seed=True).signed == two
    with pytest.raises(StaleError):
        tables.keep(one.data, seed=True)
    forked = tables.keep(rival.data, seed=True)
    assert (forked.signed, forked.rival) == (two, rival)
    # A third one at that sequence changes nothing more, a higher one ends the fork.
    assert tables.keep(make("set", 2, RELEASES[1]).data, seed=True).rival == rival
    assert tables.keep(make("set", 3).data, seed=True).rival is None


def test_only_what_is_seeded_is_offered(tables: Collections) -> None:
    one = make()
    tables.keep(one.data, seed=False)
    assert tables.offered(one.author, "set") is None
    tables.keep(one.data, seed=True)
    assert tables.offered(one.author, "set") == one.data
    tables.begin(Draft("draft", "Draft", 1))
    assert tables.offered(one.author, "draft") is None
    tables.forget("set", one.author, draft=False)
    assert tables.get(one.author, "set") is None


def test_collections_end_at_their_number(tables: Collections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection_tables, "KEPT_LIMIT", 3)
    monkeypatch.setattr(collection_tables, "DRAFTS_LIMIT", 2)
    for number in range(3):
        tables.keep(make(f"set-{number}").data, seed=True)
    with pytest.raises(ConflictError):
        tables.keep(make("set-3").data, seed=True)
    assert tables.keep(make("set-2", 2).data, seed=True).signed.collection.sequence == 2
    for number in range(2):
        tables.begin(Draft(f"draft-{number}", "Draft", 1))
    with pytest.raises(ConflictError):
        tables.begin(Draft("draft-2", "Draft", 1))


def test_items_end_at_their_number_and_keep_their_place() -> None:
    full = with_items((), [Item(one) for one in RELEASES[:ITEMS_LIMIT]])
    assert len(full) == ITEMS_LIMIT
    with pytest.raises(ConflictError):
        with_items(full, [Item(RELEASES[-1])])
    noted = with_items(full, [Item(RELEASES[1], "a note")])
    assert noted[1] == Item(RELEASES[1], "a note")
    assert with_items(noted, [Item(RELEASES[1])]) == noted


def test_what_a_name_means(tables: Collections) -> None:
    own, theirs, others = (make("set", 1, key=number) for number in range(3))
    with pytest.raises(NotFoundError):
        tables.named("set", NAMES[0])
    tables.keep(theirs.data, seed=True)
    for name in ("set", "Set", f"{NAMES[1]}/set", f"{NAMES[1].removeprefix('did:key:')[:12]}/set"):
        assert tables.named(name, NAMES[0]) == (None, tables.get(NAMES[1], "set"))
    tables.keep(others.data, seed=True)
    with pytest.raises(UsageError, match="several"):
        tables.named("set", NAMES[0])
    # One's own draft goes before what strangers call theirs; with what was published of it.
    draft = Draft("set", "My set", 1, (Item(RELEASES[0], "n"),), "# Card", "CC0-1.0")
    tables.begin(draft)
    assert tables.named("set", NAMES[0]) == (draft, None)
    tables.keep(own.data, seed=True)
    assert tables.named("My set", NAMES[0]) == (draft, tables.get(NAMES[0], "set"))
    assert tables.named(f"{NAMES[0]}/set", NAMES[0]) == (draft, tables.get(NAMES[0], "set"))
    for name in ("/set", "x/set", "../set", "did:key:/set", ""):
        with pytest.raises(NotFoundError):
            tables.named(name, NAMES[0])


def test_measurements_end_at_their_number(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    kept = Evaluations(database, clock=lambda: now)
    monkeypatch.setattr(evaluations, "EVALUATIONS_LIMIT", 50)
    for number in range(50):
        now = float(number)
        kept.put(RELEASES[number], {"describe/1": [number]})
    assert kept.get(RELEASES[0], "describe/1") == [0]
    now = 50.0
    kept.put(RELEASES[50], {"cosine/1/a": 0.5, "cosine/1/b": 0.25})
    assert kept.get(RELEASES[0], "describe/1") is None
    assert kept.get(RELEASES[49], "describe/1") == [49]
    assert kept.beginning(RELEASES[50], "cosine/1/") == {"a": 0.5, "b": 0.25}
