import dataclasses
import unicodedata
from functools import partial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from p2pvoice.protocol import manifest as m
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.chunks import CHUNKS_LIMIT, Chunk
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.errors import ConsentError, ManifestError, RefusedError, SignatureError, UsageError
from p2pvoice.protocol.ids import digest_of, release_id

DIGEST = b"d" * 32


def body_of(manifest: m.Manifest) -> dict:
    return decode(manifest.payload(), limit=m.MANIFEST_LIMIT)


def test_round_trip(make_manifest, key) -> None:
    manifest = make_manifest()
    assert m.decode_manifest(manifest.payload()) == manifest
    release = m.sign_manifest(manifest, key)
    assert release.id == release_id(manifest.payload())
    assert m.verify_release(release.envelope.to_bytes()) == release
    assert hash(release) == hash(m.verify_release(release.envelope.to_bytes()))


text = st.text(st.characters(categories=["L", "N", "P"]), max_size=30).map(
    partial(unicodedata.normalize, "NFC")
)


@given(
    name=text.filter(bool),
    description=text,
    created=st.integers(1, m.TIME_LIMIT - 1),
    subject=st.sampled_from(["self", "synthetic", "public-domain-corpus", "deceased-estate"]),
    cuts=st.sets(st.integers(1, 99), max_size=9),
    extra=st.dictionaries(st.text("xyz", min_size=1, max_size=9), st.integers() | st.binary(), max_size=3),
)
def test_any_manifest_survives_the_wire(
    make_manifest, make_file, name, description, created, subject, cuts, extra
) -> None:
    try:
        manifest = make_manifest(
            name=name,
            description=description,
            created=created,
            consent=ConsentDeclaration(subject, True, extra=extra),
            files=(make_file("voice.json", b"v" * 100, tuple(sorted(cuts))),),
            extra=extra,
        )
    except ManifestError:
        # Only an integer too large for the wire can be wrong with these.
        assert any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in extra.values())
        return
    assert m.decode_manifest(manifest.payload()) == manifest


@given(st.data())
def test_mutated_releases_raise_only_our_errors(make_manifest, key, data) -> None:
    good = m.sign_manifest(make_manifest(), key).envelope.to_bytes()
    raw = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assume(bytes(raw) != good)
    with pytest.raises(RefusedError):
        m.verify_release(bytes(raw))


@given(st.data())
def test_mutated_payloads_raise_only_our_errors(make_manifest, data) -> None:
    raw = bytearray(make_manifest().payload())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = m.decode_manifest(bytes(raw))
    except RefusedError:
        return
    assert again.payload() == bytes(raw)


VALUES = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.binary(max_size=3) | st.just([])
)


@given(st.data())
def test_fields_of_wrong_types_raise_only_our_errors(make_manifest, data) -> None:
    body = body_of(make_manifest())
    target = data.draw(
        st.sampled_from([body, body["consent"], body["engine"], body["files"][0], body["references"][0]])
    )
    name = data.draw(st.sampled_from(sorted(target)))
    value = data.draw(VALUES | st.just({}) | st.just([None]) | st.just([[1]]))
    target[name] = value
    try:
        m.decode_manifest(encode(body))
    except RefusedError:
        return


def test_unknown_keys_are_kept_everywhere_and_signed_over(make_manifest, key) -> None:
    body = body_of(make_manifest())
    for part in (body, body["consent"], body["engine"], body["files"][0], body["references"][0]):
        part["later"] = {"deep": [1, b"2", "3"]}
    body["parents"] = [{"release": release_id(b"p"), "kind": "forked-from", "later": True}]
    payload = encode(body)
    manifest = m.decode_manifest(payload)
    assert manifest.payload() == payload
    data = seal("manifest", payload, key).to_bytes()
    assert m.verify_release(data).id == release_id(payload)
    body["consent"]["later"] = 0
    assert m.decode_manifest(encode(body)).payload() != payload


