"""Collections between real daemons: made, published, fetched with their voices; what stands in the way."""

import csv
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.protocol.errors import ConflictError, NotFoundError, UsageError

from .nodes import Daemon, bring, install_encoder, publish, refusal


def publish_list(daemon: Daemon, name: str) -> Any:
    *_, result = daemon.client.publish_collection(name)
    return result


def fetch_list(daemon: Daemon, name: str, **options: bool) -> tuple[list[Any], Any]:
    """The voice events of a fetch, and its result."""
    *events, result = daemon.client.fetch_collection(name, **options)
    return [one for one in events if one["event"] == "voice"], result


def two_voices(daemon: Daemon, encoder: Path, clip: Path) -> list[str]:
    """The ids of two published voices of one author."""
    install_encoder(daemon, encoder)
    ids = []
    for name in ("Storyteller", "Teacher"):
        bring(daemon, clip, name=name)
        ids.append(publish(daemon, name.lower())["release"])
    return ids


SAID = {"yue": ["今日天氣好好。", "聽日見。"]}
"""Few words: the tiny voices say nothing, but take their time for it."""


def rows_of(events: list[Any]) -> dict[str, Any]:
    """The last row of each release."""
    return {one["row"]["release"]: one["row"] for one in events if one["event"] == "row"}


def stages(events: list[Any]) -> list[tuple[str, str]]:
    """Which voices were described and made to speak."""
    told = [(one["voice"], one["stage"]) for one in events if one["event"] == "progress"]
    return [one for one in dict.fromkeys(told) if one[1] in ("describe", "speak")]


@pytest.fixture
def author(daemons: Callable[[], Daemon]) -> Daemon:
    return daemons().start()


def test_a_list_goes_from_its_author_to_others(
    daemons: Callable[[], Daemon], author: Daemon, encoder: Path, clip: Path
) -> None:
    releases = two_voices(author, encoder, clip)
    client = author.client
    made = client.new_collection(
        "粵語長者聲庫", slug="set", card="# Elders\n\nOf an archive.", license="cc0-1.0"
    )
    assert (made["slug"], made["published"], made["license"]) == ("set", False, "CC0-1.0")
    assert isinstance(refusal(lambda: publish_list(author, "set")), UsageError)
    assert isinstance(refusal(lambda: client.new_collection("Set")), ConflictError)
    client.change_collection("set", "add", voices=["storyteller"], note="西關口音")
    left = client.change_collection("粵語長者聲庫", "add", voices=[releases[1][:20], "storyteller"])
    assert [(item["release"], item["note"], item["state"]) for item in left["items"]] == [
        (releases[0], "西關口音", "here"),
        (releases[1], "", "here"),
    ]
    first = publish_list(author, "set")
    assert (first["sequence"], first["voices"], first["changed"]) == (1, 2, True)
    assert publish_list(author, "set")["changed"] is False
    name = f"{first['author']}/set"

    # Somebody else gets the list, then its voices: one was called back, and the node is killed half-way.
    friend = daemons().start(author)
    friend.meet(author)
    voices, result = fetch_list(friend, name, voices=False)
    assert (voices, result["id"], result["seed"]) == ([], first["id"], True)
    assert [item["state"] for item in friend.client.collection("set")["items"]] == ["unknown"] * 2
    list(client.revoke(releases[0], reason="by mistake"))
    for event in friend.client.fetch_collection(name):
        if event["event"] == "voice":
            break
    friend.end(signal.SIGKILL)
    friend.start(author)
    friend.meet(author)
    voices, result = fetch_list(friend, "set")
    told = [(one["release"], one["state"]) for one in voices]
    assert told == [(releases[0], "revoked"), (releases[1], "fetched")]
    assert [(one["release"], one["error"]["code"]) for one in result["failed"]] == [(releases[0], "revoked")]
    assert [item["state"] for item in friend.client.collection(name)["items"]] == ["revoked", "here"]

    # When the author is gone, whoever keeps the list passes it on.
    author.end()
    other = daemons().start(friend)
    other.meet(friend)
    kept = fetch_list(other, name, voices=False, seed=False)[1]
    assert (kept["id"], kept["seed"]) == (first["id"], False)
    # Without seeding the network is told of nothing; with it, of the list.
    assert other.client.status()["dht"]["keys"] == 0
    assert fetch_list(other, name, voices=False)[1]["seed"] is True
    assert other.client.status()["dht"]["keys"] == 1

    # The author changes the list; who holds it follows, and a peer with the old one changes nothing.
    author.start(friend)
    author.meet(friend)
    bring(author, clip, name="Teacher")
    newer = publish(author, "teacher", description="Once more.")["release"]
    client.change_collection("set", "remove", voices=["storyteller", "teacher"])
    assert client.change_collection("set", "add", voices=["teacher"])["pending"] is True
    second = publish_list(author, "set")
    assert (second["sequence"], second["voices"]) == (2, 1)
    # Another release of a voice that is here is not put in its place by a list.
    voices, result = fetch_list(friend, "set")
    assert (result["sequence"], result["fetched"], result["here"]) == (2, 0, 0)
    assert [(one["release"], one["error"]["code"]) for one in voices] == [(newer, "conflict")]
    assert [item["state"] for item in friend.client.collection("set")["items"]] == ["other release here"]
    assert fetch_list(other, name, voices=False)[1]["id"] == second["id"]
    author.end()
    other.end()
    # Nobody can be asked: what is here is used.
    assert fetch_list(friend, "set", voices=False)[1]["sequence"] == 2
    assert friend.client.forget_collection("set")["slug"] == "set"
    assert isinstance(refusal(lambda: friend.client.collection("set")), NotFoundError)
    assert [voice["release"] for voice in friend.client.voices()] == [releases[1]]


