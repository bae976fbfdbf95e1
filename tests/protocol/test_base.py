"""The manifest of a base: what it must say, what it may not, and what it is looked for by."""

import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol import base as b
from p2pvoice.protocol import manifest as m
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.catalog_messages import Query
from p2pvoice.protocol.chunks import CHUNK_LIMIT, Chunk
from p2pvoice.protocol.consent import LICENSES, NO_VOICE, ConsentDeclaration
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.errors import ConsentError, ManifestError, PolicyError, UsageError
from p2pvoice.protocol.ids import digest_of, parse_raw_cid, raw_cid
from p2pvoice.protocol.tags import check_tag

NOBODY = ConsentDeclaration(NO_VOICE, False, references_may_travel=False)


@pytest.fixture(scope="session")
def make_base(make_manifest: Any, make_file: Any) -> Any:
    def make(kind: str = "bert", **changes: Any) -> m.Manifest:
        files = changes.pop("files", tuple(make_file(path, path.encode()) for path in b.base_paths(kind)))
        weights = next((one for one in files if one.path == b.model_path(kind)), files[0])
        values: dict[str, Any] = {
            "slug": b.base_slug(kind, raw_cid(weights.digest)),
            "name": "chinese-bert",
            "license": "MIT",
            "consent": NOBODY,
            "languages": ("und",),
            "tags": (),
            "files": files,
            "engine": m.Engine("base", kind, 16_000),
            "references": (),
            "description": "",
            "format": 3,
            "min_reader": 3,
        }
        return make_manifest(**(values | changes))

    return make


def sized(path: str, size: int) -> m.FileEntry:
    """A file of so many bytes, none of which is there."""
    whole, rest = divmod(size, CHUNK_LIMIT)
    chunk = Chunk(CHUNK_LIMIT, digest_of(b"chunk"))
    tail = (Chunk(rest, digest_of(b"tail")),) if rest else ()
    return m.FileEntry(path, size, digest_of(path.encode()), (chunk,) * whole + tail)


@pytest.mark.parametrize("kind", b.BASE_KINDS)
def test_round_trip(make_base: Any, key: Ed25519PrivateKey, kind: str) -> None:
    manifest = make_base(kind, license_text="© somebody\n".encode())
    release = m.sign_manifest(manifest, key)
    again = m.verify_release(release.envelope.to_bytes())
    assert (again, again.manifest.is_base) == (release, True)
    again.manifest.require_complete()
    body = decode(manifest.payload(), limit=m.MANIFEST_LIMIT)
    assert (body["v"], body["min_reader"], body["consent"]["subject"]) == (3, 3, "no-voice")


def test_a_voice_says_nothing_of_this(make_manifest: Any) -> None:
    body = decode(make_manifest().payload(), limit=m.MANIFEST_LIMIT)
    assert body["v"] == 2
    assert "license_text" not in body
    assert "pins" not in body["engine"]
    # In a voice the key stays what it was to every reader before: unknown, kept and signed over.
    payload = encode(body | {"license_text": 7})
    assert m.decode_manifest(payload).payload() == payload


def test_what_a_base_is_found_by(make_base: Any, make_manifest: Any) -> None:
    manifest = make_base(tags=("language/zh", "base/hubert"))
    ids = b.base_ids(manifest)
    found = ("language/zh", "base/bert", f"base/{ids.content}", b.bundle_tag(ids.bundle))
    assert manifest.finding_tags == found
    assert ids.content == raw_cid(manifest.file("bert.safetensors").digest)
    for tag in found:
        check_tag(tag)
    Query(found)
    # A voice cannot get itself found among bases.
    voice = make_manifest(tags=("language/zh", "base/bert", b.bundle_tag(ids.bundle)))
    assert voice.finding_tags == ("language/zh",)
    assert b.asks_for_bases(["language/zh", "base/bert"])
    assert b.asks_for_bases([b.bundle_tag(ids.bundle)])
    assert not b.asks_for_bases(["language/zh", "tag/base"])
    with pytest.raises(UsageError):
        b.bundle_tag("bert")


def test_no_author_signs_such_a_tag(make_base: Any, key: Ed25519PrivateKey) -> None:
    with pytest.raises(UsageError):
        m.sign_manifest(make_base(tags=("base/hubert",)), key)


def test_everybody_publishes_a_base_under_one_slug(make_base: Any) -> None:
    manifest = make_base()
    with pytest.raises(ManifestError, match="slug"):
        dataclasses.replace(manifest, slug="storyteller")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": m.Engine("base", "gpt", 16_000)}, "no kind"),
        ({"engine": m.Engine("base", "bert", 32_000)}, "sample rate"),
        ({"engine": m.Engine("base", "bert", 16_000, {"content": "hubert"})}, "other base"),
        ({"min_reader": 2}, "readers of format"),
        ({"consent": ConsentDeclaration("synthetic", True)}, "nobody's voice"),
        ({"languages": ("zh",)}, "language"),
        ({"references": (m.ReferenceInfo("yue", 4200),)}, "something of a voice"),
        ({"parents": (m.Parent(m.release_id(b"p"), "forked-from"),)}, "something of a voice"),
        ({"measured": (m.Measured("pitch", "200", "Hz", "somehow", 90),)}, "something of a voice"),
        ({"license_text": b""}, "bytes"),
        ({"license_text": b"\xff"}, "UTF-8"),
    ],
)
def test_what_no_base_says(make_base: Any, changes: dict[str, Any], said: str) -> None:
    make_base()
    with pytest.raises(ManifestError, match=said):
        make_base(**changes)