def test_min_reader_says_who_may_read(make_manifest) -> None:
    body = body_of(make_manifest())
    m.decode_manifest(encode(body | {"v": m.FORMAT + 1}))
    with pytest.raises(ManifestError, match="reader of format"):
        m.decode_manifest(encode(body | {"v": m.FORMAT + 1, "min_reader": m.FORMAT + 1}))
    with pytest.raises(ManifestError):
        m.decode_manifest(encode(body | {"min_reader": 0}))


def test_the_release_id_covers_the_payload_and_not_the_signature(make_manifest, key) -> None:
    one, two = m.sign_manifest(make_manifest(), key), m.sign_manifest(make_manifest(description=""), key)
    assert one.id != two.id
    assert one.manifest.bundle_id == two.manifest.bundle_id


def test_a_release_is_signed_by_its_author(make_manifest, key, other_key) -> None:
    manifest = make_manifest()
    with pytest.raises(SignatureError):
        m.sign_manifest(manifest, other_key)
    with pytest.raises(SignatureError):
        m.verify_release(seal("manifest", manifest.payload(), other_key).to_bytes())
    with pytest.raises(ManifestError):
        m.verify_release(seal("head", manifest.payload(), key).to_bytes())


def test_one_byte_over_the_limit(make_manifest, key) -> None:
    base = len(make_manifest(extra={"pad": b"x" * 70_000}).payload()) - 70_000
    exact = make_manifest(extra={"pad": b"x" * (m.MANIFEST_LIMIT - base)})
    assert len(exact.payload()) == m.MANIFEST_LIMIT
    data = m.sign_manifest(exact, key).envelope.to_bytes()
    assert len(data) <= m.RELEASE_LIMIT
    assert m.verify_release(data).manifest == exact
    with pytest.raises(ManifestError):
        make_manifest(extra={"pad": b"x" * (m.MANIFEST_LIMIT - base + 1)})
    body = body_of(exact)
    body["pad"] += b"x"
    with pytest.raises(ManifestError):
        m.verify_release(seal("manifest", encode(body), key).to_bytes())


@pytest.mark.parametrize("field", ["license", "consent"])
def test_nothing_is_published_without_licence_and_consent(make_manifest, field) -> None:
    with pytest.raises(ConsentError):
        make_manifest(**{field: None})
    body = body_of(make_manifest())
    del body[field]
    with pytest.raises(ConsentError):
        m.decode_manifest(encode(body))


def test_a_consent_without_permission_cannot_be_published(make_manifest) -> None:
    with pytest.raises(ConsentError, match="does not permit"):
        make_manifest(consent=ConsentDeclaration("self", False))
    body = body_of(make_manifest())
    body["consent"]["ai_voice_permission"] = False
    with pytest.raises(ConsentError):
        m.decode_manifest(encode(body))


def test_signing_is_stricter_than_reading(make_manifest, key) -> None:
    with pytest.raises(ConsentError):
        m.sign_manifest(make_manifest(license="Made-Up-1.0"), key)
    with pytest.raises(ConsentError, match="spelled"):
        m.sign_manifest(make_manifest(license="cc-by-4.0"), key)
    with pytest.raises(ManifestError):
        m.sign_manifest(make_manifest(tags=("tag/cantonese",)), key)
    with pytest.raises(UsageError):
        m.sign_manifest(make_manifest(tags=("language/klingon",)), key)
    newer = make_manifest(tags=("species/cat", "language/klingon"), license="Future-2.0")
    assert m.decode_manifest(newer.payload()) == newer


