"""The training record and the measured fields: bounds at n and n + 1, hostile input, and older readers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import manifest as m
from p2pvoice.protocol import provenance as p
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.errors import ManifestError, RefusedError
from p2pvoice.protocol.ids import bundle_id, digest_of, release_id

DATA = p.TrainingData(12, 61, "My own recordings of 2026.\nRead from my own notes.")
RECORD = p.TrainingRecord("trained", release_id(b"base"), 1_500, 4_000, ("sovits", "gpt.h.*"), DATA)
FIGURE = p.Measured("dnsmos_ovrl", "2.91", "", "DNSMOS P.835 (speechmos 0.0.1.1)", 80)


def body_of(manifest: m.Manifest) -> dict:
    return decode(manifest.payload(), limit=m.MANIFEST_LIMIT)


def test_both_survive_the_wire_and_are_signed_over(make_manifest, key) -> None:
    manifest = make_manifest(training=RECORD, measured=(FIGURE, replace(FIGURE, field="pitch_median")))
    assert m.decode_manifest(manifest.payload()) == manifest
    release = m.sign_manifest(manifest, key)
    assert m.verify_release(release.envelope.to_bytes()) == release
    assert hash(release) == hash(m.verify_release(release.envelope.to_bytes()))
    assert make_manifest().payload() != manifest.payload()


def test_without_them_a_manifest_has_the_keys_of_format_1(make_manifest) -> None:
    body = body_of(make_manifest(format=1))
    assert not {"training", "measured"} & set(body)
    assert (body["v"], body["min_reader"]) == (1, 1)


def test_format_1_may_read_them_as_unknown_keys(make_manifest) -> None:
    manifest = make_manifest(training=RECORD, measured=(FIGURE,))
    assert manifest.min_reader == 1
    # What format 1 does with a key it does not know: it keeps it, and the bytes stay the same.
    body = body_of(manifest)
    unknown = {f"later-{name}": body.pop(name) for name in ("training", "measured")}
    older = encode(body | unknown)
    assert m.decode_manifest(older).payload() == older


def test_unknown_keys_inside_are_kept(make_manifest) -> None:
    body = body_of(make_manifest(training=RECORD, measured=(FIGURE,)))
    for part in (body["training"], body["training"]["data"], body["measured"][0]):
        part["later"] = {"deep": [1, b"2"]}
    payload = encode(body)
    assert m.decode_manifest(payload).payload() == payload


LIMITS = [
    ("seconds", lambda n: replace(RECORD, seconds=n), p.COUNT_LIMIT),
    ("steps", lambda n: replace(RECORD, steps=n), p.COUNT_LIMIT),
    ("layers", lambda n: replace(RECORD, layers=tuple(f"l{i}" for i in range(n))), p.LAYERS_LIMIT),
    ("layer", lambda n: replace(RECORD, layers=("l" * n,)), p.LAYER_LENGTH),
    ("clips", lambda n: replace(DATA, clips=n), p.CLIPS_LIMIT),
    ("data seconds", lambda n: replace(DATA, seconds=n), p.COUNT_LIMIT),
    ("declaration", lambda n: replace(DATA, declaration="d" * n), p.DECLARATION_LENGTH),
    ("field", lambda n: replace(FIGURE, field="f" * n), 48),
    ("value", lambda n: replace(FIGURE, value="v" * n), p.VALUE_LENGTH),
    ("unit", lambda n: replace(FIGURE, unit="u" * n), p.UNIT_LENGTH),
    ("method", lambda n: replace(FIGURE, method="m" * n), p.METHOD_LENGTH),
    ("confidence", lambda n: replace(FIGURE, confidence=n), p.CONFIDENCE_LIMIT),
]


@pytest.mark.parametrize(("name", "make", "limit"), LIMITS, ids=[row[0] for row in LIMITS])
def test_limits(name, make, limit) -> None:
    good = make(limit)
    assert type(good).from_map(good.to_map()) == good
    with pytest.raises(ManifestError):
        make(limit + 1)


def test_the_number_of_measured_fields(make_manifest) -> None:
    many = tuple(replace(FIGURE, field=f"f{i}") for i in range(m.MEASURED_LIMIT + 1))
    good = make_manifest(measured=many[:-1])
    assert m.decode_manifest(good.payload()) == good
    with pytest.raises(ManifestError):
        make_manifest(measured=many)
    body = body_of(good)
    body["measured"].append(many[-1].to_map())
    with pytest.raises(ManifestError, match="1 to 64"):
        m.decode_manifest(encode(body))


@pytest.mark.parametrize(
    "make",
    [
        lambda: replace(RECORD, kind="stolen"),
        lambda: replace(RECORD, base="the neighbour"),
        lambda: replace(RECORD, seconds=-1),
        lambda: replace(RECORD, seconds=True),
        lambda: replace(RECORD, steps=1.5),
        lambda: replace(RECORD, layers=()),
        lambda: replace(RECORD, layers=("a", "a")),
        lambda: replace(RECORD, layers=("../a",)),
        lambda: replace(RECORD, layers=("a b",)),
        lambda: replace(DATA, clips=-1),
        lambda: replace(DATA, declaration="over\u202eride"),
        lambda: replace(FIGURE, field="Upper"),
        lambda: replace(FIGURE, value=""),
        lambda: replace(FIGURE, value=2.91),
        lambda: replace(FIGURE, value="two\nlines"),
        lambda: replace(FIGURE, method=""),
        lambda: replace(FIGURE, confidence=-1),
    ],
)
def test_malformed_parts(make) -> None:
    with pytest.raises(ManifestError):
        make()


@pytest.mark.parametrize(
    "change",
    [
        {"measured": []},
        {"measured": {}},
        {"measured": None},
        {"measured": [None]},
        {"measured": [FIGURE.to_map(), FIGURE.to_map()]},
        {"measured": [{**FIGURE.to_map(), "confidence": "high"}]},
        {"training": None},
        {"training": []},
        {"training": {**RECORD.to_map(), "data": None}},
        {"training": {**RECORD.to_map(), "layers": "all"}},
        {"training": {**RECORD.to_map(), "layers": [1]}},
        {"training": {key: value for key, value in RECORD.to_map().items() if key != "base"}},
    ],
)
def test_hostile_manifests(make_manifest, change) -> None:
    with pytest.raises(ManifestError):
        m.decode_manifest(encode(body_of(make_manifest()) | change))


VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.binary(max_size=3)


@given(st.data())
def test_fields_of_wrong_types_raise_only_our_errors(make_manifest, data) -> None:
    body = body_of(make_manifest(training=RECORD, measured=(FIGURE,)))
    parts = [body, body["training"], body["training"]["data"], body["measured"][0]]
    target = data.draw(st.sampled_from(parts))
    name = data.draw(st.sampled_from(sorted(target)))
    target[name] = data.draw(VALUES | st.just({}) | st.just([None]) | st.just([[1]]))
    try:
        m.decode_manifest(encode(body))
    except RefusedError:
        return


def test_a_bundle_id_names_a_base_that_was_never_published() -> None:
    base = bundle_id([("voice.json", 2, digest_of(b"{}"))])
    assert replace(RECORD, base=base).base == base
