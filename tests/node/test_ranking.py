"""The order of found voices, pages of it, and cursors that hold while the catalog changes."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node import ranking
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.following import Following
from p2pvoice.node.ranking import CURSOR_LENGTH, Candidate, rank, read_cursor, write_cursor
from p2pvoice.node.schema import open_database
from p2pvoice.node.searching import candidates_query, offered_query
from p2pvoice.protocol.canonical import encode
from p2pvoice.protocol.collection import Collection, Item, sign_collection
from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release

from .recall_parts import NOW, make_release

OWN, FOLLOWED, KIN, STRANGER, FLOODER = (
    Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(1, 6)
)


def name_of(key: Ed25519PrivateKey) -> str:
    return author_id(key.public_key().public_bytes_raw())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "catalog.sqlite")
    yield database
    database.close()


@pytest.fixture
def catalog(database: Database) -> Catalog:
    return Catalog(database, clock=lambda: NOW, own=lambda: name_of(OWN))


def add(catalog: Catalog, *releases: Release) -> list[Release]:
    return [catalog.add_release(release.envelope.to_bytes()) for release in releases]


def slugs(releases: Sequence[Release]) -> list[str]:
    return [release.manifest.slug for release in releases]


def test_own_and_followed_come_first_then_their_kin(catalog: Catalog, database: Database) -> None:
    strange = make_release(STRANGER, "strange")
    merged = make_release(KIN, "merged")
    collected = make_release(FLOODER, "collected")
    add(catalog, strange, merged, make_release(FOLLOWED, "followed"), make_release(OWN, "own"))
    assert slugs(catalog.search([], "", 10))[0] == "own"
    Following(database).follow(name_of(FOLLOWED))
    assert slugs(catalog.search([], "", 10))[:2] == ["own", "followed"]
    collection = Collection(
        author=FOLLOWED.public_key().public_bytes_raw(),
        slug="list",
        name="list",
        sequence=1,
        created=int(NOW),
        items=(Item(collected.id, ""), Item(merged.id, "")),
    )
    catalog.collections.keep(sign_collection(collection, FOLLOWED).data, seed=False)
    assert slugs(catalog.search([], "", 10)) == ["own", "followed", "merged", "strange"]
    # A release that a followed author named comes in later.
    add(catalog, collected)
    assert slugs(catalog.search([], "", 10))[-1] == "strange"
    catalog.install(strange, seed=False)
    assert slugs(catalog.search([], "", 10))[-1] == "strange"
    Following(database).unfollow(name_of(FOLLOWED))
    assert slugs(catalog.search([], "", 10))[:2] == ["own", "strange"]


def candidate(author: str, number: int, **others: int) -> Candidate:
    values = {"created": 1, "since": 5, "distance": 3, "installed": 0, "signals": 0} | others
    return Candidate(f"{author}{number}", author, **values)  # type: ignore[arg-type]


def test_no_author_fills_a_page() -> None:
    many = [candidate("a", number, since=1) for number in range(20)]
    others = [candidate(letter, number) for letter in "bcd" for number in range(2)]
    places = [place.release for place in rank([*many, *others])]
    assert len(places) == 26
    assert all(one[0] == "a" for one in places[:3])
    assert {one[0] for one in places[3:9]} == set("bcd")
    assert all(one[0] == "a" for one in places[9:])


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"distance": 0}, {"distance": 1, "installed": 1, "signals": 9}),
        ({"distance": 2}, {"distance": 3, "installed": 1}),
        ({"installed": 1}, {"signals": 9}),
        ({"signals": 1}, {"since": 1}),
        ({"since": 1}, {"created": 9}),
    ],
)
def test_what_counts_before_what(better: dict[str, int], worse: dict[str, int]) -> None:
    found = rank([candidate("x", 1, **worse), candidate("y", 1, **better)])
    assert [place.release for place in found] == ["y1", "x1"]


def test_pages_give_each_voice_once_while_the_catalog_changes(catalog: Catalog) -> None:
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([9, number]) * 16) for number in range(12)]
    voices = add(catalog, *(make_release(key, f"voice-{n}") for key in keys for n in range(4)))
    seen: list[str] = []
    cursor, pages = "", 0
    while True:
        page = catalog.page([], "", 7, cursor)
        seen += [release.id for release in page.releases]
        pages += 1
        cursor = page.next
        if not cursor:
            break
        assert len(cursor) <= CURSOR_LENGTH
        assert len(page.releases) == 7
        # Others come, and what was shown last goes.
        add(catalog, make_release(FLOODER, f"late-{pages}"))
        catalog.forget(page.releases[-1].id)
    shown = [one for one in seen if one in {voice.id for voice in voices}]
    assert len(shown) == len(set(shown)) == 48
    assert pages >= 7


def test_a_cursor_is_checked(catalog: Catalog) -> None:
    add(catalog, make_release(STRANGER, "one"), make_release(STRANGER, "two"))
    cursor = catalog.page([], "", 1).next
    assert slugs(catalog.page([], "", 1, cursor).releases)
    with pytest.raises(UsageError, match="another search"):
        catalog.page([], "one", 1, cursor)
    for wrong in ("x", "=", cursor + "A", cursor[:-4], cursor.swapcase(), "é" * 8, "A" * CURSOR_LENGTH):
        with pytest.raises(UsageError):
            catalog.page([], "", 1, wrong)


def test_a_cursor_has_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    place = rank([candidate("a", 1)])[0]
    cursor = write_cursor(place.key, ["language/yue"], "x")
    monkeypatch.setattr(ranking, "CURSOR_LENGTH", len(cursor))
    assert read_cursor(cursor, ["language/yue"], "x") == place.key
    monkeypatch.setattr(ranking, "CURSOR_LENGTH", len(cursor) - 1)
    with pytest.raises(UsageError):
        read_cursor(cursor, ["language/yue"], "x")


@pytest.mark.parametrize("place", [0, 3, 5, 7])
def test_a_cursor_of_other_things_is_none(place: int) -> None:
    values: list[object] = [*rank([candidate("a", 1)])[0].key]
    for wrong in (None, True, 1 << 62, "x" * 129, b"x", [1]):
        made = values.copy()
        made[place] = wrong
        data = encode([ranking._query([], ""), *made])
        with pytest.raises(UsageError):
            read_cursor(ranking.base64.urlsafe_b64encode(data).decode().rstrip("="), [], "")


ROWS = 100_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A hundred thousand installed voices of one facet; only what the queries look at is real."""
    database = open_database(tmp_path_factory.mktemp("large") / "catalog.sqlite")
    numbers = f"WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n+1 FROM n WHERE n<{ROWS - 1})"
    with database.write() as connection:
        for statement in (
            "INSERT INTO releases(id, author, slug, created, seen, data)"
            " SELECT printf('r%06d', n), printf('a%d', n % 1000), printf('s%d', n), n, 0, x'00' FROM n",
            "INSERT INTO tags(tag, release) SELECT 'language/yue', printf('r%06d', n) FROM n",
            "INSERT INTO tags(tag, release) SELECT 'gender/male', printf('r%06d', n) FROM n WHERE n % 2",
            "INSERT INTO installed(release, author, slug, at, seed)"
            " SELECT printf('r%06d', n), printf('a%d', n % 1000), printf('s%d', n), 0, 1 FROM n",
        ):
            connection.execute(f"{numbers} {statement}" if "SELECT" in statement else statement)
    yield database
    database.close()


