"""Revocations: who has a say, what is hit, and that nobody else's record does anything."""

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import revocation as r
from p2pvoice.protocol.canonical import encode
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.errors import ManifestError, RefusedError, SignatureError, UsageError
from p2pvoice.protocol.ids import cid_of, digest_of
from p2pvoice.protocol.manifest import Release, sign_manifest

from ..node.recall_parts import NOW, public, signed_consent

STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


@pytest.fixture(scope="module")
def release(key, other_key, make_manifest) -> Release:
    """A release of ``key``, of the voice of ``other_key``."""
    return sign_manifest(make_manifest(consent=signed_consent(other_key, public(key))), key)


@pytest.fixture(scope="module")
def make(key, release):
    def make(signer: Ed25519PrivateKey = key, **changes: object) -> r.Revocation:
        values = {
            "signer": public(signer),
            "author": public(key),
            "slug": "storyteller",
            "created": NOW,
            "release": release.id,
            "bundle": release.manifest.bundle_id,
            "reason": "recorded without asking",
        }
        return r.Revocation(**(values | changes))

    return make


def test_round_trip(make, key) -> None:
    for made in (make(), make(release=None), make(bundle=None), make(release=None, bundle=None, reason="")):
        data = r.sign_revocation(made, key)
        assert len(data) <= r.REVOCATION_LIMIT
        assert r.verify_revocation(data) == made


def test_the_largest_revocation_fits(make, key) -> None:
    made = make(slug="s" * 63, created=(1 << 40) - 1, reason="\U00020000" * r.REASON_LENGTH)
    assert len(made.payload()) <= r.REVOCATION_PAYLOAD_LIMIT
    assert r.verify_revocation(r.sign_revocation(made, key)) == made


def test_a_payload_of_the_limit_and_one_past_it(make, key) -> None:
    body = {
        "v": 1, "min_reader": 1, "signer": public(key), "author": public(key), "slug": "s", "created": NOW,
        "reason": "",
    }  # fmt: skip
    room = r.REVOCATION_PAYLOAD_LIMIT - len(encode(body | {"later": b"x" * 300})) + 300
    for size in (room, room + 1):
        payload = encode(body | {"later": b"x" * size})
        data = seal("revocation", payload, key).to_bytes()
        if size == room:
            assert len(payload) == r.REVOCATION_PAYLOAD_LIMIT
            assert r.verify_revocation(data).slug == "s"
        else:
            with pytest.raises(ManifestError):
                r.verify_revocation(data)


@given(st.data())
def test_a_mutated_revocation_is_refused(make, key, data) -> None:
    raw = bytearray(r.sign_revocation(make(), key))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RefusedError):
        r.verify_revocation(bytes(raw))


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_our_errors(raw: bytes) -> None:
    with pytest.raises(RefusedError):
        r.verify_revocation(raw)


FIELDS = ["v", "min_reader", "signer", "author", "slug", "created", "release", "bundle", "reason"]
VALUES = st.none() | st.integers(-9, 9) | st.text(max_size=4) | st.binary(max_size=40)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_any_value_in_any_field_raises_only_our_errors(make, key, changes) -> None:
    body = {
        "v": 1, "min_reader": 1, "signer": public(key), "author": public(key), "slug": "s", "created": NOW,
        "reason": "", "release": b"r" * 32, "bundle": b"b" * 32,
    }  # fmt: skip
    data = seal("revocation", encode(body | changes), key).to_bytes()
    try:
        made = r.verify_revocation(data)
    except RefusedError:
        return
    assert r.verify_revocation(r.sign_revocation(made, key)) == made


@pytest.mark.parametrize(
    "change",
    [
        {"signer": b"short"},
        {"author": b"short"},
        {"slug": "A"},
        {"release": "nothing"},
        {"bundle": "nothing"},
        {"created": 0},
        {"created": 1 << 40},
        {"created": True},
        {"reason": "x" * (r.REASON_LENGTH + 1)},
        {"reason": "two\nlines"},
        {"reason": "\u202etxt"},
    ],
)
def test_malformed_revocations(make, change) -> None:
    with pytest.raises(ManifestError):
        dataclasses.replace(make(), **change)


def test_a_revocation_of_a_newer_format_is_refused_and_unknown_keys_are_not(key) -> None:
    good = {
        "v": 1, "min_reader": 1, "signer": public(key), "author": public(key), "slug": "s", "created": NOW,
        "reason": "",
    }  # fmt: skip
    for change in ({}, {"v": 2}, {"later": [1]}):
        assert r.verify_revocation(seal("revocation", encode(good | change), key).to_bytes()).slug == "s"
    for change in ({"min_reader": 2}, {"release": b"r"}, {"bundle": "b"}, {"reason": b""}):
        with pytest.raises(ManifestError):
            r.verify_revocation(seal("revocation", encode(good | change), key).to_bytes())


