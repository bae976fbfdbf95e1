"""What binds a publication and what a reader is told, in a daemon of this process; refusals cost no work."""

import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node import enrol, forking, inheriting, lineage, lineage_tables, publish, schema, voices
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.drafts import Draft
from p2pvoice.node.parts import Parts
from p2pvoice.node.publish import Publication
from p2pvoice.node.recall import Hit, Kind
from p2pvoice.node.schema import open_database
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.errors import (
    ConflictError,
    ConsentError,
    NoPeersError,
    NotFoundError,
    P2PVoiceError,
    PolicyError,
    RevokedError,
    UsageError,
)
from p2pvoice.protocol.head import Head, sign_head
from p2pvoice.protocol.ids import author_id, release_id
from p2pvoice.protocol.lineage import read_graph
from p2pvoice.protocol.manifest import NAME_LENGTH, Parent, Release, sign_manifest
from p2pvoice.protocol.successor import Successor, sign_successor

from .faces import daemon_here
from .recall_parts import make_release, make_revocation, signed_consent

ADA, EVE = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))

SYNTHETIC = ConsentDeclaration("synthetic", True)
DORA = ConsentDeclaration("named", True, subject_name="Dora", references_may_travel=False)
NOWHERE = release_id(b"nobody has it")


def made(key: Ed25519PrivateKey, *parents: tuple[str, str], **changes: Any) -> Release:
    """A small signed release of a voice of nobody, unless it is said otherwise."""
    named = tuple(Parent(release, kind) for release, kind in parents)
    manifest = make_release(key).manifest
    return sign_manifest(replace(manifest, **({"consent": SYNTHETIC, "parents": named} | changes)), key)


async def keep(parts: Parts, *releases: Release) -> None:
    for release in releases:
        await trio.to_thread.run_sync(parts.catalog.add_release, release.envelope.to_bytes())


def draft_of(parts: Parts, name: str, *parents: tuple[str, str], **notes: object) -> Draft:
    """A draft whose files are no voice: whoever looked into them would say so."""
    slug, bundle = parts.drafts.begin(name, None)
    bundle.mkdir()
    (bundle / "voice.json").write_text("{}")
    facts = {"languages": ["en"], "references": []}
    return parts.drafts.finish(name, slug, facts, {"parents": [list(one) for one in parents], **notes})


async def refused(parts: Parts, draft: Draft, **said: Any) -> P2PVoiceError:
    """How a publication ends, before anything was loaded or stored."""

    async def step(facts: object) -> None:
        raise AssertionError(f"work had begun: {facts}")

    values: dict[str, Any] = {
        "draft": draft.slug, "tags": (), "license": "CC-BY-4.0", "consent": "synthetic", "description": "",
        "subject": "", "ai_voice_permission": True,
    }  # fmt: skip
    before = parts.catalog.counts()
    with pytest.raises(P2PVoiceError) as caught:
        await publish.publish(parts, Publication(**(values | said)), step)
    assert parts.engine.starts == 0
    assert parts.catalog.counts() == before
    return caught.value


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    async with daemon_here() as found:
        yield found


async def test_nothing_that_a_parent_forbids_is_published(parts: Parts) -> None:
    alike = made(ADA, license="CC-BY-SA-4.0")
    closed = made(ADA, license="CC-BY-ND-4.0", name="Closed")
    person = made(ADA, license="CC-BY-NC-4.0", consent=DORA, name="Dora")
    keyed = made(ADA, consent=signed_consent(ADA, ADA.public_key().public_bytes_raw()), name="Ada")
    # Who forked it before loosened it: what it was made from binds whoever comes after.
    laundered = made(EVE, (closed.id, "forked-from"), license="CC0-1.0")
    await keep(parts, alike, closed, person, keyed, laundered)
    cases: list[tuple[Release, str, dict[str, object], type[P2PVoiceError]]] = [
        (alike, "forked-from", {}, PolicyError),
        (alike, "distilled-from", {"license": "CC-BY-NC-SA-4.0"}, PolicyError),
        (closed, "fine-tuned-from", {"license": "CC-BY-ND-4.0"}, PolicyError),
        (laundered, "forked-from", {}, PolicyError),
        (person, "merged-from", {"license": "CC-BY-NC-4.0"}, ConsentError),
        (person, "fine-tuned-from", {"license": "CC-BY-NC-4.0", "consent": "self"}, ConsentError),
        (person, "forked-from", {"consent": "named", "subject": "Dora"}, PolicyError),
        (keyed, "fine-tuned-from", {"consent": "self"}, ConsentError),
        (keyed, "forked-from", {"consent": "named", "subject": "Ada"}, ConsentError),
        (keyed, "revision-of", {"consent": "self"}, ConsentError),
    ]
    for number, (parent, kind, said, error) in enumerate(cases):
        found = await refused(parts, draft_of(parts, f"case {number}", (parent.id, kind)), **said)
        assert type(found) is error, (number, found.message)
        assert found.hint, number
    assert parts.author in (await refused(parts, draft_of(parts, "last", (keyed.id, "forked-from")))).hint