@pytest.mark.parametrize("kind", b.BASE_KINDS)
def test_a_base_has_its_files_and_no_other(make_base: Any, make_file: Any, kind: str) -> None:
    right = [make_file(path, path.encode()) for path in b.base_paths(kind)]
    more = [make_file(path, path.encode()) for path in ("gpt.safetensors", "reference/0.wav", "card.md")]
    for files in (right[1:] + more[:1], *([*right, one] for one in more), right[:-1] + more[:1]):
        with pytest.raises(ManifestError, match="consists of"):
            make_base(kind, files=tuple(files))


def test_limits(make_base: Any, make_file: Any) -> None:
    weights, vocabulary = make_file("bert.safetensors", b"w"), make_file("vocab.txt", b"v")
    make_base(files=(sized("bert.safetensors", b.MODEL_LIMIT), vocabulary))
    make_base(files=(weights, sized("vocab.txt", b.VOCABULARY_LIMIT)))
    for files in (
        (sized("bert.safetensors", b.MODEL_LIMIT + 1), vocabulary),
        (weights, sized("vocab.txt", b.VOCABULARY_LIMIT + 1)),
    ):
        with pytest.raises(ManifestError, match="at most"):
            make_base(files=files)
    make_base(license_text=b"x" * b.LICENSE_TEXT_LIMIT)
    with pytest.raises(ManifestError, match="licence"):
        make_base(license_text=b"x" * (b.LICENSE_TEXT_LIMIT + 1))


def test_nobody_permits_nothing(make_manifest: Any) -> None:
    """What is nobody's cannot be claimed to be permitted, so no voice is published as nobody's."""
    for said in (
        {"ai_voice_permission": True},
        {"references_may_travel": True},
        {"subject_name": "Somebody"},
        {"expires": 1},
        {"scope": ("singing",)},
    ):
        with pytest.raises(ConsentError):
            dataclasses.replace(NOBODY, **said)
    with pytest.raises(ConsentError):
        make_manifest(consent=NOBODY)


def test_an_older_reader_is_told_to_update(make_base: Any, key: Ed25519PrivateKey) -> None:
    """Readers of format 2 look at min_reader before anything that they do not know."""
    payload = make_base().payload()
    assert decode(payload, limit=m.MANIFEST_LIMIT)["min_reader"] > m.VOICE_FORMAT
    lower = encode(decode(payload, limit=m.MANIFEST_LIMIT) | {"min_reader": m.VOICE_FORMAT})
    with pytest.raises(ManifestError, match="readers of format"):
        m.verify_release(seal("manifest", lower, key).to_bytes())


def test_a_voice_pins_its_bases(make_manifest: Any, make_base: Any) -> None:
    ids = b.base_ids(make_base())
    pin = m.Pin(ids.bundle, ids.content)
    engine = m.Engine("gpt-sovits", "v2", 32_000, {"content": "hubert", "bert": "bert"}, pins={"bert": pin})
    manifest = make_manifest(engine=engine)
    assert m.decode_manifest(manifest.payload()) == manifest
    body = decode(manifest.payload(), limit=m.MANIFEST_LIMIT)
    assert (body["v"], body["min_reader"]) == (2, 1)
    assert body["engine"]["pins"] == {"bert": {"bundle": ids.bundle, "content": ids.content}}
    body["engine"]["pins"]["bert"]["later"] = [1]
    assert m.decode_manifest(encode(body)).payload() == encode(body)
    for pins in ({}, [], {"bert": {}}, {"bert": {"bundle": ids.content, "content": ids.content}},
                 {"bert": {"bundle": ids.bundle, "content": ids.bundle}},
                 {"speaker": {"bundle": ids.bundle, "content": ids.content}}):  # fmt: skip
        body["engine"]["pins"] = pins
        with pytest.raises(ManifestError):
            m.decode_manifest(encode(body))


def test_content_ids_have_one_spelling() -> None:
    identifier = raw_cid(digest_of(b"x"))
    assert parse_raw_cid(identifier) == digest_of(b"x")
    last = "abcdefghijklmnopqrstuvwxyz234567"
    others = [identifier[:-1] + letter for letter in last if letter != identifier[-1]]
    refused = 0
    for other in others:
        try:
            assert raw_cid(parse_raw_cid(other)) == other
        except UsageError:
            refused += 1
    assert refused > 0
    for wrong in ("", identifier.upper(), identifier + "a", identifier[:-1], "bagaqiera" + identifier[9:]):
        with pytest.raises(UsageError):
            parse_raw_cid(wrong)


@pytest.mark.parametrize("license", LICENSES)
def test_which_licences_let_a_base_be_shared(license: str) -> None:
    if "-ND-" in license:
        with pytest.raises(PolicyError, match="no changed copies"):
            b.require_shareable(license)
    else:
        assert b.require_shareable(license) == license


def test_licences_that_do_not() -> None:
    for license, known in (("", ""), ("LicenseRef-own", ""), ("Free-1.0", ""), ("MIT", "Apache-2.0")):
        with pytest.raises(PolicyError):
            b.require_shareable(license, known=known)
    assert b.require_shareable("MIT", known="MIT") == "MIT"
