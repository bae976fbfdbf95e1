"""The vectors in specs/vectors say what the code does, so that another implementation can check itself."""

import json
import struct
from pathlib import Path
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol import (
    acts,
    base,
    canonical,
    chunks,
    codec,
    collection,
    conversation,
    envelope,
    errors,
    framing,
    head,
    ids,
    keyfile,
    label,
    manifest,
    messages,
    operations,
    reconcile,
    revocation,
    shelf,
    shelf_messages,
    successor,
    tags,
    tensors,
)

from .kinds import KINDS as STREAMS

FOLDER = Path(__file__).parents[2] / "specs" / "vectors"
KINDS = {kind.TYPE: kind for kind in STREAMS}
SAID = {kind.TYPE: kind for kind in get_args(conversation.Said)}
ON_SHELVES = {
    kind.TYPE: kind for kind in (*get_args(shelf_messages.ShelfRequest), *get_args(shelf_messages.ShelfReply))
}


def load(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def value_of(shown: Any) -> Any:
    """The value a vector shows: JSON, with {"$hex": …} for bytes."""
    if isinstance(shown, dict):
        if set(shown) == {"$hex"}:
            return bytes.fromhex(shown["$hex"])
        return {key: value_of(item) for key, item in shown.items()}
    return [value_of(item) for item in shown] if isinstance(shown, list) else shown


def private_key(vector: dict[str, Any]) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["private_key"]))


def test_every_vector_file_is_read_by_some_test() -> None:
    sources = [path.read_text("utf-8") for path in FOLDER.parents[1].joinpath("tests").rglob("test_*.py")]
    for path in FOLDER.glob("*.json"):
        mentions = (f'load("{path.stem}")', path.name)
        assert any(mention in source for source in sources for mention in mentions), path.name


def test_ids() -> None:
    vector = load("ids")
    for case in vector["release"]:
        assert ids.release_id(bytes.fromhex(case["payload"])) == case["id"]
        assert ids.cid_of(ids.parse_release_id(case["id"])) == case["id"]
    for case in vector["author"]:
        assert ids.author_id(bytes.fromhex(case["public_key"])) == case["id"]
        assert ids.parse_author_id(case["id"]).hex() == case["public_key"]
    for case in vector["bundle"]:
        files = [(path, size, bytes.fromhex(digest)) for path, size, digest in case["files"]]
        assert ids.bundle_id(files) == case["id"]
    for case in vector["slugify"]:
        assert ids.slugify(case["name"]) == case["slug"]
    parsers = {
        "not_release": ids.parse_release_id,
        "not_author": ids.parse_author_id,
        "not_slug": ids.check_slug,
    }
    for name, parse in parsers.items():
        for text in vector[name]:
            with pytest.raises(errors.UsageError):
                parse(text)


def test_canonical() -> None:
    vector = load("canonical")
    for case in vector["values"]:
        raw = bytes.fromhex(case["bytes"])
        assert canonical.encode(value_of(case["value"])) == raw
        assert canonical.decode(raw, limit=1000) == value_of(case["value"])
    for case in vector["refused"]:
        with pytest.raises(errors.ManifestError):
            canonical.decode(bytes.fromhex(case["bytes"]), limit=1000)


def test_envelope() -> None:
    vector = load("envelope")
    payload = bytes.fromhex(vector["payload"])
    sealed = envelope.seal(vector["kind"], payload, private_key(vector))
    assert envelope.signed_bytes(vector["kind"], payload).hex() == vector["signed"]
    assert sealed.signature.hex() == vector["signature"]
    assert sealed.to_bytes().hex() == vector["envelope"]
    assert ids.author_id(sealed.author) == vector["author"]
    for case in vector["refused"]:
        with pytest.raises(errors.by_code(case["error"])):
            envelope.open_envelope(bytes.fromhex(case["envelope"]), kind=vector["kind"], limit=100)


