"""Consent between real daemons: a person signs, an author publishes, a stranger sees it; and when it ends."""

import base64
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node import expiry
from p2pvoice.node.blocks import plan_file
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.config import load_config
from p2pvoice.node.daemon import _parts
from p2pvoice.node.identity import load_or_create
from p2pvoice.node.offer import Offer
from p2pvoice.node.paths import Home
from p2pvoice.node.schema import open_database
from p2pvoice.node.store import Store
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.consent import SIGNED_LIMIT, ConsentDeclaration
from p2pvoice.protocol.consent_statement import ConsentStatement, sign_statement
from p2pvoice.protocol.errors import ConsentError, P2PVoiceError, RefusedError, UsageError
from p2pvoice.protocol.head import Head, sign_head
from p2pvoice.protocol.ids import author_id, digest_of, parse_author_id
from p2pvoice.protocol.label import read_label
from p2pvoice.protocol.manifest import VOICE_FILES, Engine, FileEntry, Manifest, Release, sign_manifest

from .nodes import LOOPBACK, TEXT, Daemon, bring, install_encoder, publish, refusal

Make = Callable[[], Daemon]
NAME = "陈大文"
YEAR = 365 * 86_400
ENDS = 1_800_000_000


def signing(author: str, **changed: object) -> dict[str, object]:
    """What a person asks their node to sign."""
    body: dict[str, object] = {
        "author": author,
        "name": NAME,
        "statement": "You may publish an AI voice of mine.",
        "language": "en",
        "scope": [],
        "expires": int(time.time()) + YEAR,
    }
    return body | changed


def upload(daemon: Daemon, folder: Path, data: bytes) -> str:
    (folder / "consent").write_bytes(data)
    return daemon.client.upload(folder / "consent")


def folder_digests(folder: Path) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_person_signs_an_author_publishes_a_stranger_sees_it(
    daemons: Make, encoder: Path, clip: Path, tmp_path: Path
) -> None:
    person, author = daemons().start(), daemons().start()
    stranger = daemons().start(author)
    install_encoder(author, encoder)
    bring(author, clip)
    own, theirs = author.client.status()["author"], person.client.status()["author"]
    made = person.client.sign_consent(signing(own))
    signed = base64.b64decode(made["consent"])
    assert (made["subject"], made["author"], made["subject_name"]) == (theirs, own, NAME)

    def attempt(data: bytes, **changed: object) -> Any:
        body: dict[str, object] = {"consent": "named", "license": "CC-BY-NC-4.0"}
        body["ai_voice_permission"] = False
        sent = {"consent_upload": upload(author, tmp_path, data)} if data else {}
        return publish(author, **(body | sent | changed))

    starts = author.client.status()["worker"]["starts"]
    commercial = refusal(lambda: attempt(signed, license="CC-BY-4.0"))
    assert isinstance(commercial, ConsentError)
    assert "--license CC-BY-NC-4.0" in commercial.hint
    for changed, told in (
        ({"subject": "Somebody Else"}, "not by 'Somebody Else'"),
        ({"clips_may_travel": True}, "does not let recordings travel"),
        ({"consent": "self"}, "another person's"),
        ({"consent": "synthetic"}, "another person's"),
    ):
        assert told in refusal(lambda changed=changed: attempt(signed, **changed)).message
    claim = {"subject": NAME, "clips_may_travel": True}
    assert "stays private" in refusal(lambda: attempt(b"", **claim)).message
    error = refusal(lambda: attempt(b"", **claim, ai_voice_permission=True))
    assert "that person's to say" in error.message
    elsewhere = person.client.sign_consent(signing(stranger.client.status()["author"]))["consent"]
    one_voice = person.client.sign_consent(signing(own, slug="another"))["consent"]
    key = load_or_create(person.home / "keys").author
    expired = ConsentStatement(
        author=parse_author_id(own),
        subject=parse_author_id(theirs),
        subject_name=NAME,
        statement="For a while.",
        language="en",
        created=1_600_000_000,
        expires=1_700_000_000,
    )
    for data, told in (
        (base64.b64decode(elsewhere), "for the author"),
        (base64.b64decode(one_voice), "'another' alone"),
        (sign_statement(expired, key), "has expired"),
        (signed[:-1] + bytes([signed[-1] ^ 1]), ""),
        (b"\0" * SIGNED_LIMIT, ""),
    ):
        error = refusal(lambda data=data: attempt(data))
        assert isinstance(error, RefusedError), data
        assert told in error.message
    assert isinstance(refusal(lambda: attempt(b"\0" * (SIGNED_LIMIT + 1))), UsageError)
    # All of that was refused before any work, and nothing that was sent is left.
    assert author.client.status()["worker"]["starts"] == starts
    assert list((author.home / "uploads").iterdir()) == []
    assert author.client.voices() == []

    release = attempt(signed)
    assert release["consent"]["state"] == "signed"
    assert list((author.home / "uploads").iterdir()) == []
    events = stranger.client.find(tags=("cantonese",), timeout=4)
    (found,) = [one for one in events if one["event"] == "voice"]
    consent = found["consent"]
    assert (consent["state"], consent["signed_by"], consent["subject_name"]) == ("signed", theirs, NAME)
    assert (consent["scope"], consent["references_may_travel"]) == ([], False)
    assert consent["expires"] == made["expires"]
    shown = stranger.client.show(release["release"])["consent"]
    assert shown["signed_statement"]["statement"] == "You may publish an AI voice of mine."