async def test_own_revisions_free_of_ones_own_terms_and_of_nobody_elses(parts: Parts) -> None:
    own = parts.identity.author
    theirs = made(ADA, license="CC-BY-NC-4.0")
    fork = made(own, (theirs.id, "forked-from"), license="CC-BY-NC-SA-4.0", slug="mine")
    plain = made(own, license="CC-BY-ND-4.0", consent=DORA, slug="plain")
    await keep(parts, theirs, fork, plain)
    for release, slug in ((fork, "mine"), (plain, "plain")):
        head = Head(release.manifest.author, slug, 1, release.id, int(time.time()) + 3600)
        parts.catalog.add_head(sign_head(head, own))
    # Published again it is a revision, and still a fork.
    again = draft_of(parts, "again", (theirs.id, "forked-from"))
    assert inheriting.parents_of(again, fork.id) == (
        Parent(fork.id, "revision-of"),
        Parent(theirs.id, "forked-from"),
    )
    # The draft itself says nothing of parents: the release before it does.
    assert isinstance(await refused(parts, draft_of(parts, "mine")), PolicyError)
    assert await inheriting.binding(parts, draft_of(parts, "plain")) == ()
    # A former key of one's own is oneself.
    former = Ed25519PrivateKey.generate()
    old = made(former, license="CC-BY-ND-4.0", consent=DORA)
    await keep(parts, old)
    draft = draft_of(parts, "moved", (old.id, "fine-tuned-from"))
    assert [one.release for one in await inheriting.binding(parts, draft)] == [old]
    record = Successor(old.manifest.author, parts.identity.author_public, int(time.time()), "")
    parts.successors.add(sign_successor(record, former, own))
    # One's own licence binds no more; whose voice it is remains.
    (ancestor,) = await inheriting.binding(parts, draft)
    assert ancestor.own
    assert isinstance(await refused(parts, draft), ConsentError)


async def test_what_one_called_back_oneself_is_no_hindrance(parts: Parts) -> None:
    """And what the person called back, whose voice it is, is one."""
    own = parts.identity.author
    hers = signed_consent(ADA, parts.identity.author_public)
    for signer, slug in ((own, "by-me"), (ADA, "by-ada")):
        release = made(own, consent=hers, slug=slug, name=slug)
        await keep(parts, release)

        def drop(connection: sqlite3.Connection, identifier: str = release.id) -> None:
            parts.catalog.drop(connection, identifier)

        data = make_revocation(release, signer)
        parts.catalog.tombstones.add(data, Kind.OWN, [Hit(release, True, True)], release, within=drop)
        assert parts.catalog.release(release.id) is None
        draft = draft_of(parts, f"anew {slug}", (release.id, "fine-tuned-from"))
        if signer is own:
            assert [one.release for one in await inheriting.binding(parts, draft)] == [release]
            assert isinstance(await refused(parts, draft), ConsentError)
        else:
            assert isinstance(await refused(parts, draft), RevokedError)


async def test_a_parent_that_nobody_has_is_no_way_round(parts: Parts) -> None:
    error = await refused(parts, draft_of(parts, "lost", (NOWHERE, "forked-from")))
    assert isinstance(error, PolicyError)
    assert "p2pvoice connect" in error.hint
    # Beyond a known parent it binds through that one.
    known = made(ADA, (NOWHERE, "forked-from"))
    await keep(parts, known)
    draft = draft_of(parts, "found", (known.id, "forked-from"))
    assert [one.release for one in await inheriting.binding(parts, draft)] == [known]
    parts.catalog.tombstones.add(make_revocation(known, ADA), Kind.SEEN, [Hit(known, False, False)])
    assert isinstance(await refused(parts, draft), RevokedError)
    parts.catalog.forget(known.id)
    assert isinstance(await refused(parts, draft), RevokedError)