LIMITS = [
    ("name", lambda n: "n" * n, m.NAME_LENGTH),
    ("description", lambda n: "d" * n, m.DESCRIPTION_LENGTH),
    ("slug", lambda n: "s" * n, 63),
    ("languages", lambda n: tuple(f"{chr(97 + i)}aa" for i in range(n)), m.LANGUAGES_LIMIT),
    ("tags", lambda n: tuple(f"tag/{i}" for i in range(n)), m.TAGS_LIMIT),
    ("references", lambda n: (m.ReferenceInfo("en", 1),) * n, m.REFERENCES_LIMIT),
    (
        "parents",
        lambda n: tuple(m.Parent(release_id(bytes((i,))), "merged-from") for i in range(n)),
        m.PARENTS_LIMIT,
    ),
    ("created", lambda n: n, m.TIME_LIMIT - 1),
]


@pytest.mark.parametrize(("field", "make", "limit"), LIMITS, ids=[row[0] for row in LIMITS])
def test_limits(make_manifest, field, make, limit) -> None:
    good = make_manifest(**{field: make(limit)})
    assert m.decode_manifest(good.payload()) == good
    with pytest.raises(ManifestError):
        make_manifest(**{field: make(limit + 1)})


def test_file_count_limit(make_manifest, make_file) -> None:
    paths = [f"reference/{n}.{ending}" for n in range(40) for ending in ("wav", "flac")]
    files = tuple(make_file(path) for path in paths)
    make_manifest(files=files[: m.FILES_LIMIT])
    for bad in (files[: m.FILES_LIMIT + 1], (), (files[0], files[0])):
        with pytest.raises(ManifestError):
            make_manifest(files=bad)


def test_chunk_count_limit_over_all_files(make_manifest) -> None:
    def file(path: str, count: int) -> m.FileEntry:
        return m.FileEntry(path, count, DIGEST, (Chunk(1, DIGEST),) * count)

    full = make_manifest(files=(file("gpt.safetensors", CHUNKS_LIMIT - 2), file("voice.json", 2)))
    assert m.decode_manifest(full.payload()) == full
    with pytest.raises(ManifestError, match="together"):
        make_manifest(files=(file("gpt.safetensors", CHUNKS_LIMIT - 2), file("voice.json", 3)))
    with pytest.raises(ManifestError):
        file("gpt.safetensors", CHUNKS_LIMIT + 1)


def test_chunks_must_add_up() -> None:
    for size in (9, 11, 10.0, True):
        with pytest.raises(ManifestError):
            m.FileEntry("voice.json", size, DIGEST, (Chunk(5, DIGEST), Chunk(5, DIGEST)))
    with pytest.raises(ManifestError):
        m.FileEntry("voice.json", 0, DIGEST, ())
    with pytest.raises(ManifestError, match="another digest"):
        m.FileEntry("voice.json", 5, DIGEST, (Chunk(5, b"e" * 32),))


@pytest.mark.parametrize(
    "path",
    [
        "../voice.json", "/voice.json", "voice.json/", "./voice.json", "reference/../voice.json",
        "reference/00.wav", "reference/100.wav", "reference/0.mp3", "voice.json\0", "voice.json\n",
        "VOICE.JSON", "voicé.json", "",
        "gpt.ckpt", "reference\\0.wav", "reference/٠.wav", b"voice.json", None,
    ],
)  # fmt: skip
def test_paths_are_closed(path) -> None:
    with pytest.raises(ManifestError):
        m.check_path(path)


def test_every_voice_file_has_an_allowed_path() -> None:
    for path in (*m.VOICE_FILES, "reference/0.wav", "reference/99.safetensors", "preview.flac"):
        assert m.check_path(path) == path