@pytest.mark.slow
def test_an_evaluation_is_interrupted_taken_up_again_and_then_free(
    author: Daemon, encoder: Path, clip: Path
) -> None:
    releases = two_voices(author, encoder, clip)
    author.client.new_collection("Set")
    author.client.change_collection("set", "add", voices=releases)
    client, body = author.client, {"sentences": SAID}
    (author.home / "said.txt").write_text("".join(f"{lang}|{one}\n" for lang in SAID for one in SAID[lang]))
    command = [sys.executable, "-m", "p2pvoice.cli.main", "--home", ".", "evaluate", "set"]
    with subprocess.Popen(
        [*command, "--sentences", "said.txt"], cwd=author.home, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("1. storyteller: measured"):
                process.send_signal(signal.SIGINT)
                break
        assert "the finished rows are in set.partial.csv" in process.stderr.read()
    assert process.returncode == 130
    (done,) = csv.DictReader((author.home / "set.partial.csv").open(newline=""))
    assert (done["slug"], done["state"], done["place"]) == ("storyteller", "measured", "1")
    assert not (author.home / "set.csv").exists()
    again = list(client.evaluate("set", body))
    # The first voice only speaks once more, to be compared, where speakers can be: it is not described again.
    assert ("storyteller", "describe") not in stages(again)
    assert stages(again)[-2:] == [("teacher", "describe"), ("teacher", "speak")]
    rows = rows_of(again)
    assert [row["slug"] for row in rows.values()] == ["storyteller", "teacher"]
    for row in rows.values():
        assert list(row) == again[0]["columns"]
        assert (row["license"], row["consent_state"], row["languages"]) == ("CC-BY-4.0", "claimed", "yue")
        assert (row["spoken_language"], row["spoken_sentences"]) == ("yue", 2)
        assert row["pitch_median_hz"] == pytest.approx(140, abs=2)
        assert row["speed_rtf"] > 0
        assert row["wer_percent"] is row["cer_percent"] is None
        if find_spec("resemblyzer") is not None:
            assert row["similarity_voices"] == 1
            assert 0 < row["similarity_mean_cosine"] <= row["similarity_nearest_cosine"] <= 1
        else:
            assert "not installed" in row["problem"]
    starts = client.status()["training"]["starts"]
    once_more = list(client.evaluate("set", body))
    if find_spec("resemblyzer") is not None:
        assert stages(once_more) == []
        assert rows_of(once_more) == rows
    assert client.status()["training"]["starts"] == starts
    assert isinstance(refusal(lambda: list(client.evaluate("set", {"asr": "none"}))), NotFoundError)
    for bad in ({}, {"yue": []}, {"yue": ["x" * 201]}, {"yue": ["x"] * 65}, {"../x": ["x"]}):
        assert isinstance(
            refusal(lambda bad=bad: list(client.evaluate("set", {"sentences": bad}))), UsageError
        )
