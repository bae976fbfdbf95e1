"""The catalog: signed bytes unchanged, heads that never go back, tags, Chinese free text, names."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node import eviction, pools
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.fairness import PLACE_BYTES, places_of
from p2pvoice.node.following import Following
from p2pvoice.node.schema import open_database
from p2pvoice.node.search import index_text, match_expression
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.errors import (
    ManifestError,
    NotFoundError,
    SignatureError,
    StaleError,
    StorageError,
    UsageError,
)
from p2pvoice.protocol.head import Head, sign_head
from p2pvoice.protocol.ids import author_id, digest_of
from p2pvoice.protocol.manifest import Engine, FileEntry, Manifest, Release, sign_manifest

NOW = 1_790_000_000.0
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(1, 6)]
CANTONESE, MALE = "language/yue", "gender/male"


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def make_release(
    key: Ed25519PrivateKey = KEYS[0],
    slug: str = "storyteller",
    *,
    name: str = "Storyteller",
    description: str = "",
    tags: tuple[str, ...] = (CANTONESE,),
    created: int = 1_780_000_000,
    content: bytes = b"weights",
) -> Release:
    digest = digest_of(content)
    manifest = Manifest(
        author=public(key),
        slug=slug,
        name=name,
        description=description,
        created=created,
        license="CC-BY-4.0",
        consent=ConsentDeclaration("self", True),
        languages=("yue",),
        tags=tags,
        files=(FileEntry("gpt.safetensors", len(content), digest, (Chunk(len(content), digest),)),),
        engine=Engine("gpt-sovits", "v2", 32_000),
    )
    return sign_manifest(manifest, key)


def make_head(release: Release, sequence: int, key: Ed25519PrivateKey = KEYS[0], slug: str = "") -> bytes:
    name = slug or release.manifest.slug
    return sign_head(Head(public(key), name, sequence, release.id, int(NOW) + 1000), key)


def add(catalog: Catalog, release: Release) -> Release:
    return catalog.add_release(release.envelope.to_bytes())


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    database = open_database(tmp_path / "catalog.sqlite")
    yield Catalog(database, clock=lambda: NOW)
    database.close()


def test_signed_bytes_come_out_as_they_went_in(catalog: Catalog) -> None:
    release = make_release()
    assert add(catalog, release).id == release.id
    assert catalog.release_bytes(release.id) == release.envelope.to_bytes()
    assert catalog.release(release.id) == release
    assert catalog.release("b" * 61) is None


def test_wrong_signature_does_not_get_in(catalog: Catalog) -> None:
    data = bytearray(make_release().envelope.to_bytes())
    data[data.rindex(make_release().envelope.signature) + 5] ^= 1
    with pytest.raises(SignatureError):
        catalog.add_release(bytes(data))
    assert catalog.counts() == (0, 0)


def test_garbage_does_not_get_in(catalog: Catalog) -> None:
    with pytest.raises(ManifestError):
        catalog.add_release(b"\x80")


def test_head_moves_forward_only(catalog: Catalog) -> None:
    first, second = make_release(created=1), make_release(created=2)
    author = author_id(public(KEYS[0]))
    catalog.add_head(make_head(first, 1))
    catalog.add_head(make_head(second, 2))
    with pytest.raises(StaleError):
        catalog.add_head(make_head(first, 1))
    head = catalog.head(author, "storyteller")
    assert head is not None
    assert (head.sequence, head.release) == (2, second.id)
    assert catalog.head_bytes(author, "storyteller") == make_head(second, 2)


def test_fork_does_not_replace_what_came_first(catalog: Catalog) -> None:
    first, other = make_release(created=1), make_release(created=2)
    catalog.add_head(make_head(first, 3))
    assert catalog.add_head(make_head(other, 3)).release == first.id


def test_expired_head_is_refused(catalog: Catalog) -> None:
    release = make_release()
    data = sign_head(Head(public(KEYS[0]), "storyteller", 1, release.id, int(NOW)), KEYS[0])
    with pytest.raises(StaleError):
        catalog.add_head(data)


def test_heads_survive_reopening(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    database = open_database(path)
    Catalog(database, clock=lambda: NOW).add_head(make_head(make_release(), 5))
    database.close()
    database = open_database(path)
    with pytest.raises(StaleError):
        Catalog(database, clock=lambda: NOW).add_head(make_head(make_release(), 4))
    database.close()


def test_tags_must_all_fit(catalog: Catalog) -> None:
    both = add(catalog, make_release(slug="both", tags=(CANTONESE, MALE)))
    one = add(catalog, make_release(slug="one", tags=(CANTONESE,)))
    assert {found.id for found in catalog.search([CANTONESE], "", 10)} == {both.id, one.id}
    assert [found.id for found in catalog.search([CANTONESE, MALE], "", 10)] == [both.id]
    assert catalog.search(["language/en"], "", 10) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("讲故事", True),
        ("故事", True),
        ("事讲", False),
        ("温暖 故事", True),
        ("温暖 新闻", False),
        ("story", True),
        ("STORYTELLER", True),
        ("ＳＴＯＲＹ", True),
        ("粤语", True),
        ("cantonese", True),
        ("teller", False),
        ('"', False),
        ("故事 OR x", False),
        ("NEAR(", False),
    ],
)
def test_free_text_finds_chinese_in_the_middle_of_a_run(catalog: Catalog, query: str, found: bool) -> None:
    add(catalog, make_release(description="温暖的男声，适合讲故事。"))
    assert bool(catalog.search([], query, 10)) is found


def test_query_keeps_runs_together() -> None:
    assert index_text("講故事story 2") == "講 故 事 story 2"
    assert match_expression("講故事 story") == '"講 故 事" AND "story"*'
    assert match_expression("…!") == ""


def test_search_gives_one_release_a_voice_and_follows_its_head(catalog: Catalog) -> None:
    old, new = make_release(created=1), make_release(created=2)
    add(catalog, old)
    add(catalog, new)
    assert [found.id for found in catalog.search([], "", 10)] == [new.id]
    catalog.add_head(make_head(old, 7))
    assert [found.id for found in catalog.search([], "", 10)] == [old.id]


def test_search_ends_at_its_limit(catalog: Catalog) -> None:
    for number in range(4):
        add(catalog, make_release(slug=f"voice-{number}"))
    assert len(catalog.search([], "", 3)) == 3
    assert len(catalog.search([], "", 4)) == 4


def test_only_installed_and_seeded_voices_are_offered(catalog: Catalog) -> None:
    seeded, quiet, absent = (add(catalog, make_release(slug=slug)) for slug in ("a", "b", "c"))
    catalog.install(seeded, seed=True)
    catalog.install(quiet, seed=False)
    assert catalog.offered([CANTONESE], 10, "") == [seeded.id]
    assert [catalog.is_offered(one.id) for one in (seeded, quiet, absent)] == [True, False, False]
    assert catalog.offering(digest_of(b"weights")) == [seeded.id]
    catalog.uninstall(seeded.id)
    assert catalog.offering(digest_of(b"weights")) == []


def test_newer_release_takes_the_place_of_the_installed_one(catalog: Catalog) -> None:
    old = add(catalog, make_release(created=1, content=b"old"))
    new = add(catalog, make_release(created=2, content=b"new"))
    catalog.install(old, seed=True)
    catalog.install(new, seed=True)
    assert [held.release for held in catalog.installed()] == [new.id]
    assert catalog.wanted_files() == {digest_of(b"new")}


def test_name_can_be_an_id_a_voice_or_a_beginning(catalog: Catalog) -> None:
    release = add(catalog, make_release())
    author = author_id(public(KEYS[0]))
    for ref in (
        release.id,
        release.id[:20],
        f"{author}/storyteller",
        f"{author}/story",
        f"{author}/",
        author[:30],
        author.removeprefix("did:key:")[:12],
        f"{author.removeprefix('did:key:')[:12]}/storyteller",
        "storyteller",
    ):
        assert catalog.resolve(ref).id == release.id, ref


@pytest.mark.parametrize(
    "ref", ["", "b", "z6M", "nobody", "did:key:z6Mk/other", "storytell", "%", "b_______"]
)
def test_unknown_name_is_not_found(catalog: Catalog, ref: str) -> None:
    add(catalog, make_release())
    with pytest.raises(NotFoundError):
        catalog.resolve(ref)


def test_ambiguous_name_lists_the_candidates(catalog: Catalog) -> None:
    releases = [add(catalog, make_release(key, slug="same")) for key in KEYS[:3]]
    add(catalog, make_release(slug="same-but-longer"))
    with pytest.raises(UsageError) as caught:
        catalog.resolve("same")
    for key in KEYS[:3]:
        assert author_id(public(key)) in caught.value.message
    with pytest.raises(UsageError, match=releases[0].id):
        catalog.resolve(releases[0].id[:6])
    author = author_id(public(KEYS[0]))
    assert catalog.resolve(f"{author}/same").id == releases[0].id
    with pytest.raises(UsageError, match="same-but-longer"):
        catalog.resolve(f"{author}/sam")


def test_voice_means_its_newest_release_or_the_installed_one(catalog: Catalog) -> None:
    old, new = add(catalog, make_release(created=1)), add(catalog, make_release(created=2))
    catalog.install(old, seed=True)
    assert catalog.resolve("storyteller").id == new.id
    assert catalog.resolve("storyteller", prefer_installed=True).id == old.id


def limit(monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    """Smaller limits for the room of the catalogs that are opened from now on."""
    monkeypatch.setattr(eviction, "LIMITS", replace(eviction.LIMITS, **limits))


def test_strangers_releases_are_bounded_and_installed_ones_stay(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, places=3, guests=0)
    kept = add(catalog, make_release(slug="kept"))
    catalog.install(kept, seed=True)
    for number in range(3):
        add(catalog, make_release(slug=f"voice-{number}"))
    assert catalog.counts() == (4, 1)
    add(catalog, make_release(slug="voice-3"))
    assert catalog.counts() == (4, 1)
    assert catalog.release(kept.id) is not None
    assert catalog.search([], "kept", 5) != []
    catalog.uninstall(kept.id)
    assert catalog.counts() == (3, 0)


def test_author_has_a_quota(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, author=3, guests=0)
    other = add(catalog, make_release(KEYS[1]))
    old = add(catalog, make_release(slug="one", created=1))
    add(catalog, make_release(slug="one", created=2))
    many = [add(catalog, make_release(slug=f"voice-{number}")) for number in range(2)]
    # What was superseded goes first.
    assert catalog.release(old.id) is None
    assert all(catalog.release(release.id) for release in many)
    many += [add(catalog, make_release(slug=f"voice-{number}")) for number in range(2, 5)]
    assert catalog.counts() == (3 + 1, 0)
    assert catalog.release(other.id) is not None
    gone = [release for release in many if catalog.release(release.id) is None]
    assert [catalog.turned_away(release.id) for release in many] == [one in gone for one in many]


def test_a_large_release_takes_several_places(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, places=4, guests=0)
    assert [places_of(size) for size in (0, 1, PLACE_BYTES, PLACE_BYTES + 1)] == [1, 1, 1, 2]
    large = add(
        catalog, make_release(KEYS[0], description="\n".join("x" * 60 for _ in range(65)) + "語" * 12)
    )
    for number in range(3):
        add(catalog, make_release(KEYS[1], slug=f"voice-{number}"))
    assert catalog.counts() == (4, 0)
    assert len(large.envelope.to_bytes()) < PLACE_BYTES
    monkeypatch.setattr(pools, "PLACE_BYTES", len(large.envelope.to_bytes()) - 1)
    add(catalog, make_release(KEYS[2], description=large.manifest.description + "語"))
    # It takes two places. The author of three gives one; then of two authors with two the lot decides.
    assert catalog.release(large.id) is not None
    assert catalog.counts() == (3, 0)


def test_flood_of_newcomers_leaves_what_was_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, places=40, guests=4)
    now = NOW
    database = open_database(tmp_path / "catalog.sqlite")
    catalog = Catalog(database, clock=lambda: now)
    known = [add(catalog, make_release(slug=f"known-{number}")) for number in range(20)]
    now += eviction.LIMITS.settled
    late = [add(catalog, make_release(KEYS[1], slug=f"late-{number}")) for number in range(3)]
    for number in range(200):
        add(catalog, make_release(KEYS[2 + number % 3], slug=f"junk-{number}"))
        # A search's finding can be named right after it.
        assert catalog.resolve(f"junk-{number}")
    assert all(catalog.release(release.id) for release in [*known, *late])
    assert catalog.counts()[0] == 40 + 4
    database.close()


def test_whom_one_follows_keeps_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follow counts from the moment on at which it is made, and ends with it."""
    limit(monkeypatch, places=20, author=8, guests=2)
    database = open_database(tmp_path / "catalog.sqlite")
    catalog = Catalog(database, clock=lambda: NOW)
    following = Following(database, clock=lambda: NOW)
    voices = [add(catalog, make_release(slug=f"voice-{number}")) for number in range(10)]
    assert len(list(catalog.releases_tagged(CANTONESE))) == 8
    # What was beyond a stranger's quota and is still here has a place at once.
    following.follow(author_id(public(KEYS[0])))
    add(catalog, make_release(KEYS[1]))
    assert len(list(catalog.releases_tagged(CANTONESE))) == 11
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([7, number]) * 16) for number in range(80)]
    for key in keys[:40]:
        add(catalog, make_release(key, slug="junk"))
    assert all(catalog.release(voice.id) for voice in voices)
    following.unfollow(author_id(public(KEYS[0])))
    for key in keys[40:]:
        add(catalog, make_release(key, slug="junk"))
    kept = {identifier for identifier, _, _ in catalog.releases_tagged(CANTONESE)}
    assert len(kept & {voice.id for voice in voices}) <= 1
    assert catalog.counts() == (20 + 2, 0)
    database.close()