def test_recordings_stay_unless_they_may_travel(daemons: Make, encoder: Path, clip: Path) -> None:
    daemon = daemons().start()
    install_encoder(daemon, encoder)
    bring(daemon, clip)
    bundle = daemon.home / "drafts" / "storyteller" / "bundle"
    kept = folder_digests(bundle)
    recordings = folder_digests(bundle / "reference")
    assert len(recordings) == 2

    first = publish(daemon, consent="self")
    assert first["consent"]["references_may_travel"] is False
    files = {file["path"]: file for file in daemon.client.show(first["release"])["files"]}
    assert {file["digest"] for file in files.values()} & recordings == set()
    weights = {file["digest"] for path, file in files.items() if path.endswith("s.safetensors")}
    assert weights <= kept
    place = daemon.home / "voices" / first["release"]
    voice = json.loads((place / "voice.json").read_text())
    assert TEXT not in (place / "voice.json").read_text()
    (reference,) = voice["references"]
    assert reference["codes"] != json.loads((bundle / "voice.json").read_text())["references"][0]["codes"]
    label = read_label((place / "reference" / "0.wav").read_bytes())
    assert label is not None
    assert label.mark == "1"
    # The draft keeps its own, nothing is left beside it, and publishing again gives the same clips.
    assert folder_digests(bundle) == kept
    assert not (bundle.parent / "publishing").exists()
    again = publish(daemon, consent="self", description="Once more.")
    repeated = {file["path"]: file for file in daemon.client.show(again["release"])["files"]}
    for path in ("voice.json", "reference/0.wav", "reference/0.safetensors"):
        assert repeated[path]["digest"] == files[path]["digest"]

    result = publish(daemon, consent="self", clips_may_travel=True)
    assert result["consent"]["references_may_travel"] is True
    travelling = {file["digest"] for file in daemon.client.show(result["release"])["files"]}
    assert recordings <= travelling


def ending(key: Ed25519PrivateKey, source: Path, *, ends: int) -> Release:
    """A signed voice of small files whose consent ends at a time."""
    files = []
    for path in VOICE_FILES:
        source.write_bytes(path.encode())
        digest, chunks = plan_file(source, [len(path)])
        files.append(FileEntry(path, len(path), digest, chunks))
    manifest = Manifest(
        author=key.public_key().public_bytes_raw(),
        slug="brief",
        name="Brief",
        created=1_700_000_000,
        license="CC-BY-4.0",
        consent=ConsentDeclaration("named", True, subject_name=NAME, expires=ends),
        languages=("yue",),
        tags=("language/yue",),
        files=tuple(files),
        engine=Engine("gpt-sovits", "v2", 32_000),
    )
    return sign_manifest(manifest, key)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Store, Catalog, Successors, Release]]:
    """A store and a catalog with a voice that is installed, seeded, and whose consent ends at ENDS."""
    database = open_database(tmp_path / "catalog.sqlite")
    store, catalog = Store(tmp_path / "store"), Catalog(database, clock=lambda: 1_790_000_000)
    key = Ed25519PrivateKey.generate()
    release = ending(key, tmp_path / "source", ends=ENDS)
    for file in release.manifest.files:
        (tmp_path / "source").write_bytes(file.path.encode())
        store.add_file(tmp_path / "source", file.chunks)
    catalog.add_release(release.envelope.to_bytes())
    head = Head(release.manifest.author, "brief", 1, release.id, 1_790_010_000)
    catalog.add_head(sign_head(head, key))
    catalog.install(release, seed=True)
    yield store, catalog, Successors(database), release
    database.close()
    store.close()


@pytest.mark.parametrize("now", [ENDS - 1, ENDS])
async def test_peers_get_nothing_after_the_end(
    held: tuple[Store, Catalog, Successors, Release], now: int
) -> None:
    store, catalog, successors, release = held
    offer = Offer(store, catalog, successors, trio.CapacityLimiter(1), clock=lambda: now)
    good = now < ENDS
    assert len((await offer.query(["language/yue"], 10, "")).releases) == good
    assert (await offer.get_release(release.id) is not None) is good
    author = author_id(release.manifest.author)
    assert (await offer.get_head(author, "brief") is not None) is good
    digest = release.manifest.files[0].digest
    assert (await offer.read_chunk(digest, 0) is not None) is good


