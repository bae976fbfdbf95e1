"""Bases between real daemons: shared under a licence, found by what they are, believed in for a reason."""

import dataclasses
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import trio
from safetensors.torch import load_file, save_file

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.identity import load_or_create
from p2pvoice.node.offer import Offer
from p2pvoice.node.schema import open_database
from p2pvoice.node.store import Store
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.errors import ConflictError, P2PVoiceError, RefusedError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Engine, sign_manifest, verify_release
from p2pvoice.sovits import bases

from ..sovits import bench
from .nodes import Daemon, bring, eventually, install_encoder, publish, refusal

Make = Callable[[], Daemon]


def add(daemon: Daemon, folder: Path, name: str, *, license: str = "MIT", text: str = "") -> Any:
    """Install a base as `p2pvoice base add` does; its result event."""
    files = {path.name: daemon.client.upload(path) for path in folder.iterdir()}
    upload = daemon.client.upload_text(text) if text else ""
    *_, made = daemon.client.add_base(name, files, license=license, license_upload=upload)
    return made


def share(daemon: Daemon, ref: str, *tags: str) -> Any:
    """Publish a base; its result event."""
    *_, made = daemon.client.publish_base(ref, tags=tags)
    return made


def fetch(daemon: Daemon, ref: str, **options: Any) -> Any:
    """Fetch a base; its result event."""
    *_, made = daemon.client.fetch_base(ref, **options)
    return made


def test_a_base_goes_from_node_to_node(daemons: Make, tmp_path: Path) -> None:
    a = daemons().start()
    b, c = daemons().start(a), daemons().start(a)
    bert = bench.published_bert(tmp_path / "bert", 32)
    made = add(a, bert, "chinese-bert", text="Do what you like.\n")
    shared = share(a, "bert", "mandarin")
    assert (shared["license"], shared["id"], shared["kind"]) == ("MIT", made["id"], "bert")
    assert shared["announced"]

    got = fetch(b, shared["bundle"])
    assert (got["release"], got["bundle"], got["id"]) == (shared["release"], shared["bundle"], made["id"])
    assert (got["license"], got["seeding"], got["bytes_fetched"]) == ("MIT", True, shared["bytes"])
    (row,) = b.client.bases()
    assert (row["kind"], row["id"], row["release"]) == ("bert", made["id"], shared["release"])
    place = b.home / "bases" / row["name"]
    for name in ("model.safetensors", "vocab.txt"):
        assert (place / name).read_bytes() == (a.home / "bases" / "chinese-bert" / name).read_bytes()
    assert (place / "LICENSE").read_text() == "Do what you like.\n"
    # What is shared lies in the store, once.
    for daemon, name in ((a, "chinese-bert"), (b, row["name"])):
        link = daemon.home / "bases" / name / "model.safetensors"
        assert link.is_symlink()
        assert Path(os.readlink(link)).parent == daemon.home / "store" / "files"

    # It is no voice, for nobody.
    for daemon in (a, b):
        assert daemon.client.voices() == []
        assert [one for one in daemon.client.find(timeout=2) if one["event"] == "voice"] == []
        assert daemon.client.status()["voices"] == 0
    a.end()
    other = fetch(c, shared["bundle"])
    assert (other["release"], list(other["peers"])) == (shared["release"], [b.peer_id])


def offers(daemon: Daemon, kind: str = "") -> dict[str, Any]:
    """What peers offer, by bundle id."""
    events = daemon.client.offered_bases(kind, timeout=5)
    return {one["bundle"]: one for one in events if one["event"] == "offer"}


def refused(daemon: Daemon, ref: str) -> tuple[list[Any], P2PVoiceError]:
    """What a fetch told before it was refused, and the refusal."""
    events: list[Any] = []
    with pytest.raises(P2PVoiceError) as caught:
        events.extend(daemon.client.fetch_base(ref))
    return events, caught.value


