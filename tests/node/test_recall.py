"""Tombstones: what they keep out, what they outlive, how many there are, and who cannot make one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node import catalog_tables, eviction, recall_tables
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.recall import Tombstones
from p2pvoice.node.schema import open_database
from p2pvoice.node.tombstone import Hit, Kind
from p2pvoice.protocol.errors import RefusedError, RevokedError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.revocation import Revocation, sign_revocation

from .recall_parts import NOW, make_release, make_revocation, public

AUTHOR, SUBJECT, STRANGER, OTHER = (
    Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(1, 5)
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


@pytest.fixture
def catalog(path: Path) -> Iterator[Catalog]:
    database = open_database(path)
    yield Catalog(database, clock=lambda: float(NOW))
    database.close()


@pytest.fixture
def stones(catalog: Catalog) -> Tombstones:
    return catalog.tombstones


def data_of(release: Release) -> bytes:
    return release.envelope.to_bytes()


def held(release: Release, *, offered: bool = True) -> Hit:
    return Hit(release, True, offered)


def seen(release: Release) -> Hit:
    return Hit(release, False, False)


def test_a_revoked_release_does_not_get_in_again(catalog: Catalog, stones: Tombstones) -> None:
    release = make_release(AUTHOR)
    later = make_release(AUTHOR, content=b"retrained", created=NOW + 1)
    catalog.add_release(data_of(release))
    data = make_revocation(release, AUTHOR, reason="not like me")
    stone, new = stones.add(data, Kind.SEEN, [seen(release)])
    assert stone is not None
    assert new
    for call in (
        lambda: catalog.add_release(data_of(release)),
        lambda: catalog.install(release, seed=True),
    ):
        with pytest.raises(RevokedError) as caught:
            call()
        assert caught.value.exit_code == 5
        assert caught.value.message == "Storyteller was revoked by its author on 2026-09-21: not like me"
        assert caught.value.hint == "p2pvoice revocations"
    assert catalog.add_release(data_of(later)).id == later.id
    assert not stones.add(make_revocation(release, AUTHOR), Kind.SEEN, [seen(release)])[1]


def test_a_whole_voice_is_revoked_with_what_is_yet_to_come(catalog: Catalog, stones: Tombstones) -> None:
    release = make_release(AUTHOR)
    later = make_release(AUTHOR, content=b"retrained", created=NOW + 1)
    other = make_release(AUTHOR, "another-voice")
    stones.add(make_revocation(release, AUTHOR, whole=True), Kind.SEEN, [seen(release)])
    with pytest.raises(RevokedError, match="the whole voice Storyteller was revoked"):
        catalog.add_release(data_of(later))
    catalog.add_release(data_of(other))
    assert stones.of_voice(author_id(public(AUTHOR)), "storyteller") is not None
    assert stones.of_voice(author_id(public(AUTHOR)), "another-voice") is None


def test_strangers_and_forgers_make_no_tombstone(catalog: Catalog, stones: Tombstones) -> None:
    release = make_release(AUTHOR, subject=SUBJECT)
    for files in (False, True):
        for whole in (False, True):
            data = make_revocation(release, STRANGER, whole=whole, files=files)
            assert stones.add(data, Kind.OWN, [held(release)], release) == (None, False)
    forged = bytearray(make_revocation(release, AUTHOR))
    forged[-5] ^= 1
    with pytest.raises(RefusedError):
        stones.add(bytes(forged), Kind.OWN, [held(release)])
    assert stones.all() == []
    assert catalog.add_release(data_of(release)).id == release.id


def test_a_subject_needs_the_release_that_names_it(catalog: Catalog, stones: Tombstones) -> None:
    release = make_release(AUTHOR, subject=SUBJECT)
    claimed = make_release(AUTHOR, content=b"claimed")
    data = make_revocation(release, SUBJECT, whole=True)
    assert stones.add(data, Kind.SEEN, [seen(claimed)])[0] is None
    stone, _ = stones.add(data, Kind.SEEN, [seen(release)])
    assert stone is not None
    # The author named the subject once: nothing of that voice gets past, signed consent or not.
    for one in (release, claimed):
        with pytest.raises(RevokedError, match="by the person whose voice it is"):
            catalog.add_release(data_of(one))


def test_a_subject_of_one_voice_has_no_say_in_another(catalog: Catalog, stones: Tombstones) -> None:
    """A stranger publishes the same files, signs a consent to himself, and revokes the honest voice."""
    honest = make_release(AUTHOR, subject=SUBJECT)
    copy = make_release(STRANGER, subject=OTHER)
    assert copy.manifest.bundle_id == honest.manifest.bundle_id
    for whole in (False, True):
        # It names the honest voice, and is shown to be of the copy's subject by the copy alone.
        stone, _ = stones.add(
            make_revocation(honest, OTHER, whole=whole, files=True), Kind.OWN, [held(copy)], copy
        )
        assert stone is not None
        with pytest.raises(RevokedError):
            catalog.add_release(data_of(copy))
        assert catalog.add_release(data_of(honest)).id == honest.id
        assert stones.of_voice(author_id(public(AUTHOR)), "storyteller") is None
        found = stones.named(f"{author_id(public(AUTHOR))}/storyteller")
        assert found is None


def test_an_author_cannot_name_somebody_elses_release(catalog: Catalog, stones: Tombstones) -> None:
    """A record that is signed by the author it names, and names a release of another author."""
    honest = make_release(AUTHOR)
    signer = public(STRANGER)
    trick = sign_revocation(Revocation(signer, signer, "mine", NOW, honest.id), STRANGER)
    for proof in (None, honest):
        assert stones.add(trick, Kind.ASKED, proof=proof)[0] is not None
        assert stones.of_release(honest.id) is None
        assert stones.named(honest.id) is None
        assert stones.against(honest) is None
        assert stones.answer([honest.id], "", "", proofs=True) == ((), ())
    assert catalog.add_release(data_of(honest)).id == honest.id


def test_files_under_another_name(catalog: Catalog, stones: Tombstones) -> None:
    release = make_release(AUTHOR, subject=SUBJECT)
    data = make_revocation(release, SUBJECT, files=True)
    again = make_release(AUTHOR, "again", subject=SUBJECT)
    unsigned = make_release(STRANGER, "mine")
    theirs = make_release(STRANGER, "theirs", subject=OTHER)
    stones.add(data, Kind.SEEN, [seen(release)])
    with pytest.raises(RevokedError):
        catalog.add_release(data_of(again))
    # Where the release was only heard of, files say nothing about whose voice they are.
    assert stones.against(unsigned) is None
    stones.add(data, Kind.SEEN, [held(release)])
    with pytest.raises(RevokedError):
        catalog.add_release(data_of(unsigned))
    assert stones.against(unsigned, installed=True) is None
    assert stones.against(theirs) is None
    assert stones.against(make_release(SUBJECT, "anew")) is None


def test_files_are_refused_only_when_they_are_those_of_the_revoked_release(stones: Tombstones) -> None:
    """A subject names the bundle of somebody else's voice in a revocation of their own."""
    mine = make_release(AUTHOR, subject=SUBJECT, content=b"mine")
    foreign = make_release(STRANGER, "honest", content=b"honest")
    manifest = mine.manifest
    trick = Revocation(
        public(SUBJECT), manifest.author, manifest.slug, NOW, mine.id, foreign.manifest.bundle_id
    )
    stone, _ = stones.add(sign_revocation(trick, SUBJECT), Kind.OWN, [held(mine)], mine)
    assert stone is not None
    assert stones.against(mine) is not None
    assert stones.against(foreign) is None