async def test_what_was_announced_is_withdrawn_after_the_end(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="p2pv-") as folder:
        home = Home.at(folder)
        home.prepare()
        async with _parts(home, load_config(home, listen=[LOOPBACK])) as parts:
            release = ending(parts.identity.author, tmp_path / "source", ends=ENDS)
            parts.catalog.add_release(release.envelope.to_bytes())
            head = Head(release.manifest.author, "brief", 1, release.id, int(time.time()) + 1000)
            parts.catalog.add_head(sign_head(head, parts.identity.author))
            parts.catalog.install(release, seed=True)
            parts.network.announce(release)
            await expiry.withdraw_expired(parts, ENDS - 1)
            # The release, its tag, and its head.
            assert parts.network.dht_facts()["keys"] == 3
            await expiry.withdraw_expired(parts, ENDS)
            assert parts.network.dht_facts()["keys"] == 0
            await expiry.withdraw_expired(parts, ENDS)
            assert [one.id for one in expiry.offered_releases(parts, ENDS)[1]] == [release.id]


def test_an_expired_voice_is_shown_and_nothing_else(daemons: Make, tmp_path: Path) -> None:
    daemon = daemons().start()
    daemon.end()
    key = Ed25519PrivateKey.generate()
    release = ending(key, tmp_path / "source", ends=int(time.time()) - 1)
    database = open_database(daemon.home / "catalog.sqlite")
    catalog = Catalog(database)
    catalog.add_release(release.envelope.to_bytes())
    catalog.install(release, seed=True)
    database.close()
    daemon.start()
    client = daemon.client
    assert client.status()["dht"]["keys"] == 0
    assert client.show("brief")["consent"]["state"] == "expired"
    assert [one["consent"]["state"] for one in client.voices()] == ["expired"]
    said = {"voice": "brief", "text": "hello", "lang": "en"}
    for call in (
        lambda: client.speak(said),
        lambda: list(client.fetch("brief")),
        lambda: client.preview("brief"),
        lambda: list(client.similarity({"voice": "brief"}, {"voice": "brief"})),
    ):
        error: P2PVoiceError = refusal(call)
        assert isinstance(error, ConsentError)
        assert error.exit_code == 5
        assert "has expired" in error.message
    client.remove("brief")
    assert client.voices() == []


def test_what_a_node_does_not_sign(daemons: Make) -> None:
    daemon = daemons().start()
    own = daemon.client.status()["author"]
    other = author_id(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    for body, kind in (
        (signing(own), UsageError),
        (signing("did:key:z6Mkwrong"), UsageError),
        (signing(other, name=""), UsageError),
        (signing(other, expires=int(time.time()) - 1), UsageError),
        (signing(other, expires=1 << 40), UsageError),
        (signing(other, statement=""), RefusedError),
        (signing(other, scope=["war"]), RefusedError),
        (signing(other, slug="Not A Slug"), RefusedError),
        (signing(other, name="n" * 81), RefusedError),
    ):
        assert isinstance(refusal(lambda body=body: daemon.client.sign_consent(body)), kind), body
    assert daemon.client.sign_consent(signing(other))["author"] == other


async def test_a_base_that_was_not_shared_is_never_offered(daemons: Make, tmp_path: Path) -> None:
    """Its files are not in the store: only `base publish` puts them there, and asks for a licence first."""
    daemon = daemons().start()
    content = {"config.json": "{}", "tokenizer.json": "{}", "vocabulary.txt": "a", "model.bin": "numbers"}
    files = {name: daemon.client.upload_text(text) for name, text in content.items()}
    text = daemon.client.upload_text("Do with it what you like.\n")
    *_, made = daemon.client.add_base("ear", files, kind="asr", license="mit", license_upload=text)
    assert (made["license"], made["verified"]) == ("MIT", False)
    daemon.end()
    bases = {path.name: path for path in (daemon.home / "bases").rglob("*") if path.is_file()}
    assert set(bases) == {*content, "base.json", "LICENSE"}
    # Even a voice that claims a base's files for its own, installed and seeded, does not get them served.
    key = Ed25519PrivateKey.generate()
    voice = ending(key, tmp_path / "source", ends=ENDS * 2).manifest
    digests = {name: digest_of(path.read_bytes()) for name, path in bases.items()}
    weights = [f"{kind}.safetensors" for kind in ("hubert", "bert", "speaker")]
    closed = [*weights, "vocab.json", "card.md", "licence.txt"]
    stolen = []
    for path, (name, base) in zip(closed, bases.items(), strict=True):
        digest, chunks = plan_file(base, [base.stat().st_size])
        assert digest == digests[name]
        stolen.append(FileEntry(path, base.stat().st_size, digest, chunks))
    claims = sign_manifest(replace(voice, files=(*voice.files, *stolen)), key)
    database = open_database(daemon.home / "catalog.sqlite")
    store, catalog = Store(daemon.home / "store"), Catalog(database)
    own = voice.files[-1]
    (tmp_path / "source").write_bytes(own.path.encode())
    store.add_file(tmp_path / "source", own.chunks)
    catalog.add_release(claims.envelope.to_bytes())
    catalog.install(claims, seed=True)
    offer = Offer(store, catalog, Successors(database), trio.CapacityLimiter(1))
    assert await offer.read_chunk(own.digest, 0) == own.path.encode()
    for digest in digests.values():
        assert catalog.offering(digest) == [claims.id]
        assert await offer.read_chunk(digest, 0) is None
    database.close()
    store.close()