def test_manifest() -> None:
    vector = load("manifest")
    payload = bytes.fromhex(vector["payload"])
    assert canonical.encode(value_of(vector["value"])) == payload
    read = manifest.decode_manifest(payload)
    assert (ids.release_id(payload), read.bundle_id) == (vector["id"], vector["bundle"])
    release = manifest.verify_release(bytes.fromhex(vector["release"]))
    assert (release.id, release.manifest) == (vector["id"], read)
    assert manifest.sign_manifest(read, private_key(vector)).envelope.to_bytes().hex() == vector["release"]
    made = vector["made"]
    other = manifest.verify_release(bytes.fromhex(made["release"]))
    assert (other.id, other.manifest.payload().hex()) == (made["id"], made["payload"])
    assert other.manifest.min_reader == made["min_reader"]
    assert other.manifest.training is not None
    assert other.manifest.training.to_map() == made["training"]
    assert [one.to_map() for one in other.manifest.measured] == made["measured"]
    said = vector["base"]
    shared = manifest.verify_release(bytes.fromhex(said["release"]))
    assert (shared.id, shared.manifest.payload().hex()) == (said["id"], said["payload"])
    assert shared.manifest.is_base
    found = base.base_ids(shared.manifest)
    assert (found.bundle, found.content) == (said["bundle"], said["content"])
    assert list(shared.manifest.finding_tags) == said["tags"]
    pinned = manifest.decode_manifest(bytes.fromhex(vector["pinned"]["payload"]))
    assert ids.release_id(pinned.payload()) == vector["pinned"]["id"]
    assert {role: pin.to_map() for role, pin in pinned.engine.pins.items()} == vector["pinned"]["pins"]
    newer = bytes.fromhex(vector["newer"]["payload"])
    assert manifest.decode_manifest(newer).payload() == newer
    assert ids.release_id(newer) == vector["newer"]["id"]
    for case in vector["refused"]:
        with pytest.raises(errors.by_code(case["error"])) as caught:
            manifest.decode_manifest(bytes.fromhex(case["payload"]))
        assert caught.value.code == case["error"]


def test_head() -> None:
    vector = load("head")
    key = private_key(vector)
    public = key.public_key().public_bytes_raw()
    made = head.Head(public, vector["slug"], vector["sequence"], vector["release"], vector["expires"])
    assert made.payload().hex() == vector["payload"]
    assert head.sign_head(made, key).hex() == vector["head"]
    assert head.verify_head(bytes.fromhex(vector["head"]), vector["now"]) == made
    with pytest.raises(errors.StaleError):
        head.verify_head(bytes.fromhex(vector["head"]), vector["expired_at"])
    assert head.head_key(public, vector["slug"]) == vector["key"].encode()
    assert head.head_key(vector["author"], vector["slug"]) == vector["key"].encode()
    for case in vector["long_slugs"]:
        assert head.head_key(public, case["slug"]) == case["key"].encode()
    longest = head.verify_head(bytes.fromhex(case["head"]), vector["now"])
    assert (longest.author, longest.slug, len(longest.slug)) == (public, case["slug"], ids.SLUG_LIMIT)
    assert head.release_key(vector["release"]).hex() == vector["release_key"]
    for tag, expected in vector["tag_keys"].items():
        assert head.tag_key(tag).hex() == expected


def test_revocation() -> None:
    vector = load("revocation")
    release = manifest.verify_release(bytes.fromhex(vector["release"]))
    for case in vector["revocations"]:
        key = private_key(case)
        fields = dict(case["fields"])
        signer, author = key.public_key().public_bytes_raw(), ids.parse_author_id(fields.pop("author"))
        made = revocation.Revocation(signer, author, **fields)
        assert made.payload().hex() == case["payload"]
        assert revocation.sign_revocation(made, key).hex() == case["revocation"]
        assert revocation.verify_revocation(bytes.fromhex(case["revocation"])) == made
        assert revocation.key_of(made) == case["key"].encode()
        assert revocation.revokes(made, release) is case["revokes"], case["what"]
    assert [key.decode() for key in revocation.keys_to_ask(release)] == vector["keys_to_ask"]
    subject = revocation.subject_key(release.manifest)
    assert subject is not None
    assert ids.author_id(subject) == vector["subject"]
    for case in vector["refused"]:
        with pytest.raises(errors.by_code(case["error"])):
            revocation.verify_revocation(bytes.fromhex(case["revocation"]))


def test_successor() -> None:
    vector = load("successor")
    old, new = (
        Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector[name])) for name in ("old_key", "new_key")
    )
    made = successor.Successor(
        old.public_key().public_bytes_raw(),
        new.public_key().public_bytes_raw(),
        vector["created"],
        vector["reason"],
    )
    assert (made.old_author, made.new_author) == (vector["old"], vector["new"])
    assert made.agreement().hex() == vector["agreed_bytes"]
    record = bytes.fromhex(vector["record"])
    assert successor.sign_successor(made, old, new) == record
    assert successor.verify_successor(record) == made
    assert successor.successor_key(vector["old"]) == vector["key"].encode()
    for case in vector["refused"]:
        with pytest.raises(errors.by_code(case["error"])) as caught:
            successor.verify_successor(bytes.fromhex(case["record"]))
        assert caught.value.code == case["error"], case["about"]


