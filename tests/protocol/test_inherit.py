"""What a descendant may say: every licence against every licence, every subject, and who binds whom."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol import ancestry as ancestry_module
from p2pvoice.protocol.ancestry import Ancestor, Ancestry, ancestry
from p2pvoice.protocol.consent import LICENSES, SUBJECTS, ConsentDeclaration, Licence
from p2pvoice.protocol.consent_statement import ConsentStatement, sign_statement
from p2pvoice.protocol.ids import release_id
from p2pvoice.protocol.inherit import PERMISSIVE, SHARE_ALIKE, allowed_licences, faults
from p2pvoice.protocol.manifest import Manifest, Parent, Release, sign_manifest


def key_of(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


ADA, BOB, CARA, LATER_ADA = (key_of(number) for number in range(1, 5))
"""Three authors, and the key that came after the first one's."""

SYNTHETIC = ConsentDeclaration("synthetic", True)
CORPUS = ConsentDeclaration("public-domain-corpus", True, references_may_travel=False)

Make = Callable[..., Release]


def same(one: bytes, other: bytes) -> bool:
    now = {public(ADA): public(LATER_ADA)}
    return now.get(one, one) == now.get(other, other)


@pytest.fixture
def make(make_manifest: Callable[..., Manifest]) -> Make:
    def made(key: Ed25519PrivateKey, *parents: tuple[Release | str, str], **changes: Any) -> Release:
        named = tuple(Parent(one if isinstance(one, str) else one.id, kind) for one, kind in parents)
        values: dict[str, Any] = {"consent": SYNTHETIC, **changes}
        return sign_manifest(make_manifest(author=public(key), parents=named, **values), key)

    return made


def walk(author: Ed25519PrivateKey, parents: Sequence[tuple[Release | str, str]], *held: Release) -> Ancestry:
    known = {one.id: one for one in (*held, *(one for one, _ in parents if isinstance(one, Release)))}
    named = [Parent(one if isinstance(one, str) else one.id, kind) for one, kind in parents]
    return ancestry(public(author), named, known.get, same)


def judged(
    ancestor: Release,
    license: str = "CC-BY-4.0",
    consent: ConsentDeclaration = SYNTHETIC,
    *,
    author: Ed25519PrivateKey = BOB,
    learned: bool = False,
) -> list[tuple[str, str]]:
    """(what, hint) of each fault that a release by BOB would have."""
    found = faults(public(author), license, consent, [Ancestor(ancestor, learned)], same)
    assert all(one.ancestor == ancestor.id and one.message for one in found)
    return [(one.about, one.hint) for one in found]


def signed(
    person: Ed25519PrivateKey, author: Ed25519PrivateKey, subject: str = "named", **changes: Any
) -> ConsentDeclaration:
    """A declaration that carries the person's own statement for an author."""
    said: dict[str, Any] = {"scope": (), "references_may_travel": False, "expires": None, **changes}
    statement = ConsentStatement(
        author=public(author),
        subject=public(person),
        subject_name="Ada",
        statement="Yes.",
        language="en",
        created=1_790_000_000,
        **said,
    )
    return ConsentDeclaration(
        subject, True, subject_name="Ada", signed=sign_statement(statement, person), **said
    )


# -- licences --------------------------------------------------------------------------------------------

CLASSES = {
    name: "free" if name in PERMISSIVE else "alike" if name in SHARE_ALIKE else "nc or nd"
    for name in LICENSES
}


def test_every_licence_that_can_be_named_has_one_rule() -> None:
    assert set(PERMISSIVE) | set(SHARE_ALIKE) <= set(LICENSES)
    assert not set(PERMISSIVE) & set(SHARE_ALIKE)
    rest = {name for name, kind in CLASSES.items() if kind == "nc or nd"}
    assert rest == {"CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-3.0"}
    for before, kept in SHARE_ALIKE.items():
        assert before in kept
        assert set(kept) <= set(LICENSES)
        # What counts as kept keeps no less itself.
        for one in kept:
            assert set(SHARE_ALIKE[one]) <= set(LICENSES)


