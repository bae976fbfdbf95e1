"""Signed consent: what a statement must be, what a declaration may say beside it, and when it ends."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pvoice.protocol import canonical, envelope, errors
from p2pvoice.protocol import consent as c
from p2pvoice.protocol import consent_statement as cs
from p2pvoice.protocol.consent_state import consent_facts, consent_state, require_current
from p2pvoice.protocol.errors import ConsentError, ManifestError, RefusedError, SignatureError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import MANIFEST_LIMIT, decode_manifest, sign_manifest, verify_release

from .test_vectors import load, private_key, value_of

Said = Callable[..., cs.ConsentStatement]
BEGUN, ENDS = 1_790_000_000, 1_900_000_000


@pytest.fixture
def said(key: Ed25519PrivateKey, other_key: Ed25519PrivateKey) -> Said:
    """A statement by the holder of the other key for the author."""

    def make(**changes: Any) -> cs.ConsentStatement:
        values: dict[str, Any] = {
            "author": key.public_key().public_bytes_raw(),
            "subject": other_key.public_key().public_bytes_raw(),
            "subject_name": "陈大文",
            "created": BEGUN,
            "statement": "I agree.",
            "language": "en",
            "scope": ("commercial",),
            "expires": ENDS,
        }
        return cs.ConsentStatement(**(values | changes))

    return make


def declared(signed: bytes | None, **changes: Any) -> c.ConsentDeclaration:
    values: dict[str, Any] = {
        "subject": "named",
        "ai_voice_permission": True,
        "subject_name": "陈大文",
        "references_may_travel": False,
        "scope": ("commercial",),
        "expires": ENDS,
        "signed": signed,
    }
    return c.ConsentDeclaration(**(values | changes))


def test_vector(make_manifest: Any) -> None:
    vector = load("consent")
    subject = private_key(vector)
    payload = bytes.fromhex(vector["payload"])
    assert canonical.encode(value_of(vector["value"])) == payload
    read = cs.verify_statement(bytes.fromhex(vector["signed"]))
    assert read.payload() == payload
    assert cs.sign_statement(read, subject).hex() == vector["signed"]
    assert author_id(read.subject) == vector["subject"]
    assert (author_id(read.author), read.slug) == (vector["author"], vector["slug"])
    newer = cs.verify_statement(bytes.fromhex(vector["newer"]["signed"]))
    assert (newer.format, newer.payload().hex()) == (2, vector["newer"]["payload"])
    for case in vector["refused"]:
        with pytest.raises(errors.by_code(case["error"])) as caught:
            cs.verify_statement(bytes.fromhex(case["signed"]))
        assert caught.value.code == case["error"], case["why"]
    body = value_of(vector["declaration"])
    manifest = make_manifest(consent=c.ConsentDeclaration.from_map(body), license="CC-BY-NC-4.0")
    assert decode_manifest(manifest.payload()) == manifest
    for case in vector["looser"]:
        value = canonical.decode(manifest.payload(), limit=MANIFEST_LIMIT)
        value["consent"] = body | case["change"]
        with pytest.raises(ConsentError):
            decode_manifest(canonical.encode(value))


def test_a_release_carries_it_and_older_readers_lose_nothing(
    key: Ed25519PrivateKey, other_key: Ed25519PrivateKey, make_manifest: Any, said: Said
) -> None:
    signed = cs.sign_statement(said(slug="storyteller"), other_key)
    release = sign_manifest(make_manifest(consent=declared(signed)), key)
    again = verify_release(release.envelope.to_bytes())
    assert again.id == release.id
    assert again.manifest.consent.signed == signed
    assert (again.manifest.format, again.manifest.min_reader) == (2, 1)
    assert consent_state(again.manifest, BEGUN) == "signed"
    facts = consent_facts(again.manifest, BEGUN)
    assert facts["signed_by"] == author_id(other_key.public_key().public_bytes_raw())
    assert (facts["scope"], facts["expires"], facts["references_may_travel"]) == (["commercial"], ENDS, False)


def test_a_forged_statement_makes_the_manifest_unreadable(
    key: Ed25519PrivateKey, other_key: Ed25519PrivateKey, make_manifest: Any, said: Said
) -> None:
    statement = said()
    forged = envelope.seal(cs.KIND, statement.payload(), key).to_bytes()
    with pytest.raises(SignatureError):
        make_manifest(consent=declared(forged))
    with pytest.raises(SignatureError):
        cs.sign_statement(statement, key)
    good = cs.sign_statement(statement, other_key)
    for data in (b"x", good[:-1], good + b"x", bytes(len(good))):
        with pytest.raises(ManifestError):
            make_manifest(consent=declared(data))
    value = canonical.decode(make_manifest(consent=declared(good)).payload(), limit=MANIFEST_LIMIT)
    for wrong in (None, "text", b"", 7, [good]):
        value["consent"]["signed"] = wrong
        with pytest.raises(ManifestError):
            decode_manifest(canonical.encode(value))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"author": b"\1" * 32}, "for the author"),
        ({"slug": "another"}, "voice 'another' alone"),
        ({"ai_voice_permission": False}, "does not permit"),
        ({"subject_name": "陈小文"}, "another name"),
        ({"scope": ("singing",)}, "commercial use"),
        ({"expires": ENDS - 1}, "lasts longer"),
    ],
)
def test_a_statement_that_does_not_bear_the_declaration_out(
    other_key: Ed25519PrivateKey, make_manifest: Any, said: Said, change: dict[str, Any], told: str
) -> None:
    signed = cs.sign_statement(said(**change), other_key)
    with pytest.raises(ConsentError, match=told):
        make_manifest(consent=declared(signed))


def test_a_declaration_may_say_less_and_never_more(
    other_key: Ed25519PrivateKey, make_manifest: Any, said: Said
) -> None:
    strict = cs.sign_statement(said(), other_key)
    for less in ({"scope": ()}, {"expires": ENDS - 1}):
        assert make_manifest(consent=declared(strict, **less))
    for more in (
        {"scope": ("commercial", "adult")},
        {"references_may_travel": True},
        {"expires": ENDS + 1},
        {"expires": None},
    ):
        with pytest.raises(ConsentError):
            make_manifest(consent=declared(strict, **more))
    open_ended = cs.sign_statement(said(references_may_travel=True, expires=None), other_key)
    for fine in ({"references_may_travel": True}, {"expires": None}, {"expires": ENDS}):
        assert make_manifest(consent=declared(open_ended, **fine))


def test_who_may_sign_for_whom(
    key: Ed25519PrivateKey, other_key: Ed25519PrivateKey, make_manifest: Any, said: Said
) -> None:
    theirs = cs.sign_statement(said(), other_key)
    own = cs.sign_statement(said(subject=key.public_key().public_bytes_raw()), key)
    fits = {"self": own, "named": theirs, "deceased-estate": theirs}
    for subject in c.SUBJECTS:
        for signed in (own, theirs):
            if fits.get(subject) == signed:
                assert make_manifest(consent=declared(signed, subject=subject))
                continue
            with pytest.raises(ConsentError):
                make_manifest(consent=declared(signed, subject=subject))


def test_a_licence_gives_no_more_than_the_person(
    key: Ed25519PrivateKey, other_key: Ed25519PrivateKey, make_manifest: Any, said: Said
) -> None:
    signed = cs.sign_statement(said(), other_key)
    for licence in ("CC-BY-NC-4.0", "LicenseRef-mine"):
        sign_manifest(make_manifest(license=licence, consent=declared(signed, scope=())), key)
    with pytest.raises(ConsentError) as caught:
        sign_manifest(make_manifest(consent=declared(signed, scope=())), key)
    assert "CC-BY-NC-4.0" in caught.value.hint
    # A claim is the author's own word in both; and what was published is read, whatever the licence.
    claimed = declared(None, scope=())
    sign_manifest(make_manifest(consent=claimed), key)
    decode_manifest(make_manifest(consent=declared(signed, scope=())).payload())


def test_expiry(other_key: Ed25519PrivateKey, make_manifest: Any, said: Said) -> None:
    signed = cs.sign_statement(said(), other_key)
    for consent, before in ((declared(signed), "signed"), (declared(None), "claimed")):
        manifest = make_manifest(consent=consent)
        assert consent_state(manifest, ENDS - 1) == before
        require_current(manifest, ENDS - 1)
        assert consent_state(manifest, ENDS) == "expired"
        assert consent_facts(manifest, ENDS)["signed"] is (before == "signed")
        with pytest.raises(ConsentError, match="expired") as caught:
            require_current(manifest, ENDS)
        assert caught.value.exit_code == 5
    forever = make_manifest(consent=declared(None, expires=None))
    assert consent_state(forever, 1 << 40) == "claimed"


LIMITS = [
    ("subject_name", lambda n: "n" * n, c.SUBJECT_NAME_LENGTH),
    ("statement", lambda n: "s" * n, c.STATEMENT_LENGTH),
    ("language", lambda n: "l" * n, cs.LANGUAGE_LENGTH),
    ("data_sources", lambda n: ("x",) * n, c.DATA_SOURCES_LIMIT),
    ("data_sources", lambda n: ("x" * n,), c.DATA_SOURCE_LENGTH),
    ("created", lambda n: n - 1, 1 << 40),
    ("format", lambda n: n, cs.FORMAT_LIMIT),
    ("min_reader", lambda n: n, cs.FORMAT),
    ("slug", lambda n: "s" * n, 63),
]


@pytest.mark.parametrize(("field", "make", "limit"), LIMITS)
def test_limits(
    other_key: Ed25519PrivateKey, said: Said, field: str, make: Callable[[int], Any], limit: int
) -> None:
    good = said(expires=None, **{field: make(limit)})
    assert cs.verify_statement(cs.sign_statement(good, other_key)) == good
    with pytest.raises(ManifestError):
        said(expires=None, **{field: make(limit + 1)})


def test_the_limit_of_the_whole(other_key: Ed25519PrivateKey, said: Said) -> None:
    empty = said(extra={"later": b""})
    # The length of the filling itself takes three bytes where that of nothing takes one.
    room = cs.STATEMENT_PAYLOAD_LIMIT - len(empty.payload()) - 1
    most = replace(empty, extra={"later": bytes(room)})
    assert len(most.payload()) == cs.STATEMENT_PAYLOAD_LIMIT
    signed = cs.sign_statement(most, other_key)
    assert cs.verify_statement(signed) == most
    with pytest.raises(ManifestError):
        replace(empty, extra={"later": bytes(room + 1)})
    body = canonical.decode(most.payload(), limit=9000) | {"later": bytes(room + 1)}
    too_large = envelope.seal(cs.KIND, canonical.encode(body), other_key).to_bytes()
    with pytest.raises(ManifestError):
        cs.verify_statement(too_large)
    assert c.ConsentDeclaration("self", True, signed=bytes(c.SIGNED_LIMIT)).signed
    for size in (0, c.SIGNED_LIMIT + 1):
        with pytest.raises(ManifestError):
            c.ConsentDeclaration("self", True, signed=bytes(size))


@pytest.mark.parametrize(
    "change",
    [
        {"author": b"short"},
        {"subject": bytes(33)},
        {"slug": "Not A Slug"},
        {"scope": ("war",)},
        {"scope": ("adult", "adult")},
        {"references_may_travel": 1},
        {"ai_voice_permission": "yes"},
        {"statement": ""},
        {"language": ""},
        {"subject_name": "a\nb"},
        {"data_sources": ("",)},
        {"created": 0},
        {"created": True},
        {"expires": BEGUN},
        {"expires": 1 << 40},
        {"extra": {"scope": []}},
        {"extra": {"k" * 65: 1}},
    ],
)
def test_malformed_statements(said: Said, change: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        said(**change)


EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(max_size=6), st.integers(0, 6)), min_size=1)


@settings(max_examples=300, deadline=None)
@given(changes=EDITS)
def test_mutated_statements(changes: list[tuple[int, bytes, int]]) -> None:
    """Whatever happens to the bytes, only our refusals come out; also when the mutation is signed."""
    vector = load("consent")
    signed, payload = bytes.fromhex(vector["signed"]), bytes.fromhex(vector["payload"])
    for at, put, drop in changes:
        at %= len(payload)
        payload = payload[:at] + put + payload[at + drop :]
        signed = signed[:at] + put + signed[at + drop :]
        if not payload:
            return
    with suppress(RefusedError):
        assert cs.verify_statement(signed).payload()
    resigned = envelope.seal(cs.KIND, payload, private_key(vector)).to_bytes()
    with suppress(RefusedError):
        # What is read is what was signed: nothing is dropped or put in on the way.
        assert cs.verify_statement(resigned).payload() == payload