def test_only_the_signer_signs(make, key, other_key) -> None:
    with pytest.raises(SignatureError):
        r.sign_revocation(make(), other_key)
    # Somebody's words under another key: whoever signs is the one who is named.
    with pytest.raises(SignatureError):
        r.verify_revocation(seal("revocation", make().payload(), other_key).to_bytes())
    with pytest.raises(ManifestError):
        r.verify_revocation(seal("head", make().payload(), key).to_bytes())


def test_author_and_subject_revoke_and_nobody_else(make, key, other_key, release) -> None:
    for signer in (key, other_key):
        for scope in (release.id, None):
            assert r.revokes(make(signer, release=scope), release)
            assert r.has_say(make(signer, release=scope), release)
    for scope in (release.id, None):
        assert not r.revokes(make(STRANGER, release=scope), release)


def test_a_claimed_consent_gives_nobody_a_say(make, key, other_key, make_manifest) -> None:
    named = ConsentDeclaration("named", True, subject_name="Somebody")
    claimed = sign_manifest(make_manifest(consent=named), key)
    assert r.subject_key(claimed.manifest) is None
    assert not r.revokes(make(other_key, release=claimed.id), claimed)
    assert r.revokes(make(key, release=claimed.id), claimed)


def test_another_release_and_another_voice_are_not_hit(
    make, key, other_key, release, make_manifest, make_file
) -> None:
    signed = release.manifest.consent
    files = (*release.manifest.files[:-1], make_file("reference/0.safetensors", b"another clip"))
    later = sign_manifest(make_manifest(consent=signed, files=files, created=NOW + 9), key)
    other = sign_manifest(make_manifest(consent=signed, files=files, slug="other"), key)
    foreign = sign_manifest(make_manifest(author=public(STRANGER), files=files), STRANGER)
    for signer in (key, other_key):
        assert not r.revokes(make(signer), later)
        assert r.revokes(make(signer, release=None), later)
        for one in (other, foreign):
            for scope in (release.id, None, one.id):
                assert not r.revokes(make(signer, release=scope), one)
    # A revocation of somebody else's slug, signed by its own author, hits nothing of theirs.
    theirs = make(STRANGER, author=public(STRANGER))
    assert not r.revokes(theirs, release)


def test_the_same_files_under_another_name(make, key, other_key, release, make_manifest) -> None:
    mine = make(other_key)
    again = sign_manifest(make_manifest(consent=release.manifest.consent, slug="again"), key)
    assert again.manifest.bundle_id == mine.bundle
    assert r.revokes(mine, again)
    elsewhere = signed_consent(other_key, public(STRANGER))
    passed_on = sign_manifest(make_manifest(author=public(STRANGER), consent=elsewhere), STRANGER)
    assert r.revokes(mine, passed_on)
    assert not r.revokes(make(other_key, bundle=None), again)
    # An author has no say over others who hold the same files, and a stranger none by naming them.
    unsigned = sign_manifest(make_manifest(author=public(STRANGER)), STRANGER)
    assert not r.revokes(make(key), unsigned)
    assert not r.revokes(mine, unsigned)
    assert not r.revokes(make(STRANGER, author=public(STRANGER), slug="x", release=None), release)


def test_who_publishes_anew_is_not_hit_by_the_files(make, key, make_manifest) -> None:
    own = make_manifest(consent=signed_consent(key, public(key)))
    first, second = sign_manifest(own, key), sign_manifest(dataclasses.replace(own, created=NOW + 1), key)
    revoked = make(key, release=first.id, bundle=own.bundle_id)
    assert r.revokes(revoked, first)
    assert not r.revokes(revoked, second)


def test_keys(make, key, other_key, release) -> None:
    asked = r.keys_to_ask(release)
    made = (make(), make(release=None), make(other_key), make(other_key, release=None))
    assert {r.key_of(one) for one in made} == set(asked)
    assert len(asked) == 4
    foreign = (make(STRANGER), make(slug="other", release=None), make(author=public(STRANGER), release=None))
    for one in foreign:
        assert r.key_of(one) not in asked
    # libp2p 0.8.1 leaves a question for a longer key without an answer.
    assert all(len(one) <= 128 for one in asked)
    assert len({r.key_of(make(slug="s" * 63, release=None)), *asked}) == 5


def test_release_names_are_checked(key) -> None:
    with pytest.raises(UsageError):
        r.revocation_key(public(key), public(key), "s", "nothing")
    with pytest.raises(UsageError):
        r.revocation_key(public(key), public(key), "S")
    assert r.revocation_key(public(key), public(key), "s", cid_of(digest_of(b"")))