@pytest.mark.parametrize("before", [*LICENSES, "LicenseRef-OpenRAIL-M", "Future-1.0"])
def test_what_a_licence_lets_through(before: str) -> None:
    allowed = allowed_licences(before)
    if before in PERMISSIVE:
        assert allowed is None
        return
    assert allowed is not None
    if "-ND" in before:
        assert allowed == frozenset()
        return
    assert before in allowed
    if Licence(before).commercial is False:
        assert all(Licence(one).commercial is False for one in allowed)
    if "-SA" in before or before in ("LicenseRef-OpenRAIL-M", "Future-1.0"):
        assert not any(one in PERMISSIVE for one in allowed)


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ("Apache-2.0", "CC-BY-NC-ND-4.0", False),
        ("CC-BY-4.0", "CC0-1.0", False),
        ("CC-BY-SA-4.0", "CC-BY-SA-4.0", False),
        ("CC-BY-SA-4.0", "CC-BY-4.0", True),
        ("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", True),
        ("CC-BY-SA-3.0", "CC-BY-SA-4.0", False),
        ("CC-BY-SA-4.0", "CC-BY-SA-3.0", True),
        ("CC-BY-NC-4.0", "CC-BY-4.0", True),
        ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", False),
        ("CC-BY-NC-4.0", "LicenseRef-mine", True),
        ("CC-BY-NC-SA-4.0", "CC-BY-NC-4.0", True),
        ("CC-BY-ND-4.0", "CC-BY-ND-4.0", True),
        ("GPL-3.0-or-later", "GPL-3.0-only", False),
        ("GPL-3.0-only", "GPL-3.0-or-later", True),
        ("GPL-3.0-only", "MIT", True),
        ("LicenseRef-OpenRAIL-M", "LicenseRef-OpenRAIL-M", False),
        ("LicenseRef-OpenRAIL-M", "MIT", True),
    ],
)
def test_a_licence_is_kept_or_refused_with_what_to_type(
    make: Make, before: str, after: str, refused: bool
) -> None:
    parent = make(ADA, license=before)
    found = judged(parent, after)
    assert bool(found) is refused
    for about, hint in found:
        assert about == "licence"
        allowed = allowed_licences(before)
        assert allowed is not None
        assert hint.removeprefix("--license ") in allowed or "keep it on this machine" in hint


# -- consents --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("after", SUBJECTS)
@pytest.mark.parametrize("before", ["synthetic", "public-domain-corpus"])
def test_a_voice_of_nobody_stays_so_until_something_is_learnt(
    make: Make, before: str, after: str, learned: bool
) -> None:
    parent = make(ADA, consent=ConsentDeclaration(before, True))
    now = ConsentDeclaration(after, True, subject_name="Cara" if after == "named" else "")
    free = learned and not (before == "public-domain-corpus" and after == "synthetic")
    assert bool(judged(parent, consent=now, learned=learned)) is not (free or after == before)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("after", SUBJECTS)
@pytest.mark.parametrize("before", ["named", "deceased-estate"])
def test_a_claimed_person_stays_whatever_was_learnt(
    make: Make, before: str, after: str, learned: bool
) -> None:
    parent = make(ADA, consent=ConsentDeclaration(before, True, subject_name="Dora"))
    for name in ("Dora", "Cara"):
        now = ConsentDeclaration(after, True, subject_name=name)
        found = judged(parent, consent=now, learned=learned)
        assert bool(found) is not (after == before and name == "Dora")
        assert [about for about, _ in found] in ([], ["consent"])


@pytest.mark.parametrize("learned", [False, True])
def test_a_person_with_a_key_signs_again_for_the_next_author(make: Make, learned: bool) -> None:
    own = make(ADA, consent=signed(ADA, ADA, "self", scope=("commercial",)))
    lent = make(CARA, consent=signed(ADA, CARA, scope=("commercial",)))
    unsigned = make(ADA, consent=ConsentDeclaration("self", True, scope=("commercial",)))
    for parent in (own, lent, unsigned):
        for loose in (
            SYNTHETIC,
            ConsentDeclaration("self", True),
            ConsentDeclaration("named", True, subject_name="Ada"),
            signed(CARA, BOB),
        ):
            ((about, hint),) = judged(parent, consent=loose, learned=learned)
            assert about == "consent"
            assert "p2pvoice consent sign --author did:key:" in hint
        for kept in (signed(ADA, BOB), signed(LATER_ADA, BOB), signed(ADA, BOB, scope=("commercial",))):
            assert judged(parent, consent=kept, learned=learned) == []