def test_by_kind_a_base_comes_only_for_a_reason(daemons: Make, tmp_path: Path) -> None:
    a = daemons().start()
    b = daemons().start(a)
    add(a, bench.published_bert(tmp_path / "bert", 32), "chinese-bert")
    bert = share(a, "bert")
    add(a, bench.published_hubert(tmp_path / "hubert"), "chinese-hubert", license="Apache-2.0")
    hubert = share(a, "hubert")

    found = offers(b)
    assert {one["kind"] for one in found.values()} == {"bert", "hubert"}
    assert found[bert["bundle"]]["trusted"] == ""
    assert set(offers(b, "hubert")) == {hubert["bundle"]}
    assert refusal(lambda: offers(b, "gpt")).code == "usage"
    assert refused(b, "speaker")[1].code == "not_found"
    assert refused(b, "gpt")[1].code == "usage"
    # A stranger's: nobody vouches for it. The content id of a BERT does not say which vocabulary it has.
    for ref in ("bert", bert["id"], "hubert"):
        error = refused(b, ref)[1]
        assert error.code == "policy"
        named = hubert if ref == "hubert" else bert
        assert f"p2pvoice base fetch {named['bundle']}" in error.hint
    assert b.client.bases() == []
    # The content id of a HuBERT says all, and so does the release id of a BERT.
    assert fetch(b, hubert["id"])["bundle"] == hubert["bundle"]
    b.client.follow(a.client.status()["author"])
    assert offers(b, "bert")[bert["bundle"]]["trusted"] == "published by somebody you follow"
    assert fetch(b, "bert", seed=False)["release"] == bert["release"]
    assert {row["kind"]: row["shared"] for row in b.client.bases()} == {"bert": False, "hubert": True}
    # Two that may be believed in are one too many.
    add(a, bench.published_hubert(tmp_path / "other", 32), "other-hubert", license="MIT")
    share(a, "other-hubert")
    error = refused(b, "hubert")[1]
    assert error.code == "policy"
    assert "one of them alone" in error.message


def test_a_voice_brings_the_bert_it_was_made_with(
    daemons: Make, tmp_path: Path, encoder: Path, clip: Path
) -> None:
    a = daemons().start()
    b, c = daemons().start(a), daemons().start(a)
    install_encoder(a, encoder)
    made = add(a, bench.published_bert(tmp_path / "bert"), "chinese-bert")
    shared = share(a, "bert")
    bring(a, clip)
    release = publish(a)["release"]
    pins = a.client.show(release)["engine"]["pins"]
    assert pins["bert"] == {"bundle": shared["bundle"], "content": made["id"]}
    assert set(pins) == {"bert", "content"}
    assert [(one["role"], one["installed"]) for one in a.client.show(release)["needs"]] == [
        ("bert", True),
        ("content", True),
    ]

    *_, got = b.client.fetch(release)
    (need,) = got["needs"]
    assert (need["role"], need["fetch"], need["for"]) == ("bert", shared["bundle"], "speaking Mandarin")
    said = {"voice": release, "text": "你好，世界！", "lang": "zh", "seed": 1}
    without = b.client.speak(said)
    assert without.missing_base == shared["bundle"]
    # The voice that is installed here vouches for its BERT, so the kind is enough.
    assert fetch(b, "bert")["bundle"] == shared["bundle"]
    spoken = b.client.speak(said)
    assert spoken.missing_base == ""
    assert audio(spoken.data) == audio(a.client.speak(said).data) != audio(without.data)
    assert next(one for one in b.client.show(release)["needs"] if one["role"] == "bert")["installed"]

    *_, both = c.client.fetch(release, bases=True)
    assert [one["bundle"] for one in both["bases"]] == [shared["bundle"]]
    assert both["needs"] == []
    assert [row["kind"] for row in c.client.bases()] == ["bert"]
    # Of two the pinned one is used, whatever their names are.
    add(c, bench.published_bert(tmp_path / "mine"), "a-bert-of-my-own")
    tensors = load_file(tmp_path / "mine" / "model.safetensors")
    weights = tensors["bert.embeddings.word_embeddings.weight"]
    save_file(
        tensors | {"bert.embeddings.word_embeddings.weight": weights.flip(0).contiguous()},
        tmp_path / "mine" / "model.safetensors",
    )
    add(c, tmp_path / "mine", "a-bert-of-my-own")
    assert len({row["id"] for row in c.client.bases()}) == 2
    assert audio(c.client.speak(said).data) == audio(spoken.data)
    c.client.remove_base(shared["bundle"])
    other = next(one for one in c.client.show(release)["needs"] if one["role"] == "bert")
    assert (other["installed"], other["instead"]) == (False, "a-bert-of-my-own")
    assert audio(c.client.speak(said).data) != audio(spoken.data)