def plan(database: Database, query: str, values: Sequence[object]) -> list[str]:
    return [str(row["detail"]) for row in database.rows("EXPLAIN QUERY PLAN " + query, values)]


@pytest.mark.parametrize("tags", [[], ["language/yue"], ["language/yue", "gender/male"]])
def test_a_peers_page_comes_out_of_an_index(large: Database, tags: list[str]) -> None:
    query, values = offered_query(tags, 50, "r050000")
    steps = plan(large, query, values)
    assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN i")], steps
    assert [step for step in steps if step.startswith("SEARCH") and "release>?" in step], steps
    # What a page costs is counted, not timed: in steps of SQLite's machine.
    costs = [steps_of(large, *offered_query(tags, 50, after)) for after in ("", "r050000", "r099000")]
    assert max(costs) < 20_000, costs
    catalog = Catalog(large)
    found, after = 0, ""
    while page := catalog.offered(tags, 5_000, after):
        assert page[0] > after
        found, after = found + len(page), page[-1]
    assert found == (ROWS // 2 if len(tags) == 2 else ROWS)


def test_a_facet_is_read_out_of_its_index(large: Database) -> None:
    rows = list(Catalog(large).releases_tagged("gender/male"))
    assert len(rows) == ROWS // 2
    assert rows[0] == ("r000001", 1, "a1")
    steps = plan(large, *candidates_query(["gender/male"], ""))
    assert steps[0].startswith("SEARCH t USING PRIMARY KEY (tag=?)"), steps
    assert not [step for step in steps if step.startswith("SCAN") and "bases" not in step], steps


def steps_of(database: Database, query: str, values: Sequence[object]) -> int:
    """Hundreds of steps that SQLite takes for a query, times a hundred."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    connection: sqlite3.Connection = database._connection
    connection.set_progress_handler(tick, 100)
    try:
        database.rows(query, values)
    finally:
        connection.set_progress_handler(None, 100)
    return count * 100