def test_collection() -> None:
    vector, key = load("collection"), private_key(load("collection"))
    made = collection.Collection(
        key.public_key().public_bytes_raw(),
        vector["slug"],
        vector["sequence"],
        vector["name"],
        vector["created"],
        tuple(collection.Item(item["release"], item["note"]) for item in vector["items"]),
        vector["card"],
        vector["license"],
    )
    assert made.payload.hex() == vector["payload"]
    signed = collection.sign_collection(made, key)
    assert (signed.data.hex(), signed.id, signed.author) == (vector["record"], vector["id"], vector["author"])
    assert collection.collection_key(vector["author"], vector["slug"]).hex() == vector["key"]
    read, fork, empty, later = (
        collection.verify_collection(bytes.fromhex(vector[name]))
        for name in ("record", "fork", "empty", "later")
    )
    assert read == signed
    assert collection.is_fork(read, fork)
    assert collection.advance(read, empty) is empty
    assert empty.collection.items == ()
    assert later.collection == made
    for case in vector["refused"]:
        with pytest.raises(errors.by_code(case["error"])) as caught:
            collection.verify_collection(bytes.fromhex(case["record"]))
        assert caught.value.code == case["error"], case["about"]


def test_keyfile() -> None:
    vector = load("keyfile")
    sealed = keyfile.parse_key(bytes.fromhex(vector["sealed"]))
    assert isinstance(sealed, keyfile.SealedKey)
    assert sealed.public.hex() == vector["public"]
    assert keyfile.open_key(sealed, vector["passphrase"]).hex() == vector["seed"]
    with pytest.raises(errors.PassphraseError):
        keyfile.open_key(sealed, vector["passphrase"] + " ")
    for raw in vector["damaged"]:
        with pytest.raises(errors.CorruptError):
            keyfile.parse_key(bytes.fromhex(raw))


def test_tags() -> None:
    vector = load("tags")
    for typed, key in vector["keys"].items():
        assert tags.canonical_tag(typed) == key
    for typed in vector["refused"]:
        with pytest.raises(errors.UsageError):
            tags.canonical_tag(typed)
    # Values may be added; none may ever go.
    assert set(vector["vocabulary"]) <= set(tags.known_tags())


def test_chunks() -> None:
    vector = load("chunks")
    for case in vector["tensor_files"]:
        found, position = {}, case["header_size"]
        for number, (dtype, shape) in enumerate(case["tensors"]):
            size = tensors.ITEM_SIZE[dtype]
            for length in shape:
                size *= length
            found[str(number)] = tensors.TensorInfo(dtype, tuple(shape), position, position + size)
            position += size
        assert position == case["file_size"]
        header = tensors.SafetensorsHeader(found, {}, case["header_size"], position)
        assert chunks.plan_chunks(position, header) == case["chunks"]
    for case in vector["plain_files"]:
        assert chunks.plan_chunks(case["file_size"]) == case["chunks"]
    for case in vector["bitmaps"]:
        bitmap = chunks.Bitmap.from_bytes(bytes.fromhex(case["bytes"]), case["count"])
        assert [index for index in range(case["count"]) if index in bitmap] == case["present"]
    for case in vector["encoded"]:
        raw = bytes.fromhex(case["raw"])
        data, digest = bytes.fromhex(case["data"]), bytes.fromhex(case["digest"])
        assert codec.decode_chunk(case["codec"], data, len(raw), digest) == raw
    for case in vector["refused"]:
        with pytest.raises(errors.ChunkMismatchError):
            codec.decode_chunk(
                case["codec"], bytes.fromhex(case["data"]), case["size"], bytes.fromhex(case["digest"])
            )


@pytest.mark.parametrize(
    ("vector", "kinds"),
    [(load("messages"), KINDS), (load("conversation"), SAID), (load("shelf"), ON_SHELVES)],
)
def test_messages(vector: dict[str, Any], kinds: dict[str, Any]) -> None:
    assert {case["type"] for case in vector["messages"]} == set(kinds)
    for case in vector["messages"]:
        raw = bytes.fromhex(case["bytes"])
        message = messages.decode_message(raw, kinds[case["type"]])
        assert messages.encode_message(message) == raw
        assert canonical.encode(value_of(case["fields"]) | {"t": case["type"]}) == raw
        assert framing.FrameReader().feed(bytes.fromhex(case["frame"])) == [raw]
    for case in vector["refused"]:
        with pytest.raises(errors.ManifestError):
            messages.decode_message(bytes.fromhex(case["bytes"]), kinds[case["type"]])


