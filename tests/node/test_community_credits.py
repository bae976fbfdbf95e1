"""Credits: only what is signed or verified counts; forged, replayed and self-made claims change nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pvoice.node.community import credits as module
from p2pvoice.node.community.credits import Credits
from p2pvoice.node.identity import generate
from p2pvoice.node.tombstone import Kind
from p2pvoice.protocol.acts import Merge, Proposal, Review
from p2pvoice.protocol.errors import RefusedError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.operations import VoiceName, verify_operation
from p2pvoice.protocol.revocation import Revocation, sign_revocation
from p2pvoice.protocol.successor import Successor, sign_successor

from .community_parts import NOW, Desk, Writer
from .recall_parts import make_release

FIRST, SECOND, MERGED, BASE = (bytes([number]) * 32 for number in range(4))


class Bench:
    """A desk, and an author whose proposals others merge."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.owner, self.giver = generate(), generate()
        self.time = int(NOW * 1000) - 3_600_000
        self.voice = VoiceName(self.owner.author_public, "storyteller")
        self.merging = Writer(self.voice, key=self.owner.author)
        self.offering = Writer(self.voice, key=self.giver.author)
        self.credits = Credits(
            desk.database, desk.catalog, desk.lines, desk.standing, desk.states, desk.logs, desk.successors,
            desk.own, clock=desk.clock,
        )  # fmt: skip

    def offer(self, release: bytes, by: Writer | None = None) -> bytes:
        one = (by or self.offering).say(Proposal(release, BASE, "better"), time=self.later())
        self.desk.take([one])
        return one.id

    def later(self) -> int:
        """Who answers has seen what is answered, so the answer's time is later."""
        self.time += 1
        return self.time

    def merge(self, proposal: bytes, by: Writer | None = None) -> None:
        self.desk.take([(by or self.merging).say(Merge(proposal, MERGED, "take"), time=self.later())])

    @property
    def merged(self) -> tuple[int, int]:
        found = self.credits.of(author_id(self.giver.author_public))["merged"]
        return found["counted"], found["others"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    desk = Desk(tmp_path / "catalog.sqlite")
    yield Bench(desk)
    desk.close()


def test_a_merge_counts_by_the_word_of_the_voices_author(bench: Bench) -> None:
    proposal = bench.offer(FIRST)
    assert bench.merged == (0, 0)
    bench.desk.take([bench.merging.say(Review(proposal, "accept"), time=bench.later())])
    assert bench.merged == (0, 0)
    # A stranger's merge is no merge.
    bench.merge(proposal, by=Writer(bench.voice))
    assert bench.merged == (0, 0)
    bench.merge(proposal)
    assert bench.merged == (0, 1)
    bench.desk.following.follow(author_id(bench.owner.author_public))
    assert bench.merged == (1, 0)


def test_replayed_repeated_and_forged_claims_change_nothing(bench: Bench) -> None:
    proposal = bench.offer(FIRST)
    bench.merge(proposal)
    said = [*bench.offering.said, *bench.merging.said]
    for _ in range(3):
        bench.desk.take(said)
    assert bench.merged == (0, 1)
    # The same release offered and merged again is one gift.
    bench.merge(bench.offer(FIRST))
    bench.merge(proposal)
    assert bench.merged == (0, 1)
    forged = bytearray(bench.merging.say(Merge(bench.offer(SECOND), MERGED, "take"), time=bench.later()).data)
    forged[forged.index(b"signature") + 30] ^= 1
    with pytest.raises(RefusedError):
        verify_operation(bytes(forged))
    assert bench.merged == (0, 1)


def test_what_somebody_merges_of_their_own_counts_nothing(bench: Bench) -> None:
    own = VoiceName(bench.giver.author_public, "mine")
    writer = Writer(own, key=bench.giver.author)
    bench.merge(bench.offer(FIRST, by=writer), by=writer)
    assert bench.merged == (0, 0)
    # Not under the next key either.
    after = generate()
    record = Successor(bench.giver.author_public, after.author_public, int(NOW), "")
    bench.desk.successors.add(sign_successor(record, bench.giver.author, after.author))
    later = Writer(own, key=after.author)
    bench.merge(bench.offer(SECOND, by=later), by=later)
    assert bench.merged == (0, 0)
    # What the former key gave to others is the present one's.
    bench.merge(bench.offer(FIRST))
    assert bench.credits.of(author_id(after.author_public))["merged"] == {"counted": 0, "others": 1}


def test_voices_count_by_their_signatures_until_they_are_revoked(bench: Bench) -> None:
    giver, desk = bench.giver, bench.desk
    author = author_id(giver.author_public)
    releases = [make_release(giver.author, slug, content=slug.encode()) for slug in ("one", "two")]
    releases.append(make_release(giver.author, "two", content=b"again", created=int(NOW)))
    for release in releases:
        desk.catalog.add_release(release.envelope.to_bytes())
    desk.catalog.install(releases[0], seed=True)
    found = bench.credits.of(author)
    assert (found["voices"], found["releases"], found["mirrored"]) == (2, 3, 1)
    assert "mirrors" not in found
    assert bench.credits.of(desk.own())["mirrors"] == 1
    # A release that only names this author is not in the catalog at all.
    other = make_release(generate().author, "three").envelope.to_bytes()
    with pytest.raises(RefusedError):
        desk.catalog.add_release(other.replace(other[-40:-36], b"\0\1\2\3"))
    record = Revocation(giver.author_public, giver.author_public, "two", int(NOW))
    desk.catalog.tombstones.add(sign_revocation(record, giver.author), Kind.ASKED, (), releases[1])
    assert bench.credits.of(author)["voices"] == 1


def test_who_served_is_counted_by_verified_bytes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    author, desk = author_id(bench.giver.author_public), bench.desk
    bench.credits.served(author, {"peer-1": 100, "peer-2": 0})
    bench.credits.served(author, {"peer-1": 50})
    bench.credits.served(author_id(bench.owner.author_public), {"peer-3": 7})
    assert bench.credits.of(author)["served"] == {"peers": 1, "bytes": 150}
    assert bench.credits.of(desk.own())["served_by"] == {"peers": 2, "bytes": 157}
    monkeypatch.setattr(module, "SERVED_LIMIT", 3)
    for number in range(5):
        desk.clock.now += 1  # type: ignore[attr-defined]
        bench.credits.served(author, {f"late-{number}": 1})
    assert bench.credits.of(author)["served"] == {"peers": 3, "bytes": 3}