def test_heirs_stay_heirs(make: Make) -> None:
    estate = make(CARA, license="CC-BY-NC-4.0", consent=signed(ADA, CARA, "deceased-estate"))
    assert judged(estate, "CC-BY-NC-4.0", signed(ADA, BOB, "deceased-estate")) == []
    assert [about for about, _ in judged(estate, "CC-BY-NC-4.0", signed(ADA, BOB))] == ["consent"]


def test_a_person_is_not_bound_by_the_consents_they_gave(make: Make) -> None:
    """ADA takes back what CARA made of her voice under a narrow consent that ends."""
    lent = make(CARA, license="CC-BY-NC-4.0", consent=signed(ADA, CARA, expires=1_800_000_000))
    own = signed(ADA, ADA, "self", scope=("commercial", "singing"), references_may_travel=True)
    assert judged(lent, "CC-BY-NC-4.0", own, author=ADA) == []
    assert judged(lent, "CC-BY-NC-4.0", replace(own, signed=None), author=LATER_ADA) == []
    # What CARA added is hers: its licence binds.
    assert [about for about, _ in judged(lent, "CC-BY-4.0", own, author=ADA)] == ["licence"]


NARROW = {"scope": ("commercial",), "references_may_travel": False, "expires": 1_800_000_000}


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({}, False),
        ({"scope": ()}, False),
        ({"scope": ("commercial", "singing")}, True),
        ({"expires": 1_800_000_000 - 1}, False),
        ({"expires": 1_800_000_000 + 1}, True),
        ({"expires": None}, True),
        ({"references_may_travel": True}, True),
    ],
)
def test_a_consent_only_narrows(make: Make, changed: dict[str, Any], refused: bool) -> None:
    parent = make(CARA, consent=signed(ADA, CARA, **NARROW))
    assert bool(judged(parent, consent=signed(ADA, BOB, **(NARROW | changed)))) is refused
    # The same of a claim that nobody signed.
    claimed = ConsentDeclaration("named", True, subject_name="Dora", **NARROW)
    now = ConsentDeclaration("named", True, subject_name="Dora", **(NARROW | changed))
    assert bool(judged(make(CARA, consent=claimed), consent=now)) is refused


def test_recordings_of_a_corpus_stay_where_they_are_until_others_come(make: Make) -> None:
    parent = make(ADA, consent=CORPUS)
    travelling = replace(CORPUS, references_may_travel=True)
    assert [about for about, _ in judged(parent, consent=travelling)] == ["consent"]
    assert judged(parent, consent=travelling, learned=True) == []


# -- who binds -------------------------------------------------------------------------------------------


def test_own_revisions_are_walked_through_and_strangers_bind(make: Make) -> None:
    first = make(ADA, license="CC-BY-NC-4.0")
    fork = make(BOB, (first, "forked-from"), license="CC-BY-NC-SA-4.0")
    second = make(BOB, (fork, "revision-of"), license="CC-BY-NC-SA-4.0", name="again")
    # BOB's own terms do not bind BOB; what they came from does, however many revisions lie between.
    found = walk(BOB, [(second, "revision-of")], fork, first)
    assert [(one.release.id, one.learned) for one in found.binding] == [(first.id, False)]
    # For CARA both of the chain's authors speak, and of BOB's releases the newest.
    found = walk(CARA, [(second, "fine-tuned-from")], fork, first)
    assert [(one.release.id, one.learned) for one in found.binding] == [(second.id, True), (first.id, True)]
    # Home again: ADA is bound by what BOB says, and not by herself under any of her keys.
    for key in (ADA, LATER_ADA):
        found = walk(key, [(second, "merged-from")], fork, first)
        assert [(one.release.id, one.own) for one in found.binding] == [(second.id, False), (first.id, True)]


