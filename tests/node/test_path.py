"""The whole path between real daemons: import, publish, find, listen, fetch, update, speak, remove."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pvoice.protocol.errors import (
    ConsentError,
    NotFoundError,
    UnsafeFileError,
    UsageError,
)
from p2pvoice.protocol.ids import cid_of, digest_of
from p2pvoice.protocol.label import read_label

from .nodes import CHECKPOINTS, Daemon, bring, install_encoder, large_gpt, publish, refusal

Make = Callable[[], Daemon]

#: Fed to the preview and the spoken tests, so that a tiny voice with random weights stays short.
SEEDED = {"seed": 1}


def _found(daemon: Daemon, *tags: str, text: str = "", timeout: float = 10.0) -> list[dict[str, Any]]:
    events = list(daemon.client.find(tags=tags, text=text, timeout=timeout))
    assert events[-1]["event"] == "result"
    voices = [event for event in events if event["event"] == "voice"]
    assert events[-1]["count"] == len(voices)
    return voices


def _fetch(daemon: Daemon, ref: str, *, seed: bool = True) -> dict[str, Any]:
    *progress, result = daemon.client.fetch(ref, seed=seed)
    assert all(event["event"] == "progress" for event in progress)
    return result


def test_voice_travels_from_its_author_to_a_stranger_and_on(
    daemons: Make, encoder: Path, clip: Path, tmp_path: Path
) -> None:
    a = daemons().start()
    b, c = daemons().start(a), daemons().start(a)
    install_encoder(a, encoder)
    (base,) = a.client.bases()
    assert (base["kind"], base["license"], base["verified"]) == ("hubert", "MIT", False)

    first_gpt = large_gpt(tmp_path / "first.ckpt", feed=6000, seed=1)
    draft = bring(a, clip, gpt=first_gpt)
    assert draft["draft"] == "storyteller"
    assert [one["slug"] for one in a.client.drafts()] == ["storyteller"]
    first = publish(a, consent="self")
    assert first["announced"] is True
    author = a.client.status()["author"]
    assert (first["author"], first["slug"]) == (author, "storyteller")

    for tag in ("cantonese", "粤语", "yue"):
        found = _found(c, tag)
        assert [(one["release"], one["installed"], one["source"]) for one in found] == [
            (first["release"], False, "local" if tag != "cantonese" else "network")
        ]
    assert _found(c, "english", timeout=3.0) == []
    # What was found once is known: free text needs no network, and Chinese is found in the middle.
    assert [one["release"] for one in _found(c, text="講故事", timeout=0)] == [first["release"]]
    assert _found(c, text="講新聞", timeout=0) == []

    shown = c.client.show("storyteller")
    assert shown["release"] == first["release"]
    assert shown["consent"]["subject"] == "self"
    assert shown["consent"]["signed_by"] == author
    assert {file["path"] for file in shown["files"]} >= {"gpt.safetensors", "preview.wav", "voice.json"}
    heard = c.client.preview(first["release"])
    label = read_label(heard.data)
    assert label is not None
    assert label.reserved1 == ""
    assert c.client.status()["disk"]["files"] == 1

    not_here = refusal(lambda: c.client.speak({"voice": "storyteller", "text": "hello", "lang": "en"}))
    assert isinstance(not_here, NotFoundError)
    assert not_here.hint == "p2pvoice fetch storyteller"
    fetched = _fetch(c, f"{author}/storyteller")
    assert fetched["bytes_fetched"] + fetched["bytes_reused"] == shown["size"]
    assert fetched["bytes_reused"] == len(heard.data)
    assert set(fetched["peers"]) == {a.peer_id}
    assert _fetch(c, first["release"])["bytes_fetched"] == 0
    here = [(one["release"], one["source"]) for one in c.client.voices()]
    assert here == [(first["release"], "local")]

    second_gpt = large_gpt(tmp_path / "second.ckpt", feed=6000, seed=2)
    bring(a, clip, gpt=second_gpt)
    second = publish(a)
    assert second["release"] != first["release"]
    assert a.client.show(second["release"])["parents"] == [
        {"release": first["release"], "kind": "revision-of"}
    ]
    *_, updated = c.client.update("storyteller")
    assert updated["updated"] is True
    assert (updated["release"], updated["previous"]) == (second["release"], first["release"])
    assert updated["sequence"] == 2
    # The SoVITS model did not change, so its chunks were here already.
    assert updated["bytes_reused"] > 500_000
    assert [one["release"] for one in c.client.voices()] == [second["release"]]
    *_, again = c.client.update()
    assert again["updated"] == 0

    assert a.end() == 0
    b.meet(c)
    assert [one["release"] for one in _found(b, "粵語")] == [second["release"]]
    onward = _fetch(b, second["release"])
    assert set(onward["peers"]) == {c.peer_id}
    for lang, text in (("yue", "今日天氣好好"), ("zh", "今天天气很好"), ("en", "The weather is fine.")):
        spoken = b.client.speak({"voice": "storyteller", "text": text, "lang": lang, **SEEDED})
        label = read_label(spoken.data)
        assert label is not None
        assert (label.release, label.mark) == (second["release"], "1")
        assert spoken.release == second["release"]
        assert spoken.headers["content-type"] == "audio/wav"
        assert spoken.seconds > 0.1
    twice = [
        b.client.speak({"voice": "storyteller", "text": "好", "lang": "yue", "format": "flac", **SEEDED})
        for _ in range(2)
    ]
    assert read_label(twice[0].data) != read_label(twice[1].data)
    assert twice[0].seconds == twice[1].seconds

    gone = b.client.remove("storyteller")
    assert gone["freed"] > 500_000
    assert b.client.voices() == []
    assert b.client.status()["disk"]["files"] == 0
    assert isinstance(refusal(lambda: b.client.remove("storyteller")), NotFoundError)


def test_publishing_asks_for_licence_consent_and_known_tags_first(
    daemons: Make, encoder: Path, clip: Path
) -> None:
    daemon = daemons().start()
    install_encoder(daemon, encoder)
    bring(daemon, clip)
    starts = daemon.client.status()["worker"]["starts"]
    for changed in (
        {"license": ""},
        {"license": "whatever"},
        {"consent": ""},
        {"consent": "everybody"},
        {"consent": "named"},
        {"ai_voice_permission": False},
    ):
        assert isinstance(refusal(lambda changed=changed: publish(daemon, **changed)), ConsentError), changed
    error = refusal(lambda: publish(daemon, tags=["language/klingon"]))
    assert isinstance(error, UsageError)
    assert "klingon" in error.message
    assert isinstance(refusal(lambda: publish(daemon, "nothing")), NotFoundError)
    assert daemon.client.voices() == []
    assert daemon.client.status()["disk"]["files"] == 0
    assert daemon.client.status()["worker"]["starts"] == starts
    alone = publish(daemon)
    assert alone["announced"] is False


def test_hostile_import_leaves_no_draft(daemons: Make, encoder: Path, clip: Path) -> None:
    daemon = daemons().start()
    install_encoder(daemon, encoder)
    bad = CHECKPOINTS.parent / "bad" / "reduce_os_system.pth"
    assert isinstance(refusal(lambda: bring(daemon, clip, gpt=bad)), UnsafeFileError)
    assert daemon.client.drafts() == []
    assert list((daemon.home / "drafts").iterdir()) == []
    assert list((daemon.home / "uploads").iterdir()) == []
    bring(daemon, clip)


def test_release_nobody_has_is_not_found(daemons: Make) -> None:
    a = daemons().start()
    b = daemons().start(a)
    nobody = cid_of(digest_of(b"a release that does not exist"))
    error = refusal(lambda: _fetch(b, nobody))
    assert isinstance(error, NotFoundError)
    assert error.exit_code == 4
    assert nobody in error.message


def test_not_seeded_voice_is_not_offered(daemons: Make, encoder: Path, clip: Path) -> None:
    a = daemons().start()
    b, c = daemons().start(a), daemons().start(a)
    install_encoder(a, encoder)
    bring(a, clip)
    release = publish(a)["release"]
    assert _fetch(b, release, seed=False)["seeding"] is False
    assert b.client.status()["serving"] == 0
    assert b.client.status()["dht"]["keys"] == 0
    a.end()
    c.meet(b)
    refusal(lambda: _fetch(c, release))
    assert c.client.voices() == []


def test_full_disk_is_its_own_error_and_fetching_works_once_there_is_room(
    daemons: Make, encoder: Path, clip: Path, tmp_path: Path
) -> None:
    """The kernel's limit on a file's size stands in for the disk's end."""
    a = daemons().start()
    install_encoder(a, encoder)
    bring(a, clip, gpt=large_gpt(tmp_path / "gpt.ckpt", feed=20_000, seed=1))
    release = publish(a)["release"]
    b = daemons().start(a, file_limit=2_000_000)
    error = refusal(lambda: _fetch(b, release))
    assert error.code == "disk_full"
    assert error.exit_code == 1
    assert error.hint
    assert b.client.voices() == []
    b.end()
    b.start(a)

    result = _fetch(b, release)
    assert result["bytes_fetched"] > 2_000_000


