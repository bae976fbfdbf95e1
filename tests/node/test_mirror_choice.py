"""Which releases a mirror takes first, what makes room first, and that both are kept in the database."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.node.database import Database
from p2pvoice.node.layout import PART, Layout
from p2pvoice.node.mirror_choice import Candidate, choose
from p2pvoice.node.mirror_tables import MIRRORS_LIMIT, Mirrored, Mirrors
from p2pvoice.node.quota import allocated, in_order, lacking
from p2pvoice.node.schema import open_database
from p2pvoice.protocol.errors import ConflictError, NotFoundError

from .test_catalog import make_release
from .test_migration import GOLDEN

RELEASES = [make_release(slug=f"voice-{number}") for number in range(8)]

ROWS = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans()), max_size=len(RELEASES))


@given(rows=ROWS, replicas=st.integers(1, 5))
def test_the_rarest_come_first_and_nothing_that_enough_have(
    rows: list[tuple[int, bool, bool]], replicas: int
) -> None:
    candidates = [
        Candidate(release, 1, others, here, renews)
        for release, (others, here, renews) in zip(RELEASES, rows, strict=False)
    ]
    chosen = choose(candidates, replicas, "peer")
    assert [one.others for one in chosen] == sorted(one.others for one in chosen)
    for one in candidates:
        assert (one in chosen) == (not one.here and (one.others < replicas or one.renews))
        assert one.total == one.others + one.here


def test_nodes_begin_with_different_ones_of_equally_rare() -> None:
    equal = [Candidate(release, 1, 1, False, False) for release in RELEASES]
    firsts = {choose(equal, 3, f"peer {number}")[0].release.id for number in range(40)}
    assert len(firsts) > len(RELEASES) // 2
    assert choose(equal, 3, "peer 1") == choose(list(reversed(equal)), 3, "peer 1")


def test_what_most_others_have_makes_room_first_then_what_is_unused() -> None:
    one = Mirrored("did:key:a", "a", "r1", "tag", "x", 1, 1, holders=3, replicas=3, pinned=False)
    rare = replace(one, release="r2", holders=1)
    stale = replace(one, release="r3")
    stopped = replace(one, release="r4", holders=0, replicas=0)
    used = {"r1": 20.0, "r2": 1.0, "r3": 10.0, "r4": 30.0}
    assert [row.release for row in in_order([one, rare, stale, stopped], used)] == ["r4", "r3", "r1", "r2"]
    assert one.plenty
    assert stopped.plenty
    assert not rare.plenty


def test_room_is_counted_in_blocks_of_what_is_not_here(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    whole, begun, absent = bytes(32), bytes([1]) * 32, bytes([2]) * 32
    layout.whole(whole).write_bytes(b"x" * 5000)
    with layout.partial(begun, PART).open("wb") as file:
        # Sparse: of 1 MB only the first block is there.
        file.write(b"x" * 4096)
        file.truncate(1_000_000)
    assert allocated(layout, whole) == 8192
    assert allocated(layout, begun) == 4096
    assert lacking(layout, {whole: 5000}) == 0
    assert lacking(layout, {absent: 1}) == 4096
    assert lacking(layout, {absent: 4097}) == 8192
    assert lacking(layout, {begun: 1_000_000}) == 1_003_520 - 4096


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database that version 1 wrote, lifted."""
    opened = open_database(Path(shutil.copy(GOLDEN / "catalog_v1.sqlite", tmp_path / "catalog.sqlite")))
    yield opened
    opened.close()


def test_the_tables_in_a_database_of_version_1(database: Database) -> None:
    mirrors = Mirrors(database, clock=lambda: 1_790_000_000.0)
    row = database.row("SELECT author, slug, release FROM installed ORDER BY slug")
    assert row is not None
    author, slug = str(row["author"]), str(row["slug"])
    mirror = mirrors.begin("tag", "language/yue", 3, 1000)
    assert mirrors.all() == [mirror]
    assert mirrors.begin("tag", "language/yue", 2, 0).replicas == 2
    mirrors.bring(author, slug, mirror, 1)
    mirrors.bring(author, "not-installed", mirror, 1)
    (held,) = mirrors.held()
    assert (held.release, held.holders, held.replicas, held.pinned) == (row["release"], 1, 2, False)
    mirrors.counted(author, slug, 4, 1_790_000_100.9)
    mirrors.looked(mirror, wanted=2, below=1, left_out={"limit": 1}, error="x" * 600)
    found = mirrors.get("tag", "language/yue")
    assert (found.wanted, found.below, found.left_out, len(found.error)) == (2, 1, {"limit": 1}, 500)
    assert mirrors.pin(author, slug)
    assert mirrors.kept(author, slug) == {"pinned": True, "mirrored": True}
    (held,) = mirrors.held()
    assert (held.holders, held.used, held.pinned, held.plenty) == (4, 1_790_000_100, True, True)
    mirrors.move(author, "did:key:new", slug)
    assert mirrors.pins() == {("did:key:new", slug)}
    mirrors.move("did:key:new", author, slug)
    mirrors.stop("tag", "language/yue")
    assert mirrors.held()[0].replicas == 0
    mirrors.looked(mirror, wanted=9, below=9, left_out={}, error="")
    with pytest.raises(NotFoundError):
        mirrors.stop("tag", "language/yue")
    mirrors.removed(author, slug)
    assert mirrors.kept(author, slug) == {"pinned": False, "mirrored": False}
    assert mirrors.unwanted() == {(author, slug)}
    mirrors.by_hand(author, slug)
    assert mirrors.unwanted() == set()


def test_mirrors_are_counted(database: Database) -> None:
    mirrors = Mirrors(database)
    for number in range(MIRRORS_LIMIT):
        mirrors.begin("tag", f"tag/{number}", 3, 0)
    with pytest.raises(ConflictError):
        mirrors.begin("tag", "tag/more", 3, 0)
    assert mirrors.begin("tag", "tag/0", 5, 0).replicas == 5