def test_an_author_has_no_say_over_others_with_the_same_files(stones: Tombstones) -> None:
    release, same = make_release(AUTHOR), make_release(OTHER, "other")
    stones.add(make_revocation(release, AUTHOR, files=True), Kind.OWN, [held(release)], release)
    assert stones.against(release) is not None
    assert stones.against(same) is None


def test_tombstones_outlive_everything(path: Path) -> None:
    release = make_release(AUTHOR)
    database = open_database(path)
    first = Catalog(database)
    first.add_release(data_of(release))
    first.install(release, seed=True)
    first.tombstones.add(
        make_revocation(release, AUTHOR),
        Kind.SEEN,
        [held(release)],
        within=lambda connection: first.drop(connection, release.id),
    )
    assert first.installed() == []
    assert first.release(release.id) is None
    assert first.known_files() == set()
    database.close()
    database = open_database(path)
    again = Catalog(database)
    again.forget(release.id)
    with pytest.raises(RevokedError):
        again.add_release(data_of(release))
    (stone,) = again.tombstones.all()
    assert stone.kind is Kind.HELD
    assert again.tombstones.releases(stone) == [release]
    database.close()


def test_a_crash_in_the_middle_leaves_all_or_nothing(catalog: Catalog, stones: Tombstones) -> None:
    release = make_release(AUTHOR)
    catalog.add_release(data_of(release))
    catalog.install(release, seed=True)

    def crash(connection: object) -> None:
        raise OSError("the power went")

    with pytest.raises(OSError, match="power"):
        stones.add(make_revocation(release, AUTHOR), Kind.SEEN, [held(release)], within=crash)
    assert stones.all() == []
    assert catalog.is_installed(release.id)