def test_a_voice_without_its_files_is_incomplete(make_manifest) -> None:
    whole = make_manifest()
    whole.require_complete()
    for path in m.VOICE_FILES:
        files = tuple(file for file in whole.files if file.path != path)
        with pytest.raises(ManifestError, match=path):
            make_manifest(files=files).require_complete()
    base = m.Engine("hubert", "1", 16_000)
    make_manifest(files=whole.files[:1], engine=base).require_complete()


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": " padded"},
        {"name": "two\nlines"},
        {"name": "over\u202eride"},
        {"name": "zero\u200bwidth"},
        {"name": "cafe\u0301"},
        {"name": 7},
        {"description": "bell\a"},
        {"slug": "Upper"},
        {"created": 0},
        {"created": True},
        {"created": 1.5},
        {"author": b"short"},
        {"languages": ()},
        {"languages": ("en", "en")},
        {"languages": ("English",)},
        {"tags": ("notag",)},
        {"tags": ("tag/Upper",)},
        {"tags": ("tag/a", "tag/a")},
        {"extra": {"name": "again"}},
        {"extra": {"": 1}},
        {"extra": {"x": 1.5}},
        {"min_reader": 0},
        {"min_reader": m.FORMAT + 1},
    ],
)
def test_malformed_fields(make_manifest, change) -> None:
    with pytest.raises(ManifestError):
        make_manifest(**change)


@pytest.mark.parametrize(
    "arguments",
    [
        ("GPT", "v2", 32_000),
        ("gpt-sovits", "", 32_000),
        ("gpt-sovits", "v2", m.SAMPLE_RATES[0] - 1),
        ("gpt-sovits", "v2", m.SAMPLE_RATES[1] + 1),
        ("gpt-sovits", "v2", 32_000, {"content": "../x"}),
        ("gpt-sovits", "v2", 32_000, {"content": None}),
        ("gpt-sovits", "v2", 32_000, {str(i): "hubert" for i in range(m.BASES_LIMIT + 1)}),
    ],
)
def test_malformed_engines(arguments) -> None:
    m.Engine("gpt-sovits", "v2", m.SAMPLE_RATES[0], {str(i): "hubert" for i in range(m.BASES_LIMIT)})
    m.Engine("gpt-sovits", "v2ProPlus", m.SAMPLE_RATES[1], {"content": release_id(b"x")})
    with pytest.raises(ManifestError):
        m.Engine(*arguments)


def test_references_and_parents() -> None:
    m.ReferenceInfo("zh-Hant", m.REFERENCE_MILLISECONDS)
    for bad in (("yue", m.REFERENCE_MILLISECONDS + 1), ("yue", 0), ("Y", 1), ("yue", 1.5)):
        with pytest.raises(ManifestError):
            m.ReferenceInfo(*bad)
    for bad in (("no id", "forked-from"), (release_id(b"x"), "stolen-from")):
        with pytest.raises(ManifestError):
            m.Parent(*bad)


def test_a_training_part_needs_a_reader_who_knows_it(make_manifest, make_file, key) -> None:
    files = (make_file("training.safetensors"), *make_manifest().files)
    assert m.reader_needed(file.path for file in files) == 2
    assert m.reader_needed(file.path for file in files[1:]) == m.reader_needed(()) == 1
    with pytest.raises(ManifestError, match="format 2"):
        m.sign_manifest(make_manifest(files=files), key)
    release = m.sign_manifest(make_manifest(files=files, min_reader=2), key)
    assert m.verify_release(release.envelope.to_bytes()) == release


def test_a_dictionary_needs_a_reader_who_knows_it(make_manifest, make_file, key) -> None:
    files = (make_file("pronunciation.txt"), *make_manifest().files)
    assert m.reader_needed(file.path for file in files) == 3
    with pytest.raises(ManifestError, match="format 3"):
        m.sign_manifest(make_manifest(files=files, min_reader=2), key)
    release = m.sign_manifest(make_manifest(files=files, min_reader=3), key)
    assert m.verify_release(release.envelope.to_bytes()) == release
    # A release without one asks for nothing new.
    assert m.sign_manifest(make_manifest(), key).manifest.min_reader == 1


def test_the_size_and_lookup_of_files(make_manifest) -> None:
    manifest = make_manifest()
    assert manifest.size == sum(len(path) for path in m.VOICE_FILES)
    assert manifest.file("voice.json").digest == digest_of(b"voice.json")
    assert manifest.file("bert.safetensors") is None
    assert dataclasses.replace(manifest, name="x").payload() != manifest.payload()
