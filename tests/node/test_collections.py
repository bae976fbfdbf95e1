"""Collections between real daemons: made, published, fetched with their voices; what stands in the way."""

import signal
from collections.abc import Callable
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


def three_voices(daemon: Daemon, encoder: Path, clip: Path) -> list[str]:
    """The ids of three published voices of one author."""
    install_encoder(daemon, encoder)
    ids = []
    for name in ("Storyteller", "Teacher", "Auntie"):
        bring(daemon, clip, name=name)
        ids.append(publish(daemon, name.lower())["release"])
    return ids


@pytest.fixture
def author(daemons: Callable[[], Daemon]) -> Daemon:
    return daemons().start()


def test_a_list_goes_from_its_author_to_others(
    daemons: Callable[[], Daemon], author: Daemon, encoder: Path, clip: Path
) -> None:
    releases = three_voices(author, encoder, clip)
    client = author.client
    made = client.new_collection(
        "粵語長者聲庫", slug="elders", card="# Elders\n\nOf an archive.", license="cc0-1.0"
    )
    assert (made["slug"], made["published"], made["license"]) == ("elders", False, "CC0-1.0")
    assert isinstance(refusal(lambda: publish_list(author, "elders")), UsageError)
    assert isinstance(refusal(lambda: client.new_collection("Elders")), ConflictError)
    client.change_collection("elders", "add", voices=["storyteller"], note="西關口音")
    left = client.change_collection(
        "粵語長者聲庫", "add", voices=[releases[1][:20], releases[2], "storyteller"]
    )
    assert [(item["release"], item["note"], item["state"]) for item in left["items"]] == [
        (releases[0], "西關口音", "here"),
        (releases[1], "", "here"),
        (releases[2], "", "here"),
    ]
    first = publish_list(author, "elders")
    assert (first["sequence"], first["voices"], first["changed"]) == (1, 3, True)
    assert publish_list(author, "elders")["changed"] is False
    name = f"{first['author']}/elders"

    # Somebody else fetches the list alone, then the voices; the middle one was called back meanwhile.
    friend = daemons().start(author)
    friend.meet(author)
    voices, result = fetch_list(friend, name, voices=False)
    assert (voices, result["id"], result["seed"]) == ([], first["id"], True)
    assert [item["state"] for item in friend.client.collection("elders")["items"]] == ["unknown"] * 3
    list(client.revoke(releases[1], reason="by mistake"))
    voices, result = fetch_list(friend, "elders")
    assert [(one["release"], one["state"]) for one in voices] == [
        (releases[0], "fetched"),
        (releases[1], "revoked"),
        (releases[2], "fetched"),
    ]
    assert [(one["release"], one["error"]["code"]) for one in result["failed"]] == [(releases[1], "revoked")]
    assert [item["state"] for item in friend.client.collection(name)["items"]] == ["here", "revoked", "here"]

    # Once more, nothing travels; and it is a friend of the friend who gets it when the author is gone.
    voices, result = fetch_list(friend, name)
    assert [one["state"] for one in voices] == ["here", "revoked", "here"]
    assert (result["fetched"], result["bytes_fetched"]) == (0, 0)
    author.end()
    other = daemons().start(friend)
    other.meet(friend)
    assert fetch_list(other, name, voices=False)[1]["id"] == first["id"]

    # The author changes the list; who holds it follows, and a peer with the old one changes nothing.
    author.start(friend)
    author.meet(friend)
    assert author.client.change_collection("elders", "remove", voices=["teacher"])["pending"] is True
    second = publish_list(author, "elders")
    assert (second["sequence"], second["voices"]) == (2, 2)
    assert fetch_list(friend, name)[1]["sequence"] == 2
    author.end()
    assert fetch_list(other, name, voices=False)[1]["id"] == second["id"]
    assert friend.end() == 0
    friend.start()
    assert [(one["slug"], one["sequence"]) for one in friend.client.collections()] == [("elders", 2)]


def test_a_fetch_goes_on_after_a_kill_and_when_a_voice_has_no_peer(
    daemons: Callable[[], Daemon], author: Daemon, encoder: Path, clip: Path
) -> None:
    releases = three_voices(author, encoder, clip)
    author.client.new_collection("Set", slug="set")
    author.client.change_collection("set", "add", voices=releases)
    published = publish_list(author, "set")
    # Nobody has the middle one any more, and nobody says why.
    author.client.remove(releases[1])
    friend = daemons().start(author)
    friend.meet(author)
    for event in friend.client.fetch_collection(f"{published['author']}/set"):
        if event["event"] == "voice":
            break
    friend.end(signal.SIGKILL)
    friend.start(author)
    friend.meet(author)
    voices, result = fetch_list(friend, "set")
    assert [one["state"] for one in voices] == ["here", "failed", "fetched"]
    assert [one["release"] for one in result["failed"]] == [releases[1]]

    # Another release of a voice that is here is not put in its place by a list.
    bring(author, clip, name="Auntie")
    newer = publish(author, "auntie", description="Once more.")["release"]
    author.client.change_collection("set", "remove", voices=[releases[2]])
    author.client.change_collection("set", "add", voices=["auntie"])
    publish_list(author, "set")
    voices, result = fetch_list(friend, "set")
    assert voices[-1]["release"] == newer
    assert voices[-1]["error"]["code"] == "conflict"
    shown = friend.client.collection("set")
    assert shown["items"][-1]["state"] == "other release here"
    assert friend.client.forget_collection("set")["slug"] == "set"
    assert isinstance(refusal(lambda: friend.client.collection("set")), NotFoundError)
    assert friend.client.voices()