def test_what_is_not_shared(daemons: Make, tmp_path: Path) -> None:
    daemon = daemons().start()
    client = daemon.client
    source = bench.published_hubert(tmp_path / "hubert")
    for license, told in (
        ("", "nobody said"),
        ("LicenseRef-mine", "only its text"),
        ("CC-BY-ND-4.0", "no changed copies"),
    ):
        add(daemon, source, "encoder", license=license)
        error = refusal(lambda: share(daemon, "encoder"))
        assert (error.code, error.exit_code) == ("policy", 5)
        assert told in error.message
        assert "p2pvoice base add FOLDER --name encoder --license" in error.hint
    content = {"config.json": "{}", "tokenizer.json": "{}", "vocabulary.txt": "a", "model.bin": "numbers"}
    files = {name: client.upload_text(text) for name, text in content.items()}
    *_, ear = client.add_base("ear", files, kind="asr", license="MIT")
    for ref in ("ear", "asr", ear["id"]):
        assert refusal(lambda ref=ref: share(daemon, ref)).code == "policy"
    assert refusal(lambda: share(daemon, "starter")).code == "not_found"
    made = add(daemon, source, "encoder", license="MIT")
    assert refusal(lambda: share(daemon, "encoder", "language/martian")).code == "usage"
    # What was changed behind the daemon's back is not what the record says it is.
    path = daemon.home / "bases" / "encoder" / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-2] + bytes(2 * [data[-1] ^ 1]))
    assert isinstance(refusal(lambda: share(daemon, "encoder")), RefusedError)
    path.write_bytes(data)
    assert client.status()["serving"] == 0
    first = share(daemon, "encoder")
    assert (first["id"], first["announced"]) == (made["id"], False)
    # Once more is the same release; and it is one of this node's own.
    assert share(daemon, "hubert")["release"] == first["release"]
    assert client.status()["serving"] == 1
    # Added again it is not shared until it is published again, under what was said now.
    add(daemon, source, "encoder", license="Apache-2.0")
    assert client.status()["serving"] == client.status()["dht"]["keys"] == 0
    (row,) = [one for one in client.bases() if one["kind"] == "hubert"]
    assert (row["shared"], row["release"]) == (False, None)
    assert not (daemon.home / "store" / "files" / hashlib.sha256(data).hexdigest()).exists()
    second = share(daemon, "encoder")
    assert second["license"] == "Apache-2.0"
    assert second["release"] != first["release"]
    assert second["bundle"] == first["bundle"]


def test_a_base_is_kept_repaired_and_removed(daemons: Make, tmp_path: Path) -> None:
    a = daemons().start()
    b = daemons().start(a)
    add(a, bench.published_bert(tmp_path / "bert", 256), "chinese-bert")
    shared = share(a, "bert")
    got = fetch(b, shared["bundle"])
    place = b.home / "bases" / got["name"]
    model = place / "model.safetensors"
    whole = model.read_bytes()
    *_, done = b.client.gc()
    assert done["removed"] == 0

    stored = model.resolve()
    stored.chmod(0o600)
    stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    *_, checked = b.client.verify("")
    assert (checked["damaged"], checked["repaired"]) == (1, 1)
    assert model.read_bytes() == whole
    # A folder that a crash took, or filled with something else, is made anew from the catalog.
    b.end()
    shutil.rmtree(place)
    b.start(a)
    assert model.read_bytes() == whole
    assert b.client.bases()[0]["bundle"] == shared["bundle"]
    assert not list((b.home / "voices").iterdir())

    removed = b.client.remove_base("bert")
    assert removed["freed"] >= len(whole)
    assert b.client.bases() == []
    assert list((b.home / "store" / "files").iterdir()) == []
    assert list((b.home / "bases").iterdir()) == []
    assert b.client.status()["dht"]["keys"] == 0
    assert refusal(lambda: b.client.remove_base("bert")).code == "not_found"
    # A base of the user's own that was never shared goes, too.
    add(b, bench.published_hubert(tmp_path / "hubert"), "encoder")
    assert b.client.remove_base("encoder")["freed"] > 0
    assert b.client.bases() == []