def test_what_is_in_memory_is_what_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, places=10, guests=3)
    database = open_database(tmp_path / "catalog.sqlite")
    catalog = Catalog(database, clock=lambda: NOW)
    releases = [make_release(KEYS[number % 4], slug=f"voice-{number}") for number in range(30)]
    for release in releases:
        add(catalog, release)
    held = {found for found, _, _ in catalog.releases_tagged(CANTONESE)}
    assert len(held) == 10
    assert catalog.counts()[0] == 13
    # A transaction that is undone takes nothing with it.

    def undo() -> None:
        with database.write() as connection:
            catalog.drop(connection, next(iter(held)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        undo()
    add(catalog, releases[0])
    assert {found for found, _, _ in catalog.releases_tagged(CANTONESE)} == held
    again = Catalog(database, clock=lambda: NOW)
    again.add_release(releases[1].envelope.to_bytes())
    # The lots are the node's, so the same ones have places after a restart.
    assert {found for found, _, _ in again.releases_tagged(CANTONESE)} == held
    database.close()


def test_what_nobody_offers_any_more_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, places=10, guests=0)
    now = NOW
    database = open_database(tmp_path / "catalog.sqlite")
    catalog = Catalog(database, clock=lambda: now)
    old = [add(catalog, make_release(slug=f"old-{number}")) for number in range(5)]
    now += eviction.LIMITS.stale
    add(catalog, old[0])
    for number in range(9):
        add(catalog, make_release(KEYS[1], slug=f"new-{number}"))
    assert [catalog.release(release.id) is not None for release in old] == [True] + [False] * 4
    assert catalog.counts() == (10, 0)
    database.close()


def test_heads_are_bounded_and_those_known_first_stay(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "HEADS_LIMIT", 20)
    release = make_release()
    for number in range(100):
        catalog.add_head(make_head(release, 1, slug=f"voice-{number}"))
    author = author_id(public(KEYS[0]))
    held = [number for number in range(100) if catalog.head(author, f"voice-{number}") is not None]
    assert len(held) <= 20
    assert held[:15] == list(range(15))
    assert held[-1] == 99


def test_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    Database(path, [lambda c: None, lambda c: None]).close()
    with pytest.raises(StorageError, match="newer p2pvoice"):
        Database(path, [lambda c: None])


def test_database_steps_run_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    one = lambda c: c.execute("CREATE TABLE a(x)")  # noqa: E731
    two = lambda c: c.execute("ALTER TABLE a ADD COLUMN y")  # noqa: E731
    Database(path, [one]).close()
    database = Database(path, [one, two])
    assert [row["name"] for row in database.rows("PRAGMA table_info(a)")] == ["x", "y"]
    database.close()


def test_damaged_database_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageError):
        Database(path, [])