async def test_a_claim_lasts_no_longer_than_the_one_before(parts: Parts) -> None:
    ends = int(time.time()) + 1000
    parent = made(ADA, consent=replace(DORA, expires=ends))
    await keep(parts, parent)
    ancestors = await inheriting.binding(parts, draft_of(parts, "d", (parent.id, "forked-from")))
    assert inheriting.lasting(DORA, ancestors).expires == ends
    assert inheriting.lasting(replace(DORA, expires=ends - 1), ancestors).expires == ends - 1
    assert inheriting.lasting(SYNTHETIC, ancestors).expires is None


async def test_readers_are_warned_of_what_anybody_can_sign(parts: Parts) -> None:
    parent = made(ADA, license="CC-BY-NC-4.0", consent=DORA, name="Dora")
    honest = made(EVE, (parent.id, "forked-from"), license="CC-BY-NC-4.0", consent=DORA, slug="honest")
    loose = made(EVE, (parent.id, "fine-tuned-from"), license="CC0-1.0", slug="loose")
    onward = made(EVE, (loose.id, "revision-of"), license="CC0-1.0", slug="onward")
    await keep(parts, honest, loose, onward)
    for release in (honest, loose, onward):
        # What is not known here cannot be judged.
        assert (await voices.show(parts, release.id))["warnings"] == []
    await keep(parts, parent)
    assert (await voices.show(parts, honest.id))["warnings"] == []
    for release in (loose, onward):
        shown = (await voices.show(parts, release.id))["warnings"]
        assert [one["code"] for one in shown] == ["loosens_licence", "loosens_consent"]
        assert all(one["message"] and one["release"] == parent.id for one in shown)
        assert {one["author"] for one in shown} == {author_id(parent.manifest.author)}
    graph = await lineage.lineage(parts, loose.id)
    marks = {(one["child"], one["loosens"]) for one in graph["edges"]}
    assert marks == {(loose.id, True), (onward.id, False)}