def test_a_base_is_called_back_like_a_voice(daemons: Make, tmp_path: Path) -> None:
    a = daemons().start()
    b = daemons().start(a)
    add(a, bench.published_hubert(tmp_path / "hubert"), "encoder")
    shared = share(a, "hubert")
    fetch(b, shared["bundle"])
    *_, revoked = a.client.revoke(shared["release"], reason="the licence was another one")
    assert revoked["revoked"]
    # Who published it keeps it, as it was before; with others it goes.
    eventually(lambda: b.client.bases() == [])
    (row,) = a.client.bases()
    assert (row["release"], row["shared"], row["bundle"]) == (None, False, shared["bundle"])
    *_, swept = a.client.gc()
    assert swept["kept"]["files"] == 0
    assert bases.Bases([a.home / "bases"]).hubert(row["id"]).settings.width == 48
    error = refused(b, shared["release"])[1]
    assert error.code == "revoked"
    a.end()
    a.start()
    assert a.client.bases()[0]["bundle"] == shared["bundle"]


def test_commands_for_voices_refuse_a_base(daemons: Make, tmp_path: Path) -> None:
    daemon = daemons().start()
    client = daemon.client
    add(daemon, bench.published_hubert(tmp_path / "hubert"), "encoder")
    made = share(daemon, "hubert")
    release = made["release"]
    assert set(offers(daemon, "hubert")) == {made["bundle"]}
    for call in (
        lambda: client.show(release),
        lambda: client.show(release[:30]),
        lambda: list(client.fetch(release)),
        lambda: client.preview(release),
        lambda: client.speak({"voice": release, "text": "hello", "lang": "en"}),
        lambda: list(client.fork(release, "Mine")),
        lambda: client.remove(release),
        lambda: client.lineage(release),
        lambda: list(client.similarity({"voice": release}, {"voice": release})),
    ):
        error = refusal(call)
        assert (error.code, "is a base" in error.message) == ("usage", True)
    assert [one for one in client.find(text="encoder", timeout=1) if one["event"] == "voice"] == []
    # And the other way round.
    assert [row["release"] for row in client.bases()] == [release]


async def test_only_who_asks_for_bases_gets_one(daemons: Make, tmp_path: Path) -> None:
    """An older peer could not read it, and would hold that against this node."""
    daemon = daemons().start()
    add(daemon, bench.published_hubert(tmp_path / "hubert"), "encoder")
    made = share(daemon, "encoder", "mandarin")
    daemon.end()
    database = open_database(daemon.home / "catalog.sqlite")
    catalog, store = Catalog(database), Store(daemon.home / "store")
    offer = Offer(store, catalog, Successors(database), trio.CapacityLimiter(1))
    for tags in ([], ["language/zh"]):
        assert (await offer.query(tags, 10, "")).releases == ()
    for tag in made["tags"]:
        found = (await offer.query(["base/hubert", tag], 10, "")).releases
        assert [verify_release(data).id for data in found] == [made["release"]]
    assert (await offer.query(["base/bert"], 10, "")).releases == ()
    release = catalog.release(made["release"])
    assert release is not None
    assert await offer.get_release(release.id) == release.envelope.to_bytes()
    assert await offer.get_head(author_id(release.manifest.author), release.manifest.slug) is None
    (file,) = release.manifest.files
    assert await offer.read_chunk(file.digest, 0) is not None
    # A base never takes a voice's place, nor the other way round.
    other = dataclasses.replace(
        release.manifest,
        license_text=None,
        consent=ConsentDeclaration("synthetic", True),
        engine=Engine("other", "v1", 16_000),
    )
    voice = sign_manifest(other, load_or_create(daemon.home / "keys").author)
    catalog.add_release(voice.envelope.to_bytes())
    with pytest.raises(ConflictError):
        catalog.install(voice, seed=True)
    catalog.uninstall(release.id)
    catalog.install(voice, seed=True)
    with pytest.raises(ConflictError):
        catalog.install(release, seed=True)
    assert [one.release for one in catalog.installed_voices()] == [voice.id]
    catalog.forget(release.id)
    assert catalog.bases(kind="hubert", limit=9) == []
    database.close()
    store.close()


def audio(data: bytes) -> bytes:
    """The sound in a file: its label is another one each time."""
    samples, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    return bytes(samples.tobytes())