def test_another_persons_word_binds_within_ones_own_voices(make: Make) -> None:
    """BOB may give his own voices other terms; whose voice CARA's is, is not his to change."""
    hers = make(BOB, license="CC-BY-NC-4.0", consent=signed(CARA, BOB))
    plain = make(BOB, license="CC-BY-ND-4.0")
    for release, kind, about in (
        (hers, "fine-tuned-from", ["consent"]),
        (hers, "distilled-from", ["consent"]),
        (hers, "revision-of", []),
        (plain, "forked-from", []),
    ):
        found = walk(BOB, [(release, kind)])
        assert all(one.own for one in found.binding)
        said = faults(public(BOB), "CC-BY-4.0", SYNTHETIC, found.binding, same)
        assert [one.about for one in said] == about
        again = signed(CARA, BOB, scope=())
        assert faults(public(BOB), "CC-BY-4.0", again, found.binding, same) == []
    # It is not lost where the author's later release hides it; and a stranger's naming it binds in full.
    hidden = make(BOB, (hers, "forked-from"), license="CC-BY-4.0", name="hidden")
    found = walk(ADA, [(hidden, "forked-from")], hers)
    said = faults(public(ADA), "CC-BY-4.0", SYNTHETIC, found.binding, same)
    assert [(one.about, one.ancestor) for one in said] == [("consent", hers.id)]
    both: list[tuple[Release | str, str]] = [(hidden, "merged-from"), (hers, "merged-from")]
    for parents in (both, both[::-1]):
        found = walk(ADA, parents)
        assert [one.own for one in found.binding] == [False, False]


def test_a_superseded_release_binds_who_names_it_itself(make: Make) -> None:
    old = make(ADA, license="CC-BY-ND-4.0")
    new = make(ADA, (old, "revision-of"), license="CC-BY-4.0")
    assert [one.release.id for one in walk(BOB, [(new, "forked-from")], old).binding] == [new.id]
    side = make(CARA, (old, "forked-from"), license="CC-BY-4.0")
    found = walk(BOB, [(new, "merged-from"), (side, "merged-from")], old)
    assert {one.release.id for one in found.binding} == {new.id, side.id, old.id}


def test_one_way_that_learns_is_enough(make: Make) -> None:
    first = make(ADA)
    fork = make(BOB, (first, "forked-from"))
    (one,) = walk(BOB, [(fork, "revision-of"), (first, "fine-tuned-from")]).binding
    assert one == Ancestor(first, True)
    (one,) = walk(BOB, [(first, "fine-tuned-from"), (fork, "revision-of")]).binding
    assert one == Ancestor(first, True)


def test_only_parents_of_ones_own_must_be_known(make: Make) -> None:
    lost, gone, before = (release_id(bytes([number])) for number in range(3))
    theirs = make(ADA, (lost, "forked-from"))
    mine = make(BOB, (gone, "fine-tuned-from"), (before, "revision-of"))
    found = walk(BOB, [(theirs, "forked-from"), (mine, "revision-of")])
    assert found.unknown == (gone,)
    assert [one.release.id for one in found.binding] == [theirs.id]
    assert walk(BOB, [(lost, "forked-from"), (before, "revision-of")]).unknown == (lost,)


def test_a_revision_of_a_stranger_is_no_own_revision(make: Make) -> None:
    theirs = make(ADA, license="CC-BY-ND-4.0")
    (one,) = walk(BOB, [(theirs, "revision-of")]).binding
    assert judged(one.release, learned=one.learned)


def test_a_walk_ends(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit and one past it; and in a circle, which only a lying `known` can make."""
    monkeypatch.setattr(ancestry_module, "ANCESTORS_LIMIT", 5)
    chain = [make(ADA)]
    for number in range(5):
        key = (BOB, CARA)[number % 2]
        chain.append(make(key, (chain[-1], "forked-from"), name=f"v{number}"))
    for count in (5, 6):
        found = walk(key_of(9), [(chain[count - 1], "forked-from")], *chain)
        assert [one.release for one in found.binding] == chain[:count][::-1][:5]
    asked: list[str] = []

    def lying(identifier: str) -> Release:
        asked.append(identifier)
        return chain[-1] if len(asked) % 2 else chain[-2]

    ancestry(public(ADA), [Parent(chain[-1].id, "forked-from")], lying, same)
    assert len(asked) <= 5