def test_eviction_of_the_release_does_not_lift_its_tombstone(
    catalog: Catalog, stones: Tombstones, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "LIMITS", replace(eviction.LIMITS, places=0, guests=0))
    release = make_release(AUTHOR)
    catalog.add_release(data_of(release))
    stones.add(make_revocation(release, AUTHOR), Kind.SEEN, [seen(release)])
    for number in range(3):
        catalog.add_release(data_of(make_release(OTHER, f"v{number}")))
    assert catalog.release(release.id) is None
    with pytest.raises(RevokedError):
        catalog.add_release(data_of(release))


def test_an_older_database_is_lifted(path: Path) -> None:
    release = make_release(AUTHOR)
    database = Database(path, [catalog_tables.first_schema])
    database.close()
    database = open_database(path)
    catalog = Catalog(database)
    catalog.add_release(data_of(release))
    catalog.tombstones.add(make_revocation(release, AUTHOR), Kind.SEEN, [seen(release)])
    assert len(catalog.tombstones.all()) == 1
    database.close()


def test_one_signer_cannot_fill_the_table(stones: Tombstones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_tables, "SIGNER_LIMIT", 3)
    releases = [make_release(STRANGER, f"v{number}") for number in range(5)]
    for number, release in enumerate(releases):
        stone, _ = stones.add(make_revocation(release, STRANGER), Kind.SEEN, [seen(release)])
        assert (stone is not None) == (number < 3)
    # What somebody asked for, or has here, is another matter.
    assert stones.add(make_revocation(releases[3], STRANGER), Kind.ASKED, proof=releases[3])[0] is not None
    assert stones.add(make_revocation(releases[4], STRANGER), Kind.SEEN, [held(releases[4])])[0] is not None


def test_the_table_is_bounded_and_what_matters_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_tables, "TOMBSTONES_LIMIT", 4)
    time = [float(NOW)]
    database = open_database(path)
    stones = Tombstones(database, clock=lambda: time[0])
    kinds = [Kind.OWN, Kind.ASKED, Kind.SEEN, Kind.HELD, Kind.SEEN, Kind.ASKED, Kind.HELD]
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([50 + number]) * 32) for number in range(len(kinds))]
    for key, kind in zip(keys, kinds, strict=True):
        time[0] += 1
        release = make_release(key)
        assert stones.add(make_revocation(release, key), kind, [seen(release)])[0] is not None
        assert len(stones.all()) <= 4
    assert sorted(stone.kind for stone in stones.all()) == [Kind.ASKED, Kind.HELD, Kind.HELD, Kind.OWN]
    late = make_release(STRANGER)
    assert stones.add(make_revocation(late, STRANGER), Kind.SEEN, [seen(late)])[0] is None
    database.close()


def test_names_of_what_was_revoked(stones: Tombstones) -> None:
    release, other = make_release(AUTHOR), make_release(OTHER, "other")
    stones.add(make_revocation(release, AUTHOR), Kind.SEEN, [held(release)])
    stones.add(make_revocation(other, OTHER, whole=True), Kind.ASKED)
    author = author_id(public(AUTHOR))
    for ref in (release.id, release.id[:14]):
        found = stones.named(ref)
        assert found is not None
        assert found[1] == release.id
    short = author.removeprefix("did:key:")[:12]
    for ref in ("storyteller", f"{author}/storyteller", f"{short}/storyteller"):
        found = stones.named(ref)
        assert found is not None
        assert (found[0].revocation.release, found[1]) == (release.id, "")
    assert stones.named("other") is not None
    for ref in ("nothing", "storytell", other.id, f"{author}/other", "/storyteller"):
        assert stones.named(ref) is None


def test_what_peers_are_told(stones: Tombstones) -> None:
    offered, kept = make_release(AUTHOR), make_release(AUTHOR, "kept")
    remembered = make_release(OTHER, "remembered")
    own = make_release(SUBJECT, "own", tags=("gender/male",))
    record = make_revocation(offered, AUTHOR)
    stones.add(record, Kind.SEEN, [held(offered)])
    stones.add(make_revocation(kept, AUTHOR), Kind.SEEN, [held(kept, offered=False)])
    stones.add(make_revocation(remembered, OTHER), Kind.SEEN, [seen(remembered)])
    mine = make_revocation(own, SUBJECT)
    stones.add(mine, Kind.OWN, proof=own)
    # What was kept and not offered is nobody's business.
    assert {stone.data for stone in stones.passed_on()} == {record, mine}
    assert stones.matching(["language/yue"]) == [record]
    assert stones.matching(["gender/male"]) == []
    assert stones.answer([offered.id], "", "", proofs=False) == ((record,), ())
    assert stones.answer([offered.id], "", "", proofs=True) == ((record,), (data_of(offered),))
    assert set(stones.answer([], "", "", proofs=False)[0]) == {record, mine}
    assert stones.answer([], author_id(public(SUBJECT)), "own", proofs=True) == ((mine,), (data_of(own),))
    assert stones.answer(["b" * 61], author_id(public(OTHER)), "nothing", proofs=True) == ((), ())