async def test_the_graph_has_ancestors_descendants_and_places(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(ADA, (NOWHERE, "distilled-from"))
    second = made(EVE, (first.id, "forked-from"), slug="second")
    third = made(parts.identity.author, (second.id, "fine-tuned-from"), slug="third")
    aside = made(EVE, (first.id, "forked-from"), slug="aside")
    await keep(parts, first, second, third, aside)
    found = await lineage.lineage(parts, second.id)
    assert found["focus"] == second.id
    assert not found["truncated"]
    # Siblings are no relatives in a straight line.
    rows = {row["release"]: row for row in found["nodes"]}
    assert set(rows) == {NOWHERE, first.id, second.id, third.id}
    assert [rows[one]["known"] for one in (NOWHERE, first.id, third.id)] == [False, True, True]
    assert [rows[one]["own"] for one in (NOWHERE, first.id, third.id)] == [False, False, True]
    assert rows[first.id]["fingerprint"] == author_id(first.manifest.author)[8:20]
    assert {(row["child"], row["parent"], row["kind"]) for row in found["edges"]} == {
        (first.id, NOWHERE, "distilled-from"),
        (second.id, first.id, "forked-from"),
        (third.id, second.id, "fine-tuned-from"),
    }
    assert len(read_graph(found).nodes) == 4
    assert (await lineage.lineage(parts, second.id, fetch=True))["nodes"] == found["nodes"]
    # What is forgotten names nobody any more; what it was made from stays a place.
    parts.catalog.forget(first.id)
    rows = {row["release"]: row for row in (await lineage.lineage(parts, second.id))["nodes"]}
    assert set(rows) == {first.id, second.id, third.id}
    assert rows[first.id] == {**rows[first.id], "known": False, "name": "", "author": "", "revoked": False}
    with pytest.raises(NotFoundError):
        await lineage.lineage(parts, NOWHERE)


async def test_a_flood_of_forks_costs_one_page(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(ADA)
    forks = [made(EVE, (root.id, "forked-from"), slug=f"fork-{number}") for number in range(6)]
    chain = [root]
    for number in range(6):
        chain.append(made(EVE, (chain[-1].id, "revision-of"), slug="chain", created=1_790_000_000 + number))
    await keep(parts, root, *forks, *chain[1:])
    for name, limit, ref, count in (
        ("CHILDREN_LIMIT", 7, root.id, 13),
        ("CHILDREN_LIMIT", 6, root.id, 7),
        ("NODES_LIMIT", 13, root.id, 13),
        ("NODES_LIMIT", 12, root.id, 12),
        ("ANCESTORS_LIMIT", 7, chain[-1].id, 7),
        ("ANCESTORS_LIMIT", 6, chain[-1].id, 6),
        ("DEPTH_LIMIT", 6, chain[-1].id, 7),
        ("DEPTH_LIMIT", 5, chain[-1].id, 6),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(lineage, name, limit)
            found = await lineage.lineage(parts, ref)
        whole = limit in (7, 13) or (name, limit) == ("DEPTH_LIMIT", 6)
        assert (len(found["nodes"]), found["truncated"]) == (count, not whole), (name, limit)
    # What came first has its place, and what is installed comes before it.
    assert parts.catalog.children(root.id, 2) == [forks[0].id, forks[1].id]
    parts.catalog.install(forks[5], seed=False)
    assert parts.catalog.children(root.id, 2) == [forks[5].id, forks[0].id]


async def test_what_is_learnt_from_a_fork_is_learnt_from_its_parent(parts: Parts) -> None:
    other = release_id(b"other")
    draft_of(
        parts, "forked", (NOWHERE, "forked-from"), (other, "merged-from"),
        fork={"release": NOWHERE, "license": "MIT", "tags": [], "description": "", "consent": "synthetic"},
    )  # fmt: skip
    draft_of(parts, "tuned", (NOWHERE, "fine-tuned-from"))
    for name, kind, expected, base in (
        ("forked", "tune", "fine-tuned-from", NOWHERE),
        ("forked", "distil", "distilled-from", NOWHERE),
        ("tuned", "tune", "fine-tuned-from", ""),
    ):
        found = await enrol._find(parts, name, kind)  # type: ignore[arg-type]
        assert dict(found.parents)[NOWHERE] == expected
        assert dict(found.parents).get(other) == ("merged-from" if name == "forked" else None)
        assert found.identifier == base


async def test_a_fork_with_a_name_that_is_none_fetches_nothing(parts: Parts) -> None:
    release = made(ADA)
    await keep(parts, release)
    draft_of(parts, "Taken")
    for name, slug, error in (
        (" ", None, UsageError),
        ("n" * (NAME_LENGTH + 1), None, UsageError),
        ("fine", "../up", UsageError),
        ("taken", None, ConflictError),
        ("fine", "taken", ConflictError),
        # Nobody has its files: only now was it looked for.
        ("n" * NAME_LENGTH, None, NoPeersError),
    ):
        events: list[object] = []

        async def tell(event: object, events: list[object] = events) -> None:
            events.append(event)

        with pytest.raises(error):
            await forking.fork(parts, release.id, name, slug, tell)
        assert bool(events) is (error is NoPeersError)
    assert [draft.slug for draft in parts.drafts.all()] == ["taken"]


async def test_what_will_be_refused_is_told_before_it_is_made(parts: Parts) -> None:
    closed = made(ADA, license="CC-BY-NC-ND-4.0")
    person = made(ADA, consent=signed_consent(ADA, ADA.public_key().public_bytes_raw()))
    assert ["stays on this machine" in line for line in inheriting.forewarnings(parts, closed)] == [True]
    (line,) = inheriting.forewarnings(parts, person)
    assert parts.author in line
    assert author_id(person.manifest.author) in line
    assert inheriting.forewarnings(parts, made(ADA)) == []
    own, me = parts.identity.author, parts.identity.author_public
    assert inheriting.forewarnings(parts, made(own, license="CC-BY-ND-4.0")) == []
    assert inheriting.forewarnings(parts, made(own, consent=signed_consent(own, me))) == []
    (line,) = inheriting.forewarnings(parts, made(own, consent=signed_consent(ADA, me)))
    assert author_id(ADA.public_key().public_bytes_raw()) in line


def test_an_older_database_learns_its_parents(tmp_path: Path) -> None:
    parent = made(ADA)
    child = made(EVE, (parent.id, "forked-from"), (NOWHERE, "merged-from"), slug="child")
    path = tmp_path / "catalog.sqlite"
    before = schema.STEPS[: schema.STEPS.index(lineage_tables.first_schema)]
    database = Database(path, before)
    with database.write() as connection:
        for release in (parent, child):
            connection.execute(
                "INSERT INTO releases(id, author, slug, created, seen, data) VALUES (?,?,?,?,?,?)",
                (release.id, author_id(release.manifest.author), release.manifest.slug, 1, 1,
                 release.envelope.to_bytes()),
            )  # fmt: skip
        connection.execute(
            "INSERT INTO releases(id, author, slug, created, seen, data) VALUES ('x','x','x',1,1,x'00')"
        )
    database.close()
    database = open_database(path)
    catalog = Catalog(database)
    assert catalog.children(parent.id, 9) == catalog.children(NOWHERE, 9) == [child.id]
    catalog.forget(child.id)
    assert catalog.children(parent.id, 9) == []
    assert database.rows("SELECT * FROM parents") == []
    database.close()