def test_damaged_partial_file_is_not_believed(
    daemons: Make, encoder: Path, clip: Path, tmp_path: Path
) -> None:
    """Whatever lies in the store's folder, only bytes with the right hash become a voice."""
    a = daemons().start()
    b = daemons().start(a)
    install_encoder(a, encoder)
    bring(a, clip)
    release = publish(a)["release"]
    files = b.client.show(release)["files"]
    b.end()
    for file in files:
        part = b.home / "store" / "partial" / f"{file['digest']}.part"
        part.write_bytes(b"\xff" * file["size"])
    b.start(a)
    _fetch(b, release)
    for file in files:
        stored = (b.home / "store" / "files" / file["digest"]).read_bytes()
        assert hashlib.sha256(stored).hexdigest() == file["digest"]


def test_fetching_again_keeps_a_voice_usable(daemons: Make, encoder: Path, clip: Path) -> None:
    a = daemons().start()
    b = daemons().start(a)
    install_encoder(a, encoder)
    bring(a, clip)
    release = publish(a)["release"]
    said = {"voice": release, "text": "好", "lang": "yue", **SEEDED}
    for daemon in (a, b):
        for _ in range(2):
            _fetch(daemon, release)
            assert daemon.client.status()["dht"]["keys"] == (5 if daemon is a else 4)
        assert daemon.client.speak(said).release == release
    assert _fetch(b, release, seed=False)["seeding"] is False
    assert b.client.status()["dht"]["keys"] == 0
    assert b.client.speak(said).release == release
    b.client.remove(release)
    a.client.remove(release)
    assert a.client.status()["dht"]["keys"] == 0


def test_search_without_peers_says_so(daemons: Make) -> None:
    daemon = daemons().start()
    events = list(daemon.client.find(tags=("cantonese",), timeout=2.0))
    assert [event["event"] for event in events] == ["warning", "result"]
    assert json.dumps(events[-1]) == '{"event": "result", "count": 0, "next": null}'