def test_shelf() -> None:
    vector = load("shelf")
    for case in vector["keys"]:
        assert shelf.voice_key(ids.parse_author_id(case["author"]), case["slug"]).hex() == case["key"]
    for case in vector["points"]:
        assert shelf.point_of(case["peer"]).to_bytes(32).hex() == case["point"]
    for case in vector["epochs"]:
        assert shelf.epoch_of(bytes.fromhex(case["key"]), case["now"]) == case["epoch"]
    values = []
    for case in vector["values"]:
        values.append(shelf.value_of(case["release"], case["sequence"], case["epoch"]))
        assert values[-1].hex() == case["value"]
        assert shelf.epoch_in(values[-1]) == case["epoch"]
    assert values == sorted(values)
    for case in vector["arcs"]:
        arc = shelf.Arc(int(case["center"], 16), int(case["reach"], 16))
        key = bytes.fromhex(case["key"])
        assert arc.distance(key) == int(case["distance"], 16)
        assert (key in arc) == case["inside"]


def test_operation() -> None:
    vector = load("operation")
    key, before = private_key(vector), None
    author, slug = vector["voice"].split("/")
    for place, case in enumerate(vector["chain"], start=1):
        payload = bytes.fromhex(case["payload"])
        read = operations.verify_operation(bytes.fromhex(case["signed"]))
        assert canonical.encode(value_of(case["value"])) == payload == read.operation.payload
        assert operations.operation_id(read.id) == case["id"]
        assert operations.parse_operation_id(case["id"]) == ids.digest_of(payload)
        assert operations.sign_operation(read.operation, key) == read
        assert (read.operation.seq, read.operation.previous) == (place, before)
        assert read.operation.voice == operations.VoiceName.of(author, slug)
        assert acts.name_of(read.operation.act) == case["act"]
        before = read.id
    for case in vector["kept"]:
        read = operations.verify_operation(bytes.fromhex(case["signed"]))
        assert (operations.operation_id(read.id), acts.name_of(read.operation.act)) == (
            case["id"],
            case["name"],
        )
        assert isinstance(read.operation.act, acts.Unknown) == (case["read_as"] == "unknown"), case["about"]
    for case in vector["refused"]:
        with pytest.raises(errors.by_code(case["error"])) as caught:
            operations.verify_operation(bytes.fromhex(case["signed"]))
        assert caught.value.code == case["error"], case["about"]
    for text in vector["not_ids"]:
        with pytest.raises(errors.UsageError):
            operations.parse_operation_id(text)


def test_reconcile() -> None:
    for case in load("reconcile")["cases"]:
        ours, theirs = (
            reconcile.Pairs(
                {
                    ids.digest_of(f"key {number}".encode()): ids.digest_of(f"value {number}".encode())
                    for number in range(case[side]["count"])
                    if number not in case[side]["without"]
                }
            )
            for side in ("ours", "theirs")
        )
        assert [ours.fingerprint().hex(), theirs.fingerprint().hex()] == case["fingerprints"]
        asking = reconcile.Reconciliation(ours)
        for one in case["rounds"]:
            said = conversation.Reconciled(asking.question)
            assert messages.encode_message(said).hex() == one["question"]
            said = conversation.Reconciled(reconcile.answer(theirs, asking.question))
            assert messages.encode_message(said).hex() == one["answer"]
            asking.take(said.ranges)
        assert (asking.question, asking.complete) == ((), True)
        assert [one.key.hex() for one in asking.differences] == case["differences"]


def test_framing() -> None:
    vector = load("framing")
    for case in vector["frames"]:
        payload, frame = bytes.fromhex(case["payload"]), bytes.fromhex(case["frame"])
        assert framing.encode_frame(payload, vector["limit"]) == frame
        assert framing.FrameReader(vector["limit"]).feed(frame) == [payload]
    for beginning in vector["refused"]:
        with pytest.raises(errors.ManifestError):
            framing.FrameReader(vector["limit"]).feed(bytes.fromhex(beginning))


def test_label() -> None:
    vector = load("label")
    made = label.Label(**vector["label"])
    for format, write in (("wav", label.label_wav), ("flac", label.label_flac)):
        labelled = bytes.fromhex(vector[f"labelled_{format}"])
        assert write(bytes.fromhex(vector[format]), made) == labelled
        assert label.read_label(labelled) == made
        assert vector["text"].encode() in labelled
        assert vector["own_text"].encode() in labelled
    wav = bytes.fromhex(vector["labelled_wav"])
    at = wav.index(b"AIGC")
    assert struct.unpack_from("<I", wav, at + 4)[0] == len(vector["text"])


def test_safetensors() -> None:
    vector = load("safetensors")
    good = vector["good"]
    raw = bytes.fromhex(good["file"])
    header = tensors.read_header(raw, len(raw))
    assert (header.header_size, dict(header.metadata)) == (good["header_size"], good["metadata"])
    read = {name: [t.dtype, list(t.shape), t.start, t.end] for name, t in header.tensors.items()}
    assert read == good["tensors"]
    for case in vector["refused"]:
        raw = bytes.fromhex(case["file"])
        with pytest.raises(errors.BadCheckpointError):
            tensors.read_header(raw, len(raw))
