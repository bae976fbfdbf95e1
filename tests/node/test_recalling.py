"""Recall between real daemons: who revokes, who learns how, and what stops.

The slow ones say over processes what tests/net/test_recalling.py says over real hosts in one process.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.schema import open_database
from p2pvoice.protocol.errors import (
    NotFoundError,
    P2PVoiceError,
    PolicyError,
    RevokedError,
    UsageError,
)
from p2pvoice.protocol.head import LIFETIME, Head, sign_head
from p2pvoice.protocol.manifest import sign_manifest

from .nodes import Daemon, bring, install_encoder, large_gpt, publish, refusal
from .recall_parts import public, signed_consent

Make = Callable[[], Daemon]

#: Seconds a daemon gets to learn of a revocation that a peer tells it of.
LEARN = 30.0

SAID = {"text": "好", "lang": "yue", "seed": 1}


def fetch(daemon: Daemon, ref: str) -> dict[str, Any]:
    *_, result = daemon.client.fetch(ref)
    return result


def revoke(daemon: Daemon, ref: str, *, whole: bool = False, reason: str = "") -> dict[str, Any]:
    *_, result = daemon.client.revoke(ref, whole=whole, reason=reason)
    return result


def learned(daemon: Daemon, release: str) -> dict[str, Any]:
    """What the daemon knows of a revocation, once it does."""
    end = time.monotonic() + LEARN
    while time.monotonic() < end:
        for row in daemon.client.revocations():
            if row["release"] == release or row["all"]:
                return dict(row)
        _next_log_line(daemon)
    raise AssertionError(f"did not learn of it: {daemon.log[-2000:]}")


def _next_log_line(daemon: Daemon) -> None:
    """Wait until the daemon does something worth logging, or a moment."""
    size = (daemon.home / "daemon.log").stat().st_size
    end = time.monotonic() + 0.5
    while time.monotonic() < end and (daemon.home / "daemon.log").stat().st_size == size:
        daemon.client.status()


def found(daemon: Daemon, *tags: str, timeout: float = 5.0) -> list[str]:
    events = daemon.client.find(tags=tags, timeout=timeout)
    return [event["release"] for event in events if event["event"] == "voice"]


def refused(daemon: Daemon, ref: str) -> str:
    """Check that nothing can be done with a revoked voice; what is said about it."""
    *_, message = (
        refusal(call)
        for call in (
            lambda: daemon.client.speak({"voice": ref, **SAID}),
            lambda: daemon.client.preview(ref),
            lambda: list(daemon.client.update(ref)),
            lambda: fetch(daemon, ref),
        )
    )
    assert isinstance(message, RevokedError), message
    assert message.exit_code == 5
    return message.message


def author_key(daemon: Daemon) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes((daemon.home / "keys" / "author.key").read_bytes())


def publish_with_consent(daemon: Daemon, release: str, subject: Ed25519PrivateKey) -> str:
    """Publish a release once more, with a consent that the subject signed; the daemon is not running."""
    key = author_key(daemon)
    database = open_database(daemon.home / "catalog.sqlite")
    catalog = Catalog(database)
    old = catalog.release(release)
    assert old is not None
    manifest = replace(old.manifest, consent=signed_consent(subject, public(key)))
    new = sign_manifest(manifest, key)
    catalog.add_release(new.envelope.to_bytes())
    head = Head(public(key), manifest.slug, 2, new.id, int(time.time()) + LIFETIME)
    catalog.add_head(sign_head(head, key))
    catalog.install(new, seed=True)
    catalog.forget(release)
    database.close()
    voices = daemon.home / "voices"
    (voices / release).rename(voices / new.id)
    return new.id


@pytest.fixture(scope="module")
def published(
    encoder: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """The home of an author who published one voice, and its release; copied for each test."""
    import tempfile

    home = Path(tempfile.mkdtemp(prefix="p2pv-"))
    daemon = Daemon(home).start()
    try:
        install_encoder(daemon, encoder)
        bring(daemon, clip)
        release = publish(daemon)["release"]
    finally:
        daemon.end()
    yield home, release
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def author(daemons: Make, published: tuple[Path, str]) -> Daemon:
    """A daemon of that author, not started."""
    daemon = daemons()
    shutil.copytree(published[0], daemon.home, dirs_exist_ok=True, symlinks=True)
    for link in (daemon.home / "voices").rglob("*"):
        if link.is_symlink():
            target = Path(str(link.readlink()).replace(str(published[0]), str(daemon.home)))
            link.unlink()
            link.symlink_to(target)
    return daemon


def test_the_author_revokes_and_everybody_stops(
    daemons: Make, author: Daemon, published: tuple[Path, str]
) -> None:
    release = published[1]
    a = author.start()
    b, c = daemons().start(a), daemons().start(a)
    fetch(b, release)
    assert found(c, "cantonese") == [release]
    assert b.client.status()["dht"]["keys"] == 4
    files = a.client.show(release)["files"]

    result = revoke(a, release, reason="recorded without asking")
    assert (result["revoked"], result["release"], result["all"]) == (release, release, False)
    assert result["told"] == 2
    assert result["announced"] is True
    said = "Storyteller was revoked by its author"
    assert refused(a, release).startswith(said)
    assert a.client.status()["serving"] == 0

    # B is connected: it is told, and stops speaking, serving and announcing.
    row = learned(b, release)
    assert (row["reason"], row["by"], row["own"]) == ("recorded without asking", "author", False)
    assert refused(b, release).endswith(": recorded without asking")
    assert refused(b, "storyteller").startswith(said)
    assert b.client.voices() == []
    assert b.client.status()["serving"] == 0
    assert b.client.status()["dht"]["keys"] == 1  # the revocation itself
    assert found(b, "cantonese") == []
    shown = b.client.show(release)
    assert shown["revoked"]["reason"] == "recorded without asking"
    assert (shown["name"], shown["release"], shown["by"]) == ("Storyteller", release, "author")

    # C had only heard of the release; it forgets it.
    learned(c, release)
    assert found(c, "cantonese") == []
    assert refused(c, release).startswith(said)
    assert c.client.status()["disk"]["files"] == 0

    # The author is gone, and a newcomer asks B, who has nothing to give but the revocation.
    assert a.end() == 0
    d = daemons().start(b)
    assert found(d, "cantonese") == []
    error = refusal(lambda: fetch(d, release))
    assert isinstance(error, RevokedError)
    assert "recorded without asking" in error.message
    assert d.client.status()["disk"]["files"] == 0

    # Files go with rm; the tombstone stays, also over a restart.
    assert (b.home / "store" / "files" / files[0]["digest"]).exists()
    assert b.client.remove(release)["freed"] > 500_000
    assert b.client.status()["disk"]["files"] == 0
    b.end()
    b.start(d)
    assert refused(b, release).startswith(said)
    assert b.client.status()["dht"]["keys"] == 1


@pytest.mark.slow
def test_one_who_was_away_learns_when_it_comes_back(
    daemons: Make, author: Daemon, published: tuple[Path, str]
) -> None:
    release = published[1]
    a = author.start()
    b = daemons().start(a)
    *_, result = b.client.fetch(release, seed=False)
    assert result["seeding"] is False
    b.end()
    assert revoke(a, "storyteller")["told"] == 0
    b.start(a)
    learned(b, release)
    refused(b, release)
    # It was kept and not offered, so nothing is said of it to others either.
    assert b.client.status()["dht"]["keys"] == 0


@pytest.mark.slow
def test_the_dht_tells_when_nobody_else_can(
    daemons: Make, author: Daemon, published: tuple[Path, str]
) -> None:
    release = published[1]
    hub = daemons().start()
    a = author.start(hub)
    c = daemons().start(hub)
    assert found(c, "cantonese") == [release]
    name = f"{a.client.status()['author']}/storyteller"
    c.end()
    assert revoke(a, release, whole=True, reason="enough")["announced"] is True
    assert a.end() == 0
    # The hub never had the voice and passes nothing on; only the record in its part of the DHT is left.
    assert hub.client.revocations() == []
    c.start(hub)
    error = refusal(lambda: fetch(c, release))
    assert isinstance(error, RevokedError), error
    assert error.message.startswith("the whole voice Storyteller was revoked by its author")
    e = daemons().start(hub)
    by_name = refusal(lambda: fetch(e, name))
    assert isinstance(by_name, RevokedError), by_name
    assert by_name.message.endswith(": enough")
    assert e.client.status()["disk"]["files"] == 0


@pytest.mark.slow
def test_the_subject_revokes_against_the_authors_will(
    daemons: Make, author: Daemon, published: tuple[Path, str]
) -> None:
    b = daemons().start()
    subject = author_key(b)
    release = publish_with_consent(author, published[1], subject)
    a = author.start(b)
    stranger = daemons().start(a)
    fetch(b, release)
    fetch(stranger, release)
    for whole in (False, True):
        error = refusal(lambda whole=whole: revoke(stranger, release, whole=whole))
        assert isinstance(error, PolicyError)
        assert error.hint.startswith("p2pvoice rm")
    assert stranger.client.revocations() == []

    result = revoke(b, release, whole=True, reason="I did not agree to this")
    assert (result["by"], result["told"] >= 1) == ("subject", True)
    said = "the whole voice Storyteller was revoked by the person whose voice it is"
    for daemon in (a, stranger):
        learned(daemon, release)
        assert refused(daemon, release).startswith(said)
    # Under the same name nothing gets past that person, whatever the author declares now.
    again = refusal(lambda: publish(a))
    assert isinstance(again, RevokedError)
    assert again.message.startswith(said)
    assert a.client.status()["serving"] == 0


@pytest.mark.slow
def test_a_fetch_under_way_is_stopped(daemons: Make, encoder: Path, clip: Path, tmp_path: Path) -> None:
    a = daemons().start()
    install_encoder(a, encoder)
    bring(a, clip, gpt=large_gpt(tmp_path / "gpt.ckpt", feed=60_000, seed=1, layers=6))
    release = publish(a)["release"]
    b = daemons().start(a)
    events = b.client.fetch(release)
    next(event for event in events if event.get("received", 0) > 0)
    revoke(a, release)
    with pytest.raises(P2PVoiceError) as caught:
        assert all(event["event"] != "result" for event in events), "the fetch ended before the revocation"
    assert isinstance(caught.value, RevokedError), caught.value
    assert b.client.voices() == []


@pytest.mark.slow
def test_rm_stops_serving_at_once(daemons: Make, encoder: Path, clip: Path, tmp_path: Path) -> None:
    a = daemons().start()
    install_encoder(a, encoder)
    bring(a, clip, gpt=large_gpt(tmp_path / "gpt.ckpt", feed=60_000, seed=1, layers=6))
    release = publish(a)["release"]
    b = daemons().start(a)
    events = b.client.fetch(release)
    next(event for event in events if event.get("received", 0) > 0)
    a.client.remove(release)
    served = a.client.status()["debug"]["served_bytes"]
    with pytest.raises(P2PVoiceError) as caught:
        assert all(event["event"] != "result" for event in events), "the fetch ended before the removal"
    assert caught.value.exit_code == 6
    assert b.client.voices() == []
    # A chunk that was on its way may have arrived; nothing new left.
    assert a.client.status()["debug"]["served_bytes"] - served <= 1 << 20
    c = daemons().start(a)
    assert isinstance(refusal(lambda: fetch(c, release)), P2PVoiceError)
    assert found(c, "cantonese") == []
    assert c.client.voices() == []


@pytest.mark.slow
def test_what_can_be_done_after_a_revocation(
    daemons: Make, author: Daemon, published: tuple[Path, str]
) -> None:
    release = published[1]
    a = author.start()
    assert isinstance(refusal(lambda: revoke(a, "nothing")), NotFoundError)
    assert isinstance(refusal(lambda: revoke(a, release, reason="two\nlines")), UsageError)
    assert revoke(a, release, reason="a bad take")["announced"] is False
    # One release is gone, the voice goes on.
    second = publish(a)["release"]
    assert second != release
    assert [voice["release"] for voice in a.client.voices()] == [second]
    assert a.client.show("storyteller")["release"] == second
    refused(a, release)
    # Recalling an older release leaves the voice's head where it is: release, three tags, head and record.
    assert a.client.status()["dht"]["keys"] == 6
    # The whole voice is gone, and does not come back under its name.
    assert revoke(a, "storyteller", whole=True)["all"] is True
    error = refusal(lambda: publish(a))
    assert isinstance(error, RevokedError)
    assert "another name" in error.hint
    assert len(a.client.revocations()) == 2
    assert revoke(a, release, whole=True)["all"] is True
    assert len(a.client.revocations()) == 2
